/* The sections of the kernel benchmark; each prints one table. */
#ifndef MOH_BENCH_SECTIONS_H
#define MOH_BENCH_SECTIONS_H

typedef struct bench_options {
  int n_rounds;
  double peak, peak_bf16; /* GFLOP/s of this thread */
} bench_options;

void bench_gemm(const bench_options *o);
void bench_gathered(const bench_options *o);
void bench_attention(const bench_options *o);
void bench_cope(const bench_options *o);
void bench_decoding(const bench_options *o);

#endif
