/*
 * moh eval: perplexity and bits a byte of texts, file by file and together.
 * Of each text all tokens but the first are predicted, and the bytes are
 * those of the text without its first token.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "choices.h"
#include "commands.h"
#include "compare.h"
#include "data_source.h"
#include "infer/evaluate.h"
#include "interrupt.h"
#include "json_output.h"
#include "load.h"
#include "numbers.h"

typedef struct values {
  moh__runner_values runner;
  moh__format_values format;
  int64_t context, stride, limit;
  const char *other;
  bool decode, choices, each, no_blank, json;
} values;

static const moh__option head_options[] = {
    {"heads", 0, MOH__OPTION_STRING, "HEADS",
     "measure with another choice of heads, which needs no other tensors: "
     "all, static:N, norm:S+K, random:S+K, or another K of the model's "
     "moh:S+K",
     "the model's", .offset = offsetof(values, runner.heads)},
    {.name = NULL},
};

static const moh__option window_options[] = {
    {"context", 'c', MOH__OPTION_INT, "N", "tokens of a window",
     "the longest sequence of the model", .offset = offsetof(values, context),
     .min = 1, .max = 1 << 30},
    {"stride", 0, MOH__OPTION_INT, "N",
     "tokens that a window predicts; a smaller one gives each token more "
     "to go by, and takes longer",
     "the context: windows side by side, as in training",
     .offset = offsetof(values, stride), .min = 1, .max = 1 << 30},
    {"decode", 0, MOH__OPTION_FLAG, NULL,
     "token by token through the cache, as a text is generated; takes longer",
     NULL, .offset = offsetof(values, decode)},
    {"limit", 0, MOH__OPTION_INT, "N",
     "predict the first N tokens only; with --choices, ask the first N "
     "questions of each file",
     "all", .offset = offsetof(values, limit), .min = 1, .max = 9e18},
    {.name = NULL},
};

static const moh__option compare_options[] = {
    {"compare", 0, MOH__OPTION_STRING, "DIR",
     "another model with the same vocabulary: perplexities, and how far its "
     "predictions are from this one's",
     NULL, .offset = offsetof(values, other)},
    {.name = NULL},
};

static const moh__option choice_options[] = {
    {"choices", 0, MOH__OPTION_FLAG, NULL,
     "the files hold questions with several answers, a JSON object a line. "
     "Before the answers: \"question\" or \"query\", behind \"context\" and "
     "a line break where that is there, too; or \"context\" or \"ctx\" "
     "alone. "
     "The answers: \"choices\" or \"endings\", 2 to 64 texts, or "
     "{\"text\": [...], \"label\": [...]}. The right one: \"answer\", "
     "\"gold\", \"answerKey\" or \"label\", its index from 0, its label, or "
     "without labels a letter from A on. A blank goes before an answer, "
     "unless white space is there",
     NULL, .offset = offsetof(values, choices)},
    {"each", 0, MOH__OPTION_FLAG, NULL,
     "with --choices: what was chosen for each question", NULL,
     .offset = offsetof(values, each)},
    {"no-blank", 0, MOH__OPTION_FLAG, NULL,
     "with --choices: nothing goes before an answer, which may go on within "
     "a word; its score begins with the first token that an answer changes",
     NULL, .offset = offsetof(values, no_blank)},
    {.name = NULL},
};

static const moh__option output_options[] = {
    {"json", 0, MOH__OPTION_FLAG, NULL, "the result as JSON on stdout", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", moh__runner_options, offsetof(values, runner)},
    {"Data", moh__format_options, offsetof(values, format)},
    {"Heads", head_options, 0},
    {"Windows", window_options, 0},
    {"Comparison", compare_options, 0},
    {"Questions", choice_options, 0},
    {"Output", output_options, 0},
    {.options = NULL},
};

/* Of a file, or of all of them. */
typedef struct measure {
  const char *name;
  moh__evaluation sums;
  int64_t n_tokens; /* of the texts that were taken, first ones included */
  int64_t n_bytes;  /* that were predicted */
} measure;

typedef struct eval {
  const values *v;
  moh__runner runner;
  moh__evaluate_options options;
  int64_t n_before; /* predicted tokens of earlier files */
  int64_t n_all;    /* that this file has to predict */
  double start, last_shown;
  bool terminal;
} eval;

/* ---- progress ---- */

static void clear_progress(const eval *e) {
  if (e->terminal) fputs("\r\033[K", stderr);
}

