/* The texts of a beam search: kept until all have come, then printed. */
#ifndef MOH_CLI_HYPOTHESES_H
#define MOH_CLI_HYPOTHESES_H

#include <stdio.h>

#include "infer/generate.h"

typedef struct moh__kept_text {
  moh__hypothesis about;
  char *text;
  size_t n; /* bytes */
} moh__kept_text;

typedef struct moh__hypotheses {
  moh__kept_text *items;
  int n, capacity;
  bool failed; /* memory ran out */
} moh__hypotheses;

void moh__hypotheses_free(moh__hypotheses *hypotheses);

/* Begins the next one. */
void moh__hypotheses_begin(moh__hypotheses *hypotheses,
                           const moh__hypothesis *about);
/* Goes on with its text; false when memory ran out. */
bool moh__hypotheses_add(moh__hypotheses *hypotheses, const char *bytes,
                         size_t n);

/* What ended a text: the name of its finish; "search" for one that was not
 * complete when nothing could beat the best any more, or "interrupted". */
const char *moh__hypothesis_finish(const moh__hypothesis *about);

/* Each text below a line that says how good it is, with an empty line
 * between. */
void moh__hypotheses_print(FILE *out, const moh__hypotheses *hypotheses);

#endif
