/*
 * moh upcycle: a mixture of heads out of a dense model, with a receipt in its
 * manifest of what it starts from: the dense model with all heads, and how far
 * from it with the heads of a token alone.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "data_source.h"
#include "infer/router_fit.h"
#include "interrupt.h"
#include "json_output.h"
#include "load.h"
#include "numbers.h"
#include "receipt.h"
#include "store/upcycle.h"

/* ln-probabilities of few tokens say little, and a router of d numbers a head
 * wants several times d of them. */
enum { CALIBRATION_TOKENS = 16384, CONTEXT = 512 };
static const double RIDGE = 1e-4;

typedef struct values {
  moh__runner_values runner;
  moh__format_values format;
  moh__list data;
  const char *heads, *out;
  int64_t tokens, context;
  double ridge;
  int route_by;
  bool json;
} values;

#define FIELD(name) .offset = offsetof(values, name)

static const moh__option head_options[] = {
    {"heads", 0, MOH__OPTION_STRING, "STRATEGY",
     "norm:S+K, S shared heads for every token and the K others of the "
     "largest queries; moh:S+K, the K by a router that is fitted to choose "
     "as these do, and spares the queries, too",
     NULL, FIELD(heads), .required = true},
    {"route-by", 0, MOH__OPTION_CHOICE, NULL,
     "what is chosen: query heads, or KV heads with all query heads that use "
     "them; S and K count these",
     "head", FIELD(route_by), .choices = moh__route_by_names},
    {.name = NULL},
};

static const moh__option data_options[] = {
    {"data", 'd', MOH__OPTION_LIST, "FILE",
     "texts to fit the router on, and to compare with the dense model", NULL,
     FIELD(data), .required = true},
    {"calibration-tokens", 0, MOH__OPTION_INT, "N",
     "read the first N tokens only", "16,384", FIELD(tokens), .min = 4,
     .max = 1 << 30},
    {"context", 'c', MOH__OPTION_INT, "N", "tokens of a window",
     "512, or the longest sequence of the model", FIELD(context), .min = 2,
     .max = 1 << 20},
    {"ridge", 0, MOH__OPTION_REAL, "X",
     "weight of the router's size in its fit, as a share of the inputs' mean "
     "square",
     "0.0001", FIELD(ridge), .min = 1e-12, .max = 1e6},
    {.name = NULL},
};

static const moh__option output_options[] = {
    {"out", 'o', MOH__OPTION_STRING, "DIR",
     "directory of the new model; new or empty", NULL, FIELD(out),
     .required = true},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the receipt as JSON on stdout", NULL,
     FIELD(json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", moh__runner_options, offsetof(values, runner)},
    {"Heads", head_options, 0},
    {"Data", data_options, 0},
    {"Format of the data", moh__format_options, offsetof(values, format)},
    {"Result", output_options, 0},
    {.options = NULL},
};

typedef struct upcycle {
  const values *v;
  moh__runner runner;      /* the dense model */
  moh__model *model;       /* the new one */
  moh__block_type weights; /* what it is stored as */
  moh__ids ids;            /* of all texts */
  moh__ids lengths;        /* of each */
  moh__stretch text;       /* all texts, one behind the other */
  moh__router_fit fit;
  moh__closeness all, chosen; /* all heads, and the heads of a token */
  json_t *receipt;
} upcycle;

/* ---- texts ---- */

static moh_status add_text(upcycle *u, moh__encoder *encoder,
                           const moh__texts *texts, moh_error *err) {
  for (size_t i = 0; i < texts->n; i++) {
    size_t before = u->ids.n;
    MOH_TRY(
        moh__encoder_encode_begun(encoder, texts->texts[i], &u->ids, err));
    MOH_TRY(moh__ids_push(&u->lengths, (int32_t)(u->ids.n - before), err));
  }
  return MOH_OK;
}

/* Files until there are tokens enough. */
static moh_status add_files(upcycle *u, moh__encoder *encoder, int64_t most,
                            moh_error *err) {
  moh__text_options format = moh__format_of(&u->v->format);
  for (int i = 0; i < u->v->data.n && (int64_t)u->ids.n < most; i++) {
    moh__texts texts;
    MOH_TRY(moh__texts_load(&texts, u->v->data.items[i], &format, err));
    moh_status status = add_text(u, encoder, &texts, err);
    moh__texts_free(&texts);
    MOH_TRY(status);
  }
  return MOH_OK;
}

static moh_status read_texts(upcycle *u, moh_error *err) {
  int64_t longest = u->model->config.max_seq_len;
  int64_t context =
      moh__int_or(u->v->context, longest < CONTEXT ? longest : CONTEXT);
  int64_t most = moh__int_or(u->v->tokens, CALIBRATION_TOKENS);
  moh__encoder *encoder;
  if (context > longest)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--context %" PRId64
                     " is longer than the model's longest sequence, "
                     "%" PRId64,
                     context, longest);
  MOH_TRY(moh__encoder_new(&encoder, u->runner.tokenizer, err));
  moh_status status = add_files(u, encoder, most, err);
  moh__encoder_free(encoder);
  int64_t n = (int64_t)u->ids.n < most ? (int64_t)u->ids.n : most;
  u->text = (moh__stretch){u->ids.ids, n, (int32_t)context};
  return status;
}

