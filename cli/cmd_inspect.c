/*
 * moh inspect: what a model is and what it costs, counted from its tensors
 * and from dry runs; nothing is measured, and nothing is claimed of speed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "commands.h"
#include "infer/beam.h"
#include "infer/branches.h"
#include "json_output.h"
#include "load.h"
#include "model_options.h"
#include "numbers.h"
#include "summary.h"

typedef struct values {
  moh__model_values model;
  const char *path;
  int64_t vocabulary, batch, context, beam;
  int precision;
  bool verify, json;
} values;

static const moh__option source_options[] = {
    {"model", 'm', MOH__OPTION_STRING, "DIR",
     "a model's directory, or a run's", NULL,
     .offset = offsetof(values, path)},
    {"verify", 0, MOH__OPTION_FLAG, NULL,
     "check the SHA-256 of every file of the model", NULL,
     .offset = offsetof(values, verify)},
    {"vocab", 0, MOH__OPTION_INT, "N", "tokens of a preset's vocabulary",
     "the preset's", .offset = offsetof(values, vocabulary), .min = 1,
     .max = 1 << 24},
    {.name = NULL},
};

static const moh__option output_options[] = {
    {"batch", 'b', MOH__OPTION_INT, "N",
     "sequences of a micro-batch, for the memory of training", "1",
     .offset = offsetof(values, batch), .min = 1, .max = 65536},
    {"context", 'c', MOH__OPTION_INT, "N",
     "tokens of a sequence, for the memory", "the model's longest sequence",
     .offset = offsetof(values, context), .min = 1, .max = 1 << 24},
    {"beam", 0, MOH__OPTION_INT, "WIDTH",
     "beams of a search, for the memory of running", "0, none",
     .offset = offsetof(values, beam), .min = 0, .max = MOH__BEAM_WIDTH_MAX},
    {"precision", 0, MOH__OPTION_CHOICE, NULL,
     "of the packed weights, for the memory",
     "as the weights are stored, and f32 for training",
     .offset = offsetof(values, precision), .choices = moh__precision_names},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the figures as JSON", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", source_options, 0},
    {"Model from a preset", moh__preset_options, offsetof(values, model)},
    {"Changes to the preset's model", moh__model_options,
     offsetof(values, model)},
    {"Output", output_options, 0},
    {.options = NULL},
};

/* ---- costs ---- */

enum { CONTEXTS_MAX = 24 };

typedef struct costs {
  int64_t contexts[CONTEXTS_MAX];
  int n_contexts;
  int64_t batch, context, beam; /* of the memory figures */
  moh__model_bytes model;
  moh__session_bytes session;
  int n_exact; /* matrices that are f32 though the precision is not */
  bool trains; /* in the precision that was asked for */
  moh__model_bytes training;
  size_t arena;      /* of training */
  size_t recomputed; /* the same with --recompute */
} costs;

/* 1, 256, 1024, 4096, ... and the longest sequence. */
static void fill_contexts(costs *c, int64_t longest) {
  c->n_contexts = 0;
  if (longest > 1) c->contexts[c->n_contexts++] = 1;
  for (int64_t n = 256; n < longest; n *= 4) c->contexts[c->n_contexts++] = n;
  c->contexts[c->n_contexts++] = longest;
}

/* Groups of which have no whole blocks of inputs. */
static int count_exact(const moh__model *model) {
  int n = 0;
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    n += w->grouping != MOH__PACK_NONE &&
         w->precision != MOH__PRECISION_F32 &&
         moh__param_type(w) == MOH__BLOCK_F32;
  }
  return n;
}

/* Of the model as it is run. */
static moh_status find_running(const values *v, moh__model *model, costs *c,
                               moh_error *err) {
  moh__model_set_precision(model, moh__load_precision(model, v->precision));
  c->model = moh__model_measure(model);
  c->n_exact = count_exact(model);
  return moh__branches_measure(model, (int32_t)c->context, (int32_t)c->beam,
                               &c->session, err);
}

