/*
 * Shard files: what was put in comes out, in both widths; every byte of the
 * header and of the starts that is changed is noticed, or harmless; sizes
 * that lie are refused before anything is done with them.
 */
#include "text/shard.h"

#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/temp_dir.h"

static moh_error err;

/* Three examples: 5 ids counting up from `first`, none, and 2. */
static void make_shard(moh__shard *shard, int32_t vocab, int32_t first) {
  int32_t ids[7];
  for (int32_t i = 0; i < 7; i++) ids[i] = first + i;
  *shard = (moh__shard){.head = {.vocab = vocab, .examples = true}};
  assert_int_equal(moh__shard_add(shard, ids, 5, &err), MOH_OK);
  assert_int_equal(moh__shard_add(shard, ids + 5, 0, &err), MOH_OK);
  assert_int_equal(moh__shard_add(shard, ids + 5, 2, &err), MOH_OK);
  shard->head.n_open = 3;
  shard->head.n_unknown = 1;
}

static const char *written(void **state, int32_t vocab, int32_t first) {
  const char *path = temp_path(state, "shard.bin");
  moh__shard shard;
  make_shard(&shard, vocab, first);
  assert_int_equal(moh__shard_write(&shard, path, &err), MOH_OK);
  moh__shard_free(&shard);
  return path;
}

/* As tokens of their own; frees nothing of the segment's. */
static void assert_ids(const moh__segment *segment, int32_t vocab,
                       int32_t first) {
  moh__tokens *tokens;
  int32_t ids[7];
  assert_int_equal(moh__tokens_new(&tokens, 1, &err), MOH_OK);
  tokens->segments[0] = *segment;
  tokens->vocab = vocab;
  moh__tokens_number(tokens);
  assert_int_equal(tokens->n, 7);
  assert_int_equal(moh__tokens_read(tokens, 0, 7, ids, &err), MOH_OK);
  for (int32_t i = 0; i < 7; i++) assert_int_equal(ids[i], first + i);
  assert_int_equal(moh__tokens_read(tokens, 3, 2, ids, &err), MOH_OK);
  assert_int_equal(ids[1], first + 4);
  moh__tokens_free(tokens);
}

static void shards_come_back(void **state) {
  const struct {
    int32_t vocab, first, width;
    size_t bytes;
  } cases[] = {{7, 0, 2, 64 + 16 + 32},
               {65536, 65529, 2, 64 + 16 + 32},
               {65537, 65530, 4, 64 + 32 + 32},
               {MOH__TOKENS_MAX, MOH__TOKENS_MAX - 7, 4, 64 + 32 + 32}};
  for (size_t i = 0; i < 4; i++) {
    moh__segment segment;
    moh__shard_head head;
    size_t n;
    const char *path = written(state, cases[i].vocab, cases[i].first);
    free(temp_read(path, &n));
    assert_int_equal(n, cases[i].bytes);
    assert_int_equal(moh__shard_open(&segment, &head, path, &err), MOH_OK);
    assert_int_equal(head.width, cases[i].width);
    assert_int_equal(head.vocab, cases[i].vocab);
    assert_true(head.examples);
    assert_int_equal(head.n_open, 3);
    assert_int_equal(head.n_unknown, 1);
    assert_int_equal(segment.n_examples, 3);
    assert_memory_equal(segment.starts, ((int64_t[]){0, 5, 5, 7}),
                        4 * sizeof(int64_t));
    assert_ids(&segment, cases[i].vocab, cases[i].first);
  }
}

