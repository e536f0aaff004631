/* moh eval --compare: two models with one vocabulary on the same texts. */
#ifndef MOH_CLI_COMPARE_H
#define MOH_CLI_COMPARE_H

#include "load.h"
#include "text/texts.h"

typedef struct moh__compare_options {
  const char *const *paths;
  int n_paths;
  moh__text_options format;
  const char *model, *other; /* their directories */
  int64_t context;           /* tokens of a window */
  int64_t limit;             /* predictions in all; 0: none */
  bool json;
} moh__compare_options;

/* Writes the result to stdout. Vocabularies that differ are
 * MOH_ERR_ARGUMENT. */
moh_status moh__compare_run(const moh__runner *reference,
                            const moh__runner *other,
                            const moh__compare_options *options,
                            moh_error *err);

#endif
