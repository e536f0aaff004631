/* What is certain of a growing text: stop strings by the automaton of
 * Knuth, Morris and Pratt, whose state is also what must be held back; then
 * whole characters of what they leave. */
#include "text/stream.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"

/* fallback[i]: the length of the longest part of text[0..i] that is both a
 * true front part and an end part of it. */
static moh_status stop_init(moh__stop *stop, const char *text,
                            moh_error *err) {
  *stop = (moh__stop){.text = moh__text_of(text)};
  if (stop->text.n == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "a stop string is empty");
  stop->fallback = calloc(stop->text.n, sizeof(*stop->fallback));
  if (stop->fallback == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a stop string");
  size_t k = 0;
  for (size_t i = 1; i < stop->text.n; i++) {
    while (k > 0 && text[i] != text[k]) k = stop->fallback[k - 1];
    if (text[i] == text[k]) k++;
    stop->fallback[i] = k;
  }
  return MOH_OK;
}

moh_status moh__stream_init(moh__stream *stream,
                            const moh__tokenizer *tokenizer,
                            const char *const *stops, int n_stops,
                            moh__text_fn *fn, void *context, moh_error *err) {
  *stream = (moh__stream){.stop = -1, .fn = fn, .context = context};
  moh__decoding_init(&stream->decoding, tokenizer, true);
  if (n_stops == 0) return MOH_OK;
  if (n_stops < 0 || n_stops > MOH__STOPS_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT, "%d stop strings, %d at most",
                     n_stops, MOH__STOPS_MAX);
  stream->stops = calloc((size_t)n_stops, sizeof(*stream->stops));
  if (stream->stops == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for stop strings");
  stream->n_stops = n_stops;
  moh_status status = MOH_OK;
  for (int i = 0; i < n_stops && status == MOH_OK; i++)
    status = stop_init(&stream->stops[i], stops[i], err);
  if (status != MOH_OK) moh__stream_free(stream);
  return status;
}

void moh__stream_free(moh__stream *stream) {
  for (int i = 0; i < stream->n_stops; i++) free(stream->stops[i].fallback);
  free(stream->stops);
  stream->stops = NULL;
  stream->n_stops = 0;
  moh__decoding_free(&stream->decoding);
}

moh_status moh__stream_copy(moh__stream *stream, const moh__stream *other,
                            moh_error *err) {
  MOH_TRY(moh__decoding_copy(&stream->decoding, &other->decoding, err));
  for (int i = 0; i < stream->n_stops; i++)
    stream->stops[i].matched = other->stops[i].matched;
  stream->stop = other->stop;
  stream->scanned = other->scanned;
  stream->end = other->end;
  stream->passed = other->passed;
  stream->refused = other->refused;
  return MOH_OK;
}

/* ---- stop strings ---- */

/* One byte more; true when the stop string is complete. */
static bool stop_step(moh__stop *stop, char byte) {
  const char *text = stop->text.bytes;
  while (stop->matched > 0 && byte != text[stop->matched])
    stop->matched = stop->fallback[stop->matched - 1];
  if (byte == text[stop->matched]) stop->matched++;
  return stop->matched == stop->text.n;
}

/* Reads the new bytes up to the first complete stop string. */
static void scan(moh__stream *stream) {
  const moh__decoding *d = &stream->decoding;
  while (stream->scanned < d->text.n && stream->stop < 0) {
    char byte = d->text.bytes[stream->scanned++];
    for (int i = 0; i < stream->n_stops; i++) {
      if (!stop_step(&stream->stops[i], byte)) continue;
      if (stream->stop < 0 ||
          stream->stops[i].text.n > stream->stops[stream->stop].text.n)
        stream->stop = i;
    }
  }
  size_t held = 0;
  for (int i = 0; i < stream->n_stops; i++)
    if (stream->stops[i].matched > held) held = stream->stops[i].matched;
  if (stream->stop >= 0) held = stream->stops[stream->stop].text.n;
  stream->end = stream->scanned - held;
}

/* ---- characters ---- */

/* Whether a byte may come second behind `first` (RFC 3629, section 4). */
static bool is_second(unsigned char first, unsigned char byte) {
  unsigned char least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  unsigned char most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return byte >= least && byte <= most;
}

/* Bytes at the front of a text (which does not start with a whole
 * character) that could begin one; 0: not even the first. */
static size_t begun(moh__text text) {
  const unsigned char *b = (const unsigned char *)text.bytes;
  if (text.n == 0 || b[0] < 0xC2 || b[0] > 0xF4) return 0;
  size_t needed = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2;
  if (text.n == 1 || !is_second(b[0], b[1])) return 1;
  size_t n = 2;
  while (n < needed - 1 && n < text.n && (b[n] & 0xC0) == 0x80) n++;
  return n;
}

static void pass(moh__stream *stream, const char *bytes, size_t n) {
  if (n == 0 || stream->fn == NULL || stream->refused) return;
  stream->refused = !stream->fn(stream->context, bytes, n);
}

/* Passes on the text up to stream->end, without an unfinished character
 * unless `all`. */
static void pass_on(moh__stream *stream, bool all) {
  while (stream->passed < stream->end) {
    const char *bytes = stream->decoding.text.bytes + stream->passed;
    moh__text rest = {bytes, stream->end - stream->passed};
    size_t n = moh__utf8_valid(rest);
    pass(stream, bytes, n);
    stream->passed += n;
    rest = moh__text_part(rest, n, rest.n);
    if (rest.n == 0) return;
    n = begun(rest);
    if (n == rest.n && !all) return;
    pass(stream, "\xEF\xBF\xBD", 3);
    stream->passed += n > 0 ? n : 1;
  }
}

moh_status moh__stream_echo(moh__stream *stream, int32_t token,
                            moh_error *err) {
  MOH_TRY(moh__decoding_add(&stream->decoding, token, err));
  stream->scanned = stream->end = stream->decoding.text.n;
  pass_on(stream, false);
  return MOH_OK;
}

moh_status moh__stream_add(moh__stream *stream, int32_t token,
                           moh_error *err) {
  if (stream->stop >= 0) return MOH_OK;
  MOH_TRY(moh__decoding_add(&stream->decoding, token, err));
  scan(stream);
  pass_on(stream, stream->stop >= 0);
  return MOH_OK;
}

void moh__stream_finish(moh__stream *stream) {
  if (stream->stop < 0) stream->end = stream->scanned;
  pass_on(stream, true);
}
