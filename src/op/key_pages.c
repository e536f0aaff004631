/* Pages of keys and values, and what attention begins with. */
#include "op/key_pages.h"

/* Pages of this step: a sequence's lie one behind the other. */
static void step_pages(moh__tape *tape, const moh__batch *batch,
                       moh__key_pages *out) {
  int32_t *first = moh__tape_ints(tape, batch->n_seq);
  int32_t n_pages = 0;
  for (int32_t s = 0; s < batch->n_seq; s++) {
    int32_t rows = batch->seq_start[s + 1] - batch->seq_start[s];
    if (first != NULL) first[s] = n_pages;
    n_pages += (rows + MOH__PANEL - 1) / MOH__PANEL;
  }
  int32_t *ids = moh__tape_ints(tape, n_pages);
  for (int32_t p = 0; ids != NULL && p < n_pages; p++) ids[p] = p;
  out->pages = moh__tape_reals(tape, n_pages * out->page_size);
  out->first_page = first;
  out->page_ids = ids;
}

typedef struct write_job {
  const moh__attention_args *args;
  const moh__tensor *k, *v;
  const moh__key_pages *pages;
} write_job;

/* Rows from r on that lie in one page, at most `left`, of one KV head; gives
 * how many. */
static int64_t write_rows(const write_job *job, moh__keys keys, int32_t g,
                          int64_t r, int64_t left) {
  const moh__key_pages *pages = job->pages;
  int64_t d = pages->d;
  int32_t position = job->args->batch->positions[r];
  int64_t slot = position % MOH__PANEL;
  int64_t n = left < MOH__PANEL - slot ? left : MOH__PANEL - slot;
  int64_t id = keys.page_ids[position / MOH__PANEL];
  real *page = pages->pages + id * pages->page_size + g * 2 * d * MOH__PANEL;
  int64_t at = r * job->k->cols + g * d;
  moh__page_write(page, d, slot, n, job->k->v + at, job->v->v + at,
                  job->k->cols);
  return n;
}

/* A task is a KV head of a sequence. */
static void write_task(void *context, int64_t task, void *scratch) {
  (void)scratch;
  const write_job *job = context;
  int32_t g = (int32_t)(task % job->args->n_kv_heads);
  int32_t seq = (int32_t)(task / job->args->n_kv_heads);
  const int32_t *start = job->args->batch->seq_start;
  moh__keys keys = moh__key_pages_of(job->pages, seq, g);
  for (int64_t r = start[seq]; r < start[seq + 1];)
    r += write_rows(job, keys, g, r, start[seq + 1] - r);
}

void moh__key_pages_write(moh__tape *tape, const moh__attention_args *args,
                          const moh__tensor *k, const moh__tensor *v,
                          moh__key_pages *out) {
  const moh__batch *batch = args->batch;
  const moh__cache *cache = batch->cache;
  *out = (moh__key_pages){.d = args->d_head};
  out->page_size = 2 * args->d_head * MOH__PANEL * args->n_kv_heads;
  if (cache == NULL) {
    step_pages(tape, batch, out);
  } else {
    out->pages = cache->slots[args->slot];
    out->page_ids = cache->page_ids;
    out->pages_per_seq = cache->pages_per_seq;
  }
  if (moh__tape_counting(tape)) return;
  write_job job = {.args = args, .k = k, .v = v, .pages = out};
  moh__tasks_run(tape->pool, (int64_t)batch->n_seq * args->n_kv_heads,
                 (int64_t)batch->n * k->cols, write_task, &job);
}

moh__keys moh__key_pages_of(const moh__key_pages *pages, int32_t seq,
                            int32_t kv_head) {
  int32_t first = pages->first_page != NULL ? pages->first_page[seq]
                                            : seq * pages->pages_per_seq;
  moh__keys keys = {
      .pages = pages->pages + kv_head * 2 * pages->d * MOH__PANEL,
      .page_stride = pages->page_size,
      .page_ids = pages->page_ids + first};
  return keys;
}

const int32_t *moh__plan_entry_rows(moh__tape *tape, const moh__plan *plan) {
  if (!moh__tape_counting(tape) && plan->rows != NULL) return plan->rows;
  int32_t *rows = moh__tape_ints(tape, moh__plan_entries(plan));
  if (rows == NULL) return NULL;
  for (int32_t c = 0; c < plan->n_candidates; c++)
    for (int32_t i = 0; i < moh__plan_count(plan, c); i++)
      rows[plan->start[c] + i] = i;
  return rows;
}

