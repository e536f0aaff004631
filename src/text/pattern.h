/*
 * Regular expressions of tokenizer files. They are written for the Rust
 * library `tokenizers`, whose engine has Ruby's rules: ^ and $ stand at
 * every line, an empty match right behind a match does not count, and \s is
 * the White_Space property of Unicode. What PCRE2 would read in another way
 * is written anew where that can be done, and refused by name where not.
 *
 * Searching has limits: one search gives up after so many steps, so deep a
 * nesting, so much memory; and a text allows so much looking far ahead.
 */
#ifndef MOH_TEXT_PATTERN_H
#define MOH_TEXT_PATTERN_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include <jansson.h>
#include <pcre2.h>

#include "text/tokenizer.h"

/* White space, for a class of characters. \s means other characters in other
 * versions of Unicode. */
#define MOH__BLANKS                                                     \
  "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}" \
  "\\x{2029}\\x{202F}\\x{205F}\\x{3000}"

/* White_Space of a code point, as Rust's char::is_whitespace. */
bool moh__is_blank(uint32_t code);

/* The same for many threads. */
typedef struct moh__pattern {
  pcre2_code *code;
} moh__pattern;

/* {0} after a failure, and after moh__pattern_free. */
moh_status moh__pattern_regex(moh__pattern *pattern, moh__text regex,
                              moh_error *err);
moh_status moh__pattern_literal(moh__pattern *pattern, moh__text text,
                                moh_error *err);
/* {"Regex": "..."} or {"String": "..."} */
moh_status moh__pattern_read(moh__pattern *pattern, const json_t *json,
                             moh_error *err);
void moh__pattern_free(moh__pattern *pattern);

/* What a search needs, for one thread at a time. */
typedef struct moh__matcher {
  pcre2_match_data *data;
  pcre2_match_context *limits;
} moh__matcher;

moh_status moh__matcher_open(moh__matcher *matcher, moh_error *err);
void moh__matcher_close(moh__matcher *matcher);

/* All matches in a text of UTF-8, one after the other. */
typedef struct moh__search {
  const moh__pattern *pattern;
  moh__text text;
  size_t from, last;
  size_t start, end; /* the match that was found */
  size_t paid;       /* bytes of long windows so far */
} moh__search;

static inline moh__search moh__search_in(const moh__pattern *pattern,
                                         moh__text text) {
  return (moh__search){pattern, text, 0, PCRE2_UNSET, 0, 0, 0};
}

/* The next match; *found false when there is none. */
moh_status moh__search_next(moh__search *search, const moh__matcher *matcher,
                            bool *found, moh_error *err);

#endif
