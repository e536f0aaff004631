/*
 * Each branch is a row of a table of page numbers and a node of a tree of
 * tokens. The tree never shrinks: step s of branch i is node s * n_most + i,
 * and what its token used of the heads is recorded at that place.
 */
#include "infer/branches.h"

#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "infer/page_pool.h"
#include "infer/session_internal.h"

typedef struct node {
  int32_t token;
  int32_t parent; /* -1: the session's last token */
} node;

/* A row of pages, and how far it reaches. */
typedef struct branch {
  int32_t length;
  int32_t first; /* page that it has not given up */
  int32_t node;  /* of the newest token; -1: none yet */
} branch;

struct moh__branches {
  moh__session *session;
  moh__page_pool pool;
  int32_t n, n_most;
  int32_t width;               /* page numbers in a row of a table */
  int32_t *pages, *next_pages; /* [n_most + 1][width]; the last one is kept */
  branch *branches, *next;     /* [n_most + 1]; length 0: none */
  node *nodes;                 /* [n_tokens * n_most] */
  int32_t step, n_tokens;
  moh__gate_record gates; /* by node */
  int32_t *positions, *seq_start, *tokens;
};

int32_t moh__branches_pages(const moh__config *config, int32_t n_held,
                            int32_t n_most, int32_t n_tokens) {
  const moh__window *window = &config->window;
  int32_t n = n_held + n_tokens;
  int64_t tokens = moh__config_page_tokens(config);
  int64_t behind = moh__session_pages_for(config, n) - n_held / tokens;
  int64_t touched = (moh__window_most(window, n) + tokens - 2) / tokens + 1;
  int64_t held = moh__session_pages_for(config, n_held) -
                 moh__window_first(window, n_held) / tokens;
  return (int32_t)(held +
                   (n_most + 1) * (behind < touched ? behind : touched));
}

moh_status moh__branches_measure(const moh__model *model, int32_t max_len,
                                 int32_t n_most, moh__session_bytes *bytes,
                                 moh_error *err) {
  const moh__config *c = &model->config;
  MOH_TRY(moh__session_measure(model, max_len, bytes, err));
  if (n_most == 0) return MOH_OK;
  if ((int64_t)n_most * (max_len + MOH__PANEL) > INT32_MAX / 2)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%d beams of %d tokens are too many", n_most, max_len);
  int32_t n_pages = moh__branches_pages(c, 1, n_most, max_len - 1);
  size_t pages = moh__session_page_bytes(c, n_pages), work;
  MOH_TRY(moh__arch_arena_bytes(model, n_most, 1, false, &work, err));
  if (pages > bytes->pages) bytes->pages = pages;
  if (work > bytes->work) bytes->work = work;
  bytes->gates += moh__gate_record_bytes(c, (max_len - 1) * n_most);
  return MOH_OK;
}

static int32_t *row_of(const moh__branches *b, int32_t i) {
  return b->pages + (int64_t)i * b->width;
}

/* The pages of a branch that its next token sees: n from `first` on. */
typedef struct span {
  int32_t first, n;
} span;

static span span_of(const moh__branches *b, const branch *of) {
  const moh__config *config = &b->session->model->config;
  return (span){of->first,
                moh__session_pages_for(config, of->length) - of->first};
}

/* ---- opening and closing ---- */

static moh_status alloc_tables(moh__branches *b, moh_error *err) {
  size_t rows = (size_t)b->n_most + 1, width = (size_t)b->width;
  size_t n_nodes = (size_t)b->n_tokens * (size_t)b->n_most;
  b->pages = calloc(rows * width, sizeof(int32_t));
  b->next_pages = calloc(rows * width, sizeof(int32_t));
  b->branches = calloc(rows, sizeof(branch));
  b->next = calloc(rows, sizeof(branch));
  b->nodes = calloc(n_nodes + 1, sizeof(node));
  b->positions = calloc(rows, sizeof(int32_t));
  b->seq_start = calloc(rows, sizeof(int32_t));
  b->tokens = calloc(rows, sizeof(int32_t));
  if (b->pages == NULL || b->next_pages == NULL || b->branches == NULL ||
      b->next == NULL || b->nodes == NULL || b->positions == NULL ||
      b->seq_start == NULL || b->tokens == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %d branches",
                     b->n_most);
  return MOH_OK;
}

/* The first branch lists the session's pages; the session has them, too. */
static void begin(moh__branches *b) {
  const moh__session *s = b->session;
  b->n = 1;
  b->branches[0] = (branch){.length = s->length,
                            .first = moh__session_first_page(s, s->length),
                            .node = -1};
  span all = span_of(b, &b->branches[0]);
  const int32_t *pages = s->page_ids + all.first;
  moh__page_pool_claim(&b->pool, pages, all.n);
  moh__page_pool_share(&b->pool, pages, all.n);
  memcpy(b->pages, s->page_ids,
         (size_t)(all.first + all.n) * sizeof(int32_t));
}

