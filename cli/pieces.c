/* Writing tokens: see pieces.h. */
#include "pieces.h"

#include <string.h>

#include "text/utf8.h"

/* The letter of \n and such, 0 for other characters. */
static char escape_of(uint32_t code) {
  static const char codes[] = "\n\t\r\\\"", letters[] = "ntr\\\"";
  const char *at = code == 0 || code > 0x7F ? NULL : strchr(codes, (int)code);
  return at == NULL ? '\0' : letters[at - codes];
}

/* Controls, and what has no place of its own: U+0080..9F, zero-width and
 * directional marks, line separators, private and unassigned planes. */
static bool is_hidden(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA1) || code == 0xAD ||
         (code >= 0x200B && code <= 0x200F) ||
         (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF ||
         code >= 0xE0000;
}

void moh__piece_write(FILE *out, moh__text piece) {
  while (piece.n > 0) {
    uint32_t code = 0;
    size_t n = moh__utf8_next(piece, &code);
    char escape = n > 0 ? escape_of(code) : '\0';
    if (escape != '\0')
      fprintf(out, "\\%c", escape);
    else if (n > 0 && !is_hidden(code))
      fwrite(piece.bytes, 1, n, out);
    else
      for (size_t i = 0; i < n || i == 0; i++)
        fprintf(out, "\\x%02X", (unsigned char)piece.bytes[i]);
    piece = moh__text_part(piece, n > 0 ? n : 1, piece.n);
  }
}

void moh__pieces_list(FILE *out, const moh__tokenizer *tokenizer,
                      const moh__ids *ids) {
  for (size_t i = 0; i < ids->n; i++) {
    fprintf(out, "%d\t\"", ids->ids[i]);
    moh__piece_write(out, moh__tokenizer_token(tokenizer, ids->ids[i]));
    fputs("\"\n", out);
  }
}

/* Whether a line ends behind a piece. */
static bool ends_line(moh__text piece) {
  return piece.n > 0 && piece.bytes[piece.n - 1] == '\n';
}

void moh__pieces_prompt(FILE *out, const moh__tokenizer *tokenizer,
                        const moh__ids *ids) {
  for (size_t i = 0; i < ids->n; i++) {
    int32_t id = ids->ids[i];
    bool special = moh__tokenizer_is_special(tokenizer, id);
    fprintf(out, "%d\t\"", id);
    moh__piece_write(out, special ? moh__tokenizer_spelling(tokenizer, id)
                                  : moh__tokenizer_token(tokenizer, id));
    fputs(special ? "\"\tspecial\n" : "\"\n", out);
  }
}

void moh__pieces_color(FILE *out, const moh__tokenizer *tokenizer,
                       const moh__ids *ids) {
  /* Dark letters on pale grounds of the 256 colours. */
  static const int grounds[] = {153, 157, 223, 189, 229};
  enum { N_GROUNDS = sizeof(grounds) / sizeof(grounds[0]) };
  moh__text piece = {"", 0};
  for (size_t i = 0; i < ids->n; i++) {
    piece = moh__tokenizer_token(tokenizer, ids->ids[i]);
    fprintf(out, "\033[30;48;5;%dm", grounds[i % N_GROUNDS]);
    moh__piece_write(out, piece);
    fputs("\033[0m", out);
    if (ends_line(piece)) fputc('\n', out);
  }
  if (!ends_line(piece)) fputc('\n', out);
}

void moh__pieces_ids(FILE *out, const moh__ids *ids) {
  for (size_t i = 0; i < ids->n; i++)
    fprintf(out, "%s%d", i == 0 ? "" : " ", ids->ids[i]);
  fputc('\n', out);
}

/* ---- JSON ---- */

json_t *moh__piece_json(moh__text piece) {
  if (moh__utf8_valid(piece) == piece.n)
    return json_stringn(piece.bytes, piece.n);
  json_t *bytes = json_array();
  for (size_t i = 0; i < piece.n; i++)
    json_array_append_new(bytes, json_integer((unsigned char)piece.bytes[i]));
  return bytes;
}

/* Piece by piece: a whole document would need a hundred times the memory of
 * its ids. */
moh_status moh__pieces_json(FILE *out, const moh__tokenizer *tokenizer,
                            const moh__ids *ids, size_t n_bytes,
                            moh_error *err) {
  fprintf(out, "{\n  \"n_bytes\": %zu,\n  \"n_tokens\": %zu,\n  \"ids\": [",
          n_bytes, ids->n);
  for (size_t i = 0; i < ids->n; i++)
    fprintf(out, "%s%d", i == 0 ? "" : ", ", ids->ids[i]);
  fputs("],\n  \"pieces\": [", out);
  for (size_t i = 0; i < ids->n; i++) {
    json_t *json =
        moh__piece_json(moh__tokenizer_token(tokenizer, ids->ids[i]));
    if (json == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
    if (i > 0) fputs(", ", out);
    json_dumpf(json, out, JSON_ENCODE_ANY);
    json_decref(json);
  }
  fputs("]\n}\n", out);
  return MOH_OK;
}
