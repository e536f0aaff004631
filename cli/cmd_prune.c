/*
 * moh prune: takes heads out of a model, those that a measurement on texts
 * ranks last, and writes what is left as a model of its own, with a receipt in
 * its manifest.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "data_source.h"
#include "infer/head_scores.h"
#include "interrupt.h"
#include "json_output.h"
#include "load.h"
#include "numbers.h"
#include "receipt.h"
#include "store/prune.h"

static const char *const measures[] = {"usage", "importance", NULL};
enum { BY_USAGE, BY_IMPORTANCE };

typedef struct values {
  moh__runner_values runner;
  moh__format_values format;
  moh__list data;
  int64_t keep, context, limit;
  int by;
  const char *out;
  bool groups, json;
} values;

static const moh__option choice_options[] = {
    {"keep", 0, MOH__OPTION_INT, "N", "heads that stay in each layer", NULL,
     .offset = offsetof(values, keep), .min = 1, .max = 4096,
     .required = true},
    {"by", 0, MOH__OPTION_CHOICE, NULL,
     "what ranks the heads: how often tokens use them, or how much the loss "
     "depends on them (|dL/dgate|, mean over tokens)",
     "importance", .offset = offsetof(values, by), .choices = measures},
    {"groups", 0, MOH__OPTION_FLAG, NULL,
     "KV heads go with all query heads that use them; otherwise each KV head "
     "keeps the same number",
     NULL, .offset = offsetof(values, groups)},
    {.name = NULL},
};

static const moh__option data_options[] = {
    {"data", 'd', MOH__OPTION_LIST, "FILE", "texts to measure on", NULL,
     .offset = offsetof(values, data), .required = true},
    {"context", 'c', MOH__OPTION_INT, "N", "tokens of a window",
     "the longest sequence of the model", .offset = offsetof(values, context),
     .min = 1, .max = 1 << 30},
    {"limit", 0, MOH__OPTION_INT, "N", "measure on the first N tokens only",
     "all", .offset = offsetof(values, limit), .min = 1, .max = 9e18},
    {.name = NULL},
};

static const moh__option output_options[] = {
    {"out", 'o', MOH__OPTION_STRING, "DIR",
     "directory of the new model; new or empty", NULL,
     .offset = offsetof(values, out), .required = true},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the receipt as JSON on stdout", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", moh__runner_options, offsetof(values, runner)},
    {"Heads", choice_options, 0},
    {"Data", data_options, 0},
    {"Format of the data", moh__format_options, offsetof(values, format)},
    {"Result", output_options, 0},
    {.options = NULL},
};

typedef struct prune {
  const values *v;
  int by;
  moh__runner runner;
  moh__head_scores scores;
  moh__pruning choice;
  moh__model *pruned;
  moh__block_type weights; /* what it is stored as */
  moh__evaluation before, after;
  json_t *receipt;
  bool terminal;
  double last_shown;
} prune;

/* ---- measuring ---- */

static void clear_progress(const prune *p) {
  if (p->terminal) fputs("\r\033[K", stderr);
}

/* "1,234 tokens", redrawn in place. */
static bool on_progress(void *context, int64_t n_tokens) {
  prune *p = context;
  moh__number tokens;
  double now = moh__now();
  if (moh__interrupted()) return false;
  if (!p->terminal || now - p->last_shown < 0.1) return true;
  p->last_shown = now;
  clear_progress(p);
  fprintf(stderr, "%s tokens", moh__number_grouped(&tokens, n_tokens));
  fflush(stderr);
  return true;
}

static moh_status add_texts(const moh__texts *texts, moh__encoder *encoder,
                            moh__evaluator *evaluator, moh_error *err) {
  for (size_t i = 0; i < texts->n; i++) {
    moh__ids ids = {.n = 0};
    moh_status status =
        moh__encoder_encode_begun(encoder, texts->texts[i], &ids, err);
    if (status == MOH_OK)
      status =
          moh__evaluator_add(evaluator, ids.ids, (int64_t)ids.n, NULL, err);
    moh__ids_free(&ids);
    MOH_TRY(status);
  }
  return MOH_OK;
}

