/*
 * The router by itself, as a router of experts: no model, no files.
 *
 *     route_by_hand [BALANCE_WEIGHT]
 *
 * Four linear experts learn y = |x_0| + |x_1|, which no single one can. Each
 * row goes to one expert, and only that one computes: the plan lists its
 * rows. With weight 0 nothing keeps the load even: try it.
 */
#include <moh.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 256, D = 3, EXPERTS = 4, STEPS = 2000 };

static void check(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "route_by_hand: %s\n", err->message);
  exit(1);
}

/* Numbers in (-1, 1) that are the same everywhere. */
static float noise(void) {
  static uint32_t state = 1;
  state = state * 1664525U + 1013904223U;
  return (float)(state >> 8) / (float)(1 << 23) - 1;
}

typedef struct mixture {
  float x[ROWS][D]; /* the last element is 1, for a constant term */
  float y[ROWS];
  float w_route[EXPERTS][D], d_route[EXPERTS][D];
  float w[EXPERTS][D], d_w[EXPERTS][D];
  float d_x[ROWS][D];
  float d_gates[ROWS]; /* one entry a row, as k = 1 */
} mixture;

static void fill(mixture *m) {
  for (int t = 0; t < ROWS; t++) {
    m->x[t][0] = noise();
    m->x[t][1] = noise();
    m->x[t][2] = 1;
    m->y[t] = fabsf(m->x[t][0]) + fabsf(m->x[t][1]);
  }
  for (int e = 0; e < EXPERTS; e++)
    for (int i = 0; i < D; i++) {
      m->w_route[e][i] = 0.5F * noise();
      m->w[e][i] = 0.5F * noise();
    }
}

/* Every expert on the rows that chose it: out = gate * (w . x). Gradients of
 * the mean squared error for the experts and for the gates. */
static double run_experts(mixture *m, const moh_plan *plan) {
  double loss = 0;
  for (int e = 0; e < EXPERTS; e++) {
    const int32_t *rows;
    const float *gates;
    int32_t first;
    int32_t n = moh_plan_head(plan, e, &rows, &gates, &first);
    for (int32_t i = 0; i < n; i++) {
      const float *x = m->x[rows[i]];
      float dot = 0;
      for (int j = 0; j < D; j++) dot += m->w[e][j] * x[j];
      float error = gates[i] * dot - m->y[rows[i]];
      float d_out = 2 * error / ROWS;
      loss += (double)(error * error) / ROWS;
      m->d_gates[first + i] = d_out * dot;
      for (int j = 0; j < D; j++) m->d_w[e][j] += d_out * gates[i] * x[j];
    }
  }
  return loss;
}

/* Gradient descent; the gradients start the next step at 0. */
static void descend(float *w, float *d, int n, float lr) {
  for (int i = 0; i < n; i++) {
    w[i] -= lr * d[i];
    d[i] = 0;
  }
}

static void show(int step, double loss, const moh_router *router,
                 const moh_plan *plan) {
  moh_error err;
  float load[EXPERTS], entropy, balance;
  check(moh_plan_load(plan, load, &err), &err);
  check(moh_load_entropy(load, EXPERTS, &entropy, &err), &err);
  check(moh_router_losses(router, &balance, NULL, &err), &err);
  printf("step %4d  error %.4f  balance loss %.3f  load", step, loss,
         (double)balance);
  for (int e = 0; e < EXPERTS; e++)
    printf(" %3.0f%%", 100 * (double)load[e]);
  printf("  entropy %.2f of %.2f\n", (double)entropy, log(EXPERTS));
}

int main(int argc, char **argv) {
  static mixture m;
  moh_error err;
  fill(&m);

  moh_router_options options;
  moh_router_options_default(&options, sizeof(options));
  options.d_model = D;
  options.n_routed = EXPERTS; /* no shared ones: only W_r is needed */
  options.k = 1;
  /* PAPER: the gate is the chosen expert's own probability, so the gradient
   * of the error reaches the router. (UNIT makes the gates of the k chosen
   * ones add up to k: with k = 1 always 1.) */
  options.gate_scale = MOH_GATE_PAPER;
  options.balance_weight = argc > 1 ? strtof(argv[1], NULL) : 0.05F;
  options.n_threads = 1;
  moh_router *router;
  check(moh_router_new(&router, &options, &err), &err);
  moh_router_weights weights = {.routed = m.w_route[0]};
  moh_router_weights gradients = {.routed = m.d_route[0]};

  for (int step = 0; step <= STEPS; step++) {
    moh_plan *plan;
    check(moh_router_forward(router, &weights, m.x[0], ROWS, &plan, &err),
          &err);
    double loss = run_experts(&m, plan);
    check(moh_router_backward(router, m.d_gates, &gradients, m.d_x[0], &err),
          &err);
    if (step % 500 == 0) show(step, loss, router, plan);
    descend(m.w[0], m.d_w[0], EXPERTS * D, 0.5F);
    descend(m.w_route[0], m.d_route[0], EXPERTS * D, 0.5F);
    moh_plan_free(plan);
  }
  moh_router_free(router);
  return 0;
}
