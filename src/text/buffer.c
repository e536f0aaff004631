/* Growing by half each time, so that adding costs the added length. */
#include "text/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/utf8.h"

/* Room for n more bytes and a NUL. */
static moh_status reserve(moh__buffer *buffer, size_t n, moh_error *err) {
  size_t needed;
  bool fits = moh__add_size(buffer->n, n, &needed) &&
              moh__add_size(needed, 1, &needed);
  if (fits && buffer->bytes != NULL && needed <= buffer->capacity) {
    return MOH_OK;
  }
  size_t capacity = needed < 128 ? 128 : needed;
  fits = fits && moh__add_size(capacity, capacity / 2, &capacity);
  char *grown = fits ? realloc(buffer->bytes, capacity) : NULL;
  if (grown == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a text");
  }
  buffer->bytes = grown;
  buffer->capacity = capacity;
  return MOH_OK;
}

moh_status moh__buffer_add(moh__buffer *buffer, moh__text text,
                           moh_error *err) {
  MOH_TRY(reserve(buffer, text.n, err));
  if (text.n > 0) memcpy(buffer->bytes + buffer->n, text.bytes, text.n);
  buffer->n += text.n;
  buffer->bytes[buffer->n] = '\0';
  return MOH_OK;
}

moh_status moh__buffer_add_code(moh__buffer *buffer, uint32_t code,
                                moh_error *err) {
  char utf8[4];
  return moh__buffer_add(buffer, (moh__text){utf8, moh__utf8_put(code, utf8)},
                         err);
}

void moh__buffer_free(moh__buffer *buffer) {
  free(buffer->bytes);
  *buffer = (moh__buffer){0};
}
