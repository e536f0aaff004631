/*
 * A dense model made into a mixture of heads: the same bits with all heads, the
 * distance with fewer, and routers that solve their least squares.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/router_fit.h"
#include "store/upcycle.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"

enum { N_TOKENS = 200, CONTEXT = 16 };

static int32_t tokens[N_TOKENS];

static moh__stretch text(void) {
  for (int i = 0; i < N_TOKENS; i++)
    tokens[i] = (int32_t)((unsigned)i * 2654435761u >> 16) % TINY_VOCAB;
  return (moh__stretch){tokens, N_TOKENS, CONTEXT};
}

static moh__model *upcycled(tiny *dense, const char *heads,
                            moh__route_by by) {
  moh_error err = {0};
  moh__model *model = NULL;
  if (moh__upcycle(&model, dense->model, heads, by, &err) != MOH_OK ||
      moh__model_pack(model, dense->pool, &err) != MOH_OK)
    fail_msg("%s: %s", heads, err.message);
  return model;
}

static moh__closeness measure(const tiny *dense, const moh__model *model) {
  moh__closeness c = {0};
  moh_error err;
  moh__stretch all = text();
  assert_int_equal(moh__closeness_add(&c, dense->model, model, dense->pool,
                                      &all, NULL, NULL, &err),
                   MOH_OK);
  assert_int_equal(c.n_tokens, N_TOKENS);
  assert_int_equal(c.n_known, N_TOKENS - 1);
  return c;
}

/* With all heads, and with all but one. */
static void check_heads(int64_t kv_heads, const char *all, const char *some,
                        moh__route_by by) {
  moh__config config = tiny_config();
  config.n_kv_heads = kv_heads;
  tiny dense;
  tiny_open(&dense, &config, 2, 0.3);
  tiny_logits(&dense); /* packs */
  moh__model *model = upcycled(&dense, all, by);
  moh__closeness c = measure(&dense, model);
  assert_true(c.largest == 0 && c.divergence == 0 && c.n_same == c.n_tokens);
  assert_true(c.reference_nats == c.other_nats && c.other_nats > 0);
  moh__model_free(model);
  model = upcycled(&dense, some, by);
  c = measure(&dense, model);
  assert_true(c.largest > 0 && c.divergence > 0 &&
              c.reference_nats != c.other_nats);
  moh__model_free(model);
  tiny_close(&dense);
}

static void all_heads_are_the_dense_model(void **state) {
  (void)state;
  for (int64_t kv = 1; kv <= 4; kv *= 2) {
    check_heads(kv, "norm:2+2", "norm:2+1", MOH__ROUTE_BY_HEAD);
    check_heads(kv, "moh:1+3", "moh:1+2", MOH__ROUTE_BY_HEAD);
  }
  check_heads(2, "norm:1+1", "norm:0+1", MOH__ROUTE_BY_GROUP);
  check_heads(4, "moh:0+4", "moh:0+2", MOH__ROUTE_BY_GROUP);
}

/* ---- least squares ---- */

/* Inputs and scores of layer 1, as the fit saw them. */
typedef struct seen {
  real x[N_TOKENS][12], z[N_TOKENS][3];
  int n;
} seen;

static void keep(void *context, const moh__seen_scores *scores) {
  seen *s = context;
  if (scores->layer != 1) return;
  assert_int_equal(scores->x->cols, 12);
  for (int64_t t = 0; t < scores->x->rows; t++, s->n++) {
    memcpy(s->x[s->n], scores->x->v + t * 12, sizeof s->x[0]);
    memcpy(s->z[s->n], scores->scores + t * 3, sizeof s->z[0]);
  }
}