static moh_status open_branches(moh__branches *b, moh_error *err) {
  moh__session *s = b->session;
  const moh__config *config = &s->model->config;
  int32_t n_pages =
      moh__branches_pages(config, s->length, b->n_most, b->n_tokens);
  int32_t n_nodes = b->n_tokens * b->n_most;
  MOH_TRY(moh__session_need_pages(s, n_pages, err));
  MOH_TRY(moh__session_need_rows(s, b->n_most, err));
  moh__session_only_window(s);
  MOH_TRY(moh__page_pool_init(&b->pool, s->n_pages, err));
  MOH_TRY(alloc_tables(b, err));
  MOH_TRY(moh__gate_record_init(&b->gates, config, n_nodes, err));
  begin(b);
  return MOH_OK;
}

static moh_status check(const moh__session *s, int32_t n_most,
                        int32_t n_tokens, moh_error *err) {
  if (s->length < 1)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "an empty session has no branches");
  if (n_most < 1 || n_tokens < 0 || n_tokens > s->max_len - s->length ||
      (int64_t)n_most * (n_tokens + MOH__PANEL) > INT32_MAX / 2)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%d branches of %d tokens do not fit behind %d of at "
                     "most %d",
                     n_most, n_tokens, s->length, s->max_len);
  return MOH_OK;
}

moh_status moh__branches_open(moh__branches **out, moh__session *session,
                              int32_t n_most, int32_t n_tokens,
                              moh_error *err) {
  *out = NULL;
  MOH_TRY(check(session, n_most, n_tokens, err));
  moh__branches *b = calloc(1, sizeof(*b));
  if (b == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  b->session = session;
  b->n_most = n_most;
  b->n_tokens = n_tokens;
  b->width = moh__session_pages_for(&session->model->config,
                                    (int64_t)session->length + n_tokens);
  moh_status status = open_branches(b, err);
  if (status != MOH_OK) {
    moh__branches_close(b);
    return status;
  }
  *out = b;
  return MOH_OK;
}

void moh__branches_close(moh__branches *b) {
  if (b == NULL) return;
  moh__page_pool_free(&b->pool);
  moh__gate_record_free(&b->gates);
  free(b->pages);
  free(b->next_pages);
  free(b->branches);
  free(b->next);
  free(b->nodes);
  free(b->positions);
  free(b->seq_start);
  free(b->tokens);
  free(b);
}

/* ---- forking ---- */

/* Row `to` of a table becomes branch `from`, and shares its pages. */
static void share(moh__branches *b, int32_t from, int32_t *to_row,
                  branch *to) {
  *to = b->branches[from];
  span all = span_of(b, to);
  memcpy(to_row, row_of(b, from),
         (size_t)(all.first + all.n) * sizeof(int32_t));
  moh__page_pool_share(&b->pool, to_row + all.first, all.n);
}

static void drop(moh__branches *b, int32_t i) {
  span all = span_of(b, &b->branches[i]);
  moh__page_pool_release(&b->pool, row_of(b, i) + all.first, all.n);
  b->branches[i] = (branch){.node = -1};
}

void moh__branches_fork(moh__branches *b, const int32_t *parents, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    share(b, parents[i], b->next_pages + (int64_t)i * b->width, &b->next[i]);
  for (int32_t i = 0; i < b->n; i++) drop(b, i);
  memcpy(b->pages, b->next_pages,
         (size_t)n * (size_t)b->width * sizeof(int32_t));
  memcpy(b->branches, b->next, (size_t)n * sizeof(branch));
  b->n = n;
}

void moh__branches_keep(moh__branches *b, int32_t i) {
  int32_t kept = b->n_most;
  drop(b, kept);
  share(b, i, row_of(b, kept), &b->branches[kept]);
}

/* ---- feeding ---- */

static void copy_page(moh__session *s, int32_t from, int32_t to) {
  int64_t size = s->cache.page_size;
  int n_slots = (int)moh__config_passes(&s->model->config);
  for (int i = 0; i < n_slots; i++)
    memcpy(s->slots[i] + to * size, s->slots[i] + from * size,
           (size_t)size * sizeof(real));
}

/* Sees to a page that the next token of branch i can be written to. */
static void make_room(moh__branches *b, int32_t i) {
  int32_t length = b->branches[i].length;
  int64_t tokens = moh__config_page_tokens(&b->session->model->config);
  int32_t *last = row_of(b, i) + length / tokens;
  bool fresh = length % tokens == 0;
  if (!fresh && b->pool.users[*last] == 1) return;
  int32_t page = moh__page_pool_take(&b->pool);
  if (!fresh) {
    copy_page(b->session, *last, page);
    moh__page_pool_release(&b->pool, last, 1);
  }
  *last = page;
}

/* The token becomes a node of the tree and part of the branch. */
static void append(moh__branches *b, int32_t i, int32_t token) {
  int32_t at = b->step * b->n_most + i;
  make_room(b, i);
  b->nodes[at] = (node){token, b->branches[i].node};
  b->tokens[i] = token;
  b->positions[i] = b->branches[i].length++;
  b->seq_start[i + 1] = i + 1;
  b->branches[i].node = at;
}

/* Gives up the pages that the next token does not see. */
static void trim(moh__branches *b, int32_t i) {
  branch *of = &b->branches[i];
  int32_t first = moh__session_first_page(b->session, of->length);
  if (first <= of->first) return;
  moh__page_pool_release(&b->pool, row_of(b, i) + of->first,
                         first - of->first);
  of->first = first;
}

static moh_status check_tokens(const moh__branches *b, const int32_t *tokens,
                               moh_error *err) {
  int64_t vocab = b->session->model->config.vocab_size;
  if (b->step == b->n_tokens)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the branches have their %d tokens already",
                     b->n_tokens);
  for (int32_t i = 0; i < b->n; i++)
    if (tokens[i] < 0 || tokens[i] >= vocab)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "token %d is not in the vocabulary of %d", tokens[i],
                       (int)vocab);
  return MOH_OK;
}

