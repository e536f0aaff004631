/*
 * The whole model against central differences, in double, single numbers of
 * every parameter tensor: every attention kind x strategy x position x norm,
 * with GQA at embedding scales 0.05, 1 and 20. (test_combination_gradients
 * takes more combinations, and a direction in each tensor.)
 */
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"

enum { SAMPLES = 5 }; /* elements of a tensor that are moved */

static double worst;

/* (L(w + h) - L(w - h)) / 2h for one number. */
static double difference(tiny *t, real *number) {
  double old = *number;
  double h = 2e-6 * fmax(fabs(old), 0.1);
  *number = old + h;
  double above = tiny_loss(t);
  *number = old - h;
  double below = tiny_loss(t);
  *number = old;
  return (above - below) / (2 * h);
}

static double largest_grad(const moh__param *w) {
  double most = 0;
  for (int64_t i = 0; i < w->n; i++) most = fmax(most, fabs(w->grad[i]));
  return most;
}

/* The elements with the largest gradient first, then spread ones. */
static int64_t pick(const moh__param *w, int sample) {
  if (sample > 0) return (sample * 7919 + w->n / 3) % w->n;
  int64_t best = 0;
  for (int64_t i = 0; i < w->n; i++)
    if (fabs(w->grad[i]) > fabs(w->grad[best])) best = i;
  return best;
}

#define USUAL_LIMIT 2e-5
static double limit = USUAL_LIMIT; /* of relative errors */

static void check_param(tiny *t, moh__param *w, const char *what) {
  double scale = largest_grad(w);
  for (int s = 0; s < SAMPLES; s++) {
    int64_t i = pick(w, s);
    double expected = difference(t, &w->data[i]);
    /* Differences of a loss near 1 are rounded at about 1e-9. */
    double error = fabs(expected - w->grad[i]) / fmax(scale, 1e-3);
    if (error > worst) worst = error;
    if (error > limit)
      fail_msg("%s: %s[%d]: gradient %.9g, differences say %.9g", what,
               w->name, (int)i, w->grad[i], expected);
  }
}

/* With the straight-through estimator, what comes before a router has a
 * gradient that is not the derivative of the loss: only what lies behind the
 * last one is checked (the golden vectors have the rest). */
static bool is_checked(const moh__config *c, const moh__param *w) {
  if ((w->flags & MOH__PARAM_BUFFER) != 0) return false;
  if (c->gate_scale != MOH__GATE_ONE || !moh__config_has_router(c))
    return true;
  if ((w->flags & MOH__PARAM_ROUTER) != 0) return false;
  return strcmp(w->name, "model.norm.weight") == 0 ||
         strcmp(w->name, "lm_head.weight") == 0 ||
         strstr(w->name, "layers.1.mlp") != NULL ||
         strstr(w->name, "layers.1.post_attention") != NULL ||
         strstr(w->name, "layers.1.self_attn") != NULL;
}

static void check_model(const moh__config *c, double scale,
                        const char *what) {
  tiny t;
  tiny_open(&t, c, 1, 0.4);
  moh__param *embed = moh__model_param(t.model, "model.embed_tokens.weight");
  for (int64_t i = 0; i < embed->n; i++) embed->data[i] *= scale;
  tiny_backward(&t);
  for (int i = 0; i < t.model->n_params; i++) {
    moh__param *w = &t.model->params[i];
    if (is_checked(c, w)) check_param(&t, w, what);
  }
  tiny_close(&t);
}

static void check_scales(const moh__config *c, const char *what) {
  static const double scales[] = {0.05, 1, 20};
  for (int i = 0; i < 3; i++) check_model(c, scales[i], what);
}

typedef struct choice {
  const char *name;
  int value;
} choice;

static const choice kv_heads[] = {{"MHA", 4}, {"GQA", 2}, {"MQA", 1}};
static const choice positions[] = {{"rope", MOH__POSITION_ROPE},
                                   {"learned", MOH__POSITION_LEARNED},
                                   {"cope", MOH__POSITION_COPE},
                                   {"none", MOH__POSITION_NONE}};
