/* Widths and characters of terminals. */
#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

bool moh__locale_is_utf8(void) {
  static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (int i = 0; i < 3; i++) {
    const char *value = getenv(names[i]);
    if (value == NULL || value[0] == '\0') continue;
    return strcasestr(value, "utf-8") != NULL ||
           strcasestr(value, "utf8") != NULL;
  }
  return false;
}

int moh__terminal_width(int descriptor, int otherwise) {
  struct winsize size;
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return otherwise;
  return size.ws_col;
}

int moh__columns(const char *text) {
  int n = 0;
  for (; *text != '\0'; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
  return n;
}

int moh__bytes_of_columns(const char *text, int most) {
  int i = 0;
  for (int n = 0; text[i] != '\0'; i++)
    if (((unsigned char)text[i] & 0xC0) != 0x80 && n++ == most) break;
  return i;
}
