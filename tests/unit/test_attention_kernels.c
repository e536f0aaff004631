/*
 * Tiled attention of every instruction set against the reference: all head
 * widths and numbers of queries around the borders of tiles and pages,
 * lists of queries with gaps, pages in any order. Behind the last key of a
 * page stand NaNs, which must never be read; so do before the first page of a
 * window. The same with contextual positions.
 */
#include <string.h>

#include "support/tables.h"

static unsigned char scratch[MOH__SCRATCH_BYTES] __attribute__((aligned(64)));

/* One head's queries and keys; o, lse and the gradients twice: by the table
 * and by the reference. */
typedef struct subject {
  int64_t n, n_keys, d;
  int64_t window; /* keys that a query sees; 0: all */
  int64_t n_positions; /* contextual ones; 0: none */
  int32_t *pos, *first, *page_ids;
  real *pages, *q, *d_o;
  real *table, *packed, *packed_back;
  real *o[2], *lse[2], *dq[2], *dk[2], *dv[2], *d_table[2];
} subject;

enum { TABLE_GAP = 5 }; /* floats behind a table's gradient */

/* n queries spread over the last positions; every gap is 0 to 2 tokens. */
static int64_t make_positions(subject *s, moh__rng *rng, int64_t first) {
  s->pos = malloc((size_t)s->n * sizeof(int32_t));
  s->first = calloc((size_t)s->n, sizeof(int32_t));
  int64_t at = first;
  for (int64_t i = 0; i < s->n; i++) {
    s->pos[i] = (int32_t)at;
    if (s->window > 0 && at + 1 > s->window)
      s->first[i] = (int32_t)(at + 1 - s->window);
    at += 1 + (int64_t)moh__rng_below(rng, 3);
  }
  return s->pos[s->n - 1] + 1;
}

/* Pages in reverse order with one unused between them, all of it NaN but
 * for the keys. */
static void make_pages(subject *s, moh__rng *rng) {
  int64_t n_pages = (s->n_keys + MOH__PANEL - 1) / MOH__PANEL;
  int64_t stride = 2 * s->d * MOH__PANEL + 16;
  int64_t size = 2 * n_pages * stride;
  s->pages = random_reals(rng, size, 1);
  s->page_ids = malloc((size_t)n_pages * sizeof(int32_t));
  for (int64_t i = 0; i < size; i++) s->pages[i] = NAN;
  for (int64_t p = 0; p < n_pages; p++)
    s->page_ids[p] = (int32_t)(2 * (n_pages - 1 - p));
  real *kv = malloc(2 * (size_t)s->d * sizeof(real));
  int64_t seen = s->first[0] / MOH__PANEL * MOH__PANEL;
  for (int64_t j = seen; j < s->n_keys; j++) {
    for (int64_t c = 0; c < 2 * s->d; c++) kv[c] = (real)moh__rng_normal(rng);
    moh__page_write(s->pages + s->page_ids[j / MOH__PANEL] * stride, s->d,
                    j % MOH__PANEL, 1, kv, kv + s->d, s->d);
  }
  free(kv);
}

/*
 * A table in which z is nearly straight: where rounding puts a position on the
 * other side of a whole one, which it may, its slope is nearly the same.
 */
static void make_table(subject *s, moh__rng *rng) {
  int64_t size = s->n_positions * s->d;
  s->table = random_reals(rng, size, 0.002);
  real *slope = random_reals(rng, s->d, 1 / (10.0 + (double)s->n_positions));
  for (int64_t n = 0; n < s->n_positions; n++)
    for (int64_t c = 0; c < s->d; c++)
      s->table[n * s->d + c] += (real)n * slope[c];
  free(slope);
  s->packed = random_reals(rng, moh__packed_size(s->d, s->n_positions), 1);
  s->packed_back =
      random_reals(rng, moh__packed_size(s->n_positions, s->d), 1);
  moh__pack_transposed(s->packed, s->table, s->d, s->d, s->n_positions);
  moh__pack_rows(s->packed_back, s->table, s->d, s->n_positions, s->d);
  s->d_table[0] = random_reals(rng, size + TABLE_GAP, 1);
  s->d_table[1] = copied_reals(s->d_table[0], size + TABLE_GAP);
}

