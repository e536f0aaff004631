/*
 * The search of beam.h. Each beam's likeliest tokens are found by a task of
 * its own; the likeliest continuations of all are then merged from those
 * sorted lists. Tokens lie in a tree of nodes that never shrinks.
 */
#include "infer/beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* So that no sum of logarithms overflows. */
static const double LEAST_TEMPERATURE = 1e-6;

typedef struct node {
  int32_t token, parent; /* parent -1: the first token */
} node;

/* What a beam could go on with. */
typedef struct continuation {
  int32_t token;
  double log_p; /* of the token */
} continuation;

struct moh__beam_search {
  moh__beam_rules rules;
  int32_t vocab, max_tokens, end_token;
  const moh__tokenizer *tokenizer; /* its end tokens end a text, too */
  moh__pool *pool;
  int32_t most, width;
  moh__beam *beams, *next; /* [most] */
  int32_t n;
  moh__beam *complete; /* [n_best + 1], the best first */
  int32_t n_complete;
  node *nodes; /* [capacity] */
  int32_t n_nodes, capacity;
  int32_t n_tokens; /* of each beam */
  /* Of the step in work. */
  const real *logits;
  continuation *lists; /* [most][most] of each beam, the likeliest first */
  double *normalisers; /* [most] ln sum exp((z - max) / T) */
  double *entropies;   /* [most]; NaN where a logit is not finite */
  int32_t *heads;      /* [most] places in the lists */
  double entropy;
};

/* ---- rules ---- */

moh__beam_rules moh__beam_rules_default(void) {
  return (moh__beam_rules){
      .threshold = 0.5, .temperature = 1, .length_penalty = 1, .n_best = 1};
}

static bool adapts(const moh__beam_rules *r) {
  return r->min_width != 0 || r->max_width != 0;
}

int32_t moh__beam_most(const moh__beam_rules *r) {
  return adapts(r) ? r->max_width : r->width;
}

static moh_status check_widths(const moh__beam_rules *r, moh_error *err) {
  if (r->width < 1 || r->width > MOH__BEAM_WIDTH_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT, "a beam width is 1 to %d, not %d",
                     MOH__BEAM_WIDTH_MAX, r->width);
  if (!adapts(r)) return MOH_OK;
  if (r->min_width < 1 || r->max_width > MOH__BEAM_WIDTH_MAX ||
      r->min_width > r->width || r->width > r->max_width)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a beam width of %d does not lie between the least, "
                     "%d, and the greatest, %d (1 to %d)",
                     r->width, r->min_width, r->max_width,
                     MOH__BEAM_WIDTH_MAX);
  return MOH_OK;
}

moh_status moh__beam_rules_check(const moh__beam_rules *r, moh_error *err) {
  MOH_TRY(check_widths(r, err));
  if (!(r->threshold >= 0 && r->threshold <= 1))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the beam threshold is %g, it must be between 0 and 1",
                     r->threshold);
  if (!(r->temperature >= LEAST_TEMPERATURE) || !isfinite(r->temperature))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the temperature of a beam search is %g, it must be %g "
                     "or more",
                     r->temperature, LEAST_TEMPERATURE);
  if (!(r->length_penalty >= 0) || !isfinite(r->length_penalty))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the length penalty is %g, it must be 0 or more",
                     r->length_penalty);
  if (r->n_best < 1 || r->n_best > MOH__BEAM_WIDTH_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "1 to %d texts can be kept, not %d", MOH__BEAM_WIDTH_MAX,
                     r->n_best);
  return MOH_OK;
}

static double score_of(const moh__beam_search *s, double log_p, int32_t n) {
  return log_p / pow(n, s->rules.length_penalty);
}

/* ---- opening ---- */

