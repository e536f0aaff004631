/*
 * Training through moh.h: the weights of the inner trainer bit for bit,
 * stopping and going on, checkpoints, evaluation, and wrong arguments.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/model_dir.h"
#include "support/api.h"
#include "support/temp_dir.h"
#include "train/trainer.h"

enum { STEPS = 6 };

static const char story[] =
    "the sun is up and the cat is out. the cat sees a bird and the bird "
    "sees the cat. the sun goes down and the cat goes home.";

/* What a training needs. */
typedef struct course {
  moh_tokenizer *tokenizer;
  moh_model *model;
  moh_dataset *data;
  moh_train_options options;
} course;

static void course_open(course *c) {
  moh_error err;
  const moh_text text = {story, sizeof(story) - 1};
  c->tokenizer = trained_tokenizer(MOH_TOKENIZER_CHARS, &text, 1);
  moh_model_options m;
  moh_model_options_default(&m, sizeof(m));
  m.preset = "nano";
  m.config = "{\"hidden_size\": 32, \"intermediate_size\": 40, "
             "\"head_dim\": 8, \"num_hidden_layers\": 2}";
  must(moh_model_new(&c->model, c->tokenizer, &m, &err), &err);
  moh_dataset_options d;
  moh_dataset_options_default(&d, sizeof(d));
  d.stream = true;
  must(moh_dataset_new(&c->data, c->tokenizer, &text, 1, &d, &err), &err);
  moh_train_options_default(&c->options, sizeof(c->options));
  c->options.steps = STEPS;
  c->options.batch = 3;
  c->options.accumulate = 2;
  c->options.context = 16;
  c->options.lr = 0.01;
  c->options.n_threads = 2;
}

static void course_close(course *c) {
  moh_dataset_free(c->data);
  moh_model_free(c->model);
  moh_tokenizer_free(c->tokenizer);
}

static moh_trainer *open_trainer(course *c) {
  moh_error err;
  moh_trainer *trainer;
  must(moh_trainer_new(&trainer, c->model, c->data, NULL, &c->options, &err),
       &err);
  return trainer;
}

/* Bytes of a model's weights, as a saved file has them. */
static unsigned char *weights_of(void **state, const moh_model *model,
                                 const char *name, size_t *n) {
  moh_error err;
  must(moh_model_save(model, temp_path(state, name), NULL, &err), &err);
  char file[64];
  snprintf(file, sizeof(file), "%s/model.safetensors", name);
  return temp_read(temp_path(state, file), n);
}

/* The same steps by the inner trainer on the same start. */
static void weights_are_those_of_the_inner_trainer(void **state) {
  moh_error err;
  course c;
  course_open(&c);
  const char *start = temp_path(state, "start");
  must(moh_model_save(c.model, start, NULL, &err), &err);
  c.options.agc = 0.02;
  c.options.centralize = true;
  c.options.heads_warmup = 2;
  moh_trainer *trainer = open_trainer(&c);
  must(moh_trainer_run(trainer, NULL, NULL, &err), &err);
  assert_int_equal(moh_trainer_steps_done(trainer), STEPS);
  moh_trainer_free(trainer);

  moh__model *model;
  moh__tokenizer *tokenizer;
  moh__pool *pool;
  moh__load_options how = {.verify = true, .writable = true};
  must(moh__model_load(&model, &tokenizer, start, how, &err), &err);
  must(moh__pool_new(&pool, 1, &err), &err);
  moh__text text = {story, sizeof(story) - 1};
  moh__texts texts = {.texts = &text, .n = 1};
  moh__dataset *data;
  moh__dataset_options plain = {.max_len = 1000};
  must(moh__dataset_make(&data, &texts, tokenizer, plain, &err), &err);
  moh__train_options o;
  moh__train_options_default(&o);
  o.steps = STEPS;
  o.batch = 3;
  o.accumulate = 2;
  o.context = 16;
  o.lr = 0.01;
  o.agc = 0.02;
  o.centralize = true;
  o.heads_warmup = 2;
  moh__trainer *inner;
  must(moh__trainer_new(&inner, model, pool, &o, data, NULL, &err), &err);
  for (int i = 0; i < STEPS; i++) {
    moh__step_report report;
    must(moh__trainer_step(inner, &report, &err), &err);
  }
  const char *end = temp_path(state, "end");
  must(moh__model_save(model, tokenizer, end, NULL, &err), &err);
  size_t n, n_inner;
  unsigned char *ours = weights_of(state, c.model, "ours", &n);
  unsigned char *theirs =
      temp_read(temp_path(state, "end/model.safetensors"), &n_inner);
  assert_int_equal(n, n_inner);
  assert_memory_equal(ours, theirs, n);
  free(ours);
  free(theirs);
  moh__trainer_free(inner);
  moh__dataset_free(data);
  moh__model_free(model);
  moh__tokenizer_free(tokenizer);
  moh__pool_free(pool);
  course_close(&c);
}

