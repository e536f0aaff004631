/*
 * tokenizer.json from memory, and a text for it: they stand in the input one
 * after the other, with a byte 0x00 between. A tokenizer that is accepted
 * must give ids of its vocabulary only and take them back, token by token as
 * at once. Then a tokenizer
 * is made from the text: what it encodes without an unknown token must come
 * back from its decoded text, and BPE must decode to the text itself.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/decoding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
  if (!holds) abort();
}

static char *decoded(const moh__tokenizer *tokenizer, const moh__ids *ids,
                     bool skip_special) {
  char *text;
  require(moh__tokenizer_decode(tokenizer, ids->ids, ids->n, skip_special,
                                &text, NULL) == MOH_OK);
  return text;
}

static void check_one_by_one(const moh__tokenizer *tokenizer,
                             const moh__ids *ids) {
  moh__decoding d;
  char *text = decoded(tokenizer, ids, true);
  moh__decoding_init(&d, tokenizer, true);
  for (size_t i = 0; i < ids->n; i++) {
    require(moh__decoding_add(&d, ids->ids[i], NULL) == MOH_OK);
    require(d.text.n == 0 || memcmp(d.text.bytes, text, d.text.n) == 0);
  }
  require(d.text.n == 0 || text[d.text.n] == '\0');
  moh__decoding_free(&d);
  free(text);
}

static void check_loaded(const char *json, size_t n, moh__text text,
                         bool specials) {
  moh__tokenizer *tokenizer;
  moh_error err;
  moh__ids ids = {0};
  if (moh__tokenizer_parse(&tokenizer, json, n, "fuzz", &err) != MOH_OK) {
    require(tokenizer == NULL && strncmp(err.message, "fuzz", 4) == 0);
    return;
  }
  moh_status status =
      moh__tokenizer_encode(tokenizer, text, specials, &ids, &err);
  require(status == MOH_OK || err.message[0] != '\0');
  for (size_t i = 0; i < ids.n; i++) {
    require(ids.ids[i] >= 0);
    require(ids.ids[i] < moh__tokenizer_size(tokenizer));
  }
  check_one_by_one(tokenizer, &ids);
  free(decoded(tokenizer, &ids, false));
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

/* Byte-level BPE gives back any bytes. */
static void check_bpe(moh__text text) {
  moh__tokenizer *bpe;
  moh__ids ids = {0};
  char *back;
  size_t n;
  require(moh__tokenizer_train_bpe(&bpe, &text, 1, 300, NULL) == MOH_OK);
  require(moh__tokenizer_encode(bpe, text, true, &ids, NULL) == MOH_OK);
  require(moh__tokenizer_decode_bytes(bpe, ids.ids, ids.n, false, &back, &n,
                                      NULL) == MOH_OK);
  require(n == text.n && memcmp(back, text.bytes, n) == 0);
  free(back);
  moh__ids_free(&ids);
  moh__tokenizer_free(bpe);
}

static bool has_id(const moh__ids *ids, int32_t id) {
  for (size_t i = 0; i < ids->n; i++) {
    if (ids->ids[i] == id) return true;
  }
  return false;
}

static void check_round_trip(const moh__tokenizer *tokenizer,
                             moh__text text) {
  moh__ids ids = {0}, again = {0};
  require(moh__tokenizer_encode(tokenizer, text, true, &ids, NULL) ==
          MOH_OK);
  if (!has_id(&ids, moh__tokenizer_unknown(tokenizer))) {
    char *back = decoded(tokenizer, &ids, false);
    require(moh__tokenizer_encode(tokenizer,
                                  (moh__text){back, strlen(back)}, true,
                                  &again, NULL) == MOH_OK);
    require(again.n == ids.n);
    require(ids.n == 0 || memcmp(again.ids, ids.ids,
                                 ids.n * sizeof(*ids.ids)) == 0);
    free(back);
  }
  moh__ids_free(&ids);
  moh__ids_free(&again);
}

/* One of the three kinds: making all of them takes most of the time. */
static void check_trained(size_t kind, moh__text text) {
  if (kind == 0) {
    check_bpe(text);
    return;
  }
  moh__tokenizer *tokenizer;
  require((kind == 1
               ? moh__tokenizer_train_words(&tokenizer, &text, 1, NULL)
               : moh__tokenizer_train_chars(&tokenizer, &text, 1, NULL)) ==
          MOH_OK);
  check_round_trip(tokenizer, text);
  moh__tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  const char *bytes = (const char *)data;
  const uint8_t *end = memchr(data, 0, size);
  size_t n = end != NULL ? (size_t)(end - data) : 0;
  size_t skipped = end != NULL ? n + 1 : 0;
  moh__text text = {bytes + skipped, size - skipped};
  check_loaded(bytes, n, text, size % 2 == 0);
  check_trained(size % 3, text);
  return 0;
}