/* ---- measuring ---- */

static bool stop(void *context) {
  (void)context;
  return moh__interrupted();
}

/* Text by text, as moh eval reads them; what is read may end within one. */
static moh_status compare(const upcycle *u, moh__closeness *sums,
                          moh_error *err) {
  int64_t left = u->text.n, n;
  for (size_t i = 0; i < u->lengths.n; i++, left -= n) {
    n = u->lengths.ids[i] < left ? u->lengths.ids[i] : left;
    if (n < 2) continue;
    moh__stretch text = {u->text.tokens + u->text.n - left, n,
                         u->text.context};
    MOH_TRY(moh__closeness_add(sums, u->runner.model, u->model,
                               u->runner.pool, &text, stop, NULL, err));
  }
  if (sums->n_known > 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the data have no text of 2 tokens or more");
}

static moh_status measure(upcycle *u, moh_error *err) {
  moh__config *c = &u->model->config;
  int64_t k = c->k;
  c->k = moh__config_candidates(c) - c->n_shared;
  moh_status status = compare(u, &u->all, err);
  c->k = k;
  MOH_TRY(status);
  if (u->all.largest != 0)
    return moh__fail(err, MOH_ERR_DIVERGED,
                     "with all heads the logits differ from the dense "
                     "model's, by %g: nothing was written",
                     u->all.largest);
  return compare(u, &u->chosen, err);
}

/* ---- the receipt ---- */

static double perplexity(double nats, int64_t n) {
  return exp(nats / (double)n);
}

static double mean_agreement(const upcycle *u) {
  int64_t n = u->model->config.n_layers;
  double sum = 0;
  for (int64_t l = 0; l < n; l++) sum += u->fit.agreement[l];
  return sum / (double)n;
}

/* NULL where nothing was fitted. */
static json_t *router_json(const upcycle *u) {
  if (u->fit.agreement == NULL) return NULL;
  json_t *layers = json_array();
  for (int64_t l = 0; l < u->model->config.n_layers; l++)
    json_array_append_new(layers, json_real(u->fit.agreement[l]));
  return json_pack("{s:I, s:I, s:f, s:f, s:f, s:o}", "fitted_tokens",
                   (json_int_t)u->fit.n_fitted, "checked_tokens",
                   (json_int_t)u->fit.n_checked, "ridge",
                   moh__real_or(u->v->ridge, RIDGE), "agreement",
                   mean_agreement(u), "by_chance", u->fit.by_chance, "layers",
                   layers);
}

static json_t *chosen_json(const moh__closeness *c) {
  return json_pack("{s:f, s:f, s:f, s:f, s:f}", "largest_difference",
                   c->largest, "divergence",
                   c->divergence / (double)c->n_tokens, "same_first",
                   (double)c->n_same / (double)c->n_tokens, "perplexity",
                   perplexity(c->other_nats, c->n_known), "dense_perplexity",
                   perplexity(c->reference_nats, c->n_known));
}

static moh_status make_receipt(upcycle *u, moh_error *err) {
  json_t *files = json_array();
  const moh__config *c = &u->model->config;
  char heads[64];
  moh_status status = moh__receipt_files(files, &u->v->data, err);
  moh__config_heads_text(c, heads, sizeof heads);
  u->receipt = json_pack(
      "{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:o, s:o*, s:o}", "model",
      u->v->runner.model, "heads", heads, "route_by",
      moh__route_by_names[c->route_by], "active_heads",
      (json_int_t)moh__config_active_heads(c), "tokens",
      (json_int_t)u->text.n, "context", (json_int_t)u->text.context,
      "all_heads_largest_difference", u->all.largest, "chosen",
      chosen_json(&u->chosen), "router", router_json(u), "data", files);
  if (status == MOH_OK && u->receipt == NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the model's name is not UTF-8, so no receipt can be "
                     "written");
  return status;
}

/* ---- output ---- */

static void print_text(const upcycle *u) {
  moh__number tokens;
  char heads[64];
  const moh__config *c = &u->model->config;
  moh__config_heads_label(c, heads, sizeof heads);
  printf("heads        %s: %" PRId64 " of %" PRId64
         " for a token, on %s tokens\n",
         heads, moh__config_active_heads(c), c->n_heads,
         moh__number_grouped(&tokens, u->text.n));
  if (u->fit.agreement != NULL)
    printf("router       chooses %.1f %% of what norms do, chance %.1f %%\n",
           100 * mean_agreement(u), 100 * u->fit.by_chance);
  printf("all heads    largest difference of a logit %g\n", u->all.largest);
  printf(
      "these heads  largest %.3g, divergence %.4f nats a token, the same "
      "first token %.1f %%\n",
      u->chosen.largest, u->chosen.divergence / (double)u->chosen.n_tokens,
      100 * (double)u->chosen.n_same / (double)u->chosen.n_tokens);
  printf("perplexity   %.4g -> %.4g\n",
         perplexity(u->chosen.reference_nats, u->chosen.n_known),
         perplexity(u->chosen.other_nats, u->chosen.n_known));
  printf("model        %s\n", u->v->out);
}

/* ---- from start to end ---- */

static moh_status make(upcycle *u, moh_error *err) {
  int by = moh__choice_or(u->v->route_by, MOH__ROUTE_BY_HEAD);
  MOH_TRY(moh__as_usage(moh__upcycle(&u->model, u->runner.model, u->v->heads,
                                     (moh__route_by)by, err),
                        err));
  moh__model_set_precision(u->model, u->runner.model->precision);
  MOH_TRY(moh__model_pack(u->model, u->runner.pool, err));
  MOH_TRY(read_texts(u, err));
  if (!moh__config_has_router(&u->model->config)) return MOH_OK;
  return moh__router_fit_run(&u->fit, u->model, u->runner.pool, &u->text,
                             moh__real_or(u->v->ridge, RIDGE), stop, NULL,
                             err);
}

static moh_status save(const upcycle *u, moh_error *err) {
  moh__model_note note = {.description = "upcycled",
                          .weights = u->weights,
                          .upcycling = u->receipt,
                          .source = u->v->runner.model,
                          .watch = &moh__interrupt_watch};
  return moh__model_save(u->model, u->runner.tokenizer, u->v->out, &note,
                         err);
}

static moh_status work(upcycle *u, moh_error *err) {
  MOH_TRY(moh__receipt_check_out(u->v->out, err));
  moh__interrupt_quit("moh upcycle: interrupted; nothing was written\n");
  MOH_TRY(moh__runner_open(&u->runner, &u->v->runner, err));
  u->weights = moh__model_stored_exactly(u->runner.model);
  MOH_TRY(moh__model_decode(u->runner.model, u->runner.pool, err));
  moh__interrupt_catch();
  MOH_TRY(make(u, err));
  MOH_TRY(measure(u, err));
  MOH_TRY(make_receipt(u, err));
  MOH_TRY(save(u, err));
  if (u->v->json) return moh__print_json(json_incref(u->receipt), err);
  print_text(u);
  return MOH_OK;
}

static moh_status run_upcycle(const moh__call *call, moh_error *err) {
  upcycle u = {.v = call->values};
  moh_status status = work(&u, err);
  json_decref(u.receipt);
  moh__router_fit_free(&u.fit);
  moh__ids_free(&u.ids);
  moh__ids_free(&u.lengths);
  moh__model_free(u.model);
  moh__runner_close(&u.runner);
  return status;
}

const moh__command moh__command_upcycle = {
    .name = "upcycle",
    .summary = "a dense model -> a mixture of heads with its weights",
    .usage = "--model DIR --heads H --data FILE --out DIR [OPTION]...",
    .description =
        "Writes a model with the weights of a dense one, whose tokens choose "
        "their heads; go on training it with moh tune. With norm:S+K a token "
        "takes the heads of the largest queries, as the continue-tuned "
        "models of the paper do: that takes no parameters. With moh:S+K it "
        "takes those of a learned router, fitted by least squares to what "
        "the norms say on the texts. Gates are 1, so that with all heads the "
        "logits are those of the dense model, to the bit: that is checked, "
        "and it is told how far from it the model is with its own number of "
        "heads. What the dense model has in 16 bits stays in 16 bits; all "
        "else is written in f32. The receipt stands in manifest.json, too.",
    .examples =
        "  moh upcycle --model dense --heads norm:4+3 --data a.txt --out b\n"
        "  moh upcycle --model dense --heads moh:1+1 --route-by group "
        "-d a.txt -o c\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_upcycle,
};
