/* The options of generation, their defaults, and notes about its limits. */
#include "generation.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "pieces.h"
#include "text/chat_prompt.h"

#define FIELD(name) .offset = offsetof(moh__generation_values, name)

static const char *const overflow_choices[] = {"stop", "slide", NULL};

const moh__option moh__generation_options[] = {
    {"max-tokens", 'n', MOH__OPTION_INT, "N", "tokens to generate, at most",
     "until the text ends, or the model is full", FIELD(max_tokens), .min = 1,
     .max = 1 << 30},
    {"temperature", 'T', MOH__OPTION_REAL, "X",
     "0 takes the likeliest token, 1 draws from the model's distribution",
     "0; with --beam 1", FIELD(temperature), .min = 0, .max = 1000},
    {"top-k", 'k', MOH__OPTION_INT, "N", "draw from the N likeliest tokens",
     "0, all", FIELD(top_k), .min = 0, .max = 1 << 30},
    {"top-p", 'p', MOH__OPTION_REAL, "X",
     "draw from the likeliest tokens that together have this probability",
     "1, all", FIELD(top_p), .min = 0, .max = 1},
    {"min-p", 0, MOH__OPTION_REAL, "X",
     "draw from tokens with X times the probability of the likeliest, or "
     "more",
     "0, all", FIELD(min_p), .min = 0, .max = 1},
    {"repeat-penalty", 0, MOH__OPTION_REAL, "X",
     "divides (above 0) or multiplies (below) the logits of tokens that "
     "came before",
     "1, off", FIELD(repeat_penalty), .min = 0.01, .max = 100},
    {"repeat-last", 0, MOH__OPTION_INT, "N",
     "tokens that the penalty looks back; -1: all", "64", FIELD(repeat_last),
     .min = -1, .max = 1 << 30},
    {"seed", 's', MOH__OPTION_INT, "N", "of the random numbers",
     "drawn, and shown on stderr", FIELD(seed), .min = 0, .max = 9e18},
    {"stop", 0, MOH__OPTION_TEXTS, "TEXT",
     "end before this text; may be given several times", NULL, FIELD(stops)},
    {"overflow", 0, MOH__OPTION_CHOICE, NULL,
     "when the model is full: end the text, or drop the older half of it",
     "stop", FIELD(overflow), .choices = overflow_choices},
    {"keep", 0, MOH__OPTION_INT, "N",
     "first tokens that --overflow slide never drops", "0", FIELD(keep),
     .min = 0, .max = 1 << 30},
    {"beam", 0, MOH__OPTION_INT, "WIDTH",
     "search for the likeliest text with so many beams, nothing is drawn",
     "0, off", FIELD(beam), .min = 0, .max = MOH__BEAM_WIDTH_MAX},
    {"beam-min", 0, MOH__OPTION_INT, "N",
     "the width falls to N, one a step, where the beams have little doubt",
     "WIDTH; with --beam-max 1", FIELD(beam_min), .min = 1,
     .max = MOH__BEAM_WIDTH_MAX},
    {"beam-max", 0, MOH__OPTION_INT, "N",
     "the width rises to N, one a step, where they have much",
     "WIDTH; with --beam-min WIDTH, 8 at least", FIELD(beam_max), .min = 1,
     .max = MOH__BEAM_WIDTH_MAX},
    {"beam-threshold", 0, MOH__OPTION_REAL, "X",
     "much doubt: mean entropy above X times the logarithm of the "
     "vocabulary",
     "0.5", FIELD(beam_threshold), .min = 0, .max = 1},
    {"beam-exact", 0, MOH__OPTION_FLAG, NULL,
     "go on while a beam could become the best with --max-tokens tokens, "
     "not only while one is",
     NULL, FIELD(beam_exact)},
    {"length-penalty", 0, MOH__OPTION_REAL, "X",
     "texts are compared by ln p / tokens^X", "1", FIELD(length_penalty),
     .min = 0, .max = 100},
    {.name = NULL},
};

/* ---- what excludes each other ---- */

/* The first option of a list that was given, or NULL. */
typedef struct given {
  const char *name;
  bool is;
} given;

static const char *first_given(const given *options, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (options[i].is) return options[i].name;
  return NULL;
}

