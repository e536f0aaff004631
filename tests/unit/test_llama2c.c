/* Checkpoints of llama2.c: what is where, and every lie of a head. */
#include <stdlib.h>
#include <string.h>

#include "format/llama2c.h"
#include "support/check.h"
#include "support/temp_dir.h"

static moh_error err;

/* A head and n floats, which count up. */
typedef struct checkpoint {
  int32_t head[7];
  float numbers[256];
} checkpoint;

static checkpoint make(int32_t d, int32_t ff, int32_t layers, int32_t heads,
                       int32_t kv, int32_t vocab, int32_t longest) {
  checkpoint c = {.head = {d, ff, layers, heads, kv, vocab, longest}};
  for (int i = 0; i < 256; i++) c.numbers[i] = (float)i;
  return c;
}

static moh_status parse(const checkpoint *c, size_t n_floats,
                        moh__llama2c *file) {
  return moh__llama2c_parse(file, (const unsigned char *)c,
                            sizeof(c->head) + 4 * n_floats, "file", &err);
}

static float first(const moh__llama2c *file, moh__llama2c_kind kind) {
  float x;
  memcpy(&x, file->data[kind], sizeof(x));
  return x;
}

/* Width 4, 2 heads, 1 KV head, 3 hidden, 2 layers, 5 tokens, 3 positions:
 * 20, 8, 32, 16, 16, 32, 8, 24, 24, 24, 4, 3, 3. */
static void kinds_follow_one_another(void **state) {
  (void)state;
  checkpoint c = make(4, 3, 2, 2, 1, 5, 3);
  moh__llama2c f;
  static const float want[] = {0,   20,  28,  60,  76,  92,  124,
                               132, 156, 180, 204, 208, 211, 214};
  assert_int_equal(parse(&c, 214, &f), MOH_OK);
  assert_true(f.tied);
  assert_int_equal(f.vocab_size, 5);
  assert_int_equal(f.max_seq_len, 3);
  for (int kind = 0; kind < MOH__LLAMA2C_OUTPUT; kind++)
    assert_true(first(&f, (moh__llama2c_kind)kind) == want[kind]);
  assert_int_equal(f.n[MOH__LLAMA2C_K], 8);
  assert_int_equal(f.n[MOH__LLAMA2C_OUTPUT], 0);
}

static void a_negative_vocabulary_has_its_own_output(void **state) {
  (void)state;
  checkpoint c = make(4, 3, 2, 2, 1, -5, 3);
  moh__llama2c f;
  assert_int_equal(parse(&c, 234, &f), MOH_OK);
  assert_false(f.tied);
  assert_int_equal(f.vocab_size, 5);
  assert_int_equal(f.n[MOH__LLAMA2C_OUTPUT], 20);
  assert_true(first(&f, MOH__LLAMA2C_OUTPUT) == 214);
}

static void assert_refused(checkpoint c, size_t n_floats, const char *part) {
  moh__llama2c f;
  assert_int_not_equal(parse(&c, n_floats, &f), MOH_OK);
  assert_memory_equal(err.message, "file: ", 6);
  if (strstr(err.message, part) == NULL)
    fail_msg("'%s' lacks '%s'", err.message, part);
}

static void sizes_are_exact(void **state) {
  (void)state;
  checkpoint c = make(4, 3, 2, 2, 1, 5, 3);
  assert_refused(c, 213,
                 "has 880 bytes, but the numbers of its head need 884");
  assert_refused(c, 215, "need 884");
  moh__llama2c f;
  assert_int_not_equal(
      moh__llama2c_parse(&f, (const unsigned char *)&c, 27, "file", &err),
      MOH_OK);
  assert_non_null(strstr(err.message, "27 bytes, too few"));
}

static void numbers_of_the_head_are_checked(void **state) {
  (void)state;
  for (int i = 0; i < 7; i++) {
    checkpoint c = make(4, 3, 2, 2, 1, 5, 3);
    c.head[i] = 0;
    assert_refused(c, 214, "of the head is 0");
    c.head[i] = i == 5 ? 0 : -1;
    assert_refused(c, 214, "of the head is");
    c.head[i] = INT32_MAX;
    assert_refused(c, 214, "");
    c.head[i] = INT32_MIN;
    assert_refused(c, 214, "");
  }
  assert_refused(make(4, 3, 2, 3, 1, 5, 3), 214, "do not go together");
  assert_refused(make(4, 3, 2, 4, 1, 5, 3), 214, "do not go together");
  assert_refused(make(4, 3, 2, 2, 4, 5, 3), 214, "do not go together");
}

static void sizes_do_not_wrap(void **state) {
  (void)state;
  int32_t most = 1 << 30;
  assert_refused(make(most, most, most, 1, 1, most, most), 214, "too large");
  most = 1 << 28;
  assert_refused(make(most, most, 2, 1, 1, most, most), 214, "need");
}

static void later_versions_are_named(void **state) {
  (void)state;
  checkpoint c = make(0x616b3432, 1, 2, 2, 1, 5, 3);
  assert_refused(c, 214, "of version 1; only version 0");
}

static void a_file_is_opened_or_named(void **state) {
  checkpoint c = make(4, 3, 2, 2, 1, 5, 3);
  const char *path = temp_path(state, "m.bin");
  moh__llama2c f;
  temp_write(path, &c, sizeof(c.head) + 4 * 214);
  assert_int_equal(moh__llama2c_open(&f, path, &err), MOH_OK);
  assert_true(first(&f, MOH__LLAMA2C_NORM) == 204);
  moh__llama2c_close(&f);
  temp_write(path, "", 0);
  assert_int_equal(moh__llama2c_open(&f, path, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "m.bin: has 0 bytes"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kinds_follow_one_another),
      cmocka_unit_test(a_negative_vocabulary_has_its_own_output),
      cmocka_unit_test(sizes_are_exact),
      cmocka_unit_test(numbers_of_the_head_are_checked),
      cmocka_unit_test(sizes_do_not_wrap),
      cmocka_unit_test(later_versions_are_named),
      cmocka_unit_test_setup_teardown(a_file_is_opened_or_named,
                                      temp_dir_setup, temp_dir_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
