/*
 * A session: pages for all slots in one block, one arena for its steps. Long
 * prompts are fed in chunks, so the arena's size does not grow with them. With
 * a window the pages are a ring: page p of the sequence lies in page p modulo
 * their number, which is as many as a chunk and the window before it touch.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/block.h"
#include "base/checked.h"
#include "infer/session_internal.h"
#include "kernel/kernel.h"

enum { CHUNK = 256 }; /* tokens of a prefill step */

static int32_t chunk_for(int32_t max_len) {
  return max_len < CHUNK ? max_len : CHUNK;
}

/* Of a slot: keys (first of the window, last of the chunk], wherever in their
 * pages they begin and end. */
static int32_t ring_pages(const moh__config *c, int32_t max_len) {
  int64_t keys =
      moh__window_most(&c->window, max_len) + chunk_for(max_len) - 1;
  int64_t tokens = moh__config_page_tokens(c);
  int64_t pages = (keys + tokens - 2) / tokens + 1;
  int32_t all = moh__session_pages_for(c, max_len);
  return pages < all ? (int32_t)pages : all;
}

size_t moh__session_page_bytes(const moh__config *c, int32_t n_pages) {
  size_t n_slots = (size_t)moh__config_passes(c);
  return n_slots * (size_t)n_pages * (size_t)moh__config_page_size(c) *
         sizeof(real);
}

moh_status moh__session_measure(const moh__model *model, int32_t max_len,
                                moh__session_bytes *bytes, moh_error *err) {
  const moh__config *c = &model->config;
  bytes->pages = moh__session_page_bytes(c, ring_pages(c, max_len));
  bytes->gates = moh__gate_record_bytes(c, max_len);
  return moh__arch_arena_bytes(model, 1, chunk_for(max_len), false,
                               &bytes->work, err);
}

/* Where the slots lie in s->pages. */
static void place_slots(moh__session *s) {
  const moh__config *c = &s->model->config;
  int n_slots = (int)moh__config_passes(c);
  for (int i = 0; i < n_slots; i++)
    s->slots[i] = s->pages + i * s->n_pages * moh__config_page_size(c);
}

static moh_status alloc_pages(moh__session *s, size_t bytes, moh_error *err) {
  const moh__config *c = &s->model->config;
  int n_slots = (int)moh__config_passes(c);
  int32_t n_pages = moh__session_pages_for(c, s->max_len);
  s->pages = moh__block_alloc(bytes);
  s->slots = calloc((size_t)n_slots, sizeof(real *));
  s->page_ids = calloc((size_t)n_pages, sizeof(int32_t));
  s->positions = calloc(CHUNK, sizeof(int32_t));
  s->tokens = calloc((size_t)s->max_len, sizeof(int32_t));
  if (s->pages == NULL || s->slots == NULL || s->page_ids == NULL ||
      s->positions == NULL || s->tokens == NULL)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for %zu bytes of keys and values", bytes);
  s->n_pages = s->n_ring = ring_pages(c, s->max_len);
  s->newest = -1;
  place_slots(s);
  for (int32_t p = 0; p < n_pages; p++) s->page_ids[p] = p % s->n_ring;
  s->cache.slots = s->slots;
  s->cache.page_size = moh__config_page_size(c);
  s->cache.page_ids = s->page_ids;
  s->cache.pages_per_seq = n_pages;
  return MOH_OK;
}

/* Pages keep their numbers, so the own sequence lists the same ones. */
moh_status moh__session_need_pages(moh__session *s, int32_t n_pages,
                                   moh_error *err) {
  if (n_pages <= s->n_pages) return MOH_OK;
  const moh__config *c = &s->model->config;
  int64_t size = moh__config_page_size(c), old_size = size * s->n_pages;
  int n_slots = (int)moh__config_passes(c);
  size_t bytes = moh__session_page_bytes(c, n_pages);
  real *old = s->pages, *pages = moh__block_alloc(bytes);
  if (pages == NULL)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for %zu bytes of keys and values", bytes);
  s->pages = pages;
  s->n_pages = n_pages;
  free(s->marked);
  s->marked = NULL;
  place_slots(s);
  for (int i = 0; i < n_slots; i++)
    for (int32_t p = moh__session_first_page(s, s->length);
         p < moh__session_pages_for(c, s->length); p++)
      memcpy(s->slots[i] + s->page_ids[p] * size,
             old + i * old_size + s->page_ids[p] * size,
             (size_t)size * sizeof(real));
  free(old);
  moh__session_only_window(s);
  return MOH_OK;
}

