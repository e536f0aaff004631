/*
 * Shard files from memory. One that is accepted must be exactly as long as
 * its numbers say, its starts must ascend from 0 to the number of ids, every
 * id must be readable or refused with its place, and the sequences of a
 * dataset must lie within its ids.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/dataset.h"
#include "text/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

static void check_starts(const moh__segment *segment) {
  require(segment->starts[0] == 0);
  for (int64_t i = 0; i < segment->n_examples; i++)
    require(segment->starts[i] <= segment->starts[i + 1]);
  require(segment->starts[segment->n_examples] == segment->n);
}

/* The segment as tokens; its memory stays the caller's. */
static void check_ids(const moh__segment *segment,
                      const moh__shard_head *head) {
  moh__tokens *tokens;
  moh__dataset *dataset;
  moh_error err;
  char name[] = "fuzz";
  require(moh__tokens_new(&tokens, 1, NULL) == MOH_OK);
  tokens->segments[0] = *segment;
  tokens->segments[0].path = name;
  tokens->vocab = head->vocab;
  tokens->examples = head->examples;
  moh__tokens_number(tokens);
  for (int64_t i = 0; i < tokens->n; i++) {
    int32_t id;
    moh_status status = moh__tokens_read(tokens, i, 1, &id, &err);
    require(status == MOH_OK ? id >= 0 && id < head->vocab
                             : strncmp(err.message, "fuzz: token ", 12) == 0);
  }
  moh__dataset_options options = {.max_len = 3,
                                  .long_rule = MOH__LONG_SPLIT};
  if (moh__dataset_of_tokens(&dataset, tokens, options, NULL) == MOH_OK) {
    for (int64_t i = 0; i < dataset->n_sequences; i++) {
      const moh__sequence *s = &dataset->sequences[i];
      require(s->n >= 2 && (s->n <= 3 || !head->examples));
      require(s->first >= 0 && s->first + s->n <= tokens->n);
    }
    moh__dataset_free(dataset);
  }
  tokens->segments[0] = (moh__segment){.width = 0};
  moh__tokens_free(tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__segment segment;
  moh__shard_head head;
  moh_error err;
  unsigned char *copy = NULL; /* malloc's memory is aligned */
  if (size > 0) {
    copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
  }
  moh_status status =
      moh__shard_parse(&segment, &head, copy, size, "fuzz", &err);
  if (status == MOH_OK) {
    size_t ids = (size_t)head.n_tokens * (size_t)head.width;
    size_t starts = head.examples ? 8 * ((size_t)head.n_examples + 1) : 0;
    require(size == MOH__SHARD_HEAD + (ids + 7) / 8 * 8 + starts);
    if (head.examples) check_starts(&segment);
    check_ids(&segment, &head);
  } else {
    require(strncmp(err.message, "fuzz: ", 6) == 0);
    require(segment.ids == NULL);
  }
  free(copy);
  return 0;
}