static void streams_have_no_starts(void **state) {
  const char *path = temp_path(state, "stream.bin");
  moh__shard shard = {.head = {.vocab = 300}};
  moh__segment segment;
  moh__shard_head head;
  int32_t ids[] = {1, 299, 3};
  assert_int_equal(moh__shard_add(&shard, ids, 3, &err), MOH_OK);
  assert_int_equal(moh__shard_add(&shard, ids, 1, &err), MOH_OK);
  assert_int_equal(moh__shard_write(&shard, path, &err), MOH_OK);
  assert_int_equal(moh__shard_open(&segment, &head, path, &err), MOH_OK);
  assert_false(head.examples);
  assert_null(segment.starts);
  assert_memory_equal(segment.ids, ((uint16_t[]){1, 299, 3, 1}), 8);
  moh__map_close(&segment.map);
  free(segment.path);
  moh__shard_clear(&shard);
  assert_int_equal(moh__shard_add(&shard, ids + 1, 1, &err), MOH_OK);
  assert_int_equal(shard.head.n_tokens, 1);
  moh__shard_free(&shard);
}

/* A dataset of two shards: sequences may not cross, reads may. */
static void reads_cross_shards(void **state) {
  moh__tokens *tokens;
  moh__shard_head head;
  int32_t ids[14];
  assert_int_equal(moh__tokens_new(&tokens, 2, &err), MOH_OK);
  for (int32_t s = 0; s < 2; s++)
    assert_int_equal(moh__shard_open(&tokens->segments[s], &head,
                                     written(state, 100, 10 * s), &err),
                     MOH_OK);
  moh__tokens_number(tokens);
  for (int64_t first = 0; first <= 14; first++) {
    for (int64_t n = 0; first + n <= 14; n++) {
      assert_int_equal(moh__tokens_read(tokens, first, n, ids, &err),
                       MOH_OK);
      for (int64_t i = 0; i < n; i++) {
        int64_t at = first + i;
        assert_int_equal(ids[i], at < 7 ? at : at - 7 + 10);
      }
    }
  }
  moh__tokens_free(tokens);
}

static void wrong_ids_are_named_when_read(void **state) {
  moh__tokens *tokens;
  moh__shard_head head;
  int32_t ids[7];
  const char *path = written(state, 100, 93);
  assert_int_equal(moh__tokens_new(&tokens, 1, &err), MOH_OK);
  assert_int_equal(
      moh__shard_open(&tokens->segments[0], &head, path, &err), MOH_OK);
  moh__tokens_number(tokens);
  tokens->vocab = 98; /* 93..97 are fine, 98 and 99 are not */
  assert_int_equal(moh__tokens_read(tokens, 0, 5, ids, &err), MOH_OK);
  assert_int_equal(moh__tokens_read(tokens, 2, 5, ids, &err),
                   MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, path));
  assert_non_null(strstr(err.message, ": token 5 is 98, outside the "
                                      "vocabulary of 98"));
  moh__tokens_free(tokens);
}

/* ---- broken files ----------------------------------------------------- */

/* The file's bytes at an aligned address, exactly as many. */
static moh_status parse(const unsigned char *bytes, size_t n) {
  moh__segment segment;
  moh__shard_head head;
  unsigned char *copy = NULL;
  if (n > 0) copy = malloc(n);
  if (n > 0) memcpy(copy, bytes, n);
  moh_status status =
      moh__shard_parse(&segment, &head, copy, n, "x.bin", &err);
  if (status != MOH_OK) {
    assert_memory_equal(err.message, "x.bin: ", 7);
    assert_null(segment.ids);
  }
  free(copy);
  return status;
}

static void cut_and_longer_files_are_refused(void **state) {
  size_t n;
  unsigned char *bytes = temp_read(written(state, 100, 0), &n);
  assert_int_equal(n, 112);
  assert_int_equal(parse(bytes, n), MOH_OK);
  for (size_t cut = 0; cut < n; cut++)
    assert_int_equal(parse(bytes, cut), MOH_ERR_FORMAT);
  unsigned char *longer = calloc(1, n + 64);
  memcpy(longer, bytes, n);
  for (size_t more = 1; more <= 64; more++)
    assert_int_equal(parse(longer, n + more), MOH_ERR_FORMAT);
  free(longer);
  free(bytes);
}