static moh_status add_files(const prune *p, moh__evaluator *evaluator,
                            moh_error *err) {
  moh__text_options format = moh__format_of(&p->v->format);
  moh__encoder *encoder;
  MOH_TRY(moh__encoder_new(&encoder, p->runner.tokenizer, err));
  moh_status status = MOH_OK;
  for (int i = 0; i < p->v->data.n && status == MOH_OK; i++) {
    moh__texts texts;
    status = moh__texts_load(&texts, p->v->data.items[i], &format, err);
    if (status != MOH_OK) break;
    status = add_texts(&texts, encoder, evaluator, err);
    moh__texts_free(&texts);
  }
  moh__encoder_free(encoder);
  return status;
}

/* The loss of a model on the data, with or without a look at its heads. */
static moh_status evaluate(prune *p, const moh__model *model,
                           const moh__head_probe *probe,
                           moh__evaluation *result, moh_error *err) {
  moh__evaluate_options options = {
      .context = (int32_t)moh__int_or(p->v->context, 0),
      .limit = moh__int_or(p->v->limit, 0),
      .unknown = -1,
      .probe = probe,
      .on_progress = on_progress,
      .progress = p};
  moh__evaluator *evaluator;
  MOH_TRY(
      moh__evaluator_new(&evaluator, model, p->runner.pool, &options, err));
  moh_status status = add_files(p, evaluator, err);
  if (status == MOH_OK)
    status = moh__evaluator_result(evaluator, result, err);
  moh__evaluator_free(evaluator);
  clear_progress(p);
  if (status == MOH_OK && result->n_predicted == 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the data have no text of 2 tokens or more");
  return status;
}

static moh_status measure(prune *p, moh_error *err) {
  moh__model *model = p->runner.model;
  const moh__config *c = &model->config;
  if (p->by == BY_USAGE && !moh__config_routes(c))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s has no routers: every token uses the same heads, so "
                     "rank them --by importance",
                     p->v->runner.model);
  MOH_TRY(
      moh__head_scores_init(&p->scores, model, p->by == BY_IMPORTANCE, err));
  /* What cannot be done is said before the work. */
  MOH_TRY(moh__pruning_choose(&p->choice, c, p->scores.means, p->v->keep,
                              p->v->groups, err));
  moh__pruning_free(&p->choice);
  MOH_TRY(moh__model_pack(model, p->runner.pool, err));
  MOH_TRY(evaluate(p, model, &p->scores.probe, &p->before, err));
  if (p->by == BY_USAGE)
    moh__head_scores_usage(&p->scores, p->before.n_predicted);
  else
    moh__head_scores_importance(&p->scores, p->before.n_predicted);
  return MOH_OK;
}

/* ---- the receipt ---- */

static double loss_of(const moh__evaluation *e) {
  return e->nats / (double)e->n_predicted;
}

static json_t *layer_json(const prune *p, int64_t layer) {
  json_t *scores = json_array(), *kept = json_array();
  int64_t at = layer * p->choice.n_heads;
  for (int64_t h = 0; h < p->choice.n_heads; h++) {
    json_array_append_new(scores, json_real(p->scores.means[at + h]));
    if (p->choice.kept[at + h]) json_array_append_new(kept, json_integer(h));
  }
  return json_pack("{s:o, s:o}", "scores", scores, "kept", kept);
}

static moh_status make_receipt(prune *p, moh_error *err) {
  json_t *files = json_array(), *layers = json_array();
  const moh__config *c = &p->runner.model->config;
  char heads[64];
  moh_status status = moh__receipt_files(files, &p->v->data, err);
  for (int64_t l = 0; l < c->n_layers; l++)
    json_array_append_new(layers, layer_json(p, l));
  moh__config_heads_text(c, heads, sizeof heads);
  p->receipt = json_pack(
      "{s:s, s:s, s:I, s:I, s:s, s:b, s:I, s:f, s:f, s:o, s:o}", "model",
      p->v->runner.model, "strategy", heads, "heads", (json_int_t)c->n_heads,
      "kept", (json_int_t)p->choice.n_keep, "by", measures[p->by], "groups",
      p->v->groups, "tokens", (json_int_t)p->before.n_predicted,
      "nats_per_token_before", loss_of(&p->before), "nats_per_token_after",
      loss_of(&p->after), "data", files, "layers", layers);
  if (status == MOH_OK && p->receipt == NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the model's name is not UTF-8, so no receipt can be "
                     "written");
  return status;
}

/* ---- output ---- */

