/* One window of a text after the other. */
#include "infer/reading.h"

#include <stdlib.h>

#include "arch/arch.h"

static moh_status open_reading(moh__reading *r, moh__pool *pool,
                               int32_t context, int64_t extra,
                               moh_error *err) {
  size_t bytes = 0;
  if (context < 1 || context > r->model->config.max_seq_len)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a context of %d tokens; the model reads 1 to %lld",
                     context, (long long)r->model->config.max_seq_len);
  r->positions = calloc((size_t)context, sizeof(int32_t));
  r->out_rows = calloc((size_t)context, sizeof(int32_t));
  if (r->positions == NULL || r->out_rows == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a window");
  for (int32_t i = 0; i < context; i++) r->positions[i] = r->out_rows[i] = i;
  MOH_TRY(
      moh__arch_arena_bytes_loss(r->model, 1, context, NULL, &bytes, err));
  bytes += (size_t)extra * sizeof(real);
  MOH_TRY(moh__arena_init(&r->arena, bytes, err));
  return moh__tape_init(&r->tape, &r->arena, pool, err);
}

moh_status moh__reading_init(moh__reading *r, const moh__model *model,
                             moh__pool *pool, int32_t context, int64_t extra,
                             moh_error *err) {
  *r = (moh__reading){.model = model};
  moh_status status = open_reading(r, pool, context, extra, err);
  if (status != MOH_OK) moh__reading_free(r);
  return status;
}

void moh__reading_free(moh__reading *r) {
  moh__tape_free(&r->tape);
  moh__arena_free(&r->arena);
  free(r->positions);
  free(r->out_rows);
  *r = (moh__reading){.model = NULL};
}

moh__tensor *moh__reading_window(moh__reading *r, const moh__stretch *text,
                                 int64_t w) {
  int64_t start = w * text->context;
  int64_t left = text->n - start;
  int32_t n = (int32_t)(left < text->context ? left : text->context);
  int32_t seq_start[2] = {0, n};
  moh__batch batch = {.n = n,
                      .tokens = text->tokens + start,
                      .positions = r->positions,
                      .n_seq = 1,
                      .seq_start = seq_start,
                      .n_out = n,
                      .out_rows = r->out_rows};
  moh__tape_reset(&r->tape, false);
  return moh__arch_of(&r->model->config)->forward(r->model, &r->tape, &batch);
}
