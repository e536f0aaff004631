/* HRM: see hrm.h. */
#include "arch/hrm.h"

#include <math.h>
#include <string.h>

#include "arch/ends.h"
#include "arch/layers.h"
#include "base/rng.h"

static const char low_name[] = "model.low_state.weight";
static const char high_name[] = "model.high_state.weight";

/* ---- declaring ---- */

static moh_status hrm_declare(moh__model *model, moh_error *err) {
  moh__declaration d = {.model = model, .err = err};
  int64_t shape[1] = {model->config.d_model};
  MOH_TRY(moh__declare(&d, low_name, 1, shape, MOH__PARAM_BUFFER,
                       MOH__PACK_NONE, 1));
  MOH_TRY(moh__declare(&d, high_name, 1, shape, MOH__PARAM_BUFFER,
                       MOH__PACK_NONE, 1));
  return moh__layers_declare(model, err);
}

/* The normal distribution within two standard deviations: what lies outside is
 * drawn again. */
static real truncated_normal(moh__rng *rng) {
  double value = moh__rng_normal(rng);
  while (fabs(value) > 2) value = moh__rng_normal(rng);
  return (real)value;
}

static void init_state(moh__param *state, uint64_t seed, uint64_t stream) {
  moh__rng rng = moh__rng_make(seed, stream);
  for (int64_t i = 0; i < state->n; i++)
    state->data[i] = truncated_normal(&rng);
}

static void hrm_init(moh__model *model, uint64_t seed) {
  moh__init_params(model, seed);
  init_state(moh__model_param(model, low_name), seed, MOH__STREAM_STATE);
  init_state(moh__model_param(model, high_name), seed, MOH__STREAM_STATE + 1);
}

/* ---- steps ---- */

static moh__tensor *make_state(const moh__hrm_pass *h, const char *name) {
  const moh__param *start = moh__model_param(h->pass.model, name);
  moh__tensor *state = moh__tape_tensor(h->pass.tape, h->x->rows, start->n);
  if (moh__tape_counting(h->pass.tape)) return state;
  for (int64_t r = 0; r < state->rows; r++)
    memcpy(state->v + r * start->n, start->data,
           (size_t)start->n * sizeof(real));
  return state;
}

/* A step of a module. */
typedef struct hrm_step {
  moh__hrm_pass *h;
  bool high;
  int32_t slot; /* of its first block */
} hrm_step;

static int64_t module_layers(const moh__hrm_pass *h) {
  return h->pass.model->config.n_layers / 2;
}

/* f_L(z_L + z_H + x) or f_H(z_H + z_L); `unused` stands for its inputs, of
 * which there are several. */
static moh__tensor *run_step(moh__tape *tape, void *context,
                             moh__tensor *unused) {
  const hrm_step *s = context;
  const moh__hrm_pass *h = s->h;
  (void)unused;
  int64_t n = module_layers(h);
  moh__tensor *z = moh__op_add(tape, h->low, h->high);
  if (!s->high) z = moh__op_add(tape, z, h->x);
  for (int64_t i = 0; i < n; i++)
    z = moh__layer_run(&h->pass, (s->high ? n : 0) + i, s->slot + (int32_t)i,
                       z);
  return z;
}

/* In cycle c: step t of the lower module, or the higher one's when t is
 * n_steps. */
static hrm_step step_of(moh__hrm_pass *h, int64_t c, int64_t t) {
  int64_t n_steps = h->pass.model->config.hrm_steps;
  int64_t slot = (c * (n_steps + 1) + t) * module_layers(h);
  return (hrm_step){h, t == n_steps, (int32_t)slot};
}

/* Recorded where the gradient is exact, and given back otherwise: then the
 * state is the same tensor with new values. */
static void make_step(moh__hrm_pass *h, int64_t c, int64_t t) {
  hrm_step s = step_of(h, c, t);
  moh__tensor **state = s.high ? &h->high : &h->low;
  moh__tape *tape = h->pass.tape;
  if (tape->recording && h->pass.model->config.hrm_exact)
    *state = run_step(tape, &s, NULL);
  else
    moh__tape_detached(tape, run_step, &s, *state);
}

