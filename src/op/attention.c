/*
 * Causal softmax attention over a dispatch plan, with contextual positions
 * (CoPE) or without. Forward tasks are blocks of
 * the queries of one KV head's query heads of one sequence, ordered by token,
 * so that a tile of keys serves them all; backward tasks are whole KV heads of
 * one sequence, as all their heads add to the same dk and dv.
 */
#include <string.h>

#include "op/key_pages.h"

enum {
  QUERY_BLOCK = 192, /* queries of a forward task */
  HEADS_AT_ONCE = 16 /* of a KV head, in backward */
};

static int32_t group_of(const moh__attention_node *node) {
  return node->args.n_heads / node->args.n_kv_heads;
}

/* Tables of n heads from h on. */
static moh__cope cope_over(const moh__attention_node *node, int32_t h,
                           int32_t n) {
  const moh__param *table = node->table;
  if (table == NULL) return (moh__cope){0};
  int64_t positions = table->shape[1];
  int64_t d = node->args.d_head;
  moh__cope cope = {.n_positions = positions,
                    .table = table->data + h * positions * d,
                    .n_heads = n};
  if (n > 1) cope.start = node->args.plan->start + h;
  if (table->packed != NULL)
    cope.packed =
        (const real *)table->packed + h * moh__packed_size(d, positions);
  if (table->packed_back != NULL)
    cope.packed_back =
        (const real *)table->packed_back + h * moh__packed_size(positions, d);
  return cope;
}

/* What all queries over KV head g of sequence s share. */
static moh__attention attention_over(const moh__attention_node *node,
                                     int32_t s, int32_t g) {
  moh__attention task = {.d = node->args.d_head,
                         .q = node->q->v,
                         .pos = node->pos,
                         .first = node->first,
                         .keys = moh__key_pages_of(&node->pages, s, g),
                         .scale = node->scale,
                         .o = node->o->v,
                         .lse = node->lse};
  return task;
}

/* Entries [range), which lie behind each other. */
static void set_range(moh__attention *task, moh__entry_range range) {
  task->n = range.last - range.first;
  task->q += range.first * task->d;
  task->o += range.first * task->d;
  task->pos += range.first;
  if (task->first != NULL) task->first += range.first;
  task->lse += range.first;
}

typedef struct forward_job {
  const moh__attention_node *node;
  int32_t n_blocks; /* of the longest sequence */
} forward_job;

/* A block of the queries of one KV head. Late blocks see the most keys: they
 * are handed out first. */
static void forward_task(void *context, int64_t task, void *scratch) {
  const forward_job *job = context;
  const moh__attention_node *node = job->node;
  int32_t n_kv = node->args.n_kv_heads;
  int32_t n_seq = node->args.batch->n_seq;
  int32_t g = (int32_t)(task % n_kv);
  int32_t s = (int32_t)(task / n_kv % n_seq);
  int32_t block = job->n_blocks - 1 - (int32_t)(task / n_kv / n_seq);
  moh__entry_range range = moh__attention_group_range(node, g, s);
  range.first += block * QUERY_BLOCK;
  if (range.first >= range.last) return;
  if (range.last - range.first > QUERY_BLOCK)
    range.last = range.first + QUERY_BLOCK;
  moh__attention attention = attention_over(node, s, g);
  attention.cope = cope_over(node, g * group_of(node), group_of(node));
  if (node->merged == NULL) {
    set_range(&attention, range);
  } else {
    attention.n = range.last - range.first;
    attention.entries = node->merged + range.first;
  }
  moh__kernel()->attention(&attention, scratch);
}

static bool trains_table(const moh__attention_node *node) {
  return node->table != NULL && moh__param_is_trained(node->table);
}

/* The gradient of head h's table from sequence s alone. */
static real *d_table_of(const moh__attention_node *node, int32_t s,
                        int32_t h) {
  int64_t size = moh__cope_tables_size(node) / node->args.n_heads;
  return node->d_tables + ((int64_t)s * node->args.n_heads + h) * size;
}