moh_status moh__session_need_rows(moh__session *s, int32_t n_seq,
                                  moh_error *err) {
  size_t bytes;
  MOH_TRY(s->tape.masked ? moh__arch_arena_bytes_masked(s->model, n_seq, 1,
                                                        false, &bytes, err)
                         : moh__arch_arena_bytes(s->model, n_seq, 1, false,
                                                 &bytes, err));
  if (bytes <= s->arena.size) return MOH_OK;
  moh__arena larger;
  MOH_TRY(moh__arena_init(&larger, bytes, err));
  moh__tape_reset(&s->tape, false);
  larger.peak = s->arena.peak;
  moh__arena_free(&s->arena);
  s->arena = larger;
  return MOH_OK;
}

void moh__session_only_window(moh__session *s) {
  s->oldest = moh__session_first_page(s, s->length);
  s->newest =
      moh__session_pages_for(&s->model->config, s->length) - 1;
}

static moh_status open_session(moh__session *s, moh__pool *pool, bool masked,
                               moh_error *err) {
  moh__session_bytes bytes;
  MOH_TRY(moh__session_measure(s->model, s->max_len, &bytes, err));
  if (masked)
    MOH_TRY(moh__arch_arena_bytes_masked(s->model, 1, chunk_for(s->max_len),
                                         false, &bytes.work, err));
  MOH_TRY(alloc_pages(s, bytes.pages, err));
  MOH_TRY(
      moh__gate_record_init(&s->gates, &s->model->config, s->max_len, err));
  MOH_TRY(moh__arena_init(&s->arena, bytes.work, err));
  MOH_TRY(moh__tape_init(&s->tape, &s->arena, pool, err));
  s->tape.masked = masked;
  return MOH_OK;
}

static moh_status make_session(moh__session **out, const moh__model *model,
                               moh__pool *pool, int32_t max_len, bool masked,
                               moh_error *err) {
  *out = NULL;
  int64_t limit = model->config.max_seq_len;
  if (max_len == 0) max_len = (int32_t)limit;
  if (max_len < 1 || max_len > limit)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a session holds 1 to %d tokens, not %d", (int)limit,
                     max_len);
  moh__session *s = calloc(1, sizeof(*s));
  if (s == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  s->model = model;
  s->max_len = max_len;
  moh_status status = open_session(s, pool, masked, err);
  if (status != MOH_OK) {
    moh__session_free(s);
    return status;
  }
  *out = s;
  return MOH_OK;
}

moh_status moh__session_new(moh__session **out, const moh__model *model,
                            moh__pool *pool, int32_t max_len,
                            moh_error *err) {
  return make_session(out, model, pool, max_len, false, err);
}

moh_status moh__session_new_masked(moh__session **out,
                                   const moh__model *model, moh__pool *pool,
                                   int32_t max_len, moh_error *err) {
  return make_session(out, model, pool, max_len, true, err);
}

void moh__session_free(moh__session *s) {
  if (s == NULL) return;
  moh__tape_free(&s->tape);
  moh__arena_free(&s->arena);
  moh__gate_record_free(&s->gates);
  free(s->pages);
  free(s->marked);
  free((void *)s->slots);
  free(s->page_ids);
  free(s->positions);
  free(s->tokens);
  free(s);
}

static moh_status check_tokens(const moh__session *s, const int32_t *tokens,
                               int32_t n, moh_error *err) {
  if (n < 1)
    return moh__fail(err, MOH_ERR_ARGUMENT, "there is no token to feed");
  if (n > s->max_len - s->length)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%d tokens do not fit behind %d of at most %d", n,
                     s->length, s->max_len);
  for (int32_t i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= s->model->config.vocab_size)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "token %d is not in the vocabulary of %d", tokens[i],
                       (int)s->model->config.vocab_size);
  return MOH_OK;
}

