/* Rounding rows of activations for products of integers. */
#include "op/codes.h"

typedef struct encode_job {
  moh__block_type type;
  const real *x;
  moh__codes *codes;
  int64_t width;
} encode_job;

static void encode_rows(void *context, int64_t begin, int64_t end,
                        void *scratch) {
  (void)scratch;
  const encode_job *job = context;
  moh__kernel()->encode(job->codes + begin * job->width / MOH__BLOCK,
                        job->type, job->x + begin * job->width,
                        (end - begin) * job->width);
}

moh__coded moh__coded_rows(moh__tape *tape, const moh__param *w,
                           const real *x, int64_t rows) {
  moh__coded coded = {.mark = moh__arena_mark(tape->arena)};
  encode_job job = {
      .type = moh__param_type(w), .x = x, .width = moh__param_group_in(w)};
  if (!moh__is_integers(job.type)) return coded;
  coded.ld = job.width / MOH__BLOCK;
  job.codes = moh__arena_alloc(
      tape->arena, (size_t)(rows * coded.ld) * sizeof(moh__codes));
  if (!moh__tape_counting(tape))
    moh__rows_run(tape->pool, rows, job.width, encode_rows, &job);
  coded.codes = job.codes;
  return coded;
}

void moh__coded_release(moh__tape *tape, const moh__coded *coded) {
  moh__arena_release(tape->arena, coded->mark);
}