/* What a callback saw. */
typedef struct progress {
  moh_trainer *trainer;
  int64_t stop_at, n_calls, heads_warmup;
  double first_loss, last_loss;
} progress;

static bool on_step(void *context, const moh_step_report *report) {
  progress *p = context;
  p->n_calls++;
  assert_int_equal(report->step, moh_trainer_steps_done(p->trainer));
  assert_int_equal(report->n_steps, STEPS);
  assert_int_equal(report->n_tokens, 3 * 2 * 16);
  assert_true(report->lr > 0 && report->grad_norm > 0);
  assert_int_equal(report->every_head,
                   report->step <= p->heads_warmup);
  assert_true(report->clipped_norm > 0 && report->clipped_norm <= 1.000001);
  assert_true(isnan(report->mix_loss) && report->seconds > 0);
  if (report->step == 1) p->first_loss = report->loss;
  p->last_loss = report->loss;
  return report->step != p->stop_at;
}

/* Stopped after 2 steps and gone on, the weights are those of one go. */
static void stopping_leaves_a_trainer_that_goes_on(void **state) {
  moh_error err;
  unsigned char *weights[2];
  size_t n[2];
  for (int stopped = 0; stopped < 2; stopped++) {
    course c;
    course_open(&c);
    moh_trainer *trainer = open_trainer(&c);
    progress p = {.trainer = trainer, .stop_at = stopped ? 2 : -1};
    moh_status status = moh_trainer_run(trainer, on_step, &p, &err);
    if (stopped) {
      assert_int_equal(status, MOH_ERR_INTERRUPTED);
      assert_non_null(strstr(err.message, "step 2 of 6"));
      assert_int_equal(p.n_calls, 2);
      assert_int_equal(moh_trainer_steps_done(trainer), 2);
      size_t n_now;
      free(weights_of(state, c.model, "between", &n_now));
      must(moh_trainer_run(trainer, on_step, &p, &err), &err);
    }
    assert_int_equal(p.n_calls, STEPS);
    assert_true(p.last_loss < p.first_loss);
    refused(moh_trainer_step(trainer, NULL, 0, &err), &err, "6 steps");
    must(moh_trainer_run(trainer, on_step, &p, &err), &err); /* nothing */
    assert_int_equal(p.n_calls, STEPS);
    weights[stopped] =
        weights_of(state, c.model, stopped ? "b" : "a", &n[stopped]);
    moh_trainer_free(trainer);
    course_close(&c);
  }
  assert_int_equal(n[0], n[1]);
  assert_memory_equal(weights[0], weights[1], n[0]);
  free(weights[0]);
  free(weights[1]);
}

/* All is freed after 3 of 6 steps; what goes on has the bits of one go. The
 * newest of two checkpoints is taken, whole or not. */