static const choice strategies[] = {{"all", MOH__HEADS_ALL},
                                    {"moh", MOH__HEADS_MOH},
                                    {"static", MOH__HEADS_STATIC},
                                    {"random", MOH__HEADS_RANDOM}};
static const choice norms[] = {{"rms", MOH__NORM_RMS},
                               {"layer", MOH__NORM_LAYER},
                               {"dyt", MOH__NORM_DYT}};

static moh__config combine(int kv, int position, int strategy, int norm,
                           char *name, size_t size) {
  moh__config c = tiny_config();
  c.n_kv_heads = kv_heads[kv].value;
  c.position = (moh__position_kind)positions[position].value;
  c.cope_positions = 5;
  c.heads = (moh__head_strategy)strategies[strategy].value;
  c.n_shared = 1;
  c.k = 2;
  c.n_static = 3;
  c.norm = (moh__norm_kind)norms[norm].value;
  /* Enough weight that a wrong auxiliary gradient cannot hide. */
  c.balance_weight = 0.3;
  c.z_weight = 0.1;
  snprintf(name, size, "%s %s %s %s", kv_heads[kv].name,
           positions[position].name, strategies[strategy].name,
           norms[norm].name);
  return c;
}

static void test_all_combinations(void **state) {
  (void)state;
  char name[80];
  for (int kv = 0; kv < 3; kv++)
    for (int p = 0; p < 4; p++)
      for (int s = 0; s < 3; s++)
        for (int n = 0; n < 2; n++) {
          moh__config c = combine(kv, p, s, n, name, sizeof(name));
          if (kv_heads[kv].value == 2)
            check_scales(&c, name);
          else
            check_model(&c, 1, name);
        }
  print_message("largest relative error %.2g\n", worst);
}

/* Dynamic tanh before the sub-layers and after the sums. */
static void test_dynamic_tanh(void **state) {
  (void)state;
  char name[80];
  for (int s = 0; s < 3; s++)
    for (int pre = 0; pre < 2; pre++) {
      moh__config c = combine(1, 0, s, 2, name, sizeof(name));
      c.pre_norm = pre == 1;
      check_scales(&c, name);
    }
}

/* Windows that end within the sequences, with all positions and heads. */
static void test_windows(void **state) {
  (void)state;
  static const moh__window windows[] = {{MOH__WINDOW_SLIDING, 1, 0, 0},
                                        {MOH__WINDOW_SLIDING, 3, 0, 0},
                                        {MOH__WINDOW_LENGTH, 0, 2, 4},
                                        {MOH__WINDOW_ENTROPY, 0, 2, 4}};
  char name[80];
  for (int w = 0; w < 4; w++)
    for (int p = 0; p < 4; p++)
      for (int s = 0; s < 3; s++) {
        moh__config c = combine(1, p, s, 0, name, sizeof(name));
        c.window = windows[w];
        check_model(&c, 1, name);
      }
}

/* HRM with its exact gradient: every position, head strategy and window. Its
 * passes are many, so differences have more noise. */
static void test_hrm(void **state) {
  (void)state;
  char name[80];
  limit = 2e-4;
  for (int p = 0; p < 4; p++)
    for (int s = 0; s < 3; s++)
      for (int post = 0; post < 2; post++) {
        moh__config c = combine(1, p, s, post, name, sizeof(name));
        moh__config_set_architecture(&c, MOH__HRM);
        c.hrm_exact = true;
        c.pre_norm = post == 0;
        if (p == 1) c.window = (moh__window){MOH__WINDOW_SLIDING, 3, 0, 0};
        check_model(&c, 0.02, name);
      }
  limit = USUAL_LIMIT;
}

/* HyperMixer: both positions, every head strategy, norms on either side. */
static void test_hypermixer(void **state) {
  (void)state;
  char name[80];
  for (int p = 0; p < 2; p++)
    for (int s = 0; s < 3; s++)
      for (int post = 0; post < 2; post++) {
        moh__config c = combine(0, 1, s, post, name, sizeof(name));
        c.d_model = 24;
        moh__config_set_architecture(&c, MOH__HYPERMIXER);
        c.hyper_width = 5;
        c.hyper_mix = 3;
        c.pre_norm = post == 0;
        if (p == 1) c.position = MOH__POSITION_NONE;
        check_scales(&c, name);
      }
}

