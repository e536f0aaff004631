/* Greedy choice, sampling with a temperature, and the generation loop. */
#include "infer/generate.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

static moh_status greedy(const real *logits, int32_t n, int32_t *token,
                         moh_error *err) {
  int32_t best = 0;
  for (int32_t i = 0; i < n; i++) {
    if (!isfinite(logits[i]))
      return moh__fail(err, MOH_ERR_DIVERGED,
                       "the logit of token %d is not finite: the weights "
                       "are damaged or training diverged",
                       i);
    if (logits[i] > logits[best]) best = i;
  }
  *token = best;
  return MOH_OK;
}

/* Inverse of the cumulative distribution, added up in the order of ids. */
static int32_t draw(const real *weights, int32_t n, double sum, double u) {
  double target = u * sum;
  double so_far = 0;
  int32_t last = 0;
  for (int32_t i = 0; i < n; i++) {
    if (weights[i] <= 0) continue;
    so_far += (double)weights[i];
    last = i;
    if (so_far > target) break;
  }
  return last;
}

moh_status moh__sample(const moh__sampling *sampling, moh__rng *rng,
                       const real *logits, int32_t n, real *scratch,
                       int32_t *token, moh_error *err) {
  MOH_TRY(greedy(logits, n, token, err));
  if (sampling->temperature <= 0) return MOH_OK;
  real max = logits[*token];
  double sum = 0;
  for (int32_t i = 0; i < n; i++) {
    double x = (double)(logits[i] - max) / sampling->temperature;
    scratch[i] = (real)exp(x);
    sum += (double)scratch[i];
  }
  *token = draw(scratch, n, sum, moh__rng_uniform(rng));
  return MOH_OK;
}

/* The loop's own state. */
typedef struct run {
  moh__session *session;
  const moh__generate_options *options;
  moh__rng rng;
  const real *logits;
  int32_t n_vocab;
  real *scratch; /* [n_vocab] */
} run;

static moh_status generate_tokens(run *r, moh__token_fn *on_token,
                                  void *context, moh__finish *finish,
                                  moh_error *err) {
  *finish = MOH__FINISH_LENGTH;
  for (int32_t made = 0; made < r->options->max_tokens; made++) {
    int32_t token = 0;
    MOH_TRY(moh__sample(&r->options->sampling, &r->rng, r->logits,
                        r->n_vocab, r->scratch, &token, err));
    bool go_on = on_token(context, token);
    bool end = token == r->options->end_token;
    if (end || !go_on) {
      *finish = end ? MOH__FINISH_END : MOH__FINISH_CALLBACK;
      return MOH_OK;
    }
    if (moh__session_length(r->session) ==
        moh__session_max_length(r->session))
      return MOH_OK;
    MOH_TRY(moh__session_feed(r->session, &token, 1, &r->logits, err));
  }
  return MOH_OK;
}

moh_status moh__generate(moh__session *session,
                         const moh__generate_options *options,
                         const int32_t *prompt, int32_t n,
                         moh__token_fn *on_token, void *context,
                         moh__finish *finish, moh_error *err) {
  run r = {.session = session,
           .options = options,
           .rng = moh__rng_make(options->sampling.seed, MOH__STREAM_SAMPLE)};
  MOH_TRY(moh__session_feed(session, prompt, n, &r.logits, err));
  r.n_vocab = moh__session_vocabulary(session);
  r.scratch = malloc((size_t)r.n_vocab * sizeof(real));
  if (r.scratch == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  moh_status status = generate_tokens(&r, on_token, context, finish, err);
  free(r.scratch);
  return status;
}
