/*
 * bench_kernels [SECTION...]: gemm, gathered, attention, cope, decoding; all
 * when none is named. One thread, processor time, contenders in turns; see
 * docs/speed.md. --rounds N: turns of each contender (15).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contest.h"
#include "kernel/kernel.h"
#include "sections.h"

typedef struct section {
  const char *name;
  void (*run)(const bench_options *o);
} section;

static const section sections[] = {
    {"gemm", bench_gemm},
    {"gathered", bench_gathered},
    {"attention", bench_attention},
    {"cope", bench_cope},
    {"decoding", bench_decoding},
};
enum { N_SECTIONS = sizeof(sections) / sizeof(sections[0]) };

static int usage(const char *what) {
  fprintf(stderr,
          "bench_kernels: unknown argument '%s'\n"
          "usage: bench_kernels [--rounds N] [gemm|gathered|attention|"
          "cope|decoding]...\n",
          what);
  return 2;
}

int main(int argc, char **argv) {
  bool wanted[N_SECTIONS] = {false};
  bool some = false;
  bench_options o = {.n_rounds = 15};
  for (int i = 1; i < argc; i++) {
    int s = 0;
    if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
      o.n_rounds = atoi(argv[++i]);
      if (o.n_rounds < 1) return usage(argv[i]);
      continue;
    }
    while (s < N_SECTIONS && strcmp(argv[i], sections[s].name) != 0) s++;
    if (s == N_SECTIONS) return usage(argv[i]);
    wanted[s] = some = true;
  }
  setenv("OMP_NUM_THREADS", "1", 1); /* before other libraries are loaded */
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  o.peak = peak_rate(false);
  o.peak_bf16 = peak_rate(true);
  printf("%s kernels; peak of this core: %.1f GFLOP/s f32",
         moh__kernel()->name, o.peak);
  if (o.peak_bf16 > 0) printf(", %.1f bf16", o.peak_bf16);
  printf("; %d rounds\n", o.n_rounds);
  for (int s = 0; s < N_SECTIONS; s++)
    if (!some || wanted[s]) sections[s].run(&o);
  return 0;
}
