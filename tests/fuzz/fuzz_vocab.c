/*
 * Vocabularies of other files. The input's first byte says which: a file of
 * llama2.c, or the arrays of a GGUF file, made of what follows. Behind a line
 * that is empty, or at the front when there is none, stands a text. What is
 * accepted must give ids of its vocabulary only, and with bytes for every
 * character the text must come back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/vocab_document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIRST = 3, N_BYTES = 256, MOST = 400 };

static void require(bool holds) {
  if (!holds) abort();
}

static void check(const moh__tokenizer *tokenizer, moh__text text,
                  bool comes_back) {
  moh__ids ids = {0};
  moh_error err;
  char *back;
  size_t n;
  moh_status status =
      moh__tokenizer_encode(tokenizer, text, !comes_back, &ids, &err);
  require(status == MOH_OK || !comes_back);
  for (size_t i = 0; i < ids.n; i++) {
    require(ids.ids[i] >= 0);
    require(ids.ids[i] < moh__tokenizer_size(tokenizer));
  }
  require(moh__tokenizer_decode_bytes(tokenizer, ids.ids, ids.n, true, &back,
                                      &n, &err) == MOH_OK);
  if (comes_back) {
    require(n == text.n && memcmp(back, text.bytes, n) == 0);
  }
  free(back);
  moh__ids_free(&ids);
}

/* ---- a file of llama2.c ---- */

static void check_file(moh__text file, int64_t n, moh__text text) {
  moh__tokenizer *tokenizer;
  moh_error err;
  moh_status status =
      moh__tokenizer_parse_llama2c(&tokenizer, file, n, "fuzz", &err);
  if (status != MOH_OK) {
    require(tokenizer == NULL && strncmp(err.message, "fuzz", 4) == 0);
    return;
  }
  check(tokenizer, text, true);
  moh__tokenizer_free(tokenizer);
}

static size_t put(char *out, float score, moh__text token) {
  int32_t n = (int32_t)token.n;
  memcpy(out, &score, 4);
  memcpy(out + 4, &n, 4);
  memcpy(out + 8, token.bytes, token.n);
  return 8 + token.n;
}

/* What a fuzzer would hardly find: the first ids as they must be, then lines
 * of the input as tokens. */
static void check_lines(moh__text lines, moh__text text) {
  char *file = malloc(16 * (FIRST + N_BYTES) + 64 + 9 * lines.n);
  int32_t longest = 64;
  size_t at = 4;
  int n = 0;
  require(file != NULL);
  memcpy(file, &longest, 4);
  for (; n < FIRST; n++) at += put(file + at, 0, (moh__text){"?", 1});
  for (; n < FIRST + N_BYTES; n++) {
    static const char digits[] = "0123456789ABCDEF";
    int byte = n - FIRST;
    char name[] = "<0x00>";
    name[3] = digits[byte / 16];
    name[4] = digits[byte % 16];
    at += put(file + at, 0, (moh__text){name, 6});
  }
  while (lines.n > 0 && n < MOST) {
    const char *end = memchr(lines.bytes, '\n', lines.n);
    size_t length = end == NULL ? lines.n : (size_t)(end - lines.bytes);
    if (length > 0) {
      at += put(file + at, -(float)n, (moh__text){lines.bytes, length});
      n++;
    }
    length += end != NULL;
    lines = (moh__text){lines.bytes + length, lines.n - length};
  }
  check_file((moh__text){file, at}, n, text);
  free(file);
}

/* ---- arrays of GGUF ---- */

/* Lines as tokens, each behind a byte for its type; further lines behind a
 * tab are merges. */
static void check_arrays(moh__text lines, bool scores, moh__text text) {
  moh__text tokens[MOST], merges[MOST];
  int32_t types[MOST];
  float numbers[MOST];
  moh__gguf_vocab v = {.tokens = tokens,
                       .types = types,
                       .merges = merges,
                       .bos = -1,
                       .eos = -1,
                       .eot = -1,
                              .eom = -1,
                       .unk = -1,
                       .add_bos = -1,
                       .add_eos = -1,
                       .add_space_prefix = -1};
  v.model = scores ? (moh__text){"llama", 5} : (moh__text){"gpt2", 4};
  v.pre = (moh__text){"smollm", 6};
  if (scores) v.scores = numbers;
  while (lines.n > 0 && v.n_tokens < MOST && v.n_merges < MOST) {
    const char *end = memchr(lines.bytes, '\n', lines.n);
    size_t length = end == NULL ? lines.n : (size_t)(end - lines.bytes);
    moh__text line = {lines.bytes, length};
    if (line.n > 0 && line.bytes[0] == '\t') {
      merges[v.n_merges++] = (moh__text){line.bytes + 1, line.n - 1};
    } else if (line.n > 0) {
      types[v.n_tokens] = line.bytes[0] - '0';
      numbers[v.n_tokens] = -(float)v.n_tokens;
      tokens[v.n_tokens++] = (moh__text){line.bytes + 1, line.n - 1};
    }
    length += end != NULL;
    lines = (moh__text){lines.bytes + length, lines.n - length};
  }
  moh__tokenizer *tokenizer;
  moh_error err;
  moh_status status = moh__tokenizer_from_gguf(&tokenizer, &v, &err);
  if (status != MOH_OK) {
    require(tokenizer == NULL && err.message[0] != '\0');
    require(status != MOH_ERR_MEMORY); /* so little has room */
    return;
  }
  check(tokenizer, text, false);
  moh__tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  const char *bytes = (const char *)data + 1;
  size_t n = size - 1;
  const char *gap = memmem(bytes, n, "\n\n", 2);
  moh__text lines = {bytes, gap == NULL ? n : (size_t)(gap - bytes)};
  moh__text text = {"ab <s> \xFF", 8};
  if (gap != NULL) text = (moh__text){gap + 2, n - lines.n - 2};
  switch (data[0]) {
    case 'f':
      check_file((moh__text){bytes, n}, 300, text);
      break;
    case 'l':
      check_lines(lines, text);
      break;
    default:
      check_arrays(lines, data[0] == 's', text);
  }
  return 0;
}
