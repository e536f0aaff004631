/*
 * Texts are read in windows side by side. Behind every token of a window both
 * models' distributions are compared; the perplexities are of all tokens but
 * the first of a text, as those of moh eval are.
 */
#include "compare.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "infer/closeness.h"
#include "interrupt.h"
#include "json_output.h"
#include "numbers.h"

typedef struct comparison {
  const moh__runner *reference, *other;
  const moh__compare_options *options;
  moh__closeness sums;
  int64_t left; /* predictions */
} comparison;

static bool same_text(moh__text a, moh__text b) {
  return a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0;
}

/* Files of different formats spell one token differently, as " t" and "▁t". */
static bool same_token(const moh__tokenizer *a, const moh__tokenizer *b,
                       int32_t id) {
  return same_text(moh__tokenizer_token(a, id),
                   moh__tokenizer_token(b, id)) ||
         same_text(moh__tokenizer_spelling(a, id),
                   moh__tokenizer_spelling(b, id));
}

static moh_status check_vocabularies(const comparison *c, moh_error *err) {
  const moh__tokenizer *a = c->reference->tokenizer, *b = c->other->tokenizer;
  int64_t rows = c->reference->model->config.vocab_size;
  int32_t n = moh__tokenizer_size(a);
  if (n != moh__tokenizer_size(b) ||
      rows != c->other->model->config.vocab_size)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--compare: vocabularies of %d and %d tokens (%" PRId64
                     " and %" PRId64 " rows of weights) cannot be compared",
                     n, moh__tokenizer_size(b), rows,
                     c->other->model->config.vocab_size);
  for (int32_t i = 0; i < n; i++)
    if (!same_token(a, b, i))
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "--compare: the vocabularies differ, first in token "
                       "%d",
                       i);
  return MOH_OK;
}

static bool stops(void *context) {
  (void)context;
  return moh__interrupted();
}

static moh_status compare_ids(comparison *c, const moh__ids *ids,
                              moh_error *err) {
  int64_t n = (int64_t)ids->n;
  if (n > c->left) n = c->left + 1; /* the first one is not predicted */
  if (n < 2) return MOH_OK;
  moh__stretch text = {ids->ids, n, (int32_t)c->options->context};
  MOH_TRY(moh__closeness_add(&c->sums, c->reference->model, c->other->model,
                             c->reference->pool, &text, stops, NULL, err));
  c->left -= n - 1;
  return MOH_OK;
}

static moh_status compare_text(comparison *c, moh__text text,
                               moh_error *err) {
  moh__ids ids = {0};
  const moh__tokenizer *tokenizer = c->reference->tokenizer;
  moh_status status = moh__tokenizer_begin(tokenizer, &ids, err);
  if (status == MOH_OK)
    status = moh__tokenizer_encode(tokenizer, text, true, &ids, err);
  if (status == MOH_OK) status = compare_ids(c, &ids, err);
  moh__ids_free(&ids);
  return status;
}

static moh_status compare_file(comparison *c, const char *path,
                               moh_error *err) {
  moh__texts texts = {0};
  MOH_TRY(moh__texts_load(&texts, path, &c->options->format, err));
  moh_status status = MOH_OK;
  for (size_t i = 0; i < texts.n && status == MOH_OK; i++)
    status = compare_text(c, texts.texts[i], err);
  moh__texts_free(&texts);
  if (status == MOH_OK || status == MOH_ERR_INTERRUPTED) return status;
  return moh__fail_in(err, status, "%s", path);
}

static double perplexity(double nats, int64_t n) {
  return exp(nats / (double)n);
}

static void print_result(const comparison *c) {
  const moh__closeness *s = &c->sums;
  moh__number n;
  printf("%s tokens: perplexity %.4g of %s, %.4g of %s\n",
         moh__number_grouped(&n, s->n_known),
         perplexity(s->reference_nats, s->n_known), c->options->model,
         perplexity(s->other_nats, s->n_known), c->options->other);
  printf(
      "KL divergence %.4g nats a token, at most %.4g; the same first "
      "choice %.2f %%; largest difference of a logit %.4g\n",
      s->divergence / (double)s->n_tokens, s->worst,
      100 * (double)s->n_same / (double)s->n_tokens, s->largest);
}

static moh_status print_json(const comparison *c, moh_error *err) {
  const moh__closeness *s = &c->sums;
  json_t *object = json_pack(
      "{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "model",
      c->options->model, "other", c->options->other, "context",
      (json_int_t)c->options->context, "tokens", (json_int_t)s->n_tokens,
      "predicted_tokens", (json_int_t)s->n_known, "perplexity",
      perplexity(s->reference_nats, s->n_known), "other_perplexity",
      perplexity(s->other_nats, s->n_known), "mean_divergence",
      s->divergence / (double)s->n_tokens, "largest_divergence", s->worst,
      "same_choice", (double)s->n_same / (double)s->n_tokens,
      "largest_logit_difference", s->largest);
  return moh__print_json(object, err);
}

moh_status moh__compare_run(const moh__runner *reference,
                            const moh__runner *other,
                            const moh__compare_options *options,
                            moh_error *err) {
  comparison c = {.reference = reference, .other = other, .options = options};
  c.left = options->limit > 0 ? options->limit : INT64_MAX - 1;
  MOH_TRY(check_vocabularies(&c, err));
  for (int i = 0; i < options->n_paths; i++)
    MOH_TRY(compare_file(&c, options->paths[i], err));
  if (c.sums.n_known == 0)
    return moh__fail(err, MOH_ERR_FORMAT, "no text of 2 tokens or more");
  if (options->json) return print_json(&c, err);
  print_result(&c);
  return MOH_OK;
}
