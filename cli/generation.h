/* How to generate: the options that generate and chat share, and what is
 * said on stderr about it. */
#ifndef MOH_CLI_GENERATION_H
#define MOH_CLI_GENERATION_H

#include <jansson.h>

#include "infer/generate.h"
#include "load.h"

typedef struct moh__generation_values {
  int64_t max_tokens, top_k, repeat_last, seed, keep;
  double temperature, top_p, min_p, repeat_penalty;
  int overflow;
  moh__list stops;
  int64_t beam, beam_min, beam_max;
  double beam_threshold, length_penalty;
  bool beam_exact;
} moh__generation_values;

extern const moh__option moh__generation_options[];

/* Values that exclude each other are MOH_ERR_ARGUMENT with both names. */
moh_status moh__generation_check(const moh__generation_values *values,
                                 moh_error *err);

/* Whether they ask for a beam search. */
static inline bool moh__generation_has_beams(
    const moh__generation_values *values) {
  return moh__int_or(values->beam, 0) > 0;
}

/* What the values say, for this model. A seed that is not given is drawn
 * when there is sampling. */
moh__generate_options moh__generation_make(
    const moh__generation_values *values, const moh__runner *runner);

/* The ids of a conversation (text/chat_prompt.h) for a model that has a chat
 * template; and whether a model has one. */
bool moh__generation_has_chat(const moh__runner *runner);
moh_status moh__generation_encode_chat(const moh__runner *runner,
                                       const json_t *messages,
                                       moh__ids *ids, moh_error *err);

/* Shows a prompt on stderr as the model reads it: a line for each token. */
void moh__generation_show_prompt(const moh__runner *runner,
                                 const moh__ids *prompt);

/* Says on stderr which seed was drawn, if one was. */
void moh__generation_tell_seed(const moh__generation_values *values,
                               const moh__sampling *sampling);

/* Says on stderr how many tokens of a prompt are not in the vocabulary. */
void moh__generation_tell_unknown(const moh__runner *runner,
                                  const moh__ids *prompt);

/* Says on stderr that the oldest tokens were dropped. */
void moh__generation_tell_dropped(int64_t n_dropped);

/* Says on stderr that the context was full, where it was. */
void moh__generation_tell_finish(const moh__generate_result *result,
                                 const moh__session *session);

/* How many heads the tokens of the session used on average: "5.00, 5.50 of
 * 8, by layer". */
void moh__generation_show_heads(FILE *out, const moh__model *model,
                                const moh__session *session);

/* Tokens a second; 0 where no time has passed. */
double moh__per_second(int64_t n_tokens, double seconds);

#endif
