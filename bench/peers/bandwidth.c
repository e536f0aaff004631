/* GB/s of reading memory with N threads: the best of several passes over 512
 * MB in large pages; with one thread by its processor time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BYTES = 512 << 20, PASSES = 7, THREADS_MAX = 64 };

typedef struct part {
  const float *x;
  size_t n;
  float sum;
} part;

static void *read_part(void *context) {
  part *p = context;
  float sums[64] = {0};
  for (size_t i = 0; i + 64 <= p->n; i += 64)
    for (int j = 0; j < 64; j++) sums[j] += p->x[i + j];
  for (int j = 0; j < 64; j++) p->sum += sums[j];
  return NULL;
}

static double now(int n_threads) {
  struct timespec t;
  clock_gettime(n_threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC,
                &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  int n = argc > 1 ? atoi(argv[1]) : 1;
  float *x = aligned_alloc(2 << 20, BYTES);
  if (x == NULL || n < 1 || n > THREADS_MAX) return 1;
  madvise(x, BYTES, MADV_HUGEPAGE);
  memset(x, 0, BYTES);
  double best = 0;
  for (int pass = 0; pass < PASSES; pass++) {
    pthread_t threads[THREADS_MAX];
    part parts[THREADS_MAX];
    size_t each = BYTES / sizeof(float) / (size_t)n;
    double start = now(n);
    for (int i = 0; i < n; i++) {
      parts[i] = (part){x + (size_t)i * each, each, 0};
      pthread_create(&threads[i], NULL, read_part, &parts[i]);
    }
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
    double rate = BYTES / (now(n) - start) * 1e-9;
    if (rate > best) best = rate;
  }
  printf("%.2f\n", best);
  return 0;
}