static subject make_positioned(int64_t n, int64_t first, int64_t d,
                               int64_t window, int64_t n_positions) {
  moh__rng rng = moh__rng_make((uint64_t)(n * 1000 + d), 31);
  subject s = {.n = n, .d = d, .window = window, .n_positions = n_positions};
  s.n_keys = make_positions(&s, &rng, first);
  make_pages(&s, &rng);
  s.q = random_reals(&rng, n * d, 2);
  s.d_o = random_reals(&rng, n * d, 1);
  s.o[0] = random_reals(&rng, n * d, 1);
  s.lse[0] = random_reals(&rng, n, 1);
  s.dq[0] = random_reals(&rng, n * d, 1); /* gradients add up */
  s.dk[0] = random_reals(&rng, s.n_keys * (d + 3), 1);
  s.dv[0] = random_reals(&rng, s.n_keys * (d + 3), 1);
  s.o[1] = copied_reals(s.o[0], n * d);
  s.lse[1] = copied_reals(s.lse[0], n);
  s.dq[1] = copied_reals(s.dq[0], n * d);
  s.dk[1] = copied_reals(s.dk[0], s.n_keys * (d + 3));
  s.dv[1] = copied_reals(s.dv[0], s.n_keys * (d + 3));
  if (n_positions > 0) make_table(&s, &rng);
  return s;
}

static subject make_windowed(int64_t n, int64_t first, int64_t d,
                             int64_t window) {
  return make_positioned(n, first, d, window, 0);
}

static subject make_subject(int64_t n, int64_t first, int64_t d) {
  return make_windowed(n, first, d, 0);
}

static void free_subject(subject *s) {
  free(s->pos);
  free(s->first);
  free(s->page_ids);
  free(s->pages);
  free(s->q);
  free(s->d_o);
  free(s->table);
  free(s->packed);
  free(s->packed_back);
  for (int i = 0; i < 2; i++) {
    free(s->o[i]);
    free(s->lse[i]);
    free(s->dq[i]);
    free(s->dk[i]);
    free(s->dv[i]);
    free(s->d_table[i]);
  }
}

static moh__cope cope_of(const subject *s) {
  return (moh__cope){.n_positions = s->n_positions,
                     .table = s->table,
                     .packed = s->packed,
                     .packed_back = s->packed_back,
                     .n_heads = 1};
}

static moh__attention attention_of(const subject *s, int i) {
  return (moh__attention){
      .n = s->n,
      .d = s->d,
      .q = s->q,
      .pos = s->pos,
      .first = s->window > 0 ? s->first : NULL,
      .keys = {s->pages, 2 * s->d * MOH__PANEL + 16, s->page_ids},
      .scale = (real)(1 / sqrt((double)s->d)),
      .cope = cope_of(s),
      .o = s->o[i],
      .lse = s->lse[i]};
}

/* Backward in two parts, as if the later half were another head's. */
static void run_backward(const moh__kernels *table, subject *s, int i) {
  moh__attention_grad b[2];
  int64_t half = s->n / 2;
  for (int h = 0; h < 2; h++) {
    int64_t first = h * half;
    b[h] = (moh__attention_grad){.forward = attention_of(s, i),
                                 .d_o = s->d_o + first * s->d,
                                 .dq = s->dq[i] + first * s->d,
                                 .dk = s->dk[i],
                                 .dv = s->dv[i],
                                 .d_table = s->d_table[i],
                                 .ldk = s->d + 3};
    moh__attention *a = &b[h].forward;
    a->n = h == 0 ? half : s->n - half;
    a->q += first * s->d;
    a->o += first * s->d;
    a->pos += first;
    if (a->first != NULL) a->first += first;
    a->lse += first;
  }
  table->attention_grad(b, 2, scratch);
}

static void run(const moh__kernels *table, subject *s, int i) {
  moh__attention a = attention_of(s, i);
  table->attention(&a, scratch);
  run_backward(table, s, i);
}