/* Entries of a group of heads by token, then by head. */
static void merge_group(void *context, int64_t g, void *scratch) {
  const moh__attention_node *node = context;
  const moh__plan *plan = node->args.plan;
  int32_t group = node->args.n_heads / node->args.n_kv_heads;
  int32_t first = (int32_t)g * group;
  int32_t *next = scratch; /* of each head */
  int32_t *out = node->merged + plan->start[first];
  for (int32_t h = 0; h < group; h++) next[h] = plan->start[first + h];
  for (int32_t r = 0; r < plan->n_rows; r++)
    for (int32_t h = 0; h < group; h++) {
      int32_t e = next[h];
      if (e == plan->start[first + h + 1]) continue;
      if (plan->rows != NULL && plan->rows[e] != r) continue;
      *out++ = e;
      next[h]++;
    }
}

static void fill_positions(moh__attention_node *node) {
  const moh__plan *plan = node->args.plan;
  const int32_t *positions = node->args.batch->positions;
  for (int32_t c = 0; c < plan->n_candidates; c++) {
    const int32_t *rows = moh__plan_rows(plan, c);
    for (int32_t i = 0; i < moh__plan_count(plan, c); i++)
      node->pos[plan->start[c] + i] = positions[rows == NULL ? i : rows[i]];
  }
}

static void fill_first(moh__attention_node *node) {
  const moh__window *window = &node->args.window;
  int32_t n = moh__plan_entries(node->args.plan);
  if (node->first == NULL) return;
  for (int32_t e = 0; e < n; e++)
    node->first[e] = (int32_t)moh__window_first(window, node->pos[e]);
}

void moh__attention_settle(moh__tape *tape, const moh__attention_node *node) {
  moh__tape_settle(tape, node->q);
  moh__tape_settle(tape, node->k);
  moh__tape_settle(tape, node->v);
  moh__tape_settle(tape, node->o);
}

bool moh__attention_begin(moh__tape *tape, moh__attention_node *node,
                          const moh__attention_args *args, moh__tensor *q,
                          moh__tensor *k, moh__tensor *v,
                          moh__backward_fn *backward) {
  node->args = *args;
  node->q = q;
  node->k = k;
  node->v = v;
  node->o = moh__tape_tensor(tape, q->rows, args->d_head);
  node->pos = moh__tape_ints(tape, q->rows);
  if (args->window.kind != MOH__WINDOW_NONE)
    node->first = moh__tape_ints(tape, q->rows);
  node->lse = moh__tape_reals(tape, q->rows);
  if (tape->recording && node->table != NULL)
    node->d_tables = moh__tape_reals(
        tape, args->batch->n_seq * moh__cope_tables_size(node));
  node->scale = 1 / moh__sqrt((real)args->d_head);
  if (args->n_heads > args->n_kv_heads)
    node->merged = moh__tape_ints(tape, q->rows);
  moh__key_pages_write(tape, args, k, v, &node->pages);
  moh__attention_node *saved = moh__tape_push(tape, sizeof(*saved), backward);
  if (moh__tape_counting(tape)) return false;
  fill_positions(node);
  fill_first(node);
  if (node->merged != NULL)
    moh__tasks_run(tape->pool, args->n_kv_heads, q->rows, merge_group, node);
  if (saved != NULL) {
    node->node = saved->node;
    *saved = *node;
  }
  return true;
}

moh__entry_range moh__attention_group_range(const moh__attention_node *node,
                                            int32_t g, int32_t s) {
  int32_t group = node->args.n_heads / node->args.n_kv_heads;
  int32_t start = node->args.plan->start[g * group];
  moh__entry_range range = {start, start};
  for (int32_t h = g * group; h < (g + 1) * group; h++) {
    moh__entry_range one = moh__attention_range(node, h, s);
    range.first += one.first - node->args.plan->start[h];
    range.last += one.last - node->args.plan->start[h];
  }
  return range;
}

moh__entry_range moh__attention_range(const moh__attention_node *node,
                                      int32_t h, int32_t s) {
  const int32_t *start = node->args.batch->seq_start;
  moh__entry_range range = {
      moh__plan_lower_bound(node->args.plan, h, start[s]),
      moh__plan_lower_bound(node->args.plan, h, start[s + 1])};
  return range;
}
