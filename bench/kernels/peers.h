/* Matrix products of other libraries, where they are installed. */
#ifndef MOH_BENCH_PEERS_H
#define MOH_BENCH_PEERS_H

#include <stdbool.h>
#include <stdint.h>

/* C (m, n) = op(A) op(B), row-major, not accumulated. */
typedef struct peer_product {
  int64_t m, n, k;
  bool a_transposed, b_transposed;
  const float *a, *b;
  int64_t lda, ldb;
  float *c;
  int64_t ldc;
} peer_product;

/* OpenBLAS' sgemm and oneDNN's; false where the library is not there. */
bool peer_openblas(const peer_product *p);
bool peer_onednn(const peer_product *p);

#endif