static void print_layer(const prune *p, int64_t layer) {
  printf("layer %" PRId64 "  removed", layer);
  int64_t at = layer * p->choice.n_heads;
  for (int64_t h = 0; h < p->choice.n_heads; h++)
    if (!p->choice.kept[at + h])
      printf(" %" PRId64 " (%.3g)", h, p->scores.means[at + h]);
  puts(p->choice.n_keep < p->choice.n_heads ? "" : " none");
}

static void print_text(const prune *p) {
  moh__number tokens, before, after;
  printf("%" PRId64 " of %" PRId64
         " heads stay in each layer, by %s on %s "
         "tokens\n",
         p->choice.n_keep, p->choice.n_heads, measures[p->by],
         moh__number_grouped(&tokens, p->before.n_predicted));
  for (int64_t l = 0; l < p->choice.n_layers; l++) print_layer(p, l);
  printf("parameters  %s -> %s\n",
         moh__number_grouped(&before, moh__model_count(p->runner.model)),
         moh__number_grouped(&after, moh__model_count(p->pruned)));
  printf("loss        %.4f -> %.4f nats a token on these\n",
         loss_of(&p->before), loss_of(&p->after));
  printf("model       %s\n", p->v->out);
}

/* ---- from start to end ---- */

static moh_status cut(prune *p, moh_error *err) {
  moh__model *model = p->runner.model;
  MOH_TRY(moh__pruning_choose(&p->choice, &model->config, p->scores.means,
                              p->v->keep, p->v->groups, err));
  MOH_TRY(moh__prune(&p->pruned, model, &p->choice, err));
  moh__model_set_precision(p->pruned, model->precision);
  MOH_TRY(moh__model_pack(p->pruned, p->runner.pool, err));
  return evaluate(p, p->pruned, NULL, &p->after, err);
}

static moh_status save(const prune *p, moh_error *err) {
  moh__model_note note = {.description = "pruned",
                          .weights = p->weights,
                          .pruning = p->receipt,
                          .source = p->v->runner.model,
                          .watch = &moh__interrupt_watch};
  return moh__model_save(p->pruned, p->runner.tokenizer, p->v->out, &note,
                         err);
}

static moh_status work(prune *p, moh_error *err) {
  MOH_TRY(moh__receipt_check_out(p->v->out, err));
  moh__interrupt_quit("moh prune: interrupted; nothing was written\n");
  MOH_TRY(moh__runner_open(&p->runner, &p->v->runner, err));
  p->weights = moh__model_stored_exactly(p->runner.model);
  MOH_TRY(moh__model_decode(p->runner.model, p->runner.pool, err));
  moh__interrupt_catch();
  MOH_TRY(measure(p, err));
  MOH_TRY(cut(p, err));
  MOH_TRY(make_receipt(p, err));
  MOH_TRY(save(p, err));
  if (p->v->json) return moh__print_json(json_incref(p->receipt), err);
  print_text(p);
  return MOH_OK;
}

static moh_status run_prune(const moh__call *call, moh_error *err) {
  prune p = {.v = call->values};
  p.by = moh__choice_or(p.v->by, BY_IMPORTANCE);
  p.terminal = isatty(STDERR_FILENO) == 1;
  moh_status status = work(&p, err);
  json_decref(p.receipt);
  moh__model_free(p.pruned);
  moh__pruning_free(&p.choice);
  moh__head_scores_free(&p.scores);
  moh__runner_close(&p.runner);
  return status;
}

const moh__command moh__command_prune = {
    .name = "prune",
    .summary = "take the heads out of a model that matter least",
    .usage = "--model DIR --keep N --data FILE --out DIR [OPTION]...",
    .description =
        "Measures on texts what each head does, keeps the N best of every "
        "layer and writes a model without the others, as small and as fast "
        "as one that never had them; go on training it with moh tune. "
        "Importance is the size of the loss's derivative by a factor on a "
        "head's output, a mean over tokens (Michel et al. 2019), and goes "
        "for any model; usage is for models with routers, whose shared "
        "heads stay and whose tokens then choose among the heads that are "
        "left. What is stored in 16 bits stays so; all else is written in "
        "f32. What was measured, on which data, and what went stands in "
        "manifest.json.",
    .examples =
        "  moh prune --model run --keep 4 --data text.txt --out small\n"
        "  moh prune --model moh --by usage --keep 6 --data a.txt --out b\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_prune,
};
