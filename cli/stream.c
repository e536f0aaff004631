/* Incremental decoding: see stream.h for the rule. */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

void moh__stream_init(moh__stream *stream, const moh__tokenizer *tokenizer,
                      FILE *out) {
  *stream = (moh__stream){.tokenizer = tokenizer, .out = out};
}

void moh__stream_free(moh__stream *stream) {
  moh__ids_free(&stream->ids);
  free(stream->text);
  stream->text = NULL;
}

/* Bytes that two texts begin with alike, not ending inside a character. */
static size_t common_length(const char *a, const char *b) {
  size_t n = 0;
  while (a[n] != '\0' && a[n] == b[n]) n++;
  while (n > 0 && ((unsigned char)b[n] & 0xC0) == 0x80) n--;
  return n;
}

static void write_up_to(moh__stream *stream, size_t n) {
  if (n <= stream->written) return;
  if (stream->out != NULL) {
    fwrite(stream->text + stream->written, 1, n - stream->written,
           stream->out);
    fflush(stream->out);
  }
  stream->written = n;
}

moh_status moh__stream_add(moh__stream *stream, const int32_t *tokens,
                           size_t n, moh_error *err) {
  char *text;
  for (size_t i = 0; i < n; i++)
    MOH_TRY(moh__ids_push(&stream->ids, tokens[i], err));
  MOH_TRY(moh__tokenizer_decode(stream->tokenizer, stream->ids.ids,
                                stream->ids.n, true, &text, err));
  size_t agreed =
      stream->text == NULL ? 0 : common_length(stream->text, text);
  free(stream->text);
  stream->text = text;
  write_up_to(stream, agreed);
  return MOH_OK;
}

void moh__stream_finish(moh__stream *stream) {
  if (stream->text != NULL) write_up_to(stream, strlen(stream->text));
}