static moh__attention_grad head_grad(const moh__attention_node *node,
                                     int32_t s, int32_t h) {
  moh__entry_range range = moh__attention_range(node, h, s);
  int64_t d = node->args.d_head;
  int32_t g = h / group_of(node);
  int64_t at = node->args.batch->seq_start[s] * node->k->cols + g * d;
  moh__attention_grad task = {.forward = attention_over(node, s, g),
                              .d_o = node->o->g + range.first * d,
                              .dq = node->q->g + range.first * d,
                              .dk = node->k->g + at,
                              .dv = node->v->g + at,
                              .ldk = node->k->cols};
  task.forward.cope = cope_over(node, h, 1);
  if (trains_table(node)) task.d_table = d_table_of(node, s, h);
  set_range(&task.forward, range);
  return task;
}

/* All heads of a KV head, a few at a time. */
static void backward_task(void *context, int64_t task, void *scratch) {
  const moh__attention_node *node = context;
  int32_t n_kv = node->args.n_kv_heads;
  int32_t group = group_of(node);
  int32_t g = (int32_t)(task % n_kv);
  int32_t s = (int32_t)(task / n_kv);
  for (int32_t h = 0; h < group; h += HEADS_AT_ONCE) {
    moh__attention_grad heads[HEADS_AT_ONCE];
    int32_t n = group - h < HEADS_AT_ONCE ? group - h : HEADS_AT_ONCE;
    for (int32_t i = 0; i < n; i++)
      heads[i] = head_grad(node, s, g * group + h + i);
    moh__kernel()->attention_grad(heads, n, scratch);
  }
}

/* Adds up what the sequences give, in order. */
static void add_tables(moh__attention_node *node) {
  int64_t n = moh__cope_tables_size(node);
  for (int32_t s = 0; s < node->args.batch->n_seq; s++)
    moh__kernel()->add(node->table->grad, d_table_of(node, s, 0), n);
}

static void attention_backward(moh__tape *tape, void *context) {
  moh__attention_node *node = context;
  int32_t n_seq = node->args.batch->n_seq;
  int64_t n_tasks = (int64_t)node->args.n_kv_heads * n_seq;
  moh__attention_settle(tape, node);
  if (trains_table(node)) {
    moh__param_settle(node->table, tape->pool);
    memset(node->d_tables, 0,
           (size_t)(n_seq * moh__cope_tables_size(node)) * sizeof(real));
  }
  moh__pool_run(tape->pool, n_tasks, backward_task, node);
  if (trains_table(node)) add_tables(node);
}

/* Queries of the longest sequence over one KV head, at most. */
static int32_t longest(const moh__attention_args *args) {
  const moh__batch *batch = args->batch;
  int32_t most = 0;
  for (int32_t s = 0; s < batch->n_seq; s++) {
    int32_t rows = batch->seq_start[s + 1] - batch->seq_start[s];
    if (rows > most) most = rows;
  }
  return most * (args->n_heads / args->n_kv_heads);
}

/* Multiply-adds at most: as if every row used all heads and saw what the last
 * one of its sequence does. */
static int64_t work_of(const moh__attention_node *node) {
  const moh__attention_args *args = &node->args;
  const moh__batch *batch = args->batch;
  int64_t pairs = 0;
  for (int32_t s = 0; s < batch->n_seq; s++) {
    int32_t end = batch->seq_start[s + 1];
    int32_t rows = end - batch->seq_start[s];
    if (rows > 0)
      pairs += rows * moh__window_most(&args->window,
                                       batch->positions[end - 1] + 1);
  }
  pairs *= 2;
  if (node->table != NULL) pairs += batch->n * node->table->shape[1];
  return pairs * args->n_heads * args->d_head;
}

moh__tensor *moh__op_attention(moh__tape *tape, moh__tensor *q,
                               moh__tensor *k, moh__tensor *v,
                               const moh__attention_args *args) {
  return moh__op_attention_cope(tape, q, k, v, NULL, args);
}

moh__tensor *moh__op_attention_cope(moh__tape *tape, moh__tensor *q,
                                    moh__tensor *k, moh__tensor *v,
                                    moh__param *table,
                                    const moh__attention_args *args) {
  moh__attention_node node = {.table = table};
  if (!moh__attention_begin(tape, &node, args, q, k, v, attention_backward))
    return node.o;
  forward_job job = {&node, (longest(args) + QUERY_BLOCK - 1) / QUERY_BLOCK};
  int64_t n_tasks =
      (int64_t)args->n_kv_heads * args->batch->n_seq * job.n_blocks;
  moh__tasks_run(tape->pool, n_tasks, work_of(&node), forward_task, &job);
  moh__attention_measure(tape, &node);
  return node.o;
}