static const char *given_for_beams(const moh__generation_values *v) {
  const given options[] = {
      {"--beam-min", moh__is_set_int(v->beam_min)},
      {"--beam-max", moh__is_set_int(v->beam_max)},
      {"--beam-threshold", moh__is_set_real(v->beam_threshold)},
      {"--beam-exact", v->beam_exact},
      {"--length-penalty", moh__is_set_real(v->length_penalty)}};
  return first_given(options, sizeof options / sizeof options[0]);
}

/* What draws, or moves what beams have read. Rules that are turned off may be
 * given, so that a chat can turn them off. */
static const char *given_without_beams(const moh__generation_values *v) {
  const given options[] = {
      {"--top-k", moh__int_or(v->top_k, 0) != 0},
      {"--top-p", moh__real_or(v->top_p, 1) != 1},
      {"--min-p", moh__real_or(v->min_p, 0) != 0},
      {"--repeat-penalty", moh__real_or(v->repeat_penalty, 1) != 1},
      {"--repeat-last", moh__is_set_int(v->repeat_last)},
      {"--seed", moh__is_set_int(v->seed)},
      {"--overflow slide", moh__choice_or(v->overflow, 0) != 0},
      {"--keep", moh__is_set_int(v->keep)}};
  return first_given(options, sizeof options / sizeof options[0]);
}

static moh__beam_rules beam_of(const moh__generation_values *v) {
  moh__beam_rules rules = moh__beam_rules_default();
  rules.width = (int32_t)moh__int_or(v->beam, 0);
  rules.temperature = moh__real_or(v->temperature, rules.temperature);
  rules.threshold = moh__real_or(v->beam_threshold, rules.threshold);
  rules.length_penalty =
      moh__real_or(v->length_penalty, rules.length_penalty);
  rules.exact = v->beam_exact;
  if (!moh__is_set_int(v->beam_min) && !moh__is_set_int(v->beam_max))
    return rules;
  rules.min_width = (int32_t)moh__int_or(v->beam_min, 1);
  rules.max_width =
      (int32_t)moh__int_or(v->beam_max, rules.width > 8 ? rules.width : 8);
  return rules;
}

static moh_status check_widths(const moh__generation_values *v,
                               moh_error *err) {
  moh__beam_rules rules = beam_of(v);
  bool adapts = rules.max_width > 0;
  if (!adapts && moh__is_set_real(v->beam_threshold))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--beam-threshold needs --beam-min or --beam-max");
  if (adapts &&
      (rules.width < rules.min_width || rules.width > rules.max_width))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--beam %d does not lie between --beam-min %d and "
                     "--beam-max %d",
                     rules.width, rules.min_width, rules.max_width);
  return moh__beam_rules_check(&rules, err);
}