static moh_status alloc_search(moh__beam_search *s, moh_error *err) {
  size_t most = (size_t)s->most;
  s->beams = calloc(most, sizeof(moh__beam));
  s->next = calloc(most, sizeof(moh__beam));
  s->complete = calloc((size_t)s->rules.n_best + 1, sizeof(moh__beam));
  s->lists = calloc(most * most, sizeof(continuation));
  s->normalisers = calloc(most, sizeof(double));
  s->entropies = calloc(most, sizeof(double));
  s->heads = calloc(most, sizeof(int32_t));
  if (s->beams == NULL || s->next == NULL || s->complete == NULL ||
      s->lists == NULL || s->normalisers == NULL || s->entropies == NULL ||
      s->heads == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %d beams", s->most);
  return MOH_OK;
}

moh_status moh__beam_search_new(moh__beam_search **out,
                                const moh__beam_rules *rules, int32_t vocab,
                                int32_t max_tokens, int32_t end_token,
                                moh__pool *pool, moh_error *err) {
  *out = NULL;
  MOH_TRY(moh__beam_rules_check(rules, err));
  moh__beam_search *s = calloc(1, sizeof(*s));
  if (s == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  s->rules = *rules;
  s->vocab = vocab;
  s->max_tokens = max_tokens;
  s->end_token = end_token;
  s->pool = pool;
  s->most = moh__beam_most(rules);
  s->width = rules->width;
  moh_status status = alloc_search(s, err);
  if (status != MOH_OK) {
    moh__beam_search_free(s);
    return status;
  }
  s->n = 1;
  s->beams[0] = (moh__beam){.node = -1};
  *out = s;
  return MOH_OK;
}

void moh__beam_search_free(moh__beam_search *s) {
  if (s == NULL) return;
  free(s->beams);
  free(s->next);
  free(s->complete);
  free(s->nodes);
  free(s->lists);
  free(s->normalisers);
  free(s->entropies);
  free(s->heads);
  free(s);
}

/* ---- one beam's distribution ---- */

/* Of the logits of beam i: the largest, or NaN where one is not finite. */
static double largest(const real *z, int32_t n) {
  real most = z[0];
  bool finite = true;
  for (int32_t v = 0; v < n; v++) {
    if (z[v] > most) most = z[v];
    finite = finite && isfinite(z[v]);
  }
  return finite ? (double)most : NAN;
}

/* ln of the sum of e^x, x = (z - max) / T, and the entropy
 *   -sum p ln p = ln S - sum x e^x / S,  S = sum e^x. */
static void weigh(moh__beam_search *s, int32_t i, double most) {
  const real *z = s->logits + (int64_t)i * s->vocab;
  double sum = 0, moment = 0;
  for (int32_t v = 0; v < s->vocab; v++) {
    double x = ((double)z[v] - most) / s->rules.temperature;
    double e = exp(x);
    sum += e;
    if (e > 0) moment += x * e;
  }
  s->normalisers[i] = log(sum);
  s->entropies[i] = log(sum) - moment / sum;
}

static void weigh_task(void *context, int64_t i, void *scratch) {
  (void)scratch;
  moh__beam_search *s = context;
  const real *z = s->logits + i * s->vocab;
  double most = largest(z, s->vocab);
  s->entropies[i] = NAN;
  if (!isnan(most)) weigh(s, (int32_t)i, most);
}

/* Puts a token where it belongs in a list of n, sorted by logit; equal ones
 * stay in the order of their ids. A full list (of `most`) loses its last. */
static int32_t insert(continuation *list, int32_t n, int32_t most,
                      int32_t token, const real *z) {
  if (n == most && !(z[token] > z[list[n - 1].token])) return n;
  int32_t at = n == most ? n - 1 : n;
  for (; at > 0 && z[token] > z[list[at - 1].token]; at--)
    list[at] = list[at - 1];
  list[at].token = token;
  return n == most ? n : n + 1;
}

/* The `width` likeliest tokens of a beam: logits decide, so that rounding in
 * ln p does not. */
static void list_task(void *context, int64_t i, void *scratch) {
  (void)scratch;
  moh__beam_search *s = context;
  const real *z = s->logits + i * s->vocab;
  continuation *list = s->lists + i * s->most;
  int32_t n = 0;
  for (int32_t v = 0; v < s->vocab; v++) n = insert(list, n, s->width, v, z);
  for (int32_t k = 0; k < n; k++) {
    double x = ((double)z[list[k].token] - (double)z[list[0].token]) /
               s->rules.temperature;
    list[k].log_p = x - s->normalisers[i];
  }
}

/* ---- the width ---- */

static moh_status adapt(moh__beam_search *s, moh_error *err) {
  double sum = 0;
  for (int32_t i = 0; i < s->n; i++) sum += s->entropies[i];
  if (isnan(sum))
    return moh__fail(err, MOH_ERR_DIVERGED,
                     "a logit is not finite: the weights are damaged or "
                     "training diverged");
  s->entropy = s->vocab > 1 ? sum / s->n / log(s->vocab) : 0;
  if (!adapts(&s->rules)) return MOH_OK;
  s->width += s->entropy > s->rules.threshold ? 1 : -1;
  if (s->width > s->rules.max_width) s->width = s->rules.max_width;
  if (s->width < s->rules.min_width) s->width = s->rules.min_width;
  return MOH_OK;
}

/* ---- choosing ---- */

/* The beam whose next continuation is the likeliest of all; -1: none left. */
static int32_t likeliest(const moh__beam_search *s, int32_t n_list) {
  int32_t best = -1;
  double best_p = 0;
  for (int32_t i = 0; i < s->n; i++) {
    if (s->heads[i] == n_list) continue;
    double p = s->beams[i].log_p +
               s->lists[(int64_t)i * s->most + s->heads[i]].log_p;
    if (best >= 0 && !(p > best_p)) continue;
    best = i;
    best_p = p;
  }
  return best;
}

static moh_status need_nodes(moh__beam_search *s, moh_error *err) {
  if (s->capacity - s->n_nodes >= s->most) return MOH_OK;
  int32_t capacity = 2 * s->capacity + s->most;
  node *nodes = realloc(s->nodes, (size_t)capacity * sizeof(node));
  if (nodes == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %d tokens",
                     capacity);
  s->nodes = nodes;
  s->capacity = capacity;
  return MOH_OK;
}

/* Beam i with its next continuation. */
static moh__beam extend(moh__beam_search *s, int32_t i) {
  const continuation *c = &s->lists[(int64_t)i * s->most + s->heads[i]++];
  moh__beam beam = {.node = s->n_nodes++,
                    .parent = i,
                    .token = c->token,
                    .n = s->n_tokens,
                    .log_p = s->beams[i].log_p + c->log_p};
  beam.score = score_of(s, beam.log_p, beam.n);
  s->nodes[beam.node] = (node){c->token, s->beams[i].node};
  return beam;
}

/* Behind those that are as good. */
static void add_complete(moh__beam_search *s, moh__beam beam) {
  int32_t at = s->n_complete;
  for (; at > 0 && beam.score > s->complete[at - 1].score; at--)
    s->complete[at] = s->complete[at - 1];
  s->complete[at] = beam;
  if (s->n_complete < s->rules.n_best) s->n_complete++;
}

void moh__beam_search_ends(moh__beam_search *s,
                           const moh__tokenizer *tokenizer) {
  s->tokenizer = tokenizer;
}

static bool ends_text(const moh__beam_search *s, int32_t token) {
  return token == s->end_token ||
         (s->tokenizer != NULL && moh__tokenizer_is_end(s->tokenizer, token));
}

static void choose(moh__beam_search *s) {
  int32_t n_list = s->width < s->vocab ? s->width : s->vocab;
  int32_t n = 0;
  memset(s->heads, 0, (size_t)s->n * sizeof(int32_t));
  for (int32_t k = 0; k < s->width; k++) {
    int32_t i = likeliest(s, n_list);
    if (i < 0) break;
    moh__beam beam = extend(s, i);
    if (!ends_text(s, beam.token)) {
      s->next[n++] = beam;
      continue;
    }
    beam.state = MOH__BEAM_END;
    add_complete(s, beam);
  }
  moh__beam *beams = s->next;
  s->next = s->beams;
  s->beams = beams;
  s->n = n;
}

moh_status moh__beam_search_step(moh__beam_search *s, const real *logits,
                                 moh_error *err) {
  MOH_TRY(need_nodes(s, err));
  s->logits = logits;
  moh__pool_run(s->pool, s->n, weigh_task, s);
  MOH_TRY(adapt(s, err));
  moh__pool_run(s->pool, s->n, list_task, s);
  s->n_tokens++;
  choose(s);
  return MOH_OK;
}

void moh__beam_search_stop(moh__beam_search *s, int32_t i) {
  moh__beam beam = s->beams[i];
  beam.state = MOH__BEAM_STOP;
  add_complete(s, beam);
  s->n--;
  memmove(s->beams + i, s->beams + i + 1,
          (size_t)(s->n - i) * sizeof(moh__beam));
}

/* ---- results ---- */

/* Beams are sorted by ln p, and are equally long. */
bool moh__beam_search_done(const moh__beam_search *s) {
  if (s->n == 0 || s->n_tokens >= s->max_tokens) return true;
  if (s->n_complete == 0) return false;
  int32_t m = s->rules.exact ? s->max_tokens : s->n_tokens;
  return s->complete[0].score >= score_of(s, s->beams[0].log_p, m);
}

const moh__beam *moh__beam_search_beams(const moh__beam_search *s,
                                        int32_t *n) {
  *n = s->n;
  return s->beams;
}

const moh__beam *moh__beam_search_complete(const moh__beam_search *s,
                                           int32_t *n) {
  *n = s->n_complete;
  return s->complete;
}

int32_t moh__beam_search_rank(const moh__beam_search *s, moh__beam *out) {
  int32_t n = 0, c = 0, b = 0;
  while (n < s->rules.n_best && (c < s->n_complete || b < s->n)) {
    bool complete = b == s->n || (c < s->n_complete &&
                                  s->complete[c].score >= s->beams[b].score);
    out[n++] = complete ? s->complete[c++] : s->beams[b++];
  }
  return n;
}

/* Two texts are alike up to the node at which their ways to the root meet. */
static int32_t common_tokens(const moh__beam_search *s, const moh__beam *a,
                             const moh__beam *b) {
  int32_t n = a->n, at = a->node, there = b->node;
  for (; n > b->n; n--) at = s->nodes[at].parent;
  for (int32_t k = b->n; k > n; k--) there = s->nodes[there].parent;
  for (; at != there; n--) {
    at = s->nodes[at].parent;
    there = s->nodes[there].parent;
  }
  return n;
}

int32_t moh__beam_search_common(const moh__beam_search *s) {
  const moh__beam *first = s->n > 0 ? &s->beams[0] : &s->complete[0];
  int32_t common = first->n;
  for (int32_t i = 1; i <= s->n; i++) {
    if (i == s->n && s->n_complete == 0) break;
    const moh__beam *other = i < s->n ? &s->beams[i] : &s->complete[0];
    int32_t n = common_tokens(s, first, other);
    if (n < common) common = n;
  }
  return common;
}

void moh__beam_search_tokens(const moh__beam_search *s, const moh__beam *beam,
                             int32_t *tokens) {
  int32_t at = beam->node;
  for (int32_t i = beam->n; i-- > 0;) {
    tokens[i] = s->nodes[at].token;
    at = s->nodes[at].parent;
  }
}

int32_t moh__beam_search_width(const moh__beam_search *s) { return s->width; }

double moh__beam_search_entropy(const moh__beam_search *s) {
  return s->entropy;
}
