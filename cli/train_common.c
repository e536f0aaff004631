/*
 * The tables of training options and of training defaults, and how the one
 * completes the other.
 */
#include "train_common.h"

#include <stdlib.h>
#include <string.h>

#include "numbers.h"
#include "run_dir.h"

#define FIELD(name) .offset = offsetof(moh__training_values, name)
#define COUNT(most) .min = 1, .max = (most)

/* How long and how fast each preset trains. */
/* clang-format off */
static const moh__training_defaults defaults_table[] = {
    /* name         epochs steps batch acc. context  lr    lr_final warmup
       weight_decay clip beta2 router_lr held_out */
    {"nano",          20,  2000, 12,   1,   64,      1e-3, 0.1,     0.05,
     0.1,           1,   0.99,  1,        0.1},
    {"seed-train",   100,  2000, 8,    1,   80,      1e-3, 0.1,     0.05,
     0.01,          1,   0.999, 1,        0.1},
    {"seed",         100,  2000, 4,    1,   80,      5e-4, 0.1,     0.1,
     0.01,          1,   0.999, 1,        0.1},
    {"moh-xs",         1,  3000, 8,    1,   256,     1.5e-3, 0.1,   0.03,
     0.1,           1,   0.95,  1,        0.01},
    {"moh-s",          1, 10000, 4,    8,   512,     6e-4, 0.1,     0.02,
     0.1,           1,   0.95,  1,        0.01},
    {"moh-b",          1, 10000, 2,    16,  512,     3e-4, 0.1,     0.02,
     0.1,           1,   0.95,  1,        0.01},
    {"tune",         100,   500, 4,    1,   80,      5e-4, 0.1,     0.05,
     0.01,          1,   0.999, 1,        0.1},
};
/* clang-format on */
enum { N_DEFAULTS = sizeof defaults_table / sizeof defaults_table[0] };

const moh__option moh__data_options[] = {
    {"data", 'd', MOH__OPTION_STRING, "FILE",
     "what to learn: plain text, JSON, JSONL or CSV, or a directory of moh "
     "data",
     NULL, FIELD(data)},
    {"out", 'o', MOH__OPTION_STRING, "DIR",
     "the run's directory: run.json, log.jsonl, checkpoints/, best/, "
     "final/",
     NULL, FIELD(out)},
    {"resume", 0, MOH__OPTION_STRING, "DIR",
     "go on with the run in that directory from its newest checkpoint, in "
     "place of all other options but those of \"Running\" that change no "
     "result",
     NULL, FIELD(resume)},
    {"overwrite", 0, MOH__OPTION_FLAG, NULL,
     "replace an earlier run in that directory", NULL, FIELD(overwrite)},
    {"held-out", 0, MOH__OPTION_REAL, "SHARE",
     "share of the data kept for evaluation",
     "0 for examples, by preset for text", FIELD(held_out), .min = 0,
     .max = 0.9},
    {.name = NULL},
};

