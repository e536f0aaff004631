/* A text that grows. */
#ifndef MOH_TEXT_BUFFER_H
#define MOH_TEXT_BUFFER_H

#include "text/tokenizer.h"

/* {0} is empty; bytes then is NULL. Behind the bytes stands a NUL. */
typedef struct moh__buffer {
  char *bytes;
  size_t n, capacity;
} moh__buffer;

moh_status moh__buffer_add(moh__buffer *buffer, moh__text text,
                           moh_error *err);
/* A code point as UTF-8. */
moh_status moh__buffer_add_code(moh__buffer *buffer, uint32_t code,
                                moh_error *err);
void moh__buffer_free(moh__buffer *buffer);

static inline moh__text moh__buffer_text(const moh__buffer *buffer) {
  return (moh__text){buffer->bytes, buffer->n};
}

#endif