static void assert_within(real limit, real *const x[2], int64_t n,
                          const char *what, const char *table,
                          const subject *s) {
  real off = largest_difference(x[0], x[1], n);
  if (!(off <= limit * (1 + largest_of(x[1], n))))
    fail_msg("%s of %s, %d queries of %d keys, d %d: off by %g", what, table,
             (int)s->n, (int)s->n_keys, (int)s->d, (double)off);
}

static void assert_near(real *const x[2], int64_t n, const char *what,
                        const char *table, const subject *s) {
  assert_within(2e-5f, x, n, what, table, s);
}

/* A position is a sum of as many gates as it says, rounded as often: that much
 * goes to the row beside. */
static void assert_tables_near(const char *table, const subject *s) {
  real limit = 2e-5f * (1 + (real)s->n_positions / 8);
  assert_within(limit, s->d_table, s->n_positions * s->d + TABLE_GAP,
                "d_table", table, s);
}

static void check_positioned(const moh__kernels *table, int64_t n,
                             int64_t first, int64_t d, int64_t window,
                             int64_t n_positions) {
  subject s = make_positioned(n, first, d, window, n_positions);
  run(table, &s, 0);
  run(&moh__kernels_reference, &s, 1);
  assert_near(s.o, n * d, "o", table->name, &s);
  assert_near(s.lse, n, "lse", table->name, &s);
  assert_near(s.dq, n * d, "dq", table->name, &s);
  assert_near(s.dk, s.n_keys * (d + 3), "dk", table->name, &s);
  assert_near(s.dv, s.n_keys * (d + 3), "dv", table->name, &s);
  if (n_positions > 0) assert_tables_near(table->name, &s);
  free_subject(&s);
}

static void check_windowed(const moh__kernels *table, int64_t n,
                           int64_t first, int64_t d, int64_t window) {
  check_positioned(table, n, first, d, window, 0);
}

static void check_one(const moh__kernels *table, int64_t n, int64_t first,
                      int64_t d) {
  check_windowed(table, n, first, d, 0);
}

static void check_windows(const moh__kernels *table) {
  static const int64_t windows[] = {1, 2, 63, 64, 65, 130, 700};
  static const int64_t firsts[] = {0, 63, 64, 600};
  static const int64_t queries[] = {1, 25, 49, 130};
  for (int i = 0; i < 7; i++)
    for (int j = 0; j < 4; j++)
      for (int k = 0; k < 4; k++)
        check_windowed(table, queries[k], firsts[j], 8 + 9 * k, windows[i]);
}

static void windows_are_the_references(void **state) {
  (void)state;
  for_each_table(check_windows);
}

/* Tables that are clamped at once, after some pages, and never; that leave
 * room for few queries in scratch. */
static void check_cope(const moh__kernels *table) {
  static const int64_t positions[] = {2, 5, 33, 64, 130, 700};
  static const int64_t queries[] = {1, 7, 25, 66, 130};
  static const int64_t firsts[] = {0, 1, 62, 63, 64, 600};
  static const int64_t widths[] = {1, 6, 16, 17, 40};
  static const int64_t windows[] = {0, 1, 2, 64, 65, 130, 0};
  moh__kernel_use(table);
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 5; j++)
      for (int k = 0; k < 6; k++)
        check_positioned(table, queries[j], firsts[k], widths[(i + k) % 5],
                         windows[(i + j + k) % 7], positions[i]);
  check_positioned(table, 420, 0, 64, 0, 9);
  check_positioned(table, 20, 1, MOH__MAX_HEAD, 0, MOH__COPE_MAX);
  check_positioned(table, 2, 70000, 2, 0, 12);
}

static void positions_are_the_references(void **state) {
  (void)state;
  for_each_table(check_cope);
}

/* Every other query has no gradient; or is not there. */
static void without_odd_queries(subject *s, bool left_out) {
  for (int64_t i = 1; i < s->n; i += 2)
    memset(s->d_o + i * s->d, 0, (size_t)s->d * sizeof(real));
  if (!left_out) return;
  for (int64_t i = 2; i < s->n; i += 2) {
    size_t row = (size_t)s->d * sizeof(real);
    memcpy(s->q + i / 2 * s->d, s->q + i * s->d, row);
    memcpy(s->d_o + i / 2 * s->d, s->d_o + i * s->d, row);
    s->pos[i / 2] = s->pos[i];
    s->first[i / 2] = s->first[i];
  }
  s->n = (s->n + 1) / 2;
}

