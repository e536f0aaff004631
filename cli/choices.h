/*
 * moh eval --choices: questions with several answers, of which a model should
 * find the right one likeliest. A file has one JSON object a line:
 *   the text before the answers: "question" or "query", behind "context" and
 *     a line break where that is there, too; else "context" or "ctx"
 *   the answers: "choices" or "endings", a list of texts, or an object with
 *     the lists "text" and "label"
 *   the right one: "answer", "gold", "label" or "answerKey", its index from
 *     0, or its label (a letter from A on where there are no labels)
 * A blank goes between text and answer, unless answers may go on within a word
 * (no_blank). Where one of two texts has white space already, nothing goes
 * between them.
 */
#ifndef MOH_CLI_CHOICES_H
#define MOH_CLI_CHOICES_H

#include "load.h"

typedef struct moh__choices_options {
  const char *const *paths;
  int n_paths;
  const char *model; /* its name in the result */
  int64_t limit;     /* questions of each file; 0: all */
  bool json, each;   /* each: also every question */
  bool no_blank;
} moh__choices_options;

/* Writes the result to stdout. */
moh_status moh__choices_run(const moh__runner *runner,
                            const moh__choices_options *options,
                            moh_error *err);

#endif
