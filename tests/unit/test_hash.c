/* SHA-256: the examples of FIPS 180-4 and lengths around a block's end. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "support/check.h"

static void assert_hash(const void *bytes, size_t n, const char *expected) {
  char hex[MOH__SHA256_HEX];
  assert_int_equal(moh__sha256(bytes, n, hex, NULL), MOH_OK);
  assert_string_equal(hex, expected);
}

/* NIST's example values for SHA-256: one block, two blocks, and the empty
 * message and the million letters of its validation set. */
static void fips_180_4(void **state) {
  (void)state;
  static const char two_blocks[] =
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  assert_hash("abc", 3,
              "ba7816bf8f01cfea414140de5dae2223"
              "b00361a396177a9cb410ff61f20015ad");
  assert_hash(two_blocks, strlen(two_blocks),
              "248d6a61d20638b8e5c026930c3e6039"
              "a33ce45964ff2167f6ecedd419db06c1");
  assert_hash(NULL, 0,
              "e3b0c44298fc1c149afbf4c8996fb924"
              "27ae41e4649b934ca495991b7852b855");
}

static void a_million_letters(void **state) {
  (void)state;
  enum { MILLION = 1000000 };
  char *letters = malloc(MILLION);
  assert_non_null(letters);
  memset(letters, 'a', MILLION);
  assert_hash(letters, MILLION,
              "cdc76e5c9914fb9281a1c7e284d73e67"
              "f1809a48a497200e046d39ccc7112cd0");
  free(letters);
}

/* 55 bytes are the most that fit into one padded block. */
static void around_a_block(void **state) {
  (void)state;
  char letters[64];
  memset(letters, 'a', sizeof(letters));
  assert_hash(letters, 55,
              "9f4390f8d30c2dd92ec9f095b65e2b9a"
              "e9b0a925a5258e241c9f1e910f734318");
  assert_hash(letters, 56,
              "b35439a4ac6f0948b6d6f9e3c6af0f5f"
              "590ce20f1bde7090ef7970686ec6738a");
  assert_hash(letters, 64,
              "ffe054fe7ae0cb6dc65c3af9b61d5209"
              "f439851db43d0ba5997337df154668eb");
}

/* However the bytes are cut, the hash is that of all of them. */
static void parts_are_the_whole(void **state) {
  (void)state;
  char hex[MOH__SHA256_HEX], letters[64];
  memset(letters, 'a', sizeof(letters));
  for (size_t cut = 0; cut <= sizeof(letters); cut++) {
    moh__hasher *hasher;
    assert_int_equal(moh__hasher_new(&hasher, NULL), MOH_OK);
    assert_int_equal(moh__hasher_put(hasher, letters, cut, NULL), MOH_OK);
    assert_int_equal(
        moh__hasher_put(hasher, letters + cut, sizeof(letters) - cut, NULL),
        MOH_OK);
    assert_int_equal(moh__hasher_end(hasher, hex, NULL), MOH_OK);
    moh__hasher_free(hasher);
    assert_string_equal(hex,
                        "ffe054fe7ae0cb6dc65c3af9b61d5209"
                        "f439851db43d0ba5997337df154668eb");
  }
  moh__hasher_free(NULL);
}

typedef struct watched {
  size_t n;  /* bytes that were told of */
  int calls; /* left, before it stops */
} watched;

static bool on_tick(void *context, size_t n_bytes) {
  watched *w = context;
  w->n += n_bytes;
  return w->calls-- > 0;
}

/* 10 MiB of zeros: the same hash, all bytes told of, and stopped at the
 * first, second and third call. */
static void a_watch_sees_all_bytes(void **state) {
  (void)state;
  const size_t n = 10 << 20;
  char plain[MOH__SHA256_HEX], hex[MOH__SHA256_HEX];
  char *zeros = calloc(1, n);
  assert_non_null(zeros);
  assert_int_equal(moh__sha256(zeros, n, plain, NULL), MOH_OK);
  watched w = {0, 100};
  moh__watch watch = {on_tick, &w};
  assert_int_equal(moh__sha256_watched(zeros, n, hex, &watch, NULL),
                   MOH_OK);
  assert_string_equal(hex, plain);
  assert_int_equal(w.n, n);
  assert_int_equal(w.calls, 100 - 3);
  for (int calls = 0; calls < 3; calls++) {
    w = (watched){0, calls};
    assert_int_equal(moh__sha256_watched(zeros, n, hex, &watch, NULL),
                     MOH_ERR_INTERRUPTED);
    assert_string_equal(hex, "");
  }
  free(zeros);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fips_180_4),
      cmocka_unit_test(a_million_letters),
      cmocka_unit_test(around_a_block),
      cmocka_unit_test(parts_are_the_whole),
      cmocka_unit_test(a_watch_sees_all_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