/* Skipped queries give the bits of masked ones, wherever blocks begin. */
static void check_skipping_of(const moh__kernels *table, int64_t window,
                              int64_t n_positions) {
  subject masked = make_positioned(900, 0, 20, window, n_positions);
  subject skipped = make_positioned(900, 0, 20, window, n_positions);
  int64_t n = masked.n_keys * (masked.d + 3);
  without_odd_queries(&masked, false);
  without_odd_queries(&skipped, true);
  run(table, &masked, 0);
  run(table, &skipped, 0);
  assert_same_reals(masked.dk[0], skipped.dk[0], n, "dk");
  assert_same_reals(masked.dv[0], skipped.dv[0], n, "dv");
  if (n_positions > 0)
    assert_same_reals(masked.d_table[0], skipped.d_table[0],
                      n_positions * masked.d, "d_table");
  free_subject(&masked);
  free_subject(&skipped);
}

static void check_skipping(const moh__kernels *table) {
  moh__kernel_use(table);
  check_skipping_of(table, 0, 0);
  check_skipping_of(table, 0, 20);
  check_skipping_of(table, 300, 40);
  check_skipping_of(table, 0, 2000);
}

static void skipping_is_masking(void **state) {
  (void)state;
  for_each_table(check_skipping);
}

/* A NaN in a key is in the results of those who see it, and breaks nothing. */
static void check_nan(const moh__kernels *table) {
  subject s = make_positioned(130, 0, 16, 0, 4000);
  int64_t key = 70;
  real *page = s.pages + s.page_ids[key / MOH__PANEL] *
                             (2 * s.d * MOH__PANEL + 16);
  page[key % MOH__PANEL] = NAN;
  run(table, &s, 0);
  for (int64_t i = 0; i < s.n; i++) {
    assert_true(isnan(s.o[0][i * s.d]) == (s.pos[i] >= key));
    assert_true(isnan(s.dq[0][i * s.d]) || s.pos[i] < key);
  }
  free_subject(&s);
}

static void a_nan_is_passed_on(void **state) {
  (void)state;
  for_each_table(check_nan);
  check_nan(&moh__kernels_reference);
}

/* A query by itself, and among others whose windows begin elsewhere: the same
 * bits. */
static void check_neighbours_of(const moh__kernels *table,
                                int64_t n_positions) {
  subject s = make_positioned(70, 600, 24, 100, n_positions);
  moh__attention all = attention_of(&s, 0);
  table->attention(&all, scratch);
  for (int64_t i = 0; i < s.n; i++) {
    moh__attention one = attention_of(&s, 1);
    one.n = 1;
    one.q += i * s.d;
    one.pos += i;
    one.first += i;
    table->attention(&one, scratch);
    assert_memory_equal(one.o, all.o + i * s.d, (size_t)s.d * sizeof(real));
    assert_true(one.lse[0] == all.lse[i]);
  }
  free_subject(&s);
}

static void check_neighbours(const moh__kernels *table) {
  check_neighbours_of(table, 0);
  check_neighbours_of(table, 20);
  check_neighbours_of(table, MOH__COPE_MAX);
}

static void neighbours_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_neighbours);
}

static void check_shapes(const moh__kernels *table) {
  static const int64_t queries[] = {1, 2, 5, 31, 32, 33, 48, 49, 65, 130};
  static const int64_t firsts[] = {0, 1, 62, 63, 64, 600};
  static const int64_t widths[] = {1, 6, 15, 16, 17, 32, 64, 100};
  for (int i = 0; i < 10; i++)
    for (int j = 0; j < 6; j++)
      check_one(table, queries[i], firsts[j], widths[(i * 3 + j) % 8]);
  check_one(table, 70, 3, MOH__MAX_HEAD);
  check_one(table, 3, 0, MOH__MAX_HEAD - 1);
}

static void attention_is_the_references(void **state) {
  (void)state;
  for_each_table(check_shapes);
}

