/*
 * The state of a run: checkpoints while it goes, and the way back from one.
 * What the trainer does not know (the best loss so far, the share of data
 * held out) goes with the checkpoint.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "kernel/kernel.h"
#include "numbers.h"
#include "run.h"

enum {
  KEEP_CHECKPOINTS = 2,
  USUAL_SECONDS =
      600 /* between checkpoints, if no number of steps is given */
};

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* ---- saving ---- */

static json_t *extra_of(const moh__run *run) {
  json_t *extra =
      json_pack("{s:f, s:b, s:s}", "held_out", run->held_out_share,
                "eval_due", run->eval_due, "kernels", moh__kernel()->name);
  if (!isnan(run->last_loss))
    json_object_set_new(extra, "loss", json_real(run->last_loss));
  if (isnan(run->best_loss)) return extra;
  json_object_set_new(extra, "best_loss", json_real(run->best_loss));
  json_object_set_new(extra, "best_step", json_integer(run->best_step));
  return extra;
}

static moh_status save(moh__run *run, const char *dir, moh_error *err) {
  int64_t step = moh__trainer_step_number(run->trainer);
  char *path = moh__checkpoint_path(dir, step);
  json_t *extra = extra_of(run);
  moh_status status =
      path == NULL || extra == NULL ? fail_memory(err) : MOH_OK;
  if (status == MOH_OK) status = moh__run_dir_sync(&run->dir, err);
  if (status == MOH_OK)
    status = moh__trainer_checkpoint(run->trainer, run->tokenizer, path,
                                     extra, err);
  json_decref(extra);
  free(path);
  return status;
}

/* The new one first: an old one goes only when the new one is whole. */
moh_status moh__run_save(moh__run *run, moh_error *err) {
  int64_t keep =
      moh__int_or(run->values->keep_checkpoints, KEEP_CHECKPOINTS);
  char *dir = moh__run_dir_path(&run->dir, "checkpoints");
  if (dir == NULL) return fail_memory(err);
  moh_status status = save(run, dir, err);
  if (status == MOH_OK)
    status = moh__checkpoints_keep(
        dir, keep, moh__trainer_step_number(run->trainer), err);
  free(dir);
  run->last_saved = moh__now();
  return status;
}

bool moh__run_save_is_due(const moh__run *run) {
  int64_t step = moh__trainer_step_number(run->trainer);
  if (!moh__is_set_int(run->values->checkpoint_every))
    return moh__now() - run->last_saved >= USUAL_SECONDS;
  int64_t every = run->values->checkpoint_every;
  return every > 0 && step % every == 0;
}

/* ---- going on ---- */

static void tell_resumed(const moh__run *run) {
  moh__number step, n_steps;
  fprintf(stderr, "going on  from step %s of %s (%s)",
          moh__number_grouped(&step, run->from->step),
          moh__number_grouped(&n_steps, run->from->n_steps),
          run->from->dir);
  if (!isnan(run->last_loss))
    fprintf(stderr, ", loss %.4f", run->last_loss);
  fputc('\n', stderr);
}

/* Instruction sets round differently in the last bits. */
static void tell_kernels(const char *then) {
  const char *now = moh__kernel()->name;
  if (strcmp(now, then) == 0) return;
  fprintf(stderr,
          "kernels   %s now, %.20s before: the last bits may differ from a "
          "run without a break (see MOH_CPU)\n",
          now, then);
}

/* A field that may be missing: then value stays. */
static moh_status get_optional(const json_t *extra, const char *key,
                               double *value, moh_error *err) {
  if (json_object_get(extra, key) == NULL) return MOH_OK;
  return moh__json_get_real(extra, key, value, err);
}

static moh_status read_extra(moh__run *run, moh_error *err) {
  const json_t *extra = run->from->extra;
  const char *kernels;
  MOH_TRY(moh__json_get_bool(extra, "eval_due", &run->eval_due, err));
  MOH_TRY(moh__json_get_string(extra, "kernels", &kernels, err));
  tell_kernels(kernels);
  MOH_TRY(get_optional(extra, "loss", &run->last_loss, err));
  MOH_TRY(get_optional(extra, "best_loss", &run->best_loss, err));
  if (isnan(run->best_loss)) return MOH_OK;
  return moh__json_get_int(extra, "best_step", 1, run->from->step,
                           &run->best_step, err);
}

moh_status moh__run_restore(moh__run *run, moh_error *err) {
  moh_status status = read_extra(run, err);
  if (status != MOH_OK)
    return moh__fail_in(err, status, "%s/state.json", run->from->dir);
  MOH_TRY(moh__trainer_restore(run->trainer, run->from, err));
  tell_resumed(run);
  return MOH_OK;
}