static moh_status find_arena(const costs *c, const moh__model *model,
                             bool recompute, size_t *bytes, moh_error *err) {
  return moh__arch_arena_bytes_training(model, (int32_t)c->batch,
                                        (int32_t)c->context, recompute, false,
                                        bytes, err);
}

/* As moh tune does it: in f32 unless it is told otherwise, whatever the
 * weights are stored as. */
static moh_status find_training(const values *v, moh__model *model, costs *c,
                                moh_error *err) {
  moh__precision precision = (moh__precision)moh__choice_or(
      v->precision, MOH__PRECISION_F32);
  c->trains = moh__precision_trains(precision);
  if (!c->trains) return MOH_OK;
  moh__model_set_precision(model, precision);
  c->training = moh__model_measure(model);
  MOH_TRY(find_arena(c, model, true, &c->recomputed, err));
  return find_arena(c, model, false, &c->arena, err);
}

static moh_status find_costs(const values *v, moh__model *model, costs *c,
                             moh_error *err) {
  int64_t longest = model->config.max_seq_len;
  c->batch = moh__int_or(v->batch, 1);
  c->context = moh__int_or(v->context, longest);
  c->beam = moh__int_or(v->beam, 0);
  if (c->context > longest)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--context %" PRId64
                     " is longer than the model's "
                     "longest sequence, %" PRId64,
                     c->context, longest);
  fill_contexts(c, longest);
  MOH_TRY(find_running(v, model, c, err));
  return find_training(v, model, c, err);
}

/* Activations, and the gates that a session keeps. */
static int64_t working_bytes(const costs *c) {
  return (int64_t)(c->session.work + c->session.gates);
}

static int64_t inference_bytes(const costs *c) {
  return c->model.data + c->model.packed + (int64_t)c->session.pages +
         working_bytes(c);
}

static int64_t training_bytes(const costs *c) {
  return moh__model_bytes_trained(&c->training) + c->training.grads +
         c->training.moments + (int64_t)c->arena;
}

/* Share of the multiply-adds that skipping saves, in %. */
static double saving(const moh__macs *macs) {
  return 100.0 - 100.0 * (double)macs->active / (double)macs->dense;
}

/* Where the number of heads differs between tokens: with the fewest, with the
 * mean of the training (0: not known), with the most. */
typedef struct spread {
  moh__macs least, mean, most;
} spread;

static spread spread_of(const moh__model *model, const moh__summary *s,
                        int64_t context) {
  const moh__config *c = &model->config;
  return (spread){moh__arch_macs_at(c, context, (double)s->least),
                  moh__arch_macs_at(c, context, s->mean),
                  moh__arch_macs(c, context)};
}

/* ---- text ---- */

static void print_spread(const moh__box *box, const moh__model *model,
                         const moh__summary *s, const costs *c) {
  moh__box_section(box, "multiply-adds of a token, by its number of heads");
  moh__box_line(box, "%10s  %13s  %13s  %13s  %13s", "context", "all heads",
                "at least", s->mean > 0 ? "on average" : "", "at most");
  for (int i = 0; i < c->n_contexts; i++) {
    moh__number context, dense, least, mean, most;
    spread m = spread_of(model, s, c->contexts[i]);
    moh__box_line(
        box, "%10s  %13s  %13s  %13s  %13s",
        moh__number_grouped(&context, c->contexts[i]),
        moh__number_grouped(&dense, m.most.dense),
        moh__number_grouped(&least, m.least.active),
        s->mean > 0 ? moh__number_grouped(&mean, m.mean.active) : "",
        moh__number_grouped(&most, m.most.active));
  }
}

static void print_macs(const moh__box *box, const moh__model *model,
                       const costs *c) {
  moh__number context, dense, active;
  bool experts = model->config.experts.n_routed > 0;
  moh__box_section(box, "multiply-adds of a token, forward");
  moh__box_line(box, "%10s  %18s  %18s  %10s", "context",
                experts ? "heads and experts" : "all heads",
                experts ? "those in use" : "heads in use", "saved");
  for (int i = 0; i < c->n_contexts; i++) {
    moh__macs macs = moh__arch_macs(&model->config, c->contexts[i]);
    moh__box_line(box, "%10s  %18s  %18s  %8.1f %%",
                  moh__number_grouped(&context, c->contexts[i]),
                  moh__number_grouped(&dense, macs.dense),
                  moh__number_grouped(&active, macs.active), saving(&macs));
  }
  int64_t positions = moh__arch_macs(&model->config, 1).positions;
  if (positions > 0)
    moh__box_line(box, "%10s  %18s  %18s", "of these", "CoPE's positions",
                  moh__number_grouped(&active, positions));
}

