/*
 * Texts from memory, then words and characters from them. The first byte
 * tells JSON from plain text. Every text that is accepted must be valid UTF-8
 * and come back from its characters' ids, unless it has a NUL; and a dataset
 * made with the vocabulary of its own texts must hold no unknown token.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

static moh__tokenizer *chars_of(const moh__texts *texts) {
  moh__tokenizer *tokenizer;
  moh_status status = moh__tokenizer_train_chars(&tokenizer, texts->texts,
                                                 texts->n, NULL);
  require(status == MOH_OK);
  return tokenizer;
}

/* Whether some text holds the n bytes. */
static bool holds(const moh__texts *texts, const char *bytes, size_t n) {
  for (size_t i = 0; i < texts->n; i++) {
    moh__text text = texts->texts[i];
    if (text.n >= n && memmem(text.bytes, text.n, bytes, n)) return true;
  }
  return false;
}

static void check_text(const moh__tokenizer *chars, moh__text text) {
  moh__ids ids = {0};
  char *decoded;
  require(moh__tokenizer_encode(chars, text, true, &ids, NULL) == MOH_OK);
  require(moh__tokenizer_decode(chars, ids.ids, ids.n, false, &decoded,
                                NULL) == MOH_OK);
  require(strlen(decoded) == text.n);
  require(text.n == 0 || memcmp(decoded, text.bytes, text.n) == 0);
  free(decoded);
  moh__ids_free(&ids);
}

/* Sequences are of 2 to max_len tokens and follow each other. */
static void check_dataset(const moh__texts *texts, int64_t max_len,
                          bool all_known) {
  moh__tokenizer *words;
  moh__dataset *dataset;
  require(moh__tokenizer_train_words(&words, texts->texts, texts->n, NULL) ==
          MOH_OK);
  moh_status status = moh__dataset_make(
      &dataset, texts, words, (moh__dataset_options){.max_len = max_len},
      NULL);
  require((status == MOH_OK) == (dataset != NULL));
  if (dataset && all_known) require(dataset->n_unknown == 0);
  for (int64_t i = 0; dataset && i < dataset->n_sequences; i++) {
    int64_t n = dataset->sequences[i].n;
    require(n >= 2 && (n <= max_len || !texts->examples));
  }
  moh__dataset_free(dataset);
  moh__tokenizer_free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__texts texts;
  moh_error err;
  if (size == 0) return 0;
  const char *bytes = (const char *)data + 1;
  const char *name = data[0] & 1 ? "fuzz.json" : "fuzz.txt";
  if (moh__texts_parse(&texts, bytes, size - 1, NULL, name, &err)) {
    require(texts.texts == NULL && err.message[0] != '\0');
    return 0;
  }
  bool nul = holds(&texts, "", 1);
  moh__tokenizer *chars = chars_of(&texts);
  for (size_t i = 0; i < texts.n && !nul; i++) {
    check_text(chars, texts.texts[i]);
  }
  moh__tokenizer_free(chars);
  check_dataset(&texts, 2 + data[0] / 2 % 16,
                !nul && !holds(&texts, "<unk>", 5));
  moh__texts_free(&texts);
  return 0;
}
