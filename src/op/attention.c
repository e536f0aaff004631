/*
 * Causal softmax attention over a dispatch plan. Forward tasks are blocks of
 * one head's queries of one sequence; backward tasks are whole KV heads of one
 * sequence, as all heads of a group add to the same dk and dv.
 */
#include "op/key_pages.h"

enum { QUERY_BLOCK = 192 }; /* queries of a forward task */

/* Queries [range) of head h in sequence s, as the kernel wants them. */
static moh__attention task_of(const moh__attention_node *node, int32_t s,
                              int32_t h, moh__entry_range range) {
  int64_t d = node->args.d_head;
  int32_t group = node->args.n_heads / node->args.n_kv_heads;
  moh__attention task = {
      .n = range.last - range.first,
      .d = d,
      .q = node->q->v + range.first * d,
      .pos = node->pos + range.first,
      .keys = moh__key_pages_of(&node->pages, s, h / group),
      .scale = node->scale,
      .o = node->o->v + range.first * d,
      .lse = node->lse + range.first};
  return task;
}

typedef struct forward_job {
  const moh__attention_node *node;
  int32_t n_blocks; /* of the longest sequence */
} forward_job;

/* Late blocks see the most keys: they are handed out first. */
static void forward_task(void *context, int64_t task, void *scratch) {
  const forward_job *job = context;
  int32_t n_heads = job->node->args.n_heads;
  int32_t n_seq = job->node->args.batch->n_seq;
  int32_t h = (int32_t)(task % n_heads);
  int32_t s = (int32_t)(task / n_heads % n_seq);
  int32_t block = job->n_blocks - 1 - (int32_t)(task / n_heads / n_seq);
  moh__entry_range range = moh__attention_range(job->node, h, s);
  range.first += block * QUERY_BLOCK;
  if (range.first >= range.last) return;
  if (range.last - range.first > QUERY_BLOCK)
    range.last = range.first + QUERY_BLOCK;
  moh__attention attention = task_of(job->node, s, h, range);
  moh__kernel()->attention(&attention, scratch);
}

static void backward_head(const moh__attention_node *node, int32_t s,
                          int32_t h, int32_t g, void *scratch) {
  moh__entry_range range = moh__attention_range(node, h, s);
  int64_t d = node->args.d_head;
  int64_t at = node->args.batch->seq_start[s] * node->k->cols + g * d;
  moh__attention_grad task = {.forward = task_of(node, s, h, range),
                              .d_o = node->o->g + range.first * d,
                              .dq = node->q->g + range.first * d,
                              .dk = node->k->g + at,
                              .dv = node->v->g + at,
                              .ldk = node->k->cols};
  moh__kernel()->attention_grad(&task, scratch);
}

static void backward_task(void *context, int64_t task, void *scratch) {
  const moh__attention_node *node = context;
  int32_t n_kv = node->args.n_kv_heads;
  int32_t group = node->args.n_heads / n_kv;
  int32_t g = (int32_t)(task % n_kv);
  int32_t s = (int32_t)(task / n_kv);
  for (int32_t h = g * group; h < (g + 1) * group; h++)
    backward_head(node, s, h, g, scratch);
}

static void attention_backward(moh__tape *tape, void *context) {
  moh__attention_node *node = context;
  int64_t n_tasks =
      (int64_t)node->args.n_kv_heads * node->args.batch->n_seq;
  moh__pool_run(tape->pool, n_tasks, backward_task, node);
}

static int32_t longest(const moh__batch *batch) {
  int32_t most = 0;
  for (int32_t s = 0; s < batch->n_seq; s++) {
    int32_t rows = batch->seq_start[s + 1] - batch->seq_start[s];
    if (rows > most) most = rows;
  }
  return most;
}

moh__tensor *moh__op_attention(moh__tape *tape, moh__tensor *q,
                               moh__tensor *k, moh__tensor *v,
                               const moh__attention_args *args) {
  moh__attention_node node = {0};
  if (!moh__attention_begin(tape, &node, args, q, k, v,
                            attention_backward))
    return node.o;
  forward_job job = {&node, (longest(args->batch) + QUERY_BLOCK - 1) /
                                QUERY_BLOCK};
  int64_t n_tasks =
      (int64_t)args->n_heads * args->batch->n_seq * job.n_blocks;
  moh__pool_run(tape->pool, n_tasks, forward_task, &job);
  return node.o;
}