const moh__option moh__training_options[] = {
    {"epochs", 0, MOH__OPTION_INT, "N", "passes over the examples",
     "by preset", FIELD(epochs), COUNT(1e9)},
    {"steps", 0, MOH__OPTION_INT, "N", "optimizer steps, instead of epochs",
     "by preset", FIELD(steps), COUNT(1e12)},
    {"batch", 'b', MOH__OPTION_INT, "N", "sequences of a micro-batch",
     "by preset", FIELD(batch), COUNT(65536)},
    {"accumulate", 0, MOH__OPTION_INT, "N", "micro-batches of a step",
     "by preset", FIELD(accumulate), COUNT(65536)},
    {"context", 'c', MOH__OPTION_INT, "N",
     "tokens that a sequence predicts, at most", "by preset", FIELD(context),
     COUNT(1 << 20)},
    {"lr", 0, MOH__OPTION_REAL, "X", "learning rate after the warm-up",
     "by preset", FIELD(lr), .min = 1e-12, .max = 100},
    {"lr-final", 0, MOH__OPTION_REAL, "SHARE",
     "learning rate at the end of the cosine, as a share of --lr", "0.1",
     FIELD(lr_final), .min = 0, .max = 1},
    {"warmup", 0, MOH__OPTION_REAL, "SHARE",
     "share of the steps in which the learning rate rises", "by preset",
     FIELD(warmup), .min = 0, .max = 1},
    {"weight-decay", 0, MOH__OPTION_REAL, "X", "on matrices", "by preset",
     FIELD(weight_decay), .min = 0, .max = 100},
    {"adam-l2", 0, MOH__OPTION_FLAG, NULL,
     "weight decay as part of the gradient (Adam), not apart from it "
     "(AdamW)",
     NULL, FIELD(l2)},
    {"amsgrad", 0, MOH__OPTION_FLAG, NULL,
     "use the largest second moment so far (AMSGrad)", NULL, FIELD(amsgrad)},
    {"clip", 0, MOH__OPTION_REAL, "X", "largest gradient norm; 0: off", "1",
     FIELD(clip), .min = 0, .max = 1e9},
    {"agc", 0, MOH__OPTION_REAL, "LAMBDA",
     "clip the gradient of each row of a matrix to LAMBDA times the row's "
     "norm (adaptive gradient clipping), before --clip; 0: off",
     "0", FIELD(agc), .min = 0, .max = 1e9},
    {"centralize", 0, MOH__OPTION_FLAG, NULL,
     "subtract from the gradient of each row its mean, before --agc", NULL,
     FIELD(centralize)},
    {"anomaly", 0, MOH__OPTION_REAL, "X",
     "stop before a step in which the gradient of some weight is larger than "
     "X; 0: off",
     "1000", FIELD(anomaly), .min = 0, .max = 1e9},
    {"skip-outliers", 0, MOH__OPTION_REAL, "Z",
     "skip steps whose loss or gradient norm lies more than Z standard "
     "deviations above the mean of the last 128; 0: none",
     "0", FIELD(skip_outliers), .min = 0, .max = 1e9},
    {"adam-beta1", 0, MOH__OPTION_REAL, "X", "decay of the first moment",
     "0.9", FIELD(beta1), .min = 0, .max = 0.999999},
    {"adam-beta2", 0, MOH__OPTION_REAL, "X", "decay of the second moment",
     "by preset", FIELD(beta2), .min = 0, .max = 0.999999},
    {"router-lr", 0, MOH__OPTION_REAL, "FACTOR",
     "the routers' learning rate, times --lr", "1", FIELD(router_lr),
     .min = 0, .max = 1000},
    {"heads-warmup", 0, MOH__OPTION_INT, "STEPS",
     "steps from the first in which tokens use all heads, so that every head "
     "learns before any is left out",
     "0", FIELD(heads_warmup), .min = 0, .max = 1e12},
    {"freeze", 0, MOH__OPTION_STRING, "NAME,...",
     "leave these alone: embeddings, output, router, attention, "
     "feed-forward, norms, or tensors by name, * standing for anything",
     NULL, FIELD(freeze)},
    {"lora", 0, MOH__OPTION_STRING, "RANK[:ALPHA]",
     "train adapters of low rank beside matrices, and routers, and nothing "
     "else: for machines with little memory; ALPHA is twice RANK, if not "
     "said otherwise",
     NULL, FIELD(lora)},
    {"lora-on", 0, MOH__OPTION_STRING, "NAME,...",
     "matrices that have adapters: q_proj, k_proj, v_proj, o_proj, "
     "gate_proj, up_proj, down_proj, self_attn, mlp",
     "q_proj,v_proj", FIELD(lora_on)},
    {"beta", 0, MOH__OPTION_REAL, "X",
     "weight of the load-balance loss (mean over layers)",
     "0.01, or the model's", FIELD(balance_weight), .min = 0, .max = 1e6},
    {"z-loss", 0, MOH__OPTION_REAL, "X", "weight of the routers' z-loss",
     "0, or the model's", FIELD(z_weight), .min = 0, .max = 1e6},
    {"sparsity", 0, MOH__OPTION_REAL, "X",
     "weight of the entropy of adaptive heads' probabilities: the more, the "
     "fewer heads",
     "0, or the model's", FIELD(sparsity), .min = 0, .max = 1e6},
    {"target-heads", 0, MOH__OPTION_REAL, "MEAN",
     "adaptive heads: hold that many for a token in each layer, on average, "
     "by moving what their probabilities have to reach",
     NULL, FIELD(target_heads), .min = 1, .max = 4096},
    {"expert-beta", 0, MOH__OPTION_REAL, "X",
     "weight of the experts' load-balance loss", "0.01, or the model's",
     FIELD(expert_balance), .min = 0, .max = 1e6},
    {"expert-z-loss", 0, MOH__OPTION_REAL, "X",
     "weight of the z-loss of the experts' routers", "0, or the model's",
     FIELD(expert_z), .min = 0, .max = 1e6},
    {"precision", 0, MOH__OPTION_CHOICE, NULL,
     "what products are computed in; weights and moments stay f32", "f32",
     FIELD(precision), .choices = moh__precision_trained_names},
    {"recompute", 0, MOH__OPTION_FLAG, NULL,
     "compute the activations within a layer again in backward, not keep "
     "them: less memory, a third more time",
     NULL, FIELD(recompute)},
    {"seed", 's', MOH__OPTION_INT, "N",
     "of initial weights and the order of the data", "1", FIELD(seed),
     .min = 0, .max = 9e18},
    {.name = NULL},
};

