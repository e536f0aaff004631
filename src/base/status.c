/* Status codes, their names and texts, and how messages are made. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
#define STATUS_NAME(name, text) "MOH_" #name,
    MOH_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
};

static const char *const status_texts[] = {
#define STATUS_TEXT(name, text) text,
    MOH_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
};

#define N_STATUS ((int)(sizeof(status_names) / sizeof(status_names[0])))

const char *moh_status_name(moh_status status) {
  int code = (int)status;
  return code >= 0 && code < N_STATUS ? status_names[code]
                                      : "MOH_ERR_UNKNOWN";
}

const char *moh_status_text(moh_status status) {
  int code = (int)status;
  return code >= 0 && code < N_STATUS ? status_texts[code]
                                      : "unknown status";
}

#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)

const char *moh_version(void) {
  return TEXT_OF(MOH_VERSION_MAJOR) "." TEXT_OF(MOH_VERSION_MINOR) "." TEXT_OF(
      MOH_VERSION_PATCH);
}

int moh_version_number(void) { return MOH_VERSION_NUMBER; }

/* Messages quote names and texts of files: they stay one line and tell a
 * terminal nothing. White space becomes blanks, other control characters
 * become ?, and so do both bytes of U+0080 to U+009F. */
static void make_plain(char *text) {
  for (unsigned char *at = (unsigned char *)text; *at != '\0'; at++) {
    if (*at >= '\t' && *at <= '\r')
      *at = ' ';
    else if (*at < ' ' || *at == 127)
      *at = '?';
    else if (*at == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0)
      at[0] = at[1] = '?';
  }
}

moh_status moh__fail(moh_error *err, moh_status status, const char *format,
                     ...) {
  if (err == NULL) return status;
  va_list args;
  va_start(args, format);
  err->status = status;
  vsnprintf(err->message, sizeof(err->message), format, args);
  va_end(args);
  make_plain(err->message);
  return status;
}

moh_status moh__fail_in(moh_error *err, moh_status status,
                        const char *format, ...) {
  if (err == NULL) return status;
  char inner[sizeof(err->message)];
  memcpy(inner, err->message, sizeof(inner));
  inner[sizeof(inner) - 1] = '\0';
  va_list args;
  va_start(args, format);
  int used = vsnprintf(err->message, sizeof(err->message), format, args);
  va_end(args);
  err->status = status;
  make_plain(err->message);
  if (used < 0 || (size_t)used >= sizeof(err->message)) return status;
  size_t left = sizeof(err->message) - (size_t)used;
  int tail = snprintf(err->message + used, left, ": %s", inner);
  (void)tail; /* a cut message is still a message */
  return status;
}
