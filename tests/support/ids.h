/* Encoding in tests: what must not fail, and ids written out. */
#ifndef MOH_TESTS_IDS_H
#define MOH_TESTS_IDS_H

#include <string.h>

#include "support/check.h"
#include "text/tokenizer.h"

static inline moh__text text_of(const char *string) {
  return (moh__text){string, strlen(string)};
}

/* To be freed. */
static inline moh__ids encoded(const moh__tokenizer *tokenizer,
                               moh__text text, bool specials) {
  moh_error err;
  moh__ids ids = {0};
  moh_status status =
      moh__tokenizer_encode(tokenizer, text, specials, &ids, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return ids;
}

static inline void assert_ids(const moh__tokenizer *tokenizer,
                              moh__text text, bool specials,
                              const int32_t *expected, size_t n) {
  moh__ids ids = encoded(tokenizer, text, specials);
  assert_int_equal(ids.n, n);
  if (n > 0) assert_memory_equal(ids.ids, expected, n * sizeof(*expected));
  moh__ids_free(&ids);
}
#define ASSERT_IDS(tokenizer, text, specials, ...)                      \
  assert_ids(tokenizer, text, specials, (const int32_t[]){__VA_ARGS__}, \
             sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

#endif
