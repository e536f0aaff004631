/* What a terminal can show: its width, its characters, and texts measured in
 * its columns. */
#ifndef MOH_CLI_TERMINAL_H
#define MOH_CLI_TERMINAL_H

#include <stdbool.h>

/* The locale, by LC_ALL, LC_CTYPE or LANG, writes UTF-8. */
bool moh__locale_is_utf8(void);

/* Columns of the terminal that the descriptor is, or `otherwise`. */
int moh__terminal_width(int descriptor, int otherwise);

/* Code points of UTF-8: what a terminal shows as columns, nearly always. */
int moh__columns(const char *text);

/* Bytes of the first `most` columns. */
int moh__bytes_of_columns(const char *text, int most);

#endif