static void a_checkpoint_goes_on(void **state) {
  moh_error err;
  course c;
  course_open(&c);
  const char *dir = temp_path(state, "run");
  const char *third = temp_path(state, "run/step-000003");
  moh_trainer *trainer = open_trainer(&c);
  must(moh_trainer_step(trainer, NULL, 0, &err), &err);
  must(moh_trainer_checkpoint(trainer, temp_path(state, "run/step-000001"),
                              &err),
       &err);
  must(moh_trainer_step(trainer, NULL, 0, &err), &err);
  must(moh_trainer_step(trainer, NULL, 0, &err), &err);
  must(moh_trainer_checkpoint(trainer, third, &err), &err);
  must(moh_trainer_run(trainer, NULL, NULL, &err), &err);
  size_t n, n_whole;
  unsigned char *whole = weights_of(state, c.model, "whole", &n_whole);
  moh_trainer_free(trainer);
  moh_model_free(c.model);

  const char *const from[] = {third, dir};
  for (int i = 0; i < 2; i++) {
    must(moh_trainer_resume(&trainer, &c.model, from[i], c.data, NULL, 1 + i,
                            &err),
         &err);
    assert_int_equal(moh_trainer_steps_done(trainer), 3);
    assert_int_equal(moh_trainer_n_steps(trainer), STEPS);
    must(moh_trainer_run(trainer, NULL, NULL, &err), &err);
    unsigned char *again = weights_of(state, c.model, "again", &n);
    assert_int_equal(n, n_whole);
    assert_memory_equal(again, whole, n);
    free(again);
    moh_trainer_free(trainer);
    moh_model_free(c.model);
  }

  const char *weights = temp_path(state, "run/step-000003/model.safetensors");
  unsigned char *bytes = temp_read(weights, &n);
  bytes[n - 1] ^= 1;
  temp_write(weights, bytes, n);
  assert_int_equal(moh_trainer_resume(&trainer, &c.model, third, c.data,
                                      NULL, 1, &err),
                   MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "model.safetensors"));
  assert_true(trainer == NULL && c.model == NULL);
  must(moh_trainer_resume(&trainer, &c.model, dir, c.data, NULL, 1, &err),
       &err); /* the one before */
  assert_int_equal(moh_trainer_steps_done(trainer), 1);
  moh_trainer_free(trainer);
  moh_model_free(c.model);

  const int32_t ids[] = {0, 1, 2, 1};
  moh_dataset *other;
  must(moh_dataset_from_tokens(&other, ids, 4, NULL, 0, NULL, &err), &err);
  refused(moh_trainer_resume(&trainer, &c.model, dir, other, NULL, 1, &err),
          &err, "data");
  refused(moh_trainer_resume(&trainer, &c.model, dir, NULL, NULL, 1, &err),
          &err, "data");
  assert_int_equal(
      moh_trainer_resume(&trainer, &c.model, temp_path(state, "none"),
                         c.data, NULL, 1, &err),
      MOH_ERR_IO);
  assert_null(c.model);
  moh_dataset_free(other);
  free(bytes);
  free(whole);
  course_close(&c);
}

/* Takes the place of the course's model: one shared expert, two of four. */
static void use_experts(course *c) {
  moh_error err;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  o.preset = "nano";
  o.heads = "all";
  o.experts = "1+2/4";
  o.expert_hidden = 9;
  moh_model_free(c->model);
  must(moh_model_new(&c->model, c->tokenizer, &o, &err), &err);
}

static void a_step_tells_of_the_experts(void **state) {
  (void)state;
  moh_error err;
  course c;
  course_open(&c);
  use_experts(&c);
  moh_trainer *trainer = open_trainer(&c);
  moh_layer_load load;
  moh_step_report report;
  refused(moh_trainer_expert_load(trainer, 0, &load, sizeof(load), &err),
          &err, "0 layers");
  must(moh_trainer_step(trainer, &report, sizeof(report), &err), &err);
  double balance = 0;
  for (int32_t layer = 0; layer < 4; layer++) {
    must(moh_trainer_expert_load(trainer, layer, &load, sizeof(load), &err),
         &err);
    assert_true(load.n_shared == 1 && load.n_routed == 4);
    double sum = 0;
    for (int e = 0; e < 4; e++) sum += (double)load.load[e];
    assert_true(fabs(sum - 2) < 1e-5);
    balance += load.balance / 4;
  }
  assert_true(fabs(report.expert_balance - balance) < 1e-6);
  assert_true(report.expert_z_loss > 0 && report.balance == 0);
  assert_true(fabs(report.total_loss - report.loss - 0.01 * balance) < 1e-9);
  refused(moh_trainer_expert_load(trainer, 4, &load, sizeof(load), &err),
          &err, "layer 4");
  refused(moh_trainer_layer_load(trainer, 0, &load, sizeof(load), &err), &err,
          "routers");
  moh_trainer_free(trainer);
  course_close(&c);
}

/* In place of the course's model one whose tokens use 2 to 4 heads. */
static void use_adaptive(course *c) {
  moh_error err;
  moh_model_free(c->model);
  moh_model_options m;
  moh_model_options_default(&m, sizeof(m));
  m.preset = "nano";
  m.heads = "adaptive:1+1-3";
  m.config =
      "{\"hidden_size\": 32, \"intermediate_size\": 40, "
      "\"head_dim\": 8, \"num_hidden_layers\": 2}";
  must(moh_model_new(&c->model, c->tokenizer, &m, &err), &err);
}

