/*
 * Matrix products of every kernel table, held to the rule of bits: whatever
 * the shape, the row lists, the layout and the cut, each element must be
 * the one chain of multiply-adds from C's value with k ascending, to the
 * last bit.
 */
#include <math.h>
#include <string.h>

#include "support/tables.h"

enum {
  GUARD = 3
}; /* columns behind the last of A, B and C: C's must stay */

static const int64_t sizes[] = {1,  2,  3,  4,  5,  6,   7,  15,
                                16, 17, 63, 64, 65, 100, 129};
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static unsigned char scratch[MOH__SCRATCH_BYTES]
    __attribute__((aligned(64)));

/* Options of a product, as bits. */
enum { PACKED = 1, A_ROWS = 2, LIST = 4, ACCUMULATE = 8, N_OPTIONS = 16 };

/* A product, its operands, and C before and after. LIST means c_rows for
 * gemm, b_rows for gemm_at (where A_ROWS lists are over k). */
typedef struct product {
  moh__gemm g;
  bool at;
  int options;
  real *a, *b, *packed, *c, *c_before;
  int32_t *a_rows, *list;
  int64_t n_c_rows;
} product;

/* n distinct indices below `from`, in random order. */
static int32_t *random_rows(moh__rng *rng, int64_t n, int64_t from) {
  int32_t *all = malloc((size_t)from * sizeof(int32_t));
  assert_non_null(all);
  for (int64_t i = 0; i < from; i++) all[i] = (int32_t)i;
  for (int64_t i = 0; i < n; i++) {
    int64_t j = i + (int64_t)moh__rng_below(rng, (uint64_t)(from - i));
    int32_t swap = all[i];
    all[i] = all[j];
    all[j] = swap;
  }
  return all;
}

/* B packed from (k, j) = b[k * (n + GUARD) + j], by way of a weight as
 * files hold it.
 */
static real *pack(const real *b, int64_t k, int64_t n) {
  real *weight = malloc((size_t)(n * k) * sizeof(real));
  real *packed = malloc((size_t)moh__packed_size(k, n) * sizeof(real));
  assert_true(weight != NULL && packed != NULL);
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < n; j++)
      weight[j * k + i] = b[i * (n + GUARD) + j];
  moh__pack_transposed(packed, weight, k, k, n);
  free(weight);
  return packed;
}

/* gemm: A is (rows of a_rows, k); gemm_at: A is (rows of k, m). */
static void make_operands(product *p, moh__rng *rng, int64_t m, int64_t n,
                          int64_t k) {
  bool list = p->options & LIST;
  int64_t a_pool = (p->at ? k : m) + (p->options & A_ROWS ? 5 : 0);
  int64_t b_pool = k + (p->at && list ? 4 : 0);
  p->n_c_rows = m + (!p->at && list ? 3 : 0);
  p->a = random_reals(rng, a_pool * ((p->at ? m : k) + GUARD), 1);
  p->b = random_reals(rng, b_pool * (n + GUARD), 1);
  p->c = random_reals(rng, p->n_c_rows * (n + GUARD), 1);
  p->c_before = copied_reals(p->c, p->n_c_rows * (n + GUARD));
  if (p->options & A_ROWS)
    p->a_rows = random_rows(rng, p->at ? k : m, a_pool);
  if (list && p->at) p->list = random_rows(rng, k, b_pool);
  if (list && !p->at) p->list = random_rows(rng, m, p->n_c_rows);
  if (p->options & PACKED) p->packed = pack(p->b, k, n);
}

static product make_product(moh__rng *rng, bool at, int options, int64_t m,
                            int64_t n, int64_t k) {
  product p = {.at = at, .options = options};
  if (at) p.options &= ~PACKED; /* always plain */
  make_operands(&p, rng, m, n, k);
  p.g = (moh__gemm){.m = m,
                    .n = n,
                    .k = k,
                    .a = p.a,
                    .lda = (at ? m : k) + GUARD,
                    .a_rows = p.a_rows,
                    .c = p.c,
                    .ldc = n + GUARD,
                    .accumulate = options & ACCUMULATE};
  p.g.b = p.packed != NULL ? p.packed : p.b;
  p.g.ldb = p.packed != NULL ? 0 : n + GUARD;
  if (at)
    p.g.b_rows = p.list;
  else
    p.g.c_rows = p.list;
  return p;
}

static void free_product(product *p) {
  free(p->a);
  free(p->b);
  free(p->packed);
  free(p->c);
  free(p->c_before);
  free(p->a_rows);
  free(p->list);
}

static int64_t row_at(const int32_t *rows, int64_t i) {
  return rows == NULL ? i : rows[i];
}

/* One multiply-add, rounded once (fused) or twice. */
static real multiply_add(bool fused, real a, real b, real c) {
  if (fused) return fmaf(a, b, c);
  volatile real ab = a * b;
  return ab + c;
}

