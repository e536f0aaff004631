/*
 * Products of operands rounded to bf16: every kernel table to the last bit
 * like the plain reference (products of two rounded numbers are exact in f32,
 * so fused or not, the chain is the same); lists, cuts and zero terms change
 * nothing.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "support/tables.h"

enum { GUARD = 3 };

static const int64_t sizes[] = {1, 2, 5, 6, 7, 16, 17, 63, 65, 130, 197};
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static unsigned char scratch[MOH__SCRATCH_BYTES] __attribute__((aligned(64)));

enum { ROWS = 1, LIST = 2, ACCUMULATE = 4, N_OPTIONS = 8 };

typedef struct product {
  moh__gemm g;
  bool at;
  real *a, *b, *c, *c_before;
  moh__bf16 *packed;
  int32_t *rows, *list;
  int64_t n_c;
} product;

static product make_product(bool at, int options, int64_t m, int64_t n,
                            int64_t k) {
  moh__rng rng = moh__rng_make((uint64_t)(m * 1009 + n * 31 + k), 21);
  product p = {.at = at};
  int64_t a_rows = 2 * (at ? k : m) + 1;
  p.n_c = 2 * m + 1;
  p.a = random_reals(&rng, a_rows * ((at ? m : k) + GUARD), 1);
  p.b = random_reals(&rng, (2 * k + 1) * (n + GUARD), 1);
  p.c = random_reals(&rng, p.n_c * (n + GUARD), 1);
  p.c_before = copied_reals(p.c, p.n_c * (n + GUARD));
  if (options & ROWS) p.rows = odd_rows(at ? k : m);
  if (options & LIST) p.list = odd_rows(at ? k : m);
  p.g = (moh__gemm){.m = m,
                    .n = n,
                    .k = k,
                    .a = p.a,
                    .lda = (at ? m : k) + GUARD,
                    .a_rows = p.rows,
                    .b = p.b,
                    .ldb = n + GUARD,
                    .c = p.c,
                    .ldc = n + GUARD,
                    .accumulate = options & ACCUMULATE,
                    .bf16 = true};
  if (at) {
    p.g.b_rows = p.list;
    return p;
  }
  p.g.c_rows = p.list;
  p.packed = calloc((size_t)moh__packed_size_bf16(k, n) + 1, 2);
  assert_non_null(p.packed);
  moh__pack_rows_bf16(p.packed, p.b, n + GUARD, k, n);
  p.g.b = NULL;
  p.g.ldb = 0;
  p.g.b16 = p.packed;
  return p;
}

static void free_product(product *p) {
  free(p->a);
  free(p->b);
  free(p->c);
  free(p->c_before);
  free(p->packed);
  free(p->rows);
  free(p->list);
}

static void run(const moh__kernels *table, const product *p) {
  memset(scratch, 0xff, 1 << 12); /* NaN: nothing may be read unwritten */
  if (p->at)
    table->gemm_at(&p->g, scratch);
  else
    table->gemm(&p->g, scratch);
}

static void check_product(const moh__kernels *table, bool at, int options,
                          int64_t m, int64_t n, int64_t k) {
  product p = make_product(at, options, m, n, k);
  int64_t size = p.n_c * p.g.ldc;
  run(&moh__kernels_reference, &p);
  real *expected = copied_reals(p.c, size);
  memcpy(p.c, p.c_before, (size_t)size * sizeof(real));
  run(table, &p);
  for (int64_t i = 0; i < size; i++)
    if (!(p.c[i] == expected[i]))
      fail_msg("%s %lld x %lld x %lld, options %d: C[%lld] is %.9g, not %.9g",
               at ? "gemm_at" : "gemm", (long long)m, (long long)n,
               (long long)k, options, (long long)i, (double)p.c[i],
               (double)expected[i]);
  free(expected);
  free_product(&p);
}

static void check_shapes(const moh__kernels *table) {
  for (int x = 0; x < N_SIZES * N_SIZES * N_SIZES; x++) {
    int64_t m = sizes[x / (N_SIZES * N_SIZES)];
    int64_t n = sizes[x / N_SIZES % N_SIZES];
    int64_t k = sizes[x % N_SIZES];
    if (m * n * k > 4000 && x % 29 != 0) continue;
    check_product(table, false, x % N_OPTIONS, m, n, k);
    check_product(table, true, x % N_OPTIONS, m, n, k);
  }
  for (int options = 0; options < N_OPTIONS; options++) {
    check_product(table, false, options, 13, 70, 1027); /* several blocks */
    check_product(table, true, options, 13, 70, 1027);
    check_product(table, true, options, 13, 70, 0); /* clears, or adds 0 */
  }
  check_product(table, false, ROWS, 200, 33, 515);
  check_product(table, true, ROWS, 200, 300, 515);
}

static void tables_agree_with_the_reference(void **state) {
  (void)state;
  for_each_table(check_shapes);
}