/* "1,234 of 5,678 tokens, 910/s", redrawn in place. */
static bool on_progress(void *progress, int64_t n_predicted) {
  eval *e = progress;
  moh__number done, all;
  double now = moh__now();
  if (moh__interrupted()) return false;
  if (!e->terminal || now - e->last_shown < 0.1) return true;
  e->last_shown = now;
  clear_progress(e);
  fprintf(stderr, "%s of %s tokens, %.0f/s",
          moh__number_grouped(&done, n_predicted),
          moh__number_grouped(&all, e->n_all),
          (double)(e->n_before + n_predicted) / (now - e->start));
  fflush(stderr);
  return true;
}

/* ---- one file ---- */

/* Tokens of all texts one behind the other: text i is ids [start[i],
 * start[i + 1]). */
typedef struct encoded {
  moh__texts texts;
  moh__ids ids;
  size_t *start; /* [texts.n + 1] */
} encoded;

static void free_encoded(encoded *data) {
  moh__texts_free(&data->texts);
  moh__ids_free(&data->ids);
  free(data->start);
}

static moh_status encode(const eval *e, encoded *data, moh_error *err) {
  moh__encoder *encoder;
  data->start = calloc(data->texts.n + 1, sizeof(*data->start));
  if (data->start == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu texts",
                     data->texts.n);
  MOH_TRY(moh__encoder_new(&encoder, e->runner.tokenizer, err));
  moh_status status = MOH_OK;
  for (size_t i = 0; i < data->texts.n && status == MOH_OK; i++) {
    status = moh__encoder_encode_begun(encoder, data->texts.texts[i],
                                       &data->ids, err);
    data->start[i + 1] = data->ids.n;
  }
  moh__encoder_free(encoder);
  return status;
}

static moh_status decoded_length(const eval *e, const int32_t *ids, int64_t n,
                                 int64_t *length, moh_error *err) {
  char *bytes;
  size_t n_bytes = 0;
  MOH_TRY(moh__tokenizer_decode_bytes(e->runner.tokenizer, ids, (size_t)n,
                                      false, &bytes, &n_bytes, err));
  free(bytes);
  *length = (int64_t)n_bytes;
  return MOH_OK;
}

/* Bytes of the text behind its first token, which has none where the
 * tokenizer puts it in front; where the limit cuts it, of its first `taken`
 * tokens, decoded. */
static moh_status count_bytes(const eval *e, moh__text text,
                              const int32_t *ids, int64_t n, int64_t taken,
                              measure *m, moh_error *err) {
  int64_t first = 0, length = (int64_t)text.n;
  int64_t begun = moh__tokenizer_n_begin(e->runner.tokenizer);
  if (begun == 0) MOH_TRY(decoded_length(e, ids, 1, &first, err));
  ids += begun;
  n -= begun;
  taken = taken > begun ? taken - begun : 0;
  if (taken < n) MOH_TRY(decoded_length(e, ids, taken, &length, err));
  if (length > first) m->n_bytes += length - first;
  return MOH_OK;
}

static moh_status evaluate_texts(eval *e, const encoded *data,
                                 moh__evaluator *evaluator, measure *m,
                                 moh_error *err) {
  for (size_t i = 0; i < data->texts.n; i++) {
    const int32_t *ids = data->ids.ids + data->start[i];
    int64_t n = (int64_t)(data->start[i + 1] - data->start[i]), taken;
    MOH_TRY(moh__evaluator_add(evaluator, ids, n, &taken, err));
    if (taken == 0) continue;
    m->n_tokens += taken;
    MOH_TRY(count_bytes(e, data->texts.texts[i], ids, n, taken, m, err));
  }
  return moh__evaluator_result(evaluator, &m->sums, err);
}

static moh_status evaluate_encoded(eval *e, const encoded *data, measure *m,
                                   moh_error *err) {
  moh__evaluator *evaluator;
  e->n_all = (int64_t)(data->ids.n - data->texts.n);
  if (e->options.limit > 0 && e->options.limit < e->n_all)
    e->n_all = e->options.limit;
  MOH_TRY(moh__evaluator_new(&evaluator, e->runner.model, e->runner.pool,
                             &e->options, err));
  moh_status status = evaluate_texts(e, data, evaluator, m, err);
  moh__evaluator_free(evaluator);
  clear_progress(e);
  if (status == MOH_OK && m->sums.n_predicted == 0)
    return moh__fail(err, MOH_ERR_FORMAT, "%s: no text of 2 tokens or more",
                     m->name);
  return status;
}

