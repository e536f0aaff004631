/* What is before and behind the blocks. */
#include "arch/ends.h"

bool moh__has_embed_scale(const moh__config *c) {
  return c->norm == MOH__NORM_DYT && c->architecture != MOH__HRM;
}

moh_status moh__declare_embeddings(const moh__declaration *d) {
  const moh__config *c = &d->model->config;
  int64_t shape[2] = {c->vocab_size, c->d_model};
  unsigned flags = MOH__PARAM_DECAY | MOH__PARAM_EMBEDDING;
  MOH_TRY(moh__declare(d, "model.embed_tokens.weight", 2, shape,
                       flags | (c->tied ? MOH__PARAM_OUTPUT : 0),
                       c->tied ? MOH__PACK_OUTPUTS : MOH__PACK_NONE, 1));
  if (c->position == MOH__POSITION_LEARNED) {
    shape[0] = c->max_seq_len;
    MOH_TRY(moh__declare(d, "model.embed_positions.weight", 2, shape,
                         flags | MOH__PARAM_F32, MOH__PACK_NONE, 1));
  }
  if (!moh__has_embed_scale(c)) return MOH_OK;
  shape[0] = 1;
  return moh__declare(d, "model.embed_scale", 1, shape, 0, MOH__PACK_NONE, 1);
}

moh_status moh__declare_output(const moh__declaration *d) {
  const moh__config *c = &d->model->config;
  if (c->final_norm) MOH_TRY(moh__declare_norm(d, "model.norm"));
  if (c->tied) return MOH_OK;
  int64_t shape[2] = {c->vocab_size, c->d_model};
  return moh__declare(d, "lm_head.weight", 2, shape,
                      MOH__PARAM_DECAY | MOH__PARAM_OUTPUT, MOH__PACK_OUTPUTS,
                      1);
}

static moh__tensor *look_up(const moh__pass *p) {
  const moh__batch *batch = p->batch;
  moh__param *table = moh__model_param(p->model, "model.embed_tokens.weight");
  moh__tensor *x = moh__op_embed(p->tape, table, batch->tokens, batch->n);
  if (p->model->config.position != MOH__POSITION_LEARNED) return x;
  table = moh__model_param(p->model, "model.embed_positions.weight");
  return moh__op_add(
      p->tape, x, moh__op_embed(p->tape, table, batch->positions, batch->n));
}

moh__tensor *moh__pass_embed(const moh__pass *p) {
  moh__tensor *x = look_up(p);
  if (!moh__has_embed_scale(&p->model->config)) return x;
  return moh__op_learned_scale(p->tape, x,
                               moh__model_param(p->model, "model.embed_scale"));
}

moh__tensor *moh__pass_output(const moh__pass *p, moh__tensor *x) {
  const moh__batch *batch = p->batch;
  x = moh__op_select_rows(p->tape, x, batch->out_rows, batch->n_out);
  if (!p->model->config.final_norm) return x;
  moh__norm_params norm = moh__find_norm(p->model, "", "model.norm");
  return moh__pass_norm(p, x, &norm);
}
