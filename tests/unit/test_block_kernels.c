/*
 * Products with weights of 4, 8 and 16 bits in blocks: every kernel table like
 * the plain reference, to the last bit where no sum is rounded; what the format
 * rounds away and no more; lists, cuts, company and zero terms change nothing.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "support/tables.h"

enum { GUARD = 3 };

static const moh__block_type types[] = {MOH__BLOCK_F16, MOH__BLOCK_Q8_0,
                                        MOH__BLOCK_Q4_0};
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static unsigned char scratch[MOH__SCRATCH_BYTES] __attribute__((aligned(64)));

enum { ROWS = 1, LIST = 2, ACCUMULATE = 4, N_OPTIONS = 8 };

typedef struct product {
  moh__gemm g;
  int64_t a_rows, n_c;
  real *a, *b, *c, *c_before; /* b: [n][k] */
  void *stored, *packed;
  int64_t row_bytes;
  moh__codes *codes;
  int32_t *rows, *list;
} product;

static void *cleared(int64_t bytes) {
  void *p = calloc((size_t)bytes + 1, 1);
  assert_non_null(p);
  return p;
}

/* Integers that a block holds as they are: one of each 32 is the largest. */
static void make_integers(real *x, int64_t n, int least, int most,
                          moh__rng *rng) {
  for (int64_t i = 0; i < n; i++)
    x[i] = (real)(least + (int)moh__rng_below(rng, (uint32_t)(most - least)));
  for (int64_t i = 0; i < n; i += MOH__BLOCK) x[i] = (real)least;
}

static product make_product(const moh__kernels *table, moh__block_type type,
                            int options, int64_t m, int64_t n, int64_t k,
                            bool whole) {
  moh__rng rng = moh__rng_make((uint64_t)(m * 1009 + n * 31 + k), 21);
  product p = {.a_rows = 2 * m + 1, .n_c = 2 * m + 1};
  p.a = random_reals(&rng, p.a_rows * k, 1);
  p.b = random_reals(&rng, n * k, 1);
  p.c = random_reals(&rng, p.n_c * (n + GUARD), 1);
  if (whole) {
    bool q4 = type == MOH__BLOCK_Q4_0;
    make_integers(p.a, p.a_rows * k, -127, 128, &rng);
    make_integers(p.b, n * k, q4 ? -8 : -127, q4 ? 8 : 128, &rng);
    make_integers(p.c, p.n_c * (n + GUARD), -100, 100, &rng);
  }
  p.c_before = copied_reals(p.c, p.n_c * (n + GUARD));
  if (options & ROWS) p.rows = odd_rows(m);
  if (options & LIST) p.list = odd_rows(m);
  assert_true(moh__block_row_bytes(type, k, &p.row_bytes));
  p.stored = cleared(n * p.row_bytes);
  moh__block_encode(type, p.b, n * k, p.stored);
  p.packed = cleared(moh__packed_bytes(type, k, n));
  moh__pack_blocks(p.packed, type, p.stored, p.row_bytes, k, n);
  p.g = (moh__gemm){.m = m,
                    .n = n,
                    .k = k,
                    .a = p.a,
                    .lda = k,
                    .a_rows = p.rows,
                    .type = type,
                    .blocks = p.packed,
                    .codes_ld = k / MOH__BLOCK,
                    .c = p.c,
                    .ldc = n + GUARD,
                    .c_rows = p.list,
                    .accumulate = options & ACCUMULATE};
  if (!moh__is_integers(type)) return p;
  p.codes = cleared(p.a_rows * p.g.codes_ld * (int64_t)sizeof(moh__codes));
  table->encode(p.codes, type, p.a, p.a_rows * k);
  p.g.codes = p.codes;
  return p;
}

static void free_product(product *p) {
  free(p->a);
  free(p->b);
  free(p->c);
  free(p->c_before);
  free(p->stored);
  free(p->packed);
  free(p->codes);
  free(p->rows);
  free(p->list);
}

