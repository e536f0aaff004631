/* The options of generation, their defaults, and notes about its limits. */
#include "generation.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#define FIELD(name) .offset = offsetof(moh__generation_values, name)

static const char *const overflow_choices[] = {"stop", "slide", NULL};

const moh__option moh__generation_options[] = {
    {"max-tokens", 'n', MOH__OPTION_INT, "N", "tokens to generate, at most",
     "until the text ends, or the model is full", FIELD(max_tokens),
     .min = 1, .max = 1 << 30},
    {"temperature", 'T', MOH__OPTION_REAL, "X",
     "0 takes the likeliest token, 1 draws from the model's distribution",
     "0", FIELD(temperature), .min = 0, .max = 1000},
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
     "tokens that the penalty looks back; -1: all", "64",
     FIELD(repeat_last), .min = -1, .max = 1 << 30},
    {"seed", 's', MOH__OPTION_INT, "N", "of the random numbers",
     "drawn, and shown on stderr", FIELD(seed), .min = 0, .max = 9e18},
    {"stop", 0, MOH__OPTION_TEXTS, "TEXT",
     "end before this text; may be given several times", NULL,
     FIELD(stops)},
    {"overflow", 0, MOH__OPTION_CHOICE, NULL,
     "when the model is full: end the text, or drop the older half of it",
     "stop", FIELD(overflow), .choices = overflow_choices},
    {"keep", 0, MOH__OPTION_INT, "N",
     "first tokens that --overflow slide never drops", "0", FIELD(keep),
     .min = 0, .max = 1 << 30},
    {.name = NULL},
};

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
  for (int64_t l = 0; gates->used != NULL && l < config->n_layers; l++)
    fprintf(out, "%s%.2f", l == 0 ? "" : ", ", mean_heads(gates, l, n));
  fprintf(out, " of %" PRId64 "%s", config->n_heads,
          gates->used == NULL ? "" : ", by layer");
}

double moh__per_second(int64_t n_tokens, double seconds) {
  return seconds > 0 ? (double)n_tokens / seconds : 0;
}
