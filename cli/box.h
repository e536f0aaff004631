/* A box of lines, 79 columns wide, with titled sections: drawn with lines
 * where the locale is UTF-8, with ASCII elsewhere. */
#ifndef MOH_CLI_BOX_H
#define MOH_CLI_BOX_H

#include <stdbool.h>
#include <stdio.h>

typedef struct moh__box {
  FILE *out;
  bool utf8;
} moh__box;

moh__box moh__box_open(FILE *out, const char *title);
void moh__box_section(const moh__box *box, const char *title);
/* A line; what is longer than the box is cut. */
void moh__box_line(const moh__box *box, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same with a label before it, in a column of its own. */
void moh__box_field(const moh__box *box, const char *label,
                    const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void moh__box_close(const moh__box *box);

#endif