static void run(const moh__kernels *table, const product *p) {
  memset(scratch, 0xff, 1 << 12); /* NaN: nothing may be read unwritten */
  table->gemm(&p->g, scratch);
}

/* ---- like the reference ---- */

/* Sums of so many terms of about this size differ by that much. */
static double rounding_of(const product *p) {
  double terms = (double)p->g.k * (double)largest_of(p->a, p->g.k) *
                 (double)largest_of(p->b, p->g.k);
  return 1e-6 * (terms + 1);
}

static void check_product(const moh__kernels *table, moh__block_type type,
                          int options, int64_t m, int64_t n, int64_t k) {
  for (int whole = 0; whole < 2; whole++) {
    product p = make_product(table, type, options, m, n, k, whole);
    int64_t size = p.n_c * p.g.ldc;
    run(&moh__kernels_reference, &p);
    real *expected = copied_reals(p.c, size);
    memcpy(p.c, p.c_before, (size_t)size * sizeof(real));
    run(table, &p);
    double allowed = whole ? 0 : rounding_of(&p);
    for (int64_t i = 0; i < size; i++)
      if (!(fabs((double)(p.c[i] - expected[i])) <= allowed))
        fail_msg("%s, %s, %d x %d x %d, options %d: C[%d] is %.9g, not %.9g",
                 table->name, moh__block_name(type), (int)m, (int)n, (int)k,
                 options, (int)i, (double)p.c[i], (double)expected[i]);
    free(expected);
    free_product(&p);
  }
}

static void check_shapes(const moh__kernels *table) {
  static const int64_t ms[] = {1, 2, 3, 4, 5, 7, 13};
  static const int64_t ns[] = {1, 5, 15, 16, 17, 33, 48, 63, 64, 65, 130};
  static const int64_t ks[] = {32, 64, 96, 256, 288, 544};
  for (int x = 0; x < 7 * 11 * 6; x += 4)
    for (int t = 0; t < N_TYPES; t++)
      check_product(table, types[t], x % N_OPTIONS, ms[x / 66],
                    ns[x / 6 % 11], ks[x % 6]);
  for (int options = 0; options < N_OPTIONS; options++) {
    check_product(table, MOH__BLOCK_F16, options, 13, 70, 1027);
    check_product(table, MOH__BLOCK_F16, options, 3, 70, 77);
    check_product(table, MOH__BLOCK_F16, options, 201, 33, 77);
    for (int t = 0; t < N_TYPES; t++)
      check_product(table, types[t], options, 3, 70, 0);
  }
}

static void tables_agree_with_the_reference(void **state) {
  (void)state;
  for_each_table(check_shapes);
}

/* ---- like the numbers ---- */

/* Where blocks hold integers as they are, a product is the sum of theirs. */
static void check_numbers(const moh__kernels *table) {
  enum { M = 5, N = 70, K = 320 };
  for (int t = 0; t < N_TYPES; t++) {
    product p = make_product(table, types[t], 0, M, N, K, true);
    run(table, &p);
    for (int i = 0; i < M; i++)
      for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int k = 0; k < K; k++)
          sum += (double)p.a[i * K + k] * (double)p.b[j * K + k];
        assert_true((double)p.c[i * p.g.ldc + j] == sum);
      }
    free_product(&p);
  }
}

static void integers_are_exact(void **state) {
  (void)state;
  for_each_table(check_numbers);
  check_numbers(&moh__kernels_reference);
}

/* Half a step of each operand, times the other, is the most that rounding
 * changes in a product; f16 rounds scales and numbers by 2^-11. */
