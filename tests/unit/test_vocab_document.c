/*
 * Tokenizers from the vocabularies of other files: what their arrays mean,
 * and which of them are refused.
 */
#include <stdio.h>
#include <string.h>

#include "support/ids.h"
#include "support/vocabs.h"

static moh_error err;

/* ---- byte-level BPE from GGUF ---- */

enum { N_TOKENS = 12, N_MERGES = 4 };

static const char *const bytes_tokens[N_TOKENS] = {
    "<end>", "<user>",   "a",  "b",      "\u0120", "1",
    "ab",    "\u0120ab", "11", "<mark>", "'",      "\u010A"};
static const int32_t bytes_types[N_TOKENS] = {3, 3, 1, 1, 1, 1,
                                              1, 1, 1, 4, 1, 1};
static const char *const bytes_merges[N_MERGES] = {"a b", "\u0120 ab", "1 1",
                                                   "\u0120 \u0120"};

/* A vocabulary and room for what it points at. */
typedef struct vocab {
  moh__gguf_vocab gguf;
  moh__text tokens[N_TOKENS], merges[N_MERGES];
  int32_t types[N_TOKENS];
} vocab;

static void fill(vocab *v) {
  for (int i = 0; i < N_TOKENS; i++) v->tokens[i] = text_of(bytes_tokens[i]);
  for (int i = 0; i < N_MERGES; i++) v->merges[i] = text_of(bytes_merges[i]);
  memcpy(v->types, bytes_types, sizeof(v->types));
  v->gguf = (moh__gguf_vocab){.model = text_of("gpt2"),
                              .pre = text_of("smollm"),
                              .n_tokens = N_TOKENS,
                              .tokens = v->tokens,
                              .types = v->types,
                              .n_merges = N_MERGES - 1,
                              .merges = v->merges,
                              .bos = -1,
                              .eos = 0,
                              .eot = -1,
                              .eom = -1,
                              .unk = -1,
                              .add_bos = -1,
                              .add_eos = -1,
                              .add_space_prefix = -1};
}

static void a_pre_tokenizer_by_name(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  moh__tokenizer *t = tokenizer_of(&v.gguf);
  assert_int_equal(moh__tokenizer_size(t), N_TOKENS);
  ASSERT_IDS(t, text_of("ab ab11"), true, 6, 7, 5, 5);
  moh__tokenizer_free(t);
  v.gguf.pre = text_of("gpt-2");
  t = tokenizer_of(&v.gguf);
  ASSERT_IDS(t, text_of("ab ab11"), true, 6, 7, 8);
  moh__tokenizer_free(t);
}

static void token_types(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  moh__tokenizer *t = tokenizer_of(&v.gguf);
  ASSERT_IDS(t, text_of("a<mark><end>b<user>"), true, 2, 9, 0, 3, 1);
  moh__tokenizer_free(t);
}

static void assert_refused(const vocab *v, moh_status status,
                           const char *part) {
  moh__tokenizer *tokenizer;
  moh_status got = moh__tokenizer_from_gguf(&tokenizer, &v->gguf, &err);
  if (got != status || strstr(err.message, part) == NULL) {
    fail_msg("%s instead of \"%s\": %s", moh_status_name(got), part,
             err.message);
  }
  assert_null(tokenizer);
}

static void unknown_names_are_refused(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  v.gguf.pre = text_of("gpt-9");
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "\"gpt-9\"");
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "gpt-2");
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "llama-bpe");
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "qwen2");
  v.gguf.model = text_of("bert");
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "\"bert\"");
}

static void hostile_arrays_are_refused(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  v.tokens[3] = v.tokens[2];
  assert_refused(&v, MOH_ERR_FORMAT, "\"a\" is token 2 and token 3, too");
  v.tokens[3] = text_of("\xC3");
  assert_refused(&v, MOH_ERR_FORMAT, "token 3: it is not UTF-8");
  v.tokens[3] = (moh__text){"a\0b", 3};
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "token 3: it has a zero byte");
  v.tokens[3] = text_of("");
  assert_refused(&v, MOH_ERR_FORMAT, "token 3: it is empty");
  fill(&v);
  v.types[4] = 7;
  assert_refused(&v, MOH_ERR_FORMAT, "token 4: the type 7");
  v.types[4] = 0;
  assert_refused(&v, MOH_ERR_FORMAT, "token 4: the type 0");
  fill(&v);
  v.gguf.n_tokens = 0;
  assert_refused(&v, MOH_ERR_FORMAT, "without tokens");
  fill(&v);
  v.gguf.n_merges = 0;
  assert_refused(&v, MOH_ERR_FORMAT, "without merges");
  v.gguf.n_merges = N_MERGES;
  assert_refused(&v, MOH_ERR_FORMAT, "element 3 of \"merges\"");
  fill(&v);
  v.merges[1] = text_of("\xFF \xFE");
  assert_refused(&v, MOH_ERR_FORMAT,
                 "element 1 of tokenizer.ggml.merges is not UTF-8");
  v.gguf.model = text_of("llama");
  assert_refused(&v, MOH_ERR_FORMAT, "tokenizer.ggml.merges is not UTF-8");
}

static void special_tokens_are_checked(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  v.gguf.bos = N_TOKENS;
  assert_refused(&v, MOH_ERR_FORMAT, "the bos token is 12");
  fill(&v);
  v.gguf.eot = INT64_MAX;
  assert_refused(&v, MOH_ERR_FORMAT, "the eot token");
  fill(&v);
  v.gguf.eom = N_TOKENS;
  assert_refused(&v, MOH_ERR_FORMAT, "the eom token");
  fill(&v);
  v.gguf.add_bos = 1;
  assert_refused(&v, MOH_ERR_FORMAT, "begin with a bos token");
  fill(&v);
  v.gguf.add_eos = 1;
  v.gguf.eos = -1;
  assert_refused(&v, MOH_ERR_FORMAT, "end with an eos token");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_pre_tokenizer_by_name),
      cmocka_unit_test(token_types),
      cmocka_unit_test(unknown_names_are_refused),
      cmocka_unit_test(hostile_arrays_are_refused),
      cmocka_unit_test(special_tokens_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
