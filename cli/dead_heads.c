/* Watching for dead heads: see dead_heads.h. */
#include "dead_heads.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STRETCHES = 20, LEAST_STEPS = 10, SHOWN_LAYERS = 4 };

void moh__dead_heads_init(moh__dead_heads *d, int64_t n_steps) {
  int64_t every = n_steps / STRETCHES;
  *d = (moh__dead_heads){.every = every < LEAST_STEPS ? LEAST_STEPS : every};
}

void moh__dead_heads_free(moh__dead_heads *d) { free(d->used); }

/* ---- what is seen ---- */

static moh_status begin(moh__dead_heads *d, const moh__step_report *r,
                        moh_error *err) {
  for (int32_t l = 0; l < r->n_routed_layers; l++)
    d->n_columns += r->layers[l].n_routed;
  d->used = calloc((size_t)d->n_columns + 1, 1);
  if (d->used != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for %d heads",
                   d->n_columns);
}

static void take_in(moh__dead_heads *d, const moh__step_report *r) {
  unsigned char *used = d->used;
  for (int32_t l = 0; l < r->n_routed_layers; l++)
    for (int32_t h = 0; h < r->layers[l].n_routed; h++)
      *used++ |= r->layers[l].load[h] > 0;
  d->n++;
}

/* ---- what is said ---- */

/* Where none at all is used (k is 0), none is dead. */
static json_t *layer_json(const unsigned char *used, int32_t n) {
  json_t *heads = json_array();
  if (memchr(used, 1, (size_t)n) == NULL) return heads;
  for (int32_t h = 0; h < n; h++)
    if (!used[h]) json_array_append_new(heads, json_integer(h));
  return heads;
}

static json_t *layers_json(const moh__dead_heads *d,
                           const moh__step_report *r, size_t *n_dead) {
  const unsigned char *used = d->used;
  json_t *layers = json_array();
  *n_dead = 0;
  for (int32_t l = 0; l < r->n_routed_layers; l++) {
    json_t *heads = layer_json(used, r->layers[l].n_routed);
    used += r->layers[l].n_routed;
    *n_dead += json_array_size(heads);
    json_array_append_new(layers, heads);
  }
  return layers;
}

/* "layer 1: 3, 5; layer 2: 0; ..." */
static void add_layers(moh__line *line, const json_t *layers) {
  int n_shown = 0;
  for (size_t l = 0; l < json_array_size(layers); l++) {
    const json_t *heads = json_array_get(layers, l);
    if (json_array_size(heads) == 0) continue;
    if (n_shown++ == SHOWN_LAYERS) {
      moh__line_add(line, "; ...");
      return;
    }
    moh__line_add(line, "%slayer %zu: ", n_shown > 1 ? "; " : "", l);
    for (size_t h = 0; h < json_array_size(heads); h++)
      moh__line_add(line, "%s%" JSON_INTEGER_FORMAT, h > 0 ? ", " : "",
                    json_integer_value(json_array_get(heads, h)));
  }
}

static void tell(const moh__dead_heads *d, int64_t step, size_t n_dead,
                 const json_t *layers, moh__progress *progress) {
  moh__line line = {.n = 0};
  add_layers(&line, layers);
  moh__progress_note(progress,
                     "step %" PRId64 ": no token of the last %" PRId64
                     " steps used %zu of the routed heads (%s); a larger "
                     "--beta spreads the load",
                     step, d->every, n_dead, line.text);
}

static void end_stretch(const moh__dead_heads *d, const moh__step_report *r,
                        moh__progress *progress, json_t *line) {
  size_t n_dead;
  json_t *layers = layers_json(d, r, &n_dead);
  if (n_dead > 0) {
    tell(d, r->step, n_dead, layers, progress);
    json_object_set_new(line, "dead_heads",
                        json_pack("{s:I, s:O}", "steps", (json_int_t)d->every,
                                  "layers", layers));
  }
  json_decref(layers);
}

moh_status moh__dead_heads_step(moh__dead_heads *d, const moh__step_report *r,
                                moh__progress *progress, json_t *line,
                                moh_error *err) {
  if (r->n_routed_layers == 0) return MOH_OK;
  if (d->used == NULL) MOH_TRY(begin(d, r, err));
  take_in(d, r);
  if (r->step % d->every != 0) return MOH_OK;
  if (d->n == d->every) end_stretch(d, r, progress, line);
  d->n = 0;
  memset(d->used, 0, (size_t)d->n_columns);
  return MOH_OK;
}
