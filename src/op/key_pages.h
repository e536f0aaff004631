/*
 * Keys and values of a batch in pages, for the attention ops: in the session's
 * cache, or in pages of the step when there is none.
 */
#ifndef MOH_OP_KEY_PAGES_H
#define MOH_OP_KEY_PAGES_H

#include "kernel/kernel.h"
#include "op/op.h"

typedef struct moh__key_pages {
  real *pages;
  int64_t page_size; /* elements: all KV heads */
  int64_t d;         /* d_head */
  const int32_t *page_ids;
  int32_t pages_per_seq;     /* 0: first_page says where a sequence starts */
  const int32_t *first_page; /* [n_seq] */
} moh__key_pages;

/* Finds or allocates the pages and writes k and v, rows of the batch, at
 * their positions. */
void moh__key_pages_write(moh__tape *tape, const moh__attention_args *args,
                          const moh__tensor *k, const moh__tensor *v,
                          moh__key_pages *out);

/* What a kernel needs to see one KV head of one sequence. */
moh__keys moh__key_pages_of(const moh__key_pages *pages, int32_t seq,
                            int32_t kv_head);

/* What attention keeps. */
typedef struct moh__attention_node {
  moh__tape_node node;
  moh__attention_args args;
  moh__tensor *q, *k, *v, *o;
  moh__key_pages pages;
  int32_t *pos;   /* [entries] position of each query */
  int32_t *first; /* [entries] first key that it sees; NULL: 0 */
  /* Entries of each KV head's query heads by token, where they are more than
   * one: those of group g at plan->start[its first head]. */
  int32_t *merged;
  real *lse;         /* [entries] */
  moh__param *table; /* CoPE, or NULL */
  /* Its gradient by sequences, so that each can be another thread's:
   * [n_seq][n_heads][n_positions][d_head]. */
  real *d_tables;
  real scale;
} moh__attention_node;

/* Elements of all heads' tables. */
static inline int64_t moh__cope_tables_size(const moh__attention_node *node) {
  return node->args.n_heads * node->table->shape[1] * node->args.d_head;
}

/* Allocates the output, fills the node's fields but for `table` and writes
 * the pages; pushes a copy when recording. False when counting: then there is
 * nothing to do. */
bool moh__attention_begin(moh__tape *tape, moh__attention_node *node,
                          const moh__attention_args *args, moh__tensor *q,
                          moh__tensor *k, moh__tensor *v,
                          moh__backward_fn *backward);

/* Before backward: its gradients can be read and added to. */
void moh__attention_settle(moh__tape *tape, const moh__attention_node *node);

/* After forward, adds some of each head's queries, all over its entries, to
 * args.evenness, where that is wanted. A query that sees one key has no choice,
 * and is left out. */
void moh__attention_measure(moh__tape *tape, moh__attention_node *node);

/* Entries [first, last) of head h that belong to sequence s. */
typedef struct moh__entry_range {
  int32_t first, last;
} moh__entry_range;
moh__entry_range moh__attention_range(const moh__attention_node *node,
                                      int32_t h, int32_t s);
/* Places in `merged` of all heads of KV head g in sequence s. */
moh__entry_range moh__attention_group_range(const moh__attention_node *node,
                                            int32_t g, int32_t s);

#endif