static void print_bytes(const moh__box *box, const char *label,
                        int64_t bytes) {
  moh__number text;
  moh__box_field(box, label, "%14s", moh__number_bytes(&text, bytes));
}

static void print_running(const moh__box *box, const costs *c) {
  char title[96], beams[40] = "";
  if (c->beam > 0)
    snprintf(beams, sizeof beams, ", %" PRId64 " beams, at most", c->beam);
  snprintf(title, sizeof title, "memory for running, %" PRId64 " tokens%s",
           c->context, beams);
  moh__box_section(box, title);
  print_bytes(box, "weights", c->model.data);
  print_bytes(box, "packed weights", c->model.packed);
  if (c->n_exact > 0)
    moh__box_field(box, "  in f32", "%d %s whose inputs are no blocks of %d",
                   c->n_exact, c->n_exact == 1 ? "matrix" : "matrices",
                   MOH__BLOCK);
  print_bytes(box, "keys and values", (int64_t)c->session.pages);
  print_bytes(box, "working memory", working_bytes(c));
  print_bytes(box, "total", inference_bytes(c));
}

static void print_training(const moh__box *box, const costs *c) {
  char title[96];
  snprintf(title, sizeof title,
           "memory for training, %" PRId64 " x %" PRId64 " tokens", c->batch,
           c->context);
  moh__box_section(box, title);
  print_bytes(box, "weights", moh__model_bytes_trained(&c->training));
  print_bytes(box, "gradients", c->training.grads);
  print_bytes(box, "moments", c->training.moments);
  print_bytes(box, "activations", (int64_t)c->arena);
  print_bytes(box, "  --recompute", (int64_t)c->recomputed);
  print_bytes(box, "total", training_bytes(c));
}

static void print_text(const moh__model *model, const char *title,
                       const moh__summary *summary, const costs *c) {
  moh__box box = moh__box_open(stdout, title);
  moh__summary_print(&box, model, summary);
  if (summary->least < summary->active)
    print_spread(&box, model, summary, c);
  else
    print_macs(&box, model, c);
  print_running(&box, c);
  if (c->trains) print_training(&box, c);
  moh__box_close(&box);
}

/* ---- JSON ---- */

static json_t *macs_json(const moh__model *model, const moh__summary *s,
                         const costs *c) {
  json_t *array = json_array();
  for (int i = 0; i < c->n_contexts; i++) {
    moh__macs m = moh__arch_macs(&model->config, c->contexts[i]);
    json_t *row = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:f}", "context",
        (json_int_t)c->contexts[i], "dense", (json_int_t)m.dense, "active",
        (json_int_t)m.active, "router", (json_int_t)m.router, "positions",
        (json_int_t)m.positions, "saving_percent", saving(&m));
    json_array_append_new(array, row);
    if (s->least == s->active) continue;
    spread all = spread_of(model, s, c->contexts[i]);
    json_object_set_new(row, "active_least", json_integer(all.least.active));
    if (s->mean > 0)
      json_object_set_new(row, "active_mean", json_integer(all.mean.active));
  }
  return array;
}

static json_t *training_json(const costs *c) {
  const moh__model_bytes *m = &c->training;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "training_weights",
                   (json_int_t)moh__model_bytes_trained(m), "gradients",
                   (json_int_t)m->grads, "moments", (json_int_t)m->moments,
                   "activations", (json_int_t)c->arena,
                   "activations_recomputed", (json_int_t)c->recomputed,
                   "packed_back", (json_int_t)m->packed_back,
                   "training_total", (json_int_t)training_bytes(c));
}