static void adaptive_heads_have_a_mean(void **state) {
  (void)state;
  moh_error err;
  course c;
  course_open(&c);
  use_adaptive(&c);
  c.options.target_heads = 2.5;
  moh_trainer *trainer = open_trainer(&c);
  double before[2] = {0.7, 0.7};
  for (int i = 0; i < 3; i++) {
    moh_step_report report;
    moh_layer_load load;
    double mean = 0;
    must(moh_trainer_step(trainer, &report, sizeof(report), &err), &err);
    for (int32_t layer = 0; layer < 2; layer++) {
      must(moh_trainer_layer_load(trainer, layer, &load, sizeof(load), &err),
           &err);
      assert_true((fabs(load.mass - before[layer]) < 1e-6) == (i == 0));
      assert_true(load.heads >= 2 && load.heads <= 4);
      before[layer] = i == 0 ? 0.7 : load.mass;
      mean += load.heads / 2;
    }
    assert_true(fabs(report.heads - mean) < 1e-9);
    assert_true(report.sparsity > 0 && report.sparsity <= log(3) + 1e-6);
  }
  moh_trainer_free(trainer);
  c.options.target_heads = 4.5;
  refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &c.options, &err),
          &err, "target_heads");
  course_close(&c);
}

static void a_step_tells_of_the_heads(void **state) {
  moh_error err;
  course c;
  course_open(&c);
  moh_trainer *trainer = open_trainer(&c);
  moh_layer_load load;
  refused(moh_trainer_layer_load(trainer, 0, &load, sizeof(load), &err),
          &err, "0 layers");
  moh_step_report report;
  must(moh_trainer_step(trainer, &report, sizeof(report), &err), &err);
  double balance = 0;
  for (int32_t layer = 0; layer < 2; layer++) {
    must(moh_trainer_layer_load(trainer, layer, &load, sizeof(load), &err),
         &err);
    assert_true(load.n_shared == 1 && load.n_routed == 3);
    double sum = 0;
    int n_dead = 0;
    for (int h = 0; h < 3; h++) {
      sum += (double)load.load[h];
      n_dead += load.load[h] == 0;
    }
    assert_true(fabs(sum - 2) < 1e-5); /* k = 2 */
    assert_int_equal(load.n_dead, n_dead);
    float entropy;
    must(moh_load_entropy(load.load, 3, &entropy, &err), &err);
    assert_true(fabs((double)entropy - load.entropy) < 1e-6);
    balance += load.balance / 2;
  }
  assert_true(fabs(report.balance - balance) < 1e-6);
  assert_true(fabs(report.total_loss - report.loss - 0.01 * balance) < 1e-9);
  refused(moh_trainer_layer_load(trainer, 2, &load, sizeof(load), &err),
          &err, "layer 2");

  moh_eval_result result, again;
  must(moh_trainer_evaluate(trainer, c.data, &result, sizeof(result), &err),
       &err);
  must(moh_trainer_evaluate(trainer, c.data, &again, sizeof(again), &err),
       &err);
  assert_int_equal(result.n_tokens, sizeof(story) - 2);
  assert_true(result.loss > 1 && result.loss == again.loss);

  const char *dir = temp_path(state, "checkpoint");
  must(moh_trainer_checkpoint(trainer, dir, &err), &err);
  moh_model *loaded;
  moh_load_options o;
  moh_load_options_default(&o, sizeof(o));
  o.verify = true;
  must(moh_model_load(&loaded, dir, &o, &err), &err);
  moh_model_free(loaded);
  moh_trainer_free(trainer);
  course_close(&c);
}

/* Sessions over a model that was just trained see the new weights. */
static void a_trained_model_runs(void **state) {
  moh_error err;
  course c;
  course_open(&c);
  moh_trainer *trainer = open_trainer(&c);
  must(moh_trainer_run(trainer, NULL, NULL, &err), &err);
  moh_trainer_free(trainer);
  const char *dir = temp_path(state, "model");
  must(moh_model_save(c.model, dir, NULL, &err), &err);
  moh_model *loaded;
  must(moh_model_load(&loaded, dir, NULL, &err), &err);
  const moh_model *models[] = {c.model, loaded};
  float seen[2];
  for (int i = 0; i < 2; i++) {
    moh_session *session;
    const float *logits;
    const int32_t tokens[] = {1, 2, 3};
    must(moh_session_new(&session, models[i], NULL, &err), &err);
    must(moh_session_feed(session, tokens, 3, &logits, &err), &err);
    seen[i] = logits[5];
    moh_session_free(session);
  }
  assert_true(seen[0] == seen[1]);
  moh_model_free(loaded);
  course_close(&c);
}