/* Reads what is fitted: of 13 windows all but the eighth. */
static void look(moh__model *model, moh__pool *pool, seen *s) {
  moh_error err;
  moh__reading reading;
  moh__score_watch watch = {keep, s};
  moh__stretch all = text();
  moh__head_strategy heads = model->config.heads;
  model->config.heads = MOH__HEADS_NORM;
  assert_int_equal(moh__reading_init(&reading, model, pool, CONTEXT, 0, &err),
                   MOH_OK);
  reading.tape.watch = &watch;
  for (int64_t w = 0; w < moh__stretch_windows(&all); w++)
    if (w != 7) moh__reading_window(&reading, &all, w);
  moh__reading_free(&reading);
  model->config.heads = heads;
}

/* The sum of x_j (W_c x - z_c), and what the ridge takes of it, is 0. */
static void check_normal_equations(const seen *s, const real *w,
                                   double ridge) {
  double trace = 0;
  for (int t = 0; t < s->n; t++)
    for (int j = 0; j < 12; j++)
      trace += (double)s->x[t][j] * (double)s->x[t][j];
  for (int c = 0; c < 3; c++)
    for (int j = 0; j < 12; j++) {
      double sum = ridge * trace / 12 * (double)w[c * 12 + j];
      double size = fabs(sum);
      for (int t = 0; t < s->n; t++) {
        double off = -(double)s->z[t][c];
        for (int i = 0; i < 12; i++)
          off += (double)w[c * 12 + i] * (double)s->x[t][i];
        sum += off * (double)s->x[t][j];
        size += fabs(off * (double)s->x[t][j]);
      }
      assert_true(fabs(sum) <= 1e-5 * size);
    }
}

static void routers_solve_their_least_squares(void **state) {
  (void)state;
  static seen s;
  moh__config config = tiny_config();
  moh__stretch all = text();
  moh__router_fit fit;
  moh_error err;
  for (int i = 0; i < 2; i++) {
    double ridge = i == 0 ? 1e-6 : 0.3;
    tiny dense;
    tiny_open(&dense, &config, 1 + i, 0.3);
    moh__model *model = upcycled(&dense, "moh:1+1", MOH__ROUTE_BY_HEAD);
    assert_int_equal(moh__router_fit_run(&fit, model, dense.pool, &all, ridge,
                                         NULL, NULL, &err),
                     MOH_OK);
    s.n = 0;
    look(model, dense.pool, &s);
    assert_int_equal(s.n, fit.n_fitted);
    assert_int_equal(fit.n_fitted + fit.n_checked, N_TOKENS);
    check_normal_equations(
        &s, moh__model_layer_param(model, 1, "self_attn.wg.weight")->data,
        ridge);
    assert_true(fit.by_chance == 1.0 / 3);
    for (int l = 0; l < 2; l++)
      assert_true(fit.agreement[l] > 0.5 && fit.agreement[l] <= 1);
    moh__router_fit_free(&fit);
    moh__model_free(model);
    tiny_close(&dense);
  }
}

/* ---- what is refused ---- */

static void refuse(moh__config config, const char *heads) {
  moh__model *model = NULL;
  moh_error err;
  tiny t;
  tiny_open(&t, &config, 1, 0.3);
  moh_status status =
      moh__upcycle(&model, t.model, heads, MOH__ROUTE_BY_HEAD, &err);
  assert_true(status == MOH_ERR_ARGUMENT || status == MOH_ERR_CONFIG);
  assert_null(model);
  tiny_close(&t);
}

static void what_is_not_dense_is_refused(void **state) {
  (void)state;
  refuse(tiny_moh_config(1, 2), "norm:1+2");
  refuse(tiny_config(), "norm:1+4");
  refuse(tiny_config(), "norm:4+0");
  refuse(tiny_config(), "static:2");
  moh__config hrm = tiny_config();
  moh__config_set_architecture(&hrm, MOH__HRM);
  refuse(hrm, "norm:1+2");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_heads_are_the_dense_model),
      cmocka_unit_test(routers_solve_their_least_squares),
      cmocka_unit_test(what_is_not_dense_is_refused),
  };
  return cmocka_run_group_tests_name("upcycle", tests, NULL, NULL);
}