/* Element (i, j) of the product, straight from kernel.h. */
static real expected_element(const product *p, bool fused, int64_t i,
                             int64_t j) {
  const moh__gemm *g = &p->g;
  int64_t ci = row_at(g->c_rows, i);
  real sum = g->accumulate ? p->c_before[ci * g->ldc + j] : 0;
  for (int64_t k = 0; k < g->k; k++) {
    real a = p->at ? p->a[row_at(g->a_rows, k) * g->lda + i]
                   : p->a[row_at(g->a_rows, i) * g->lda + k];
    real b = p->b[row_at(g->b_rows, k) * (g->n + GUARD) + j];
    sum = multiply_add(fused, a, b, sum);
  }
  return sum;
}

/* Whether the table's multiply-adds are fused, by a case that shows it:
 * (1 + e)^2 - (1 + 2 e) is e^2 only when rounded once. */
static bool is_fused(const moh__kernels *table) {
  real x = 1 + 0x1p-12f;
  real c = -(1 + 0x1p-11f);
  moh__gemm g = {.m = 1,
                 .n = 1,
                 .k = 1,
                 .a = &x,
                 .lda = 1,
                 .b = &x,
                 .ldb = 1,
                 .c = &c,
                 .ldc = 1,
                 .accumulate = true};
  table->gemm(&g, scratch);
  return c != 0;
}

/* C has the expected bits where it is written, the old ones elsewhere. */
static void assert_product(const product *p, bool fused) {
  const moh__gemm *g = &p->g;
  int64_t size = p->n_c_rows * g->ldc;
  real *expected = copied_reals(p->c_before, size);
  for (int64_t i = 0; i < g->m; i++)
    for (int64_t j = 0; j < g->n; j++)
      expected[row_at(g->c_rows, i) * g->ldc + j] =
          expected_element(p, fused, i, j);
  for (int64_t x = 0; x < size; x++) {
    if (p->c[x] == expected[x]) continue;
    fail_msg(
        "%s %lld x %lld x %lld, options %d: C[%lld][%lld] is %.9g, "
        "not %.9g",
        p->at ? "gemm_at" : "gemm", (long long)g->m, (long long)g->n,
        (long long)g->k, p->options, (long long)(x / g->ldc),
        (long long)(x % g->ldc), (double)p->c[x], (double)expected[x]);
  }
  free(expected);
}

static void check_product(const moh__kernels *table, bool fused, bool at,
                          int options, int64_t m, int64_t n, int64_t k) {
  moh__rng rng = moh__rng_make((uint64_t)(m * 1000003 + n * 1009 + k), 7);
  product p = make_product(&rng, at, options, m, n, k);
  memset(scratch, 0xff, 1 << 12); /* NaN: nothing may be read unwritten */
  if (at)
    table->gemm_at(&p.g, scratch);
  else
    table->gemm(&p.g, scratch);
  assert_product(&p, fused);
  free_product(&p);
}

/* All small shapes and a fifth of the large ones. The 16 options go round:
 * with 15 sizes every size meets every option. */
static void check_shapes(const moh__kernels *table, bool at) {
  bool fused = is_fused(table);
  for (int x = 0; x < N_SIZES * N_SIZES * N_SIZES; x++) {
    int64_t m = sizes[x / (N_SIZES * N_SIZES)];
    int64_t n = sizes[x / N_SIZES % N_SIZES];
    int64_t k = sizes[x % N_SIZES];
    if (m * n * k > 30000 && x % 5 != 0) continue;
    check_product(table, fused, at, x % N_OPTIONS, m, n, k);
  }
}

static void check_gemm(const moh__kernels *table) {
  check_shapes(table, false);
}
static void check_gemm_at(const moh__kernels *table) {
  check_shapes(table, true);
}

static void gemm_is_one_chain_per_element(void **state) {
  (void)state;
  for_each_table(check_gemm);
}

static void gemm_at_is_one_chain_per_element(void **state) {
  (void)state;
  for_each_table(check_gemm_at);
}

/* Depths around the blocks that a kernel may cut k into; and k = 0. */
static void check_depths(const moh__kernels *table) {
  static const int64_t ks[] = {0,   127, 255, 256,  257, 511,
                               512, 513, 767, 1024, 1301};
  bool fused = is_fused(table);
  for (int i = 0; i < 11; i++)
    for (int options = 0; options < N_OPTIONS; options++) {
      if (ks[i] == 0 && (options & PACKED)) continue;
      check_product(table, fused, false, options, 9, 37, ks[i]);
      check_product(table, fused, true, options, 9, 37, ks[i]);
    }
}

static void deep_products_are_one_chain_too(void **state) {
  (void)state;
  for_each_table(check_depths);
}

/* Terms with a zero factor change no bit: the base of "skipping a head
 * gives the bits of masking it". */