static bool count_skipped(void *context, const moh_step_report *report) {
  *(int *)context += report->skipped;
  return true;
}

/* Weights that hardly move: about every second step is above the mean. */
static void outliers_are_skipped(void **state) {
  (void)state;
  for (int skip = 0; skip < 2; skip++) {
    moh_error err;
    course c;
    course_open(&c);
    c.options.lr = 1e-20;
    c.options.steps = 150;
    c.options.batch = c.options.accumulate = 1;
    c.options.context = 4;
    c.options.skip_outliers = skip * 1e-9;
    moh_trainer *trainer = open_trainer(&c);
    int n_skipped = 0;
    must(moh_trainer_run(trainer, count_skipped, &n_skipped, &err), &err);
    assert_true(skip ? n_skipped > 2 : n_skipped == 0);
    moh_trainer_free(trainer);
    course_close(&c);
  }
}

static moh__model *saved_model(void **state, const moh_model *model,
                               const char *name) {
  moh_error err;
  moh__model *loaded;
  moh__load_options how = {.verify = true, .writable = true};
  must(moh_model_save(model, temp_path(state, name), NULL, &err), &err);
  must(moh__model_load(&loaded, NULL, temp_path(state, name), how, &err),
       &err);
  return loaded;
}

static void frozen_tensors_stay(void **state) {
  moh_error err;
  course c;
  course_open(&c);
  c.options.freeze = "router,model.layers.1.mlp.*";
  moh__model *before = saved_model(state, c.model, "before");
  moh_trainer *trainer = open_trainer(&c);
  must(moh_trainer_run(trainer, NULL, NULL, &err), &err);
  moh__model *after = saved_model(state, c.model, "after");
  int n = 0;
  for (int i = 0; i < before->n_params; i++) {
    const moh__param *w = &before->params[i];
    bool frozen = strstr(w->name, ".wg") != NULL ||
                  strstr(w->name, "layers.1.mlp.") != NULL;
    size_t bytes = (size_t)w->n * sizeof(real);
    bool same = memcmp(w->data, after->params[i].data, bytes) == 0;
    if (frozen != same) fail_msg("%s %s", w->name, same ? "stays" : "moves");
    n += frozen;
  }
  assert_true(n >= 5);
  moh__model_free(before);
  moh__model_free(after);
  moh_trainer_free(trainer);
  c.options.freeze = "heads";
  refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &c.options, &err),
          &err, "no tensor to freeze is called 'heads'");
  course_close(&c);
}

/* Adapters move matrices when the trainer is freed, and nothing else. */
static void adapters_are_merged(void **state) {
  moh_error err;
  course c;
  course_open(&c);
  c.options.lora_rank = 2;
  moh_trainer *trainer = open_trainer(&c);
  must(moh_trainer_run(trainer, NULL, NULL, &err), &err);
  moh__model *before = saved_model(state, c.model, "w");
  moh_trainer_free(trainer);
  moh__model *after = saved_model(state, c.model, "merged");
  for (int i = 0; i < before->n_params; i++) {
    const moh__param *w = &before->params[i];
    bool adapted = strstr(w->name, ".q_proj.") != NULL ||
                   strstr(w->name, ".v_proj.") != NULL;
    size_t bytes = (size_t)w->n * sizeof(real);
    bool same = memcmp(w->data, after->params[i].data, bytes) == 0;
    if (adapted == same) fail_msg("%s %s", w->name, same ? "stays" : "moves");
  }
  moh__model_free(before);
  moh__model_free(after);
  c.options.lora_on = "heads";
  refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &c.options, &err),
          &err, "no matrix to adapt is called 'heads'");
  course_close(&c);
}