/* Heads by chance are constant to the gradient. */
static void test_random_heads(void **state) {
  (void)state;
  char name[80];
  for (int p = 0; p < 4; p++)
    for (int n = 0; n < 2; n++) {
      moh__config c = combine(1, p, 3, n, name, sizeof(name));
      c.gate_scale = MOH__GATE_ONE; /* makes no difference */
      check_model(&c, 1, name);
    }
  moh__config c = combine(0, 1, 3, 0, name, sizeof(name));
  c.d_model = 24;
  moh__config_set_architecture(&c, MOH__HYPERMIXER);
  check_model(&c, 1, name);
}

static void test_post_norm(void **state) {
  (void)state;
  char name[80];
  for (int n = 0; n < 2; n++)
    for (int s = 0; s < 3; s++) {
      moh__config c = combine(1, 2, s, n, name, sizeof(name));
      c.pre_norm = false;
      c.final_norm = false;
      check_scales(&c, name);
    }
}

static void test_relu_tied_without_projection(void **state) {
  (void)state;
  char name[80];
  for (int s = 0; s < 3; s++) {
    moh__config c = combine(1, 0, s, 0, name, sizeof(name));
    c.ffn = MOH__FFN_RELU;
    c.tied = true;
    c.output_projection = false;
    c.d_model = 24;
    check_scales(&c, name);
  }
}

static void check_gates(moh__gate_scale scale, int n_shared, int k) {
  char name[80];
  moh__config c = combine(1, 0, 1, 0, name, sizeof(name));
  c.gate_scale = scale;
  c.n_shared = n_shared;
  c.k = k;
  snprintf(name, sizeof(name), "gate scale %d, %d + %d", (int)scale,
           n_shared, k);
  check_scales(&c, name);
}

static void test_gate_scales(void **state) {
  (void)state;
  static const moh__gate_scale scales[] = {MOH__GATE_UNIT, MOH__GATE_PAPER,
                                           MOH__GATE_ONE};
  static const int counts[][2] = {{0, 1}, {0, 4}, {1, 0}, {1, 3},
                                  {2, 1}, {2, 0}, {4, 0}};
  for (int s = 0; s < 3; s++)
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
      check_gates(scales[s], counts[i][0], counts[i][1]);
}

/* Heads of a group share a gate; the auxiliary losses count groups. */
static void check_groups(int kv, int n_shared, int k) {
  static const moh__gate_scale scales[] = {MOH__GATE_UNIT, MOH__GATE_PAPER,
                                           MOH__GATE_ONE};
  char name[80];
  for (int s = 0; s < 3; s++) {
    moh__config c = combine(kv, s, 1, 0, name, sizeof(name));
    c.route_by = MOH__ROUTE_BY_GROUP;
    c.gate_scale = scales[s];
    c.n_shared = n_shared;
    c.k = k;
    snprintf(name, sizeof(name), "groups, gate scale %d, %d + %d",
             (int)scales[s], n_shared, k);
    check_scales(&c, name);
  }
}

static void test_groups(void **state) {
  (void)state;
  static const int counts[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 1}, {1, 0, 2},
                                  {1, 1, 0}, {1, 1, 1}, {2, 0, 1}, {2, 1, 0}};
  for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
    check_groups(counts[i][0], counts[i][1], counts[i][2]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_combinations),
      cmocka_unit_test(test_dynamic_tanh),
      cmocka_unit_test(test_windows),
      cmocka_unit_test(test_hrm),
      cmocka_unit_test(test_hypermixer),
      cmocka_unit_test(test_random_heads),
      cmocka_unit_test(test_post_norm),
      cmocka_unit_test(test_relu_tied_without_projection),
      cmocka_unit_test(test_gate_scales),
      cmocka_unit_test(test_groups),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