const moh__option moh__run_options[] = {
    {"eval-every", 0, MOH__OPTION_INT, "STEPS",
     "evaluate on held-out data so often; the best goes to best/",
     "20 times in a run", FIELD(eval_every), COUNT(1e12)},
    {"eval-tokens", 0, MOH__OPTION_INT, "N",
     "tokens of such an evaluation, at most", "20000", FIELD(eval_tokens),
     COUNT(1e12)},
    {"final-eval-tokens", 0, MOH__OPTION_INT, "N",
     "of the training data, tokens of the evaluation at the end, at most; "
     "0: all",
     "200000", FIELD(final_eval_tokens), .min = 0, .max = 1e12},
    {"checkpoint-every", 0, MOH__OPTION_INT, "STEPS",
     "save the whole state so often; 0: only when the run is interrupted",
     "every ten minutes", FIELD(checkpoint_every), .min = 0, .max = 1e12},
    {"keep-checkpoints", 0, MOH__OPTION_INT, "N",
     "older checkpoints are removed", "2", FIELD(keep_checkpoints),
     COUNT(1e6)},
    {"max-time", 0, MOH__OPTION_STRING, "TIME",
     "save the whole state and stop after that time: 90s, 30m, 2h, 1d", NULL,
     FIELD(max_time)},
    {"threads", 't', MOH__OPTION_INT, "N", "threads that compute",
     "all processors", FIELD(threads), COUNT(1024)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the result as JSON on stdout", NULL,
     FIELD(json)},
    {.name = NULL},
};

const moh__training_defaults *moh__training_defaults_of(const char *name) {
  for (int i = 0; i < N_DEFAULTS; i++)
    if (strcmp(defaults_table[i].name, name) == 0) return &defaults_table[i];
  return &defaults_table[0];
}

/* Epochs for examples, steps for plain text, unless one was given. */
static moh_status fill_length(const moh__training_values *v,
                              const moh__training_defaults *d, bool examples,
                              moh__train_options *options, moh_error *err) {
  bool epochs = moh__is_set_int(v->epochs), steps = moh__is_set_int(v->steps);
  if (epochs && steps)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--epochs and --steps exclude each other");
  if (!epochs && !steps) epochs = examples;
  options->epochs = epochs ? moh__int_or(v->epochs, d->epochs) : 0;
  options->steps = epochs ? 0 : moh__int_or(v->steps, d->steps);
  return MOH_OK;
}

