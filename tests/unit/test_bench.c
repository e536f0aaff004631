/*
 * Contests of moh bench with made-up times: which clock counts, medians and
 * quartiles over rounds, speed-ups of neighbours, and what of a saving is
 * kept. And that the work is what it says.
 */
#include <math.h>
#include <string.h>

#include "../../cli/bench.h"
#include "support/check.h"
#include "support/tiny.h"

enum { ROUNDS = 4, CONTEXT = 5 };

typedef struct fixture {
  moh__pool *pools[2];
  moh__contender all[2];
  moh__contest contest;
} fixture;

/* All heads against static:1 of 4, with 2 KV heads. */
static void open_fixture(fixture *f, moh__bench_work work) {
  moh_error err;
  memset(f, 0, sizeof(*f));
  for (int i = 0; i < 2; i++)
    assert_int_equal(moh__pool_new(&f->pools[i], i + 1, &err), MOH_OK);
  for (int i = 0; i < 2; i++) {
    moh__contender *c = &f->all[i];
    c->config = tiny_config();
    c->config.heads = i == 0 ? MOH__HEADS_ALL : MOH__HEADS_STATIC;
    c->config.n_static = 1;
    c->work = work;
    c->context = CONTEXT;
    c->n_seq = 1;
  }
  f->contest = (moh__contest){.work = work,
                              .context = CONTEXT,
                              .n_seq = 1,
                              .n_rounds = ROUNDS,
                              .n_pools = 2,
                              .n_threads = {1, 2},
                              .pools = f->pools,
                              .contenders = f->all,
                              .n_contenders = 2};
  for (int i = 0; i < 2; i++)
    assert_int_equal(
        moh__contender_open(&f->all[i], f->pools, 2, ROUNDS, &err), MOH_OK);
}

static void close_fixture(fixture *f) {
  for (int i = 0; i < 2; i++) moh__contender_close(&f->all[i]);
  for (int i = 0; i < 2; i++) moh__pool_free(f->pools[i]);
}

/* On one thread the clock shows three times the processor's seconds. */
static void set_times(fixture *f, int contender,
                      const double processor[ROUNDS],
                      const double clock_of_two[ROUNDS]) {
  moh__contender *c = &f->all[contender];
  for (int r = 0; r < ROUNDS; r++) {
    c->samples[0][r] = (moh__sample){3 * processor[r], processor[r]};
    c->samples[1][r] = (moh__sample){clock_of_two[r], 1000};
  }
}

static void assert_near(double a, double b) {
  if (!(fabs(a - b) < 1e-12)) fail_msg("%.15g is not %.15g", a, b);
}

static void spreads_are_quartiles(void **state) {
  (void)state;
  double five[] = {5, 1, 4, 2, 3}, two[] = {8, 4}, one[] = {7};
  moh__spread s = moh__spread_of(five, 5);
  assert_near(s.low, 2);
  assert_near(s.median, 3);
  assert_near(s.high, 4);
  s = moh__spread_of(two, 2);
  assert_near(s.low, 5);
  assert_near(s.median, 6);
  assert_near(s.high, 7);
  s = moh__spread_of(one, 1);
  assert_near(s.low, 7);
  assert_near(s.high, 7);
}

static void results_are_medians_over_rounds(void **state) {
  (void)state;
  moh_error err;
  moh__result r;
  fixture f;
  open_fixture(&f, MOH__BENCH_PREFILL);
  /* a busy third round: the ratio of medians would be another */
  set_times(&f, 0, (double[]){2, 2, 20, 2}, (double[]){4, 4, 40, 4});
  set_times(&f, 1, (double[]){1, 1, 18, 1.2}, (double[]){2, 2, 20, 3});
  assert_int_equal(moh__contest_result(&f.contest, 1, 0, &r, &err), MOH_OK);
  assert_near(r.seconds.median, 1.1);
  assert_near(r.ratio.median, 0.55);
  assert_near(r.ratio.low, 0.5);
  assert_near(r.ratio.high, 0.675);
  assert_true(isnan(r.speed_up.median));
  assert_true(isnan(r.counted_bytes));
  assert_near(r.kept, 0.45 / (1 - r.counted));
  assert_int_equal(moh__contest_result(&f.contest, 1, 1, &r, &err), MOH_OK);
  assert_near(r.seconds.median, 2.5);
  assert_near(r.ratio.median, 0.5);
  /* 3 x 1 / 2, 3 x 1 / 2, 3 x 18 / 20, 3 x 1.2 / 3 */
  assert_near(r.speed_up.median, 1.5);
  close_fixture(&f);
}