/* Cycles first .. end without the last step of either module, which
 * finish_cycles makes. */
static void begin_cycles(moh__hrm_pass *h, int64_t first, int64_t end) {
  const moh__config *c = &h->pass.model->config;
  for (int64_t i = first; i < end; i++)
    for (int64_t t = 0; t <= c->hrm_steps; t++) {
      bool last = i == end - 1 && t >= c->hrm_steps - 1;
      if (!last) make_step(h, i, t);
    }
}

static void finish_cycles(moh__hrm_pass *h, int64_t end) {
  const moh__config *c = &h->pass.model->config;
  moh__tape *tape = h->pass.tape;
  hrm_step low = step_of(h, end - 1, c->hrm_steps - 1);
  hrm_step high = step_of(h, end - 1, c->hrm_steps);
  if (tape->recording) {
    h->low = run_step(tape, &low, NULL);
    h->high = run_step(tape, &high, NULL);
  } else {
    moh__tape_detached(tape, run_step, &low, h->low);
    moh__tape_detached(tape, run_step, &high, h->high);
  }
}

static void begin_pass(moh__hrm_pass *h, const moh__model *model,
                       moh__tape *tape, const moh__batch *batch) {
  moh__pass_begin(&h->pass, model, tape, batch);
  h->x = moh__op_scale(tape, moh__pass_embed(&h->pass),
                       (real)(1 / model->config.init_std));
  h->low = make_state(h, low_name);
  h->high = make_state(h, high_name);
}

void moh__hrm_begin(moh__hrm_pass *h, const moh__model *model,
                    moh__tape *tape, const moh__batch *batch) {
  begin_pass(h, model, tape, batch);
  begin_cycles(h, 0, model->config.hrm_cycles);
}

moh__tensor *moh__hrm_end(moh__hrm_pass *h) {
  finish_cycles(h, h->pass.model->config.hrm_cycles);
  return moh__pass_output(&h->pass, h->high);
}

static moh__tensor *hrm_forward(const moh__model *model, moh__tape *tape,
                                const moh__batch *batch) {
  moh__hrm_pass *h = moh__tape_alloc_meta(tape, sizeof(*h));
  moh__hrm_begin(h, model, tape, batch);
  return moh__hrm_end(h);
}

/* ---- deep supervision ---- */

/* The same numbers as a constant. */
static moh__tensor *held(moh__tape *tape, const moh__tensor *z) {
  moh__tensor *copy = moh__tape_tensor(tape, z->rows, z->cols);
  if (!moh__tape_counting(tape))
    memcpy(copy->v, z->v, (size_t)(z->rows * z->cols) * sizeof(real));
  return copy;
}

static void hrm_supervise(const moh__model *model, moh__tape *tape,
                          const moh__batch *batch,
                          void (*use)(void *context, moh__tensor *hidden),
                          void *context) {
  const moh__config *c = &model->config;
  int64_t n = c->hrm_cycles / c->hrm_supervision;
  moh__hrm_pass *h = moh__tape_alloc_meta(tape, sizeof(*h));
  begin_pass(h, model, tape, batch);
  for (int64_t first = 0; first < c->hrm_cycles; first += n) {
    begin_cycles(h, first, first + n);
    finish_cycles(h, first + n);
    use(context, moh__pass_output(&h->pass, h->high));
    h->low = held(tape, h->low);
    h->high = held(tape, h->high);
  }
}

const moh__arch moh__hrm = {.name = "hrm",
                            .declare = hrm_declare,
                            .init = hrm_init,
                            .forward = hrm_forward,
                            .supervise = hrm_supervise,
                            .attention = moh__layer_attention,
                            .route = moh__layer_route,
                            .feed_forward = moh__layer_feed_forward};