static const real *feed_chunk(moh__session *s, const int32_t *tokens,
                              int32_t n) {
  int32_t seq_start[2] = {0, n};
  int32_t last = n - 1;
  for (int32_t i = 0; i < n; i++) s->positions[i] = s->length + i;
  moh__batch batch = {.n = n,
                      .tokens = tokens,
                      .positions = s->positions,
                      .n_seq = 1,
                      .seq_start = seq_start,
                      .n_out = 1,
                      .out_rows = &last,
                      .cache = &s->cache};
  moh__tape_reset(&s->tape, false);
  const moh__tensor *logits = moh__arch_logits(s->model, &s->tape, &batch);
  moh__gate_record_add(&s->gates, s->tape.use, s->length);
  memmove(s->tokens + s->length, tokens, (size_t)n * sizeof(int32_t));
  s->length += n;
  int32_t newest = moh__session_pages_for(&s->model->config, s->length) - 1;
  if (newest > s->newest) s->newest = newest;
  return logits->v;
}

moh_status moh__session_feed(moh__session *s, const int32_t *tokens,
                             int32_t n, const real **logits, moh_error *err) {
  MOH_TRY(check_tokens(s, tokens, n, err));
  int32_t chunk = chunk_for(s->max_len);
  for (int32_t at = 0; at < n; at += chunk)
    *logits = feed_chunk(s, tokens + at, n - at < chunk ? n - at : chunk);
  return MOH_OK;
}

int32_t moh__session_length(const moh__session *s) { return s->length; }

int32_t moh__session_max_length(const moh__session *s) { return s->max_len; }

int32_t moh__session_vocabulary(const moh__session *s) {
  return (int32_t)s->model->config.vocab_size;
}

const int32_t *moh__session_tokens(const moh__session *s) {
  return s->tokens;
}

int32_t moh__session_rewind(moh__session *s, const int32_t *tokens,
                            int32_t n) {
  int32_t same = 0;
  while (same < n - 1 && same < s->length && tokens[same] == s->tokens[same])
    same++;
  moh__session_truncate(s, same);
  return same;
}

/* Whether the ring still has all keys that a token at position n will see. */
static bool has_window(const moh__session *s, int32_t n) {
  if (s->model->config.architecture == MOH__HYPERMIXER) return false;
  int32_t first = moh__session_first_page(s, n);
  return first > s->newest - s->n_ring && first >= s->oldest;
}

static size_t state_bytes(const moh__session *s) {
  return moh__session_page_bytes(&s->model->config, s->n_pages);
}

moh_status moh__session_mark(moh__session *s, moh_error *err) {
  if (s->model->config.architecture != MOH__HYPERMIXER) return MOH_OK;
  if (s->marked == NULL) s->marked = moh__block_alloc(state_bytes(s));
  if (s->marked == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu bytes of state",
                     state_bytes(s));
  memcpy(s->marked, s->pages, state_bytes(s));
  s->marked_length = s->length;
  return MOH_OK;
}

/* Whether the state at n is there, in pages or as it was marked. */
static bool go_back(moh__session *s, int32_t n) {
  if (has_window(s, n)) return true;
  if (s->marked == NULL || s->marked_length != n) return false;
  memcpy(s->pages, s->marked, state_bytes(s));
  return true;
}

void moh__session_truncate(moh__session *s, int32_t n) {
  const real *logits;
  if (n < 0 || n >= s->length) return;
  s->length = n;
  if (n > 0 && go_back(s, n)) return;
  s->marked_length = -1;
  s->length = 0;
  s->newest = -1;
  s->oldest = 0;
  if (n > 0) moh__session_feed(s, s->tokens, n, &logits, NULL);
}

const moh__head_use *moh__session_head_use(const moh__session *s) {
  return s->tape.use;
}

const moh__head_use *moh__session_expert_use(const moh__session *s) {
  return s->tape.expert_use;
}

int32_t moh__session_chunk(const moh__session *s) {
  return chunk_for(s->max_len);
}

const moh__gate_record *moh__session_gates(const moh__session *s) {
  return &s->gates;
}

size_t moh__session_peak(const moh__session *s) { return s->arena.peak; }