/* One option at a time outside of its range. */
static void options_have_ranges(void **state) {
  (void)state;
  moh_error err;
  course c;
  course_open(&c);
  const struct {
    const char *name;
    size_t offset;
    double wrong;
  } reals[] = {
#define REAL(name, wrong) {#name, offsetof(moh_train_options, name), wrong}
      REAL(lr, 0),
      REAL(lr, NAN),
      REAL(lr_final, 1.5),
      REAL(warmup, -0.1),
      REAL(beta1, 1),
      REAL(beta2, -0.5),
      REAL(eps, 0),
      REAL(clip, -1),
      REAL(weight_decay, INFINITY),
      REAL(router_lr, -1),
      REAL(anomaly, -1),
      REAL(anomaly, NAN),
      REAL(agc, -1),
      REAL(target_heads, -1),
      REAL(target_heads, 3),
#undef REAL
  };
  moh_trainer *trainer;
  for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
    moh_train_options o = c.options;
    memcpy((char *)&o + reals[i].offset, &reals[i].wrong, sizeof(double));
    refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &o, &err), &err,
            reals[i].name);
  }
  moh_train_options o = c.options;
  o.batch = 0;
  refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &o, &err), &err,
          "batch");
  o.batch = o.accumulate = 1 << 20;
  refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &o, &err), &err,
          "too large");
  o = c.options;
  o.heads_warmup = -1;
  refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &o, &err), &err,
          "heads_warmup");
  o = c.options;
  o.epochs = INT64_MAX;
  refused(moh_trainer_new(&trainer, c.model, c.data, NULL, &o, &err), &err,
          "epochs");
  o = c.options;
  o.mix_share = 1;
  refused(moh_trainer_new(&trainer, c.model, c.data, c.data, &o, &err), &err,
          "share");
  course_close(&c);
}

static void wrong_trainers_are_refused(void **state) {
  moh_error err;
  course c;
  course_open(&c);
  moh_trainer *trainer = open_trainer(&c);
  moh_trainer *second;
  refused(moh_trainer_new(&second, c.model, c.data, NULL, &c.options, &err),
          &err, "has a trainer");
  const int32_t ids[] = {0, 1, 900, 2};
  moh_dataset *foreign;
  moh_eval_result result;
  must(moh_dataset_from_tokens(&foreign, ids, 4, NULL, 0, NULL, &err), &err);
  refused(moh_trainer_evaluate(trainer, foreign, &result, sizeof(result),
                               &err),
          &err, "900");
  moh_trainer_free(trainer);
  refused(moh_trainer_new(&second, c.model, foreign, NULL, &c.options, &err),
          &err, "900");
  refused(moh_trainer_new(&second, c.model, c.data, foreign, &c.options,
                          &err),
          &err, "900");
  moh_train_options o = c.options;
  o.context = 1000;
  refused(moh_trainer_new(&second, c.model, c.data, NULL, &o, &err), &err,
          "1000");
  o = c.options;
  o.steps = 0;
  refused(moh_trainer_new(&second, c.model, c.data, NULL, &o, &err), &err,
          "nothing to do");
  refused(moh_trainer_new(&second, c.model, NULL, NULL, &o, &err), &err,
          "data");
  const char *dir = temp_path(state, "model");
  must(moh_model_save(c.model, dir, NULL, &err), &err);
  moh_model *mapped;
  must(moh_model_load(&mapped, dir, NULL, &err), &err);
  refused(moh_trainer_new(&second, mapped, c.data, NULL, &c.options, &err),
          &err, "trainable");
  assert_null(second);
  refused(moh_trainer_run(NULL, NULL, NULL, &err), &err, "trainer");
  refused(moh_trainer_checkpoint(NULL, dir, &err), &err, "trainer");
  assert_int_equal(moh_trainer_n_steps(NULL), 0);
  assert_int_equal(moh_trainer_steps_done(NULL), 0);
  moh_trainer_free(NULL);
  moh_model_free(mapped);
  moh_dataset_free(foreign);
  course_close(&c);
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DIR(weights_are_those_of_the_inner_trainer),
      WITH_DIR(stopping_leaves_a_trainer_that_goes_on),
      WITH_DIR(a_checkpoint_goes_on),
      WITH_DIR(a_step_tells_of_the_heads),
      cmocka_unit_test(adaptive_heads_have_a_mean),
      cmocka_unit_test(a_step_tells_of_the_experts),
      WITH_DIR(a_trained_model_runs),
      cmocka_unit_test(outliers_are_skipped),
      WITH_DIR(frozen_tensors_stay),
      WITH_DIR(adapters_are_merged),
      cmocka_unit_test(options_have_ranges),
      WITH_DIR(wrong_trainers_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