static double most_lost(const product *p, int64_t i, int64_t j) {
  const real *a = p->a + i * p->g.k, *b = p->b + j * p->g.k;
  double lost = 0;
  for (int64_t k = 0; k < p->g.k; k++) {
    int64_t block = k / MOH__BLOCK * MOH__BLOCK;
    double most_a = (double)largest_of(a + block, MOH__BLOCK);
    double most_b = (double)largest_of(b + block, MOH__BLOCK);
    double step_a = moh__is_integers(p->g.type) ? most_a / 127 : 0;
    double step_b = p->g.type == MOH__BLOCK_Q8_0   ? most_b / 127
                    : p->g.type == MOH__BLOCK_Q4_0 ? 2 * most_b / 8
                                                   : 0;
    double off_a = step_a / 2;
    double off_b = step_b / 2 + 0x1p-11 * most_b;
    lost += fabs((double)a[k]) * off_b + fabs((double)b[k]) * off_a +
            off_a * off_b;
  }
  return lost + 1e-5;
}

static void check_rounding(const moh__kernels *table) {
  enum { M = 4, N = 50, K = 256 };
  for (int t = 0; t < N_TYPES; t++) {
    product p = make_product(table, types[t], 0, M, N, K, false);
    run(table, &p);
    for (int i = 0; i < M; i++)
      for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int k = 0; k < K; k++)
          sum += (double)p.a[i * K + k] * (double)p.b[j * K + k];
        double off = fabs((double)p.c[i * p.g.ldc + j] - sum);
        assert_true(off <= most_lost(&p, i, j));
      }
    free_product(&p);
  }
}

static void no_more_is_lost_than_rounding(void **state) {
  (void)state;
  for_each_table(check_rounding);
  check_rounding(&moh__kernels_reference);
}

/* ---- rows of A ---- */

static void check_codes(const moh__kernels *table, moh__block_type type,
                        const real *x, int64_t k) {
  enum { MOST = 64 };
  moh__codes expected[MOST], found[MOST];
  assert_true(k / MOH__BLOCK <= MOST);
  moh__kernels_reference.encode(expected, type, x, k);
  table->encode(found, type, x, k);
  assert_memory_equal(expected, found,
                      (size_t)(k / MOH__BLOCK) * sizeof(moh__codes));
}

static void check_encode(const moh__kernels *table) {
  enum { K = 64 * MOH__BLOCK };
  moh__rng rng = moh__rng_make(3, 21);
  real *x = random_reals(&rng, K, 1);
  for (int t = 1; t < N_TYPES; t++) {
    check_codes(table, types[t], x, K);
    for (int i = 0; i < K; i++) {
      int block = i / MOH__BLOCK;
      x[i] *= moh__exp((real)block - 40);
    }
    check_codes(table, types[t], x, K);
    for (int i = 0; i < K; i++) /* ties */
      x[i] = i % MOH__BLOCK == 0 ? 127 : (real)(i % 100) / 2 - 20;
    check_codes(table, types[t], x, K);
  }
  free(x);
}

static void rows_are_rounded_alike(void **state) {
  (void)state;
  for_each_table(check_encode);
}

static void check_odd_rows(const moh__kernels *table) {
  real x[MOH__BLOCK] = {0};
  moh__codes c;
  table->encode(&c, MOH__BLOCK_Q8_0, x, MOH__BLOCK);
  assert_true(c.scale == 0 && c.start == 0 && c.q[3] == 0);
  x[3] = -2;
  x[7] = 1;
  table->encode(&c, MOH__BLOCK_Q8_0, x, MOH__BLOCK);
  assert_int_equal(c.q[3], -127);
  assert_int_equal(c.q[7], 64); /* of 63.5 */
  assert_int_equal(c.start, 63 * 128);
  table->encode(&c, MOH__BLOCK_Q4_0, x, MOH__BLOCK);
  assert_int_equal(c.start, 63 * 8);
  x[3] = 0x1p-120F;
  x[7] = 0;
  table->encode(&c, MOH__BLOCK_Q8_0, x, MOH__BLOCK);
  assert_true(c.scale == 0 && c.q[3] == 0);
  static const real odd[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 3; i++) {
    x[9] = odd[i];
    table->encode(&c, MOH__BLOCK_Q8_0, x, MOH__BLOCK);
    assert_true(isnan(c.scale));
  }
}

static void odd_rows_are_what_they_are(void **state) {
  (void)state;
  for_each_table(check_odd_rows);
  check_odd_rows(&moh__kernels_reference);
}

