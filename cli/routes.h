/* The pictures of moh routes: on a terminal, as SVG, as JSON. */
#ifndef MOH_CLI_ROUTES_H
#define MOH_CLI_ROUTES_H

#include <jansson.h>

#include "routing.h"
#include "text/tokenizer.h"

/* How a picture for a terminal is drawn. */
typedef struct moh__routes_style {
  bool color, utf8;
  int width; /* columns that there are */
} moh__routes_style;

moh__routes_style moh__routes_style_of(int descriptor);

/* A line for each token that is shown, with a sign for each head of each
 * layer: the higher, the larger its gate. Layers that do not fit beside the
 * others come below. */
void moh__routes_grid(FILE *out, const moh__routing *routing,
                      const moh__tokenizer *tokenizer,
                      const moh__routes_style *style);
/* Load of each head over all tokens, entropy, heads a token. */
void moh__routes_table(FILE *out, const moh__routing *routing,
                       const moh__routes_style *style);

/* Both as a picture. */
void moh__routes_svg(FILE *out, const moh__routing *routing,
                     const moh__tokenizer *tokenizer, const char *title);

/* Both as a document: a new reference, NULL when memory ran out. */
json_t *moh__routes_json(const moh__routing *routing,
                         const moh__tokenizer *tokenizer);

/* The text of a token as people see it, at most `width` characters with an
 * ellipsis for the rest; to be freed, NULL when memory ran out. */
char *moh__routes_label(const moh__tokenizer *tokenizer, int32_t id,
                        int width);

#endif
