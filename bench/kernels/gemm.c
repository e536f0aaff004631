/*
 * Dense products on one thread against OpenBLAS and oneDNN, in the three
 * forms of a training step: NT, y = x W^T; NN, dx = dy W; TN, dW = dy^T x.
 * Ours with a weight that was packed before (as models do it, once a step),
 * and with its packing timed, as others pack within every call.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contest.h"
#include "kernel/kernel.h"
#include "peers.h"
#include "sections.h"

typedef enum form { NN, NT, TN } form;

typedef struct shape {
  int64_t m, k, n;
  form form;
} shape;

/* Those of docs/speed.md. */
static const shape shapes[] = {
    {256, 384, 384, NN},   {1024, 512, 512, NN},  {1024, 512, 2048, NN},
    {1024, 512, 2048, NT}, {1024, 512, 2048, TN}, {512, 1024, 64, NN},
    {512, 64, 1024, NN},   {80, 128, 128, NN},    {2048, 2048, 2048, NN},
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

typedef struct work {
  shape shape;
  const float *a, *b;
  float *packed, *c;
  bool pack;
  void *scratch;
  moh__bf16 *packed16;
  bool bf16;
} work;

static void run_ours(void *context) {
  const work *w = context;
  const shape *s = &w->shape;
  moh__gemm g = {.m = s->m,
                 .n = s->n,
                 .k = s->k,
                 .a = w->a,
                 .lda = s->form == TN ? s->m : s->k,
                 .b = w->packed,
                 .c = w->c,
                 .ldc = s->n};
  g.bf16 = w->bf16;
  if (s->form == TN) {
    g.b = w->b;
    g.ldb = s->n;
    moh__kernel()->gemm_at(&g, w->scratch);
    return;
  }
  if (w->bf16) {
    if (w->pack && s->form == NT)
      moh__pack_transposed_bf16(w->packed16, w->b, s->k, s->k, s->n);
    if (w->pack && s->form == NN)
      moh__pack_rows_bf16(w->packed16, w->b, s->n, s->k, s->n);
    g.b16 = w->packed16;
  } else {
    if (w->pack && s->form == NT)
      moh__pack_transposed(w->packed, w->b, s->k, s->k, s->n);
    if (w->pack && s->form == NN)
      moh__pack_rows(w->packed, w->b, s->n, s->k, s->n);
  }
  moh__kernel()->gemm(&g, w->scratch);
}

static peer_product product_of(const work *w) {
  const shape *s = &w->shape;
  return (peer_product){.m = s->m,
                        .n = s->n,
                        .k = s->k,
                        .a_transposed = s->form == TN,
                        .b_transposed = s->form == NT,
                        .a = w->a,
                        .b = w->b,
                        .lda = s->form == TN ? s->m : s->k,
                        .ldb = s->form == NT ? s->k : s->n,
                        .c = w->c,
                        .ldc = s->n};
}

static void run_openblas(void *context) {
  peer_product p = product_of(context);
  peer_openblas(&p);
}

static void run_onednn(void *context) {
  peer_product p = product_of(context);
  peer_onednn(&p);
}

enum { OURS, PACKING, BF16, BF16_PACKING, OPENBLAS, ONEDNN };

/* Largest difference between ours and a peer's, which must be rounding. */
static double difference(work *w, run_fn *peer) {
  int64_t n = w->shape.m * w->shape.n;
  float *kept = random_floats(n);
  run_ours(w);
  memcpy(kept, w->c, (size_t)n * sizeof(float));
  peer(w);
  double worst = 0;
  for (int64_t i = 0; i < n; i++)
    worst = fmax(worst, fabs((double)kept[i] - (double)w->c[i]));
  free(kept);
  return worst;
}

typedef struct totals {
  double log_ours, log_packing, log_bf16, lowest;
  int n;
} totals;

static void bench_shape(const bench_options *o, const shape *s, work *w,
                        totals *sums) {
  static const char *const names[] = {"NN", "NT", "TN"};
  double flops = 2.0 * (double)s->m * (double)s->n * (double)s->k;
  contest c = {0};
  w[OURS].shape = *s;
  w[OURS].pack = true; /* what is packed serves all contenders */
  run_ours(&w[OURS]);
  w[OURS].pack = false;
  for (int i = PACKING; i <= BF16_PACKING; i++) {
    w[i] = w[OURS];
    w[i].pack = i == PACKING || i == BF16_PACKING;
    w[i].bf16 = i >= BF16;
  }
  run_ours(&w[BF16_PACKING]);
  contest_add(&c, "ours", run_ours, &w[OURS], flops);
  contest_add(&c, "packing", run_ours, &w[PACKING], flops);
  contest_add(&c, "bf16", run_ours, &w[BF16], flops);
  contest_add(&c, "bf16 packing", run_ours, &w[BF16_PACKING], flops);
  contest_add(&c, "openblas", run_openblas, &w[OURS], flops);
  contest_add(&c, "onednn", run_onednn, &w[OURS], flops);
  contest_run(&c, o->n_rounds);
  int best = contest_seconds(&c, OPENBLAS) < contest_seconds(&c, ONEDNN)
                 ? OPENBLAS
                 : ONEDNN;
  double ours = contest_ratio(&c, best, OURS);
  double packing = contest_ratio(&c, best, PACKING);
  double bf16 = contest_ratio(&c, OURS, BF16);
  printf(
      "%4d,%4d,%4d %s  %8.1f %8.1f  %8.1f %8.1f  %7.3f %7.3f   %6.1f "
      "%6.1f %6.2f   %4.1f %%  %.0e\n",
      (int)s->m, (int)s->k, (int)s->n, names[s->form],
      contest_rate(&c, OPENBLAS), contest_rate(&c, ONEDNN),
      contest_rate(&c, OURS), contest_rate(&c, PACKING), ours, packing,
      contest_rate(&c, BF16), contest_rate(&c, BF16_PACKING), bf16,
      100 * contest_spread(&c, OURS), difference(&w[OURS], run_openblas));
  sums->log_ours += log(ours);
  sums->log_packing += log(packing);
  sums->log_bf16 += log(bf16);
  sums->lowest = sums->n == 0 ? packing : fmin(sums->lowest, packing);
  sums->n++;
}

void bench_gemm(const bench_options *o) {
  peer_product nothing = {0};
  work w[4] = {{.shape = shapes[0]}};
  totals sums = {0};
  int64_t most = 2048 * 2048;
  if (!peer_openblas(&nothing) || !peer_onednn(&nothing)) {
    printf(
        "gemm: OpenBLAS and oneDNN are needed (bench/kernels/run.sh "
        "installs them)\n");
    return;
  }
  w[OURS].a = random_floats(most);
  w[OURS].b = random_floats(most);
  w[OURS].packed = random_floats(most);
  w[OURS].packed16 = (moh__bf16 *)random_floats(most);
  w[OURS].c = random_floats(most);
  w[OURS].scratch = random_floats(MOH__SCRATCH_BYTES / 4);
  printf(
      "\nGFLOP/s; ratios of speed to the better of the two; 'packing': "
      "with the weight's packing\n");
  printf("%-17s  %8s %8s  %8s %8s  %7s %7s   %6s %6s %6s   %s\n",
         "m, k, n, form", "OpenBLAS", "oneDNN", "ours", "packing", "ours",
         "packing", "bf16", "pack.", "/ f32", "spread  error");
  for (int i = 0; i < N_SHAPES; i++) bench_shape(o, &shapes[i], w, &sums);
  printf(
      "geometric means: ours %.3f, with packing %.3f (lowest %.3f), "
      "bf16 / f32 %.2f\n",
      exp(sums.log_ours / sums.n), exp(sums.log_packing / sums.n),
      sums.lowest, exp(sums.log_bf16 / sums.n));
}