/* Keys and values of one KV head of two go, all of the feed-forward part and
 * of the output matrix stays. */
static void decoding_keeps_the_smaller_saving(void **state) {
  (void)state;
  moh_error err;
  moh__result r;
  fixture f;
  open_fixture(&f, MOH__BENCH_DECODING);
  set_times(&f, 0, (double[]){2, 2, 2, 2}, (double[]){2, 2, 2, 2});
  set_times(&f, 1, (double[]){1, 1, 1, 1}, (double[]){1, 1, 1, 1});
  assert_int_equal(moh__contest_result(&f.contest, 1, 0, &r, &err), MOH_OK);
  double bound = r.counted > r.counted_bytes ? r.counted : r.counted_bytes;
  assert_near(r.kept, 0.5 / (1 - bound));
  assert_int_equal(r.kept_of_bytes, r.counted_bytes > r.counted);
  assert_near(f.all[1].kv_share, 0.5);
  close_fixture(&f);
}

/* Lengths in any order; a slow long one undoes a fast short one. */
static void skipping_pays_from_a_length_on(void **state) {
  (void)state;
  static const double ratios[3][4] = {/* at 500, 80 and 200 tokens */
                                      {0.9, 0.9, 1.1, 0.9},
                                      {0.9, 1.0, 0.9, 1.1},
                                      {0.9, 1.2, 0.9, 0.99}};
  static const int32_t from[4] = {80, 500, 0, 200};
  static moh__payoff p = {.n_contexts = 3, .contexts = {500, 80, 200}};
  for (int i = 0; i < 3; i++)
    for (int c = 0; c < 4; c++) p.ratios[i][c][1] = ratios[i][c];
  for (int c = 0; c < 4; c++)
    assert_int_equal(moh__payoff_from(&p, c, 1), from[c]);
}

/* A step with a learning rate of 0 has gradients and moments, and leaves the
 * weights as they were. */
static void training_changes_no_weight(void **state) {
  (void)state;
  moh_error err;
  fixture f;
  open_fixture(&f, MOH__BENCH_TRAINING);
  moh__contender *c = &f.all[0];
  moh__param *w =
      moh__model_layer_param(c->model, 0, "self_attn.q_proj.weight");
  real before = w->data[3];
  for (int i = 0; i < 2; i++)
    assert_int_equal(moh__contender_run(c, i, f.pools, &err), MOH_OK);
  assert_int_equal(moh__optimizer_steps(c->optimizer), 2);
  assert_true(w->grad[3] != 0);
  assert_true(moh__optimizer_m(c->optimizer, w)[3] != 0);
  assert_true(w->data[3] == before);
  close_fixture(&f);
}

/* Contenders have equal weights, and routers that are not zero. */
static void weights_are_the_donors(void **state) {
  (void)state;
  moh_error err;
  fixture f;
  open_fixture(&f, MOH__BENCH_ATTENTION);
  moh__contender c = {.config = f.all[0].config,
                      .work = MOH__BENCH_ATTENTION,
                      .context = CONTEXT,
                      .n_seq = 1,
                      .donor = &f.all[0]};
  c.config.heads = MOH__HEADS_MOH;
  c.config.n_shared = c.config.k = 1;
  assert_int_equal(moh__contender_open(&c, f.pools, 2, ROUNDS, &err), MOH_OK);
  for (int i = 0; i < c.model->n_params; i++) {
    const moh__param *w = &c.model->params[i];
    const moh__param *same = moh__model_param(f.all[0].model, w->name);
    if (same != NULL)
      assert_memory_equal(w->data, same->data, (size_t)w->n * sizeof(real));
    else
      assert_true(w->data[0] != 0 && fabs(w->data[0]) < 0.2);
  }
  moh__contender_close(&c);
  close_fixture(&f);
}

/* Decoding goes back to the same place each time. */
static void sessions_stay_at_their_length(void **state) {
  (void)state;
  moh_error err;
  fixture f;
  open_fixture(&f, MOH__BENCH_DECODING);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(moh__contender_run(&f.all[1], 1, f.pools, &err), MOH_OK);
    assert_int_equal(moh__session_length(f.all[1].sessions[1]), CONTEXT);
  }
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spreads_are_quartiles),
      cmocka_unit_test(results_are_medians_over_rounds),
      cmocka_unit_test(decoding_keeps_the_smaller_saving),
      cmocka_unit_test(skipping_pays_from_a_length_on),
      cmocka_unit_test(training_changes_no_weight),
      cmocka_unit_test(weights_are_the_donors),
      cmocka_unit_test(sessions_stay_at_their_length),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