static json_t *memory_json(const costs *c) {
  json_t *bytes = json_pack(
      "{s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:I}", "context",
      (json_int_t)c->context, "batch", (json_int_t)c->batch, "weights",
      (json_int_t)c->model.data, "packed", (json_int_t)c->model.packed,
      "matrices_in_f32", c->n_exact,
      "keys_and_values", (json_int_t)c->session.pages, "work",
      (json_int_t)c->session.work, "inference_total",
      (json_int_t)inference_bytes(c));
  json_t *training = c->trains ? training_json(c) : json_object();
  json_object_update(bytes, training);
  json_decref(training);
  return bytes;
}

static moh_status print_json(const moh__model *model,
                             const moh__summary *summary, const costs *c,
                             moh_error *err) {
  json_t *object = moh__summary_json(model, summary);
  json_object_set_new(object, "multiply_adds", macs_json(model, summary, c));
  json_object_set_new(object, "bytes", memory_json(c));
  return moh__print_json(object, err);
}

/* ---- where the model comes from ---- */

static moh_status model_of_preset(const values *v, moh__model **model,
                                  moh_error *err) {
  moh__config config;
  MOH_TRY(moh__model_options_config(&v->model, NULL, &config, err));
  config.vocab_size = moh__int_or(v->vocabulary, config.vocab_size);
  if (config.vocab_size == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the preset %s takes its vocabulary from the data; give "
                     "its size with --vocab N",
                     v->model.preset);
  MOH_TRY(moh__model_options_check(&config, err));
  return moh__arch_model(model, &config, err);
}

static bool is_of_preset(const char *name) {
  if (strcmp(name, "vocab") == 0) return true;
  for (const moh__option *o = moh__preset_options; o->name != NULL; o++)
    if (strcmp(o->name, name) == 0) return true;
  for (const moh__option *o = moh__model_options; o->name != NULL; o++)
    if (strcmp(o->name, name) == 0) return true;
  return false;
}

/* A model that is there is what it is. */
static moh_status check_no_changes(const moh__call *call, moh_error *err) {
  moh_status status = MOH_OK;
  json_t *given = moh__options_json(call);
  if (given == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  const char *name;
  json_t *value;
  json_object_foreach(given, name, value) {
    if (status == MOH_OK && is_of_preset(name))
      status = moh__fail(err, MOH_ERR_ARGUMENT,
                         "--%s goes with --preset, not with --model", name);
  }
  json_decref(given);
  return status;
}

static moh_status open_model(const moh__call *call, moh__model **model,
                             moh_error *err) {
  const values *v = call->values;
  if ((v->path == NULL) == (v->model.preset == NULL))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "either --model DIR or --preset NAME is needed");
  if (v->path == NULL) return model_of_preset(v, model, err);
  MOH_TRY(check_no_changes(call, err));
  moh__load_options options = {.verify = v->verify, .stored = true};
  return moh__load(v->path, options, model, NULL, err);
}

static moh_status inspect(const values *v, moh__model *model,
                          moh_error *err) {
  moh__summary summary;
  costs c;
  MOH_TRY(find_costs(v, model, &c, err));
  moh__summary_make(model, &summary);
  if (v->json) return print_json(model, &summary, &c, err);
  print_text(model, v->path != NULL ? v->path : v->model.preset, &summary,
             &c);
  return MOH_OK;
}

static moh_status run_inspect(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  moh__model *model = NULL;
  MOH_TRY(open_model(call, &model, err));
  moh_status status = inspect(v, model, err);
  moh__model_free(model);
  return status;
}

const moh__command moh__command_inspect = {
    .name = "inspect",
    .summary = "what a model is: layers, parameters, multiply-adds, memory",
    .usage = "(--model DIR | --preset NAME) [OPTION]...",
    .description =
        "Shows what a model is made of, what a token costs by the length "
        "of "
        "its context, with all heads (and experts) and with those in use, "
        "and the memory that running and training take. All figures are "
        "counted.",
    .examples =
        "  moh inspect --model run\n"
        "  moh inspect --preset moh-s --heads moh:3+3 --json\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_inspect,
};