/* Bf16 has steps of 2^-7 from 1 on: 1 + 2^-9 becomes 1, 1 + 3 * 2^-9
 * becomes 1 + 2^-7. */
static void check_rounding(const moh__kernels *table) {
  real a[2] = {1 + 0x1p-9f, 1};
  real b[2] = {1 + 3 * 0x1p-9f, 0};
  real c = 0;
  moh__gemm g = {.m = 1,
                 .n = 1,
                 .k = 2,
                 .a = a,
                 .lda = 1,
                 .b = b,
                 .ldb = 1,
                 .c = &c,
                 .ldc = 1,
                 .bf16 = true};
  table->gemm_at(&g, scratch);
  assert_true(c == 1 + 0x1p-7f);
  a[0] = NAN;
  table->gemm_at(&g, scratch);
  assert_true(isnan(c));
}

static void operands_are_rounded_to_even(void **state) {
  (void)state;
  for_each_table(check_rounding);
  assert_int_equal(moh__bf16_of(1), 0x3f80);
  assert_int_equal(moh__bf16_of(1 + 0x1p-8f), 0x3f80);
  assert_int_equal(moh__bf16_of(1 + 3 * 0x1p-8f), 0x3f82);
  assert_int_equal(moh__bf16_of(INFINITY), 0x7f80);
  assert_true(isnan(moh__bf16_value(moh__bf16_of(NAN))));
  assert_true(moh__bf16_value(0xc000) == -2);
}

/* A list of rows gives each row the bits that it has among all rows; rows
 * of zeros add nothing. */
static void check_lists(const moh__kernels *table) {
  enum { M = 50, N = 70, K = 67 };
  product all = make_product(false, ACCUMULATE, M, N, K);
  product some = make_product(false, ACCUMULATE, M, N, K);
  int32_t rows[M];
  int32_t n = 0;
  for (int32_t i = 0; i < M; i++) {
    if (i % 3 != 0) rows[n++] = i;
    if (i % 3 == 0) memset(all.a + i * all.g.lda, 0, K * sizeof(real));
  }
  some.g.m = n;
  some.g.a_rows = some.g.c_rows = rows;
  run(table, &all);
  run(table, &some);
  assert_memory_equal(all.c, some.c,
                      (size_t)(all.n_c * all.g.ldc) * sizeof(real));
  free_product(&all);
  free_product(&some);
}

static void lists_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_lists);
}

static void check_threads(const moh__kernels *table) {
  const moh__kernels *before = moh__kernel();
  moh__kernel_use(table);
  for (int at = 0; at < 2; at++) {
    product one = make_product(at, ROWS | ACCUMULATE, 130, 200, 90);
    run(table, &one);
    for (int threads = 1; threads <= 3; threads++) {
      product p = make_product(at, ROWS | ACCUMULATE, 130, 200, 90);
      moh__pool *pool = NULL;
      assert_int_equal(moh__pool_new(&pool, threads, NULL), MOH_OK);
      if (at)
        moh__gemm_at_run(pool, &p.g);
      else
        moh__gemm_run(pool, &p.g);
      moh__pool_free(pool);
      assert_memory_equal(p.c, one.c,
                          (size_t)(p.n_c * p.g.ldc) * sizeof(real));
      free_product(&p);
    }
    free_product(&one);
  }
  moh__kernel_use(before);
}

static void threads_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_threads);
}

/* Both ways of packing against kernel.h's formula, with zeros behind. */
static void packed_layout_is_as_documented(void **state) {
  (void)state;
  moh__rng rng = moh__rng_make(5, 21);
  for (int x = 0; x < N_SIZES * N_SIZES; x++) {
    int64_t k = sizes[x / N_SIZES];
    int64_t n = sizes[x % N_SIZES];
    int64_t even = (k + 1) / 2 * 2;
    real *b = random_reals(&rng, n * k, 1);
    size_t size = (size_t)moh__packed_size_bf16(k, n);
    moh__bf16 *rows = calloc(size, 2);
    moh__bf16 *turned = calloc(size, 2);
    moh__pack_rows_bf16(rows, b, n, k, n);
    moh__pack_transposed_bf16(turned, b, k, k, n);
    for (int64_t j = 0; j < (n + 15) / 16 * 16; j++)
      for (int64_t i = 0; i < even; i++) {
        int64_t p = j / 64;
        int64_t at = 64 * p * even +
                     (i / 2 * moh__panel_width(n, p) + j - 64 * p) * 2 + 1 -
                     i % 2;
        bool there = i < k && j < n;
        assert_int_equal(rows[at], there ? moh__bf16_of(b[i * n + j]) : 0);
        assert_int_equal(turned[at], there ? moh__bf16_of(b[j * k + i]) : 0);
      }
    free(b);
    free(rows);
    free(turned);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_agree_with_the_reference),
      cmocka_unit_test(operands_are_rounded_to_even),
      cmocka_unit_test(lists_change_no_bit),
      cmocka_unit_test(threads_change_no_bit),
      cmocka_unit_test(packed_layout_is_as_documented),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
