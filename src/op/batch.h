/*
 * A ragged batch: the input of every forward pass. n tokens of one or more
 * sequences, each sequence's rows together and in order. Training: many
 * sequences, no cache. Prefill: a stretch of one sequence. Decoding: one
 * token of each of many sequences.
 */
#ifndef MOH_OP_BATCH_H
#define MOH_OP_BATCH_H

#include <stdint.h>

#include "base/real.h"

/*
 * State slots of a set of sequences: for each slot (an attention layer) a pool
 * of pages of 64 keys. A page holds all KV heads of its slot, each as
 * moh__keys has it. Page numbers are the same in all slots.
 */
typedef struct moh__cache {
  real *const *slots;      /* [n_slots] pages */
  int64_t page_size;       /* elements: n_kv_heads * 2 * d_head * 64 */
  const int32_t *page_ids; /* [n_seq][pages_per_seq] */
  int32_t pages_per_seq;
} moh__cache;

typedef struct moh__batch {
  int32_t n;
  const int32_t *tokens;    /* [n] ids */
  const int32_t *positions; /* [n] place in the own sequence, from 0 */
  int32_t n_seq;
  const int32_t *seq_start; /* [n_seq + 1] rows of sequence s */
  /* Rows whose logits are wanted, ascending. NULL: all. */
  int32_t n_out;
  const int32_t *out_rows;
  const moh__cache *cache; /* NULL: every sequence starts at position 0 */
} moh__batch;

#endif