moh_status moh__branches_feed(moh__branches *b, const int32_t *tokens,
                              const real **logits, moh_error *err) {
  moh__session *s = b->session;
  MOH_TRY(check_tokens(b, tokens, err));
  for (int32_t i = 0; i < b->n; i++) append(b, i, tokens[i]);
  moh__cache cache = s->cache;
  cache.page_ids = b->pages;
  cache.pages_per_seq = b->width;
  moh__batch batch = {.n = b->n,
                      .tokens = b->tokens,
                      .positions = b->positions,
                      .n_seq = b->n,
                      .seq_start = b->seq_start,
                      .n_out = b->n,
                      .cache = &cache};
  moh__tape_reset(&s->tape, false);
  *logits = moh__arch_logits(s->model, &s->tape, &batch)->v;
  moh__gate_record_add(&b->gates, s->tape.use, b->step * b->n_most);
  for (int32_t i = 0; i < b->n; i++) trim(b, i);
  b->step++;
  return MOH_OK;
}

/* ---- going on with one ---- */

/* The tokens of a branch, and the heads that they used. */
static void adopt_tokens(moh__branches *b, const branch *from) {
  moh__session *s = b->session;
  int32_t at = from->node;
  for (int32_t i = from->length - 1; at >= 0; i--) {
    s->tokens[i] = b->nodes[at].token;
    moh__gate_record_copy(&s->gates, i, &b->gates, at);
    at = b->nodes[at].parent;
  }
  s->length = from->length;
}

/* The ring has the branch's pages where they belong, and elsewhere others, all
 * different: whatever pages were in use before. */
static void adopt_pages(moh__branches *b, int32_t row) {
  moh__session *s = b->session;
  span all = span_of(b, &b->branches[row]);
  const int32_t *pages = row_of(b, row);
  int32_t *ring = s->page_ids, next = 0;
  for (int32_t p = 0; p < s->n_pages; p++) b->pool.users[p] = 0;
  for (int32_t p = 0; p < s->n_ring; p++) ring[p] = -1;
  for (int32_t p = all.first; p < all.first + all.n; p++) {
    ring[p % s->n_ring] = pages[p];
    b->pool.users[pages[p]] = 1;
  }
  for (int32_t p = 0; p < s->n_ring; p++) {
    if (ring[p] >= 0) continue;
    while (b->pool.users[next] > 0) next++;
    ring[p] = next++;
  }
  for (int32_t p = s->n_ring; p < s->cache.pages_per_seq; p++)
    ring[p] = ring[p - s->n_ring];
}

void moh__branches_adopt(moh__branches *b, int32_t i) {
  int32_t row = i < 0 ? b->n_most : i;
  adopt_pages(b, row);
  adopt_tokens(b, &b->branches[row]);
  moh__session_only_window(b->session);
  b->n = 0;
}

int32_t moh__branches_count(const moh__branches *b) { return b->n; }

int32_t moh__branches_most_pages(const moh__branches *b) {
  return b->pool.most_used;
}
