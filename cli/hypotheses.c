/* Keeping and printing the texts of a beam search. */
#include "hypotheses.h"

#include <stdlib.h>
#include <string.h>

#include "interrupt.h"

void moh__hypotheses_free(moh__hypotheses *h) {
  for (int i = 0; i < h->n; i++) free(h->items[i].text);
  free(h->items);
  *h = (moh__hypotheses){.n = 0};
}

void moh__hypotheses_begin(moh__hypotheses *h, const moh__hypothesis *about) {
  if (h->n == h->capacity) {
    int capacity = 2 * h->capacity + 4;
    moh__kept_text *items =
        realloc(h->items, (size_t)capacity * sizeof(*items));
    h->failed = h->failed || items == NULL;
    if (items == NULL) return;
    h->items = items;
    h->capacity = capacity;
  }
  h->items[h->n++] = (moh__kept_text){.about = *about};
}

bool moh__hypotheses_add(moh__hypotheses *h, const char *bytes, size_t n) {
  if (h->failed) return false;
  moh__kept_text *last = &h->items[h->n - 1];
  char *text = realloc(last->text, last->n + n);
  h->failed = text == NULL;
  if (h->failed) return false;
  memcpy(text + last->n, bytes, n);
  last->text = text;
  last->n += n;
  return true;
}

const char *moh__hypothesis_finish(const moh__hypothesis *about) {
  if (about->finish != MOH__FINISH_CANCELLED)
    return moh__finish_name(about->finish);
  return moh__interrupted() ? "interrupted" : "search";
}

void moh__hypotheses_print(FILE *out, const moh__hypotheses *h) {
  for (int i = 0; i < h->n; i++) {
    const moh__kept_text *item = &h->items[i];
    const moh__hypothesis *about = &item->about;
    fprintf(out, "%s[%d] score %.4f, ln p %.4f, %d tokens, ended by %s\n",
            i > 0 ? "\n" : "", about->rank + 1, about->score, about->log_p,
            about->n_tokens, moh__hypothesis_finish(about));
    if (item->n > 0) fwrite(item->text, 1, item->n, out);
    fputc('\n', out);
  }
}