static moh_status evaluate_file(eval *e, const char *path, measure *m,
                                moh_error *err) {
  moh__text_options format = moh__format_of(&e->v->format);
  encoded data = {.start = NULL};
  MOH_TRY(moh__texts_load(&data.texts, path, &format, err));
  *m = (measure){.name = path};
  moh_status status = encode(e, &data, err);
  if (status != MOH_OK)
    status = moh__fail_in(err, status, "%s", path);
  else
    status = evaluate_encoded(e, &data, m, err);
  free_encoded(&data);
  return status;
}

/* ---- output ---- */

static double loss_of(const measure *m) {
  return m->sums.nats / (double)m->sums.n_predicted;
}

/* NaN where there are no bytes. */
static double bits_per_byte(const measure *m) {
  return m->n_bytes == 0 ? NAN : m->sums.nats / M_LN2 / (double)m->n_bytes;
}

static void print_measure(const measure *m) {
  moh__number predicted, bytes;
  printf(
      "%-24s %s tokens, %s bytes: %.4f nats a token, perplexity %.4g, "
      "%.4f bits a byte\n",
      m->name, moh__number_grouped(&predicted, m->sums.n_predicted),
      moh__number_grouped(&bytes, m->n_bytes), loss_of(m), exp(loss_of(m)),
      bits_per_byte(m));
}

static void tell_unknown(const measure *m) {
  moh__number unknown;
  if (m->sums.n_unknown == 0) return;
  fprintf(stderr,
          "(%s unknown among the predicted tokens: what they stand for "
          "was not predicted, so bits a byte cannot be compared with those "
          "of other vocabularies)\n",
          moh__number_grouped(&unknown, m->sums.n_unknown));
}

static json_t *measure_json(const measure *m) {
  double bits = bits_per_byte(m);
  return json_pack(
      "{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:o}", "file", m->name,
      "texts", (json_int_t)m->sums.n_texts, "tokens", (json_int_t)m->n_tokens,
      "predicted_tokens", (json_int_t)m->sums.n_predicted, "unknown_tokens",
      (json_int_t)m->sums.n_unknown, "bytes", (json_int_t)m->n_bytes, "nats",
      m->sums.nats, "nats_per_token", loss_of(m), "perplexity",
      exp(loss_of(m)), "bits_per_byte",
      isnan(bits) ? json_null() : json_real(bits));
}

static moh_status print_json(const eval *e, json_t *files,
                             const measure *total, moh_error *err) {
  json_t *sum = measure_json(total);
  json_object_del(sum, "file");
  json_t *object = json_pack(
      "{s:s, s:i, s:i, s:O, s:o, s:f}", "model", e->v->runner.model,
      "context", e->options.context, "stride", e->options.stride, "files",
      files, "total", sum, "seconds", moh__now() - e->start);
  return moh__print_json(object, err);
}

static void add_measure(measure *total, const measure *m) {
  total->sums.n_texts += m->sums.n_texts;
  total->sums.n_predicted += m->sums.n_predicted;
  total->sums.n_unknown += m->sums.n_unknown;
  total->sums.n_windows += m->sums.n_windows;
  total->sums.nats += m->sums.nats;
  total->n_tokens += m->n_tokens;
  total->n_bytes += m->n_bytes;
}

/* ---- from start to end ---- */

static bool limit_is_reached(const eval *e, const measure *total) {
  int64_t limit = moh__int_or(e->v->limit, 0);
  return limit > 0 && total->sums.n_predicted == limit;
}

static moh_status evaluate_files(eval *e, const moh__call *call,
                                 json_t *files, measure *total,
                                 moh_error *err) {
  for (int i = 0; i < call->n_arguments; i++) {
    measure m;
    if (limit_is_reached(e, total)) break;
    MOH_TRY(evaluate_file(e, call->arguments[i], &m, err));
    add_measure(total, &m);
    e->n_before = total->sums.n_predicted;
    if (e->options.limit > 0) e->options.limit -= m.sums.n_predicted;
    if (e->v->json)
      json_array_append_new(files, measure_json(&m));
    else
      print_measure(&m);
    fflush(stdout);
  }
  if (!e->v->json && call->n_arguments > 1) print_measure(total);
  tell_unknown(total);
  return e->v->json ? print_json(e, files, total, err) : MOH_OK;
}