/* "RANK" or "RANK:ALPHA". */
static moh_status fill_lora(const moh__training_values *v,
                            moh__train_options *options, moh_error *err) {
  char *end = NULL;
  if (v->lora == NULL && v->lora_on != NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--lora-on needs --lora RANK");
  if (v->lora == NULL) return MOH_OK;
  long rank = strtol(v->lora, &end, 10);
  double alpha = 2 * (double)rank;
  bool good = end != v->lora;
  if (good && *end == ':') {
    const char *rest = end + 1;
    alpha = strtod(rest, &end);
    good = end != rest;
  }
  if (!good || *end != '\0' || rank < 1 || rank > 4096 || !(alpha > 0) ||
      !(alpha <= 1e6))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--lora must be RANK or RANK:ALPHA, such as 8 or 8:16, "
                     "not '%.40s'",
                     v->lora);
  options->lora_rank = (int32_t)rank;
  options->lora_alpha = alpha;
  options->lora_on = v->lora_on != NULL ? v->lora_on : "q_proj,v_proj";
  return MOH_OK;
}

moh_status moh__training_fill(const moh__training_values *v,
                              const moh__training_defaults *d, bool examples,
                              moh__train_options *options, moh_error *err) {
  if (!examples && moh__int_or(v->final_eval_tokens, 0) == 1)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--final-eval-tokens must be 0 (all of them) or at least "
                     "2: the first token is not predicted");
  moh__train_options_default(options);
  options->lr = moh__real_or(v->lr, d->lr);
  options->lr_final = moh__real_or(v->lr_final, d->lr_final);
  options->warmup = moh__real_or(v->warmup, d->warmup);
  options->weight_decay = moh__real_or(v->weight_decay, d->weight_decay);
  options->clip = moh__real_or(v->clip, d->clip);
  options->beta1 = moh__real_or(v->beta1, options->beta1);
  options->beta2 = moh__real_or(v->beta2, d->beta2);
  options->router_lr = moh__real_or(v->router_lr, d->router_lr);
  options->heads_warmup = moh__int_or(v->heads_warmup, 0);
  options->agc = moh__real_or(v->agc, 0);
  options->centralize = v->centralize;
  options->anomaly = moh__real_or(v->anomaly, options->anomaly);
  options->skip_outliers = moh__real_or(v->skip_outliers, 0);
  options->target_heads = moh__real_or(v->target_heads, 0);
  options->freeze = v->freeze;
  MOH_TRY(fill_lora(v, options, err));
  options->l2 = v->l2;
  options->amsgrad = v->amsgrad;
  options->recompute = v->recompute;
  options->precision =
      (moh__precision)moh__choice_or(v->precision, MOH__PRECISION_F32);
  options->batch = (int32_t)moh__int_or(v->batch, d->batch);
  options->accumulate = (int32_t)moh__int_or(v->accumulate, d->accumulate);
  options->context = (int32_t)moh__int_or(v->context, d->context);
  options->seed = (uint64_t)moh__int_or(v->seed, 1);
  return fill_length(v, d, examples, options, err);
}

double moh__training_held_out(const moh__training_values *values,
                              const moh__training_defaults *defaults,
                              bool examples) {
  return moh__real_or(values->held_out, examples ? 0 : defaults->held_out);
}

/* Options that say how heads or experts are chosen, for a model in which
 * they are not. */
static moh_status check_routers(const moh__training_values *v,
                                const moh__config *c, moh_error *err) {
  bool router = moh__config_has_router(c);
  const struct {
    bool given, useful;
    const char *message;
  } options[] = {
      {moh__is_set_real(v->balance_weight), moh__config_has_scores(c),
       "--beta needs heads that are chosen by scores (--heads moh:S+K)"},
      {moh__is_set_real(v->z_weight),
       router || c->heads == MOH__HEADS_NORM || v->z_weight == 0,
       "--z-loss needs a router (--heads moh:S+K)"},
      {moh__is_set_real(v->router_lr), router || c->experts.n_routed > 0,
       "--router-lr needs a router (--heads moh:S+K, or --experts S+K/E)"},
  };
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    if (options[i].given && !options[i].useful)
      return moh__fail(err, MOH_ERR_ARGUMENT, "%s", options[i].message);
  return MOH_OK;
}