moh_status moh__generation_check(const moh__generation_values *v,
                                 moh_error *err) {
  const char *option = given_for_beams(v);
  if (!moh__is_set_int(v->beam) && option != NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "%s needs --beam", option);
  if (!moh__generation_has_beams(v)) return MOH_OK;
  option = given_without_beams(v);
  if (option != NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--beam and %s exclude each other", option);
  if (v->temperature == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--beam and --temperature 0 exclude each other");
  return check_widths(v, err);
}

/* ---- what they say ---- */

/* Short enough to be typed. */
static uint64_t drawn_seed(void) {
  uint32_t seed = 0;
  ssize_t n = getrandom(&seed, sizeof seed, 0);
  return n == (ssize_t)sizeof seed ? seed : 1;
}

static moh__sampling sampling_of(const moh__generation_values *v) {
  moh__sampling s = moh__sampling_default();
  s.temperature = moh__real_or(v->temperature, s.temperature);
  s.top_k = (int32_t)moh__int_or(v->top_k, s.top_k);
  s.top_p = moh__real_or(v->top_p, s.top_p);
  s.min_p = moh__real_or(v->min_p, s.min_p);
  s.repeat_penalty = moh__real_or(v->repeat_penalty, s.repeat_penalty);
  s.repeat_last = (int32_t)moh__int_or(v->repeat_last, s.repeat_last);
  if (moh__is_set_int(v->seed))
    s.seed = (uint64_t)v->seed;
  else if (s.temperature > 0)
    s.seed = drawn_seed();
  return s;
}

moh__generate_options moh__generation_make(
    const moh__generation_values *values, const moh__runner *runner) {
  moh__generate_options options = moh__generate_options_default();
  if (moh__generation_has_beams(values))
    options.beam = beam_of(values);
  else
    options.sampling = sampling_of(values);
  options.max_tokens = (int32_t)moh__int_or(values->max_tokens, 0);
  options.end_token = moh__tokenizer_end(runner->tokenizer);
  options.overflow = moh__choice_or(values->overflow, 0) == 0
                         ? MOH__OVERFLOW_STOP
                         : MOH__OVERFLOW_SLIDE;
  options.keep = (int32_t)moh__int_or(values->keep, 0);
  options.tokenizer = runner->tokenizer;
  options.stops = values->stops.items;
  options.n_stops = values->stops.n;
  return options;
}

bool moh__generation_has_chat(const moh__runner *runner) {
  return moh__tokenizer_chat(runner->tokenizer) != NULL;
}

moh_status moh__generation_encode_chat(const moh__runner *runner,
                                       const json_t *messages, moh__ids *ids,
                                       moh_error *err) {
  moh__rendered rendered;
  ids->n = 0;
  MOH_TRY(
      moh__chat_render(runner->tokenizer, messages, true, &rendered, err));
  moh_status status =
      moh__chat_encode(runner->tokenizer, &rendered, ids, err);
  moh__rendered_free(&rendered);
  if (status == MOH_OK && ids->n == 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the model's chat template writes nothing");
  return status;
}

void moh__generation_show_prompt(const moh__runner *runner,
                                 const moh__ids *prompt) {
  fprintf(stderr, "(the prompt, %zu tokens)\n", prompt->n);
  moh__pieces_prompt(stderr, runner->tokenizer, prompt);
}

void moh__generation_tell_seed(const moh__generation_values *values,
                               const moh__sampling *sampling) {
  if (moh__is_set_int(values->seed) || sampling->temperature == 0) return;
  fprintf(stderr, "(seed %" PRIu64 ")\n", sampling->seed);
}

void moh__generation_tell_unknown(const moh__runner *runner,
                                  const moh__ids *prompt) {
  int32_t unknown = moh__tokenizer_unknown(runner->tokenizer);
  int n = 0;
  for (size_t i = 0; i < prompt->n; i++) n += prompt->ids[i] == unknown;
  if (n > 0)
    fprintf(stderr, "(%d of %zu tokens %s not in the vocabulary)\n", n,
            prompt->n, n == 1 ? "is" : "are");
}

void moh__generation_tell_dropped(int64_t n_dropped) {
  fprintf(stderr,
          "(the model is full: the oldest %" PRId64
          " tokens were dropped, and so on)\n",
          n_dropped);
}

void moh__generation_tell_finish(const moh__generate_result *result,
                                 const moh__session *session) {
  if (result->finish == MOH__FINISH_CONTEXT)
    fprintf(stderr,
            "(ended: the model holds no more than %d tokens; --overflow "
            "slide goes on)\n",
            moh__session_max_length(session));
}

/* Mean over the tokens of the heads that a layer used. */
static double mean_heads(const moh__gate_record *gates, int64_t layer,
                         int32_t n_tokens) {
  int64_t n_used = 0;
  for (int64_t position = 0; position < n_tokens; position++) {
    int64_t at = moh__gate_record_at(gates, layer, position);
    for (int32_t h = 0; h < gates->n_heads; h++)
      n_used += gates->used[at + h];
  }
  return n_tokens > 0 ? (double)n_used / n_tokens : 0;
}

void moh__generation_show_heads(FILE *out, const moh__model *model,
                                const moh__session *session) {
  const moh__config *config = &model->config;
  const moh__gate_record *gates = moh__session_gates(session);
  int32_t n = moh__session_length(session);
  if (gates->used == NULL)
    fprintf(out, "%" PRId64, moh__config_active_heads(config));
  for (int64_t l = 0; gates->used != NULL && l < gates->n_layers; l++)
    fprintf(out, "%s%.2f", l == 0 ? "" : ", ", mean_heads(gates, l, n));
  fprintf(out, " of %" PRId64 "%s", config->n_heads,
          gates->used == NULL ? "" : ", by layer");
}

double moh__per_second(int64_t n_tokens, double seconds) {
  return seconds > 0 ? (double)n_tokens / seconds : 0;
}