static void check_zero_terms(const moh__kernels *table) {
  enum { M = 33, N = 50, K = 40, HEADS = 5, D = 8 };
  moh__rng rng = moh__rng_make(11, 7);
  real *a = random_reals(&rng, M * K, 1);
  real *w = random_reals(&rng, K * N, 1);
  real masked[M * N] = {0};
  real skipped[M * N] = {0};
  for (int head = 0; head < HEADS; head++) {
    int32_t rows[M];
    int32_t n_rows = 0;
    for (int32_t i = 0; i < M; i++) {
      if (moh__rng_below(&rng, 2))
        rows[n_rows++] = i;
      else
        memset(a + i * K + head * D, 0, D * sizeof(real));
    }
    moh__gemm g = {.m = M,
                   .n = N,
                   .k = D,
                   .a = a + head * D,
                   .lda = K,
                   .b = w + head * D * N,
                   .ldb = N,
                   .c = masked,
                   .ldc = N,
                   .accumulate = true};
    table->gemm(&g, scratch);
    g.m = n_rows;
    g.a_rows = g.c_rows = rows;
    g.c = skipped;
    table->gemm(&g, scratch);
  }
  real whole[M * N];
  moh__gemm g = {.m = M,
                 .n = N,
                 .k = K,
                 .a = a,
                 .lda = K,
                 .b = w,
                 .ldb = N,
                 .c = whole,
                 .ldc = N};
  table->gemm(&g, scratch);
  assert_memory_equal(masked, skipped, sizeof(masked));
  assert_memory_equal(masked, whole, sizeof(masked));
  free(a);
  free(w);
}

static void skipping_has_the_bits_of_masking(void **state) {
  (void)state;
  for_each_table(check_zero_terms);
}

/* The pool cuts C; neither the cut nor the threads may show. */
static void check_pool(const moh__kernels *table, moh__pool *pool, int turn,
                       bool at) {
  static const int64_t shapes[][3] = {
      {1, 1, 1},      {1, 700, 64},   {5, 130, 300},  {200, 64, 40},
      {97, 257, 65},  {192, 512, 16}, {300, 300, 33}, {2, 1030, 48},
      {100, 1000, 7}, {33, 31, 32}};
  bool fused = is_fused(table);
  moh__kernel_use(table);
  for (int s = 0; s < 10; s++) {
    moh__rng rng = moh__rng_make((uint64_t)s, 8);
    product p = make_product(&rng, at, (s * 3 + turn * 8) % N_OPTIONS,
                             shapes[s][0], shapes[s][1], shapes[s][2]);
    if (at)
      moh__gemm_at_run(pool, &p.g);
    else
      moh__gemm_run(pool, &p.g);
    assert_product(&p, fused);
    free_product(&p);
  }
}

static void check_pools(const moh__kernels *table) {
  const moh__kernels *before = moh__kernel();
  for (int threads = 1; threads <= 3; threads++) {
    moh__pool *pool = NULL;
    assert_int_equal(moh__pool_new(&pool, threads, NULL), MOH_OK);
    for (int turn = 0; turn < 2; turn++) {
      check_pool(table, pool, turn, false);
      check_pool(table, pool, turn, true);
    }
    moh__pool_free(pool);
  }
  moh__kernel_use(before);
}

static void threads_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_pools);
}

static void packed_layout_is_as_documented(void **state) {
  (void)state;
  moh__rng rng = moh__rng_make(12, 7);
  for (int x = 0; x < N_SIZES; x++) {
    int64_t n = sizes[x];
    int64_t k = sizes[(x * 4 + 3) % N_SIZES];
    int64_t ld = k + 2;
    real *weight = random_reals(&rng, n * ld, 1);
    real *packed = random_reals(&rng, moh__packed_size(k, n), 1);
    moh__pack_transposed(packed, weight, ld, k, n);
    int64_t seen = 0;
    for (int64_t p = 0; p * 64 < n; p++)
      for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < moh__panel_width(n, p); j++, seen++) {
          int64_t column = 64 * p + j;
          real value = column < n ? weight[column * ld + i] : 0;
          assert_true(packed[64 * p * k + i * moh__panel_width(n, p) + j] ==
                      value);
        }
    assert_int_equal(seen, moh__packed_size(k, n));
    free(weight);
    free(packed);
  }
}

/* The reference itself, which the other tables' tests do not run. */
static void reference_is_one_chain_too(void **state) {
  (void)state;
  bool fused = is_fused(&moh__kernels_reference);
  for (int options = 0; options < N_OPTIONS; options++)
    for (int at = 0; at < 2; at++) {
      check_product(&moh__kernels_reference, fused, at, options, 7, 70, 9);
      check_product(&moh__kernels_reference, fused, at, options, 3, 130,
                    65);
    }
}

static void tables_have_names(void **state) {
  (void)state;
  assert_ptr_equal(moh__kernel_named("reference"), &moh__kernels_reference);
  assert_null(moh__kernel_named("no such table"));
  assert_non_null(moh__kernel());
  const moh__kernels *before = moh__kernel();
  moh__kernel_use(&moh__kernels_reference);
  assert_ptr_equal(moh__kernel(), &moh__kernels_reference);
  moh__kernel_use(before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gemm_is_one_chain_per_element),
      cmocka_unit_test(gemm_at_is_one_chain_per_element),
      cmocka_unit_test(deep_products_are_one_chain_too),
      cmocka_unit_test(skipping_has_the_bits_of_masking),
      cmocka_unit_test(threads_change_no_bit),
      cmocka_unit_test(packed_layout_is_as_documented),
      cmocka_unit_test(reference_is_one_chain_too),
      cmocka_unit_test(tables_have_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