/* Every bit of the header and the ends of the starts count. What could be
 * so is compared with the manifest: vocabulary and counters, and by its hash
 * everything. */
static void flipped_bits_are_refused(void **state) {
  size_t n;
  unsigned char *bytes = temp_read(written(state, 100, 0), &n);
  int passed = 0;
  for (size_t i = 0; i < n; i++) {
    bool id = i >= 64 && i < 80;
    bool maybe = (i >= 32 && i < 56) || (i >= 88 && i < 104);
    for (int bit = 0; bit < 8; bit++) {
      bytes[i] ^= (unsigned char)(1 << bit);
      moh_status status = parse(bytes, n);
      bytes[i] ^= (unsigned char)(1 << bit);
      if (id) assert_int_equal(status, MOH_OK);
      if (!id && !maybe) assert_int_not_equal(status, MOH_OK);
      passed += maybe && status == MOH_OK;
    }
  }
  /* The vocabulary's 16 lower bits; open 3 -> 1 and 2; unknown 1 -> 0, 3
   * and 5; the second start 5 -> 4 and 1, the third 5 -> 7. */
  assert_int_equal(passed, 16 + 2 + 3 + 3);
  free(bytes);
}

typedef struct lie {
  size_t at;
  uint64_t value;
  size_t n; /* bytes of it */
  const char *part;
} lie;

static void lies_are_refused(void **state) {
  const lie lies[] = {
      {8, 2, 4, "version 2"},
      {12, 4, 4, "ids of 4 bytes for a vocabulary of 100"},
      {12, 0, 4, "ids of 0 bytes"},
      {32, 0, 4, "a vocabulary of 0 tokens"},
      {32, (1 << 20) + 1, 4, "a vocabulary of 1048577 tokens"},
      {32, 65537, 4, "ids of 2 bytes"},
      {36, 2, 4, "contradicts itself"},
      {36, 0, 4, "contradicts itself"},
      {56, 1, 8, "contradicts itself"},
      {40, 4, 8, "counts more than there is"},
      {48, 8, 8, "counts more than there is"},
      {16, 1ull << 62, 8, "do not fit to 4611686018427387904 tokens"},
      {16, 1ull << 63, 8, "do not fit"},
      {16, UINT64_MAX, 8, "do not fit"},
      {16, (UINT64_MAX - 64) / 2, 8, "do not fit"},
      {24, UINT64_MAX, 8, "do not fit"},
      {24, 1ull << 61, 8, "do not fit"},
      {80, 1, 8, "its examples go from token 1 to 7, but it has 7"},
      {80, UINT64_MAX, 8, "example 0 goes from token -1 to 5"},
      {88, 6, 8, "example 1 goes from token 6 to 5"},
      {96, 8, 8, "example 2 goes from token 8 to 7"},
      {104, 6, 8, "from token 0 to 6, but it has 7"},
      {104, 1ull << 62, 8, "from token 0 to 4611686018427387904"},
  };
  size_t n;
  unsigned char *bytes = temp_read(written(state, 100, 0), &n);
  for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
    unsigned char kept[8];
    memcpy(kept, bytes + lies[i].at, lies[i].n);
    memcpy(bytes + lies[i].at, &lies[i].value, lies[i].n);
    assert_int_not_equal(parse(bytes, n), MOH_OK);
    if (strstr(err.message, lies[i].part) == NULL)
      fail_msg("\"%s\" is not in: %s", lies[i].part, err.message);
    memcpy(bytes + lies[i].at, kept, lies[i].n);
  }
  assert_int_equal(parse(bytes, n), MOH_OK);
  free(bytes);
}

#define IN_DIR(test)                                                     \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_DIR(shards_come_back),
      IN_DIR(streams_have_no_starts),
      IN_DIR(reads_cross_shards),
      IN_DIR(wrong_ids_are_named_when_read),
      IN_DIR(cut_and_longer_files_are_refused),
      IN_DIR(flipped_bits_are_refused),
      IN_DIR(lies_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