/* Queries that lie in any order, listed by position: the same bits. */
static void check_list(const moh__kernels *table, int64_t n, int64_t d) {
  subject s = make_subject(n, 70, d);
  subject turned = make_subject(n, 70, d);
  int32_t *entries = malloc((size_t)n * sizeof(int32_t));
  for (int64_t i = 0; i < n; i++) {
    int64_t e = n - 1 - i;
    entries[i] = (int32_t)e;
    turned.pos[e] = s.pos[i];
    memcpy(turned.q + e * d, s.q + i * d, (size_t)d * sizeof(real));
  }
  moh__attention a = attention_of(&s, 0);
  moh__attention b = attention_of(&turned, 0);
  b.entries = entries;
  table->attention(&a, scratch);
  table->attention(&b, scratch);
  for (int64_t i = 0; i < n; i++) {
    assert_memory_equal(b.o + (n - 1 - i) * d, a.o + i * d,
                        (size_t)d * sizeof(real));
    assert_true(b.lse[n - 1 - i] == a.lse[i]);
  }
  free(entries);
  free_subject(&s);
  free_subject(&turned);
}

/* Two heads whose queries are in one list by turns: the bits of each by itself,
 * with its own table. */
static void check_heads(const moh__kernels *table) {
  enum { N = 61, D = 12, P = 21 };
  subject s = make_positioned(2 * N, 0, D, 0, 4 * P);
  int32_t start[] = {0, N, 2 * N};
  int32_t entries[2 * N];
  for (int32_t i = 0; i < 2 * N; i++) {
    entries[i] = i % 2 * N + i / 2;
    s.pos[i] = i % N * 3;
  }
  int64_t size = moh__packed_size(D, P);
  moh__attention both = attention_of(&s, 0);
  both.cope.n_positions = P;
  for (int h = 0; h < 2; h++) {
    moh__pack_transposed(s.packed + h * size, s.table + h * P * D, D, D, P);
    moh__attention one = attention_of(&s, 1);
    one.cope.n_positions = P;
    one.cope.table += h * P * D;
    one.cope.packed += h * size;
    one.n = N;
    one.q += h * N * D;
    one.pos += h * N;
    one.o += h * N * D;
    one.lse += h * N;
    table->attention(&one, scratch);
  }
  both.cope.n_heads = 2;
  both.cope.start = start;
  both.entries = entries;
  table->attention(&both, scratch);
  assert_same_reals(s.o[0], s.o[1], 2 * N * D, "o of two heads");
  assert_same_reals(s.lse[0], s.lse[1], 2 * N, "lse of two heads");
  free_subject(&s);
}

static void heads_have_their_own_tables(void **state) {
  (void)state;
  for_each_table(check_heads);
  check_heads(&moh__kernels_reference);
}

static void check_lists(const moh__kernels *table) {
  check_list(table, 1, 64);
  check_list(table, 7, 16);
  check_list(table, 300, 48);
}

static void lists_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_lists);
}

/* From the last tile of keys to the first, over several of them. */
static void check_direction(const moh__kernels *table) {
  static const int64_t firsts[] = {0, 500, 1300};
  for (int i = 0; i < 3; i++) {
    subject s = make_subject(40, firsts[i], 24);
    moh__attention a = attention_of(&s, 0);
    moh__attention b = attention_of(&s, 1);
    a.newest_first = true;
    table->attention(&a, scratch);
    moh__kernels_reference.attention(&b, scratch);
    assert_near(s.o, s.n * s.d, "o", table->name, &s);
    assert_near(s.lse, s.n, "lse", table->name, &s);
    free_subject(&s);
  }
}

static void keys_may_be_taken_from_the_last(void **state) {
  (void)state;
  for_each_table(check_direction);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(attention_is_the_references),
      cmocka_unit_test(windows_are_the_references),
      cmocka_unit_test(positions_are_the_references),
      cmocka_unit_test(skipping_is_masking),
      cmocka_unit_test(a_nan_is_passed_on),
      cmocka_unit_test(neighbours_change_no_bit),
      cmocka_unit_test(lists_change_no_bit),
      cmocka_unit_test(heads_have_their_own_tables),
      cmocka_unit_test(keys_may_be_taken_from_the_last),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