static moh_status open_eval(eval *e, moh_error *err) {
  MOH_TRY(moh__runner_open(&e->runner, &e->v->runner, err));
  int64_t most = e->runner.model->config.max_seq_len;
  int64_t context = moh__int_or(e->v->context, most);
  e->options = (moh__evaluate_options){
      .context = (int32_t)context,
      .stride = (int32_t)moh__int_or(e->v->stride, context),
      .limit = moh__int_or(e->v->limit, 0),
      .unknown = moh__tokenizer_unknown(e->runner.tokenizer),
      .decode = e->v->decode,
      .on_progress = on_progress,
      .progress = e};
  e->terminal = isatty(STDERR_FILENO) == 1;
  e->start = moh__now();
  moh__interrupt_catch();
  return MOH_OK;
}

static moh_status check_values(const values *v, moh_error *err) {
  bool windows =
      moh__is_set_int(v->context) || moh__is_set_int(v->stride) || v->decode;
  if ((v->each || v->no_blank) && !v->choices)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--%s needs --choices",
                     v->each ? "each" : "no-blank");
  if (v->choices && windows)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--choices and options of windows exclude each other");
  if (v->other != NULL &&
      (v->choices || v->decode || moh__is_set_int(v->stride)))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--compare goes with neither --choices nor --decode nor "
                     "--stride");
  return MOH_OK;
}

static moh_status compare(const eval *e, const moh__call *call,
                          const moh__runner *other, moh_error *err) {
  int64_t most = e->runner.model->config.max_seq_len;
  int64_t theirs = other->model->config.max_seq_len;
  moh__compare_options options = {
      .paths = (const char *const *)call->arguments,
      .n_paths = call->n_arguments,
      .format = moh__format_of(&e->v->format),
      .model = e->v->runner.model,
      .other = e->v->other,
      .context = moh__int_or(e->v->context, most < theirs ? most : theirs),
      .limit = moh__int_or(e->v->limit, 0),
      .json = e->v->json};
  if (options.context > most || options.context > theirs)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a context of %" PRId64
                     " tokens; the models read %" PRId64 " and %" PRId64,
                     options.context, most, theirs);
  return moh__compare_run(&e->runner, other, &options, err);
}

static moh_status evaluate_other(const eval *e, const moh__call *call,
                                 moh_error *err) {
  moh__runner_values wanted = e->v->runner;
  moh__runner other;
  wanted.model = e->v->other;
  wanted.heads = NULL;
  moh_status status = moh__runner_open(&other, &wanted, err);
  if (status == MOH_OK) status = compare(e, call, &other, err);
  moh__runner_close(&other);
  return status;
}

static moh_status evaluate_choices(eval *e, const moh__call *call,
                                   moh_error *err) {
  moh__choices_options options = {
      .paths = (const char *const *)call->arguments,
      .n_paths = call->n_arguments,
      .model = e->v->runner.model,
      .limit = moh__int_or(e->v->limit, 0),
      .json = e->v->json,
      .each = e->v->each,
      .no_blank = e->v->no_blank};
  return moh__choices_run(&e->runner, &options, err);
}

static moh_status run_eval(const moh__call *call, moh_error *err) {
  eval e = {.v = call->values};
  measure total = {.name = "together"};
  if (call->n_arguments == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "a FILE is missing");
  MOH_TRY(check_values(e.v, err));
  json_t *files = json_array();
  moh_status status = open_eval(&e, err);
  if (status == MOH_OK)
    status = e.v->choices ? evaluate_choices(&e, call, err)
             : e.v->other != NULL
                 ? evaluate_other(&e, call, err)
                 : evaluate_files(&e, call, files, &total, err);
  json_decref(files);
  moh__runner_close(&e.runner);
  return status;
}

const moh__command moh__command_eval = {
    .name = "eval",
    .summary = "perplexity and bits a byte of texts",
    .usage = "--model DIR [OPTION]... FILE...",
    .description =
        "Measures how well a model predicts texts, which it should not "
        "have "
        "been trained on. Each text is read in windows; every token but "
        "the "
        "first of a text is predicted once. Bytes are those of the text "
        "without its first token (where --limit cuts a text, those of the "
        "tokens, decoded). The result does not depend on the number of "
        "threads. With --choices, of each question's answers the model's "
        "likeliest is taken: acc by the sum of ln p, acc_norm by byte, "
        "acc_norm_token by token, each with its standard error.",
    .examples =
        "  moh eval --model run test.txt\n"
        "  moh eval --model run --context 256 --stride 64 --json "
        "test.txt\n"
        "  moh eval --model run --choices --limit 100 questions.jsonl\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1 << 20,
    .argument = "FILE",
    .run = run_eval,
};
