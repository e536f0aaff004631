/*
 * Chat templates: the part of the Jinja language that tokenizer_config.json
 * files use, read as the library `transformers` sets it up (trim_blocks,
 * lstrip_blocks, loop controls, nothing escaped).
 *
 *   {{ expression }}, {# comment #}, white space control with - and +
 *   {% for x in list if condition %} ... {% else %} ... {% endfor %}, with
 *     two names for pairs, loop.index and its kin, {% break %}, {% continue %}
 *   {% if %}, {% elif %}, {% else %}, {% endif %}
 *   {% set name = ... %}, {% set ns.name = ... %} of a namespace(...), and
 *     {% set name %} ... {% endset %}
 *   strings, whole numbers, true, false, none, lists, dictionaries; x.name,
 *     x[i], x[a:b:c]; == != < > <= >= and or not in; + - * // % ~; a if b else
 *     c; filters, tests and the methods of strings and dictionaries that the
 *     tables in text/template_calls.c list
 *   raise_exception('...'): an error with that text
 *
 * No other calls, imports or macros: what is not known is an error that names
 * it and its line and column. strftime_now is not defined, so that templates
 * which ask for it fall back to their fixed date and a prompt does not depend
 * on the day. Upper and lower case are those of ASCII letters.
 *
 * A template has bounds on its length, the depth of its tree and, in
 * proportion to its length, the tree's memory; rendering has bounds on steps,
 * memory and output, so that a template from anywhere can do no more than
 * fail.
 *
 * What is rendered keeps track of where each byte comes from: a template's
 * own text may hold special tokens, the content of messages never does.
 * Cutting, joining and changing case keep a byte's origin; what `replace`
 * puts in counts as content when it, or what it replaces, is content; what
 * `tojson` writes of a string of content is content.
 */
#ifndef MOH_TEXT_TEMPLATE_H
#define MOH_TEXT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>

#include "text/tokenizer.h"

typedef struct moh__template moh__template;

/* The source is copied. `name` stands for it in messages. Not in the
 * language: MOH_ERR_FORMAT. */
moh_status moh__template_parse(moh__template **out, moh__text source,
                               const char *name, moh_error *err);
void moh__template_free(moh__template *t);

/* Bounds of one rendering. */
typedef struct moh__template_limits {
  int64_t steps; /* nodes visited, and bytes looked at by the 16 */
  size_t output; /* bytes */
  size_t memory; /* bytes of values on the way */
} moh__template_limits;
/* 2^24 steps, 16 MiB, 256 MiB. */
moh__template_limits moh__template_limits_default(void);

/* {0} is empty. The pieces lie side by side and cover the text. */
typedef struct moh__rendered {
  char *bytes; /* n and a NUL behind them */
  size_t n;
  moh__text_run *pieces;
  size_t n_pieces;
} moh__rendered;

void moh__rendered_free(moh__rendered *rendered);

/*
 * `settings` are variables whose strings count as the template's own
 * (bos_token, add_generation_prompt, ...), `data` those whose strings, and
 * the keys of whose dictionaries, are content (messages). Both are objects,
 * or NULL. limits NULL: the default. raise_exception is MOH_ERR_ARGUMENT
 * with the template's text; everything else that goes wrong is
 * MOH_ERR_FORMAT. On failure *out is empty.
 */
moh_status moh__template_render(const moh__template *program,
                                const json_t *settings, const json_t *data,
                                const moh__template_limits *limits,
                                moh__rendered *out, moh_error *err);

#endif