/* ---- bits ---- */

/* A list of rows gives each row the bits that it has among all rows; rows of
 * zeros add nothing. */
static void check_lists(const moh__kernels *table) {
  enum { M = 50, N = 70, K = 96 };
  for (int t = 0; t < N_TYPES; t++) {
    product all = make_product(table, types[t], ACCUMULATE, M, N, K, false);
    product some = make_product(table, types[t], ACCUMULATE, M, N, K, false);
    int32_t rows[M];
    int32_t n = 0;
    for (int32_t i = 0; i < M; i++) {
      if (i % 3 != 0) rows[n++] = i;
      if (i % 3 == 0) memset(all.a + i * K, 0, K * sizeof(real));
    }
    if (all.codes != NULL) table->encode(all.codes, types[t], all.a, M * K);
    some.g.m = n;
    some.g.a_rows = some.g.c_rows = rows;
    run(table, &all);
    run(table, &some);
    assert_memory_equal(all.c, some.c,
                        (size_t)(all.n_c * all.g.ldc) * sizeof(real));
    free_product(&all);
    free_product(&some);
  }
}

static void lists_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_lists);
}

/* A row alone has the bits that it has among others. */
static void check_company(const moh__kernels *table) {
  enum { M = 29, N = 130, K = 608 };
  for (int t = 0; t < N_TYPES; t++) {
    product all = make_product(table, types[t], 0, M, N, K, false);
    product one = make_product(table, types[t], 0, M, N, K, false);
    run(table, &all);
    one.g.m = 1;
    for (int i = 0; i < M; i++) {
      run(table, &one);
      assert_memory_equal(all.c + i * all.g.ldc, one.g.c, N * sizeof(real));
      one.g.a += K;
      if (one.g.codes != NULL) one.g.codes += one.g.codes_ld;
      one.g.c += one.g.ldc;
    }
    free_product(&all);
    free_product(&one);
  }
}

static void company_changes_no_bit(void **state) {
  (void)state;
  for_each_table(check_company);
}

static void check_threads(const moh__kernels *table) {
  const moh__kernels *before = moh__kernel();
  moh__kernel_use(table);
  for (int x = 0; x < 2 * N_TYPES; x++) {
    moh__block_type type = types[x / 2];
    int options = x % 2 == 0 ? ROWS | ACCUMULATE : 0;
    product one = make_product(table, type, options, 130, 200, 96, false);
    run(table, &one);
    for (int threads = 1; threads <= 3; threads++) {
      product p = make_product(table, type, options, 130, 200, 96, false);
      moh__pool *pool = NULL;
      assert_int_equal(moh__pool_new(&pool, threads, NULL), MOH_OK);
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

/* A NaN in A reaches the whole row of C, and no other. */
static void check_nan(const moh__kernels *table) {
  enum { M = 3, N = 20, K = 64 };
  for (int t = 0; t < N_TYPES; t++) {
    product p = make_product(table, types[t], 0, M, N, K, false);
    p.a[K + 40] = NAN;
    if (p.codes != NULL) table->encode(p.codes, types[t], p.a, M * K);
    run(table, &p);
    for (int i = 0; i < M; i++)
      for (int j = 0; j < N; j++)
        assert_true(isnan(p.c[i * p.g.ldc + j]) == (i == 1));
    free_product(&p);
  }
}

static void nan_is_not_lost(void **state) {
  (void)state;
  for_each_table(check_nan);
  check_nan(&moh__kernels_reference);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_agree_with_the_reference),
      cmocka_unit_test(integers_are_exact),
      cmocka_unit_test(no_more_is_lost_than_rounding),
      cmocka_unit_test(rows_are_rounded_alike),
      cmocka_unit_test(odd_rows_are_what_they_are),
      cmocka_unit_test(lists_change_no_bit),
      cmocka_unit_test(company_changes_no_bit),
      cmocka_unit_test(threads_change_no_bit),
      cmocka_unit_test(nan_is_not_lost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