static moh_status check_target(const moh__training_values *v,
                               const moh__config *c, moh_error *err) {
  double least = (double)moh__config_least_heads(c);
  double most = (double)moh__config_active_heads(c);
  if (!moh__is_set_real(v->target_heads) ||
      (v->target_heads >= least && v->target_heads <= most))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "--target-heads is %g, but tokens use %g to %g heads",
                   v->target_heads, least, most);
}

static moh_status check_needs(const moh__training_values *v,
                              const moh__config *c, moh_error *err) {
  MOH_TRY(check_routers(v, c, err));
  if (moh__int_or(v->heads_warmup, 0) > 0 && !moh__config_routes(c))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--heads-warmup needs a model whose tokens choose heads "
                     "(moh:S+K)");
  if (c->heads == MOH__HEADS_NORM && moh__real_or(v->z_weight, 0) > 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--z-loss is for the logits of a router, and heads by "
                     "query norm (norm:S+K) have none");
  if (c->experts.n_routed == 0 &&
      (moh__is_set_real(v->expert_balance) || moh__is_set_real(v->expert_z)))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--expert-beta and --expert-z-loss need experts "
                     "(--experts S+K/E)");
  if (c->heads != MOH__HEADS_ADAPTIVE &&
      (moh__is_set_real(v->sparsity) || moh__is_set_real(v->target_heads)))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--sparsity and --target-heads need adaptive heads "
                     "(adaptive:S+MIN-MAX)");
  return check_target(v, c, err);
}

moh_status moh__training_set_weights(const moh__training_values *values,
                                     moh__config *config, moh_error *err) {
  config->balance_weight =
      moh__real_or(values->balance_weight, config->balance_weight);
  config->z_weight = moh__real_or(values->z_weight, config->z_weight);
  config->sparsity_weight =
      moh__real_or(values->sparsity, config->sparsity_weight);
  moh__experts *x = &config->experts;
  x->balance_weight = moh__real_or(values->expert_balance, x->balance_weight);
  x->z_weight = moh__real_or(values->expert_z, x->z_weight);
  return check_needs(values, config, err);
}

moh_status moh__training_parse_mix(const char *text, char **path,
                                   double *share, moh_error *err) {
  const char *colon = strrchr(text, ':');
  char *end = NULL;
  if (colon != NULL) *share = strtod(colon + 1, &end);
  if (colon == NULL || colon == text || end == colon + 1 || *end != '\0')
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--mix must be FILE:SHARE, such as facts.json:0.3, not "
                     "'%s'",
                     text);
  if (!(*share > 0 && *share < 1))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the share of --mix must lie between 0 and 1, not '%s'",
                     colon + 1);
  *path = strndup(text, (size_t)(colon - text));
  if (*path == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  return MOH_OK;
}

moh_status moh__training_max_time(const moh__training_values *values,
                                  double *seconds, moh_error *err) {
  *seconds = 0;
  if (values->max_time == NULL ||
      moh__parse_duration(values->max_time, seconds))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "--max-time must be a time such as 90s, 30m, 2h or 1d, "
                   "not '%s'",
                   values->max_time);
}

moh_status moh__training_check(const moh__training_values *values,
                               double *max_seconds, moh_error *err) {
  if (values->data == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--data FILE is missing");
  if (values->out == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--out DIR is missing");
  MOH_TRY(moh__training_max_time(values, max_seconds, err));
  MOH_TRY(moh__run_dir_check(values->out, values->overwrite, err));
  return moh__run_dir_outside(values->out, "data", values->data, err);
}
