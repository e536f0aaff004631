/*
 * The loop around a session: a prompt goes in, tokens and text come out,
 * until the model ends its text, a stop string is complete, or a limit is
 * reached. Prompt and answer together never exceed the session's length.
 *
 * With a beam search (infer/beam.h) tokens and text of the best one come as
 * soon as all beams agree on them; with on_hypothesis, or n_best above 1, when
 * the search is over. A text that contains a stop string ends there.
 */
#ifndef MOH_INFER_GENERATE_H
#define MOH_INFER_GENERATE_H

#include "infer/beam.h"
#include "infer/sampling.h"
#include "infer/session.h"
#include "text/stream.h"

/* What happens when the session is full. */
typedef enum moh__overflow {
  MOH__OVERFLOW_STOP, /* the answer ends; a longer prompt is refused */
  /* The first `keep` tokens stay; of the others the older half goes and the
   * rest is read again. A longer prompt loses its beginning by that rule.
   */
  MOH__OVERFLOW_SLIDE
} moh__overflow;

typedef enum moh__finish {
  MOH__FINISH_END,      /* the end token came */
  MOH__FINISH_STOP,     /* a stop string is complete */
  MOH__FINISH_LENGTH,   /* max_tokens */
  MOH__FINISH_CONTEXT,  /* the session is full */
  MOH__FINISH_CANCELLED /* a function of the caller said so */
} moh__finish;

/* "end", "stop", "length", "context", "cancelled". */
const char *moh__finish_name(moh__finish finish);

/* Called for every generated token, the end token included; false ends the
 * generation. */
typedef bool moh__token_fn(void *context, int32_t token);
/* Called when tokens were dropped, with their number. */
typedef void moh__drop_fn(void *context, int64_t n_dropped);
/* Called behind each step of a beam search, with the number of beams; false
 * ends the search with what there is. */
typedef bool moh__step_fn(void *context, int32_t n_beams);

/* A text that a beam search has found. */
typedef struct moh__hypothesis {
  int32_t rank; /* 0: the best */
  int32_t n_tokens;
  double log_p, score; /* see infer/beam.h */
  moh__finish finish;
  int stop; /* the stop string's index; -1: none */
} moh__hypothesis;
/* Called before the tokens and the text of each. */
typedef void moh__hypothesis_fn(void *context,
                                const moh__hypothesis *hypothesis);

typedef struct moh__generate_options {
  moh__sampling sampling;
  int32_t max_tokens; /* 0: no limit of its own */
  int32_t end_token;  /* -1: none */
  moh__overflow overflow;
  int32_t keep; /* when sliding; at most two less than the session holds */
  /* Turns tokens into text; needed for stops and on_text. */
  const moh__tokenizer *tokenizer;
  const char *const *stops; /* [n_stops], see text/stream.h */
  int n_stops;
  bool echo;               /* the prompt's text comes first */
  moh__token_fn *on_token; /* each may be NULL */
  moh__text_fn *on_text;   /* whole characters, without the end token */
  moh__drop_fn *on_drop;
  /* Width 0: none. With one, `sampling` has nothing to say, and there is no
   * sliding. */
  moh__beam_rules beam;
  moh__step_fn *on_step;
  moh__hypothesis_fn *on_hypothesis;
  void *context; /* of the functions */
} moh__generate_options;

/* Greedy, no limits, no end token, MOH__OVERFLOW_STOP, no text. */
moh__generate_options moh__generate_options_default(void);

typedef struct moh__generate_result {
  moh__finish finish;
  int stop;              /* the stop string's index; -1: none */
  int32_t n_prompt;      /* tokens given */
  int64_t n_generated;   /* end token included */
  int64_t n_dropped;     /* of prompt and answer, when sliding */
  double prompt_seconds; /* reading the prompt */
  double seconds;        /* generating */
  /* Of a beam search: */
  int32_t n_steps;     /* 0: there was none */
  int64_t n_read;      /* tokens of all beams that the model has read */
  int32_t most_pages;  /* in use at once, see infer/branches.h */
  double log_p, score; /* of the best text */
} moh__generate_result;

/*
 * Appends the prompt (n > 0 tokens) to what the session holds and
 * generates. The last token is not in the session afterwards. The same seed
 * and tokens give the same result whatever the number of threads. A prompt
 * without room for one token behind it is MOH_ERR_ARGUMENT with nothing
 * changed, or is shortened when sliding.
 */
moh_status moh__generate(moh__session *session,
                         const moh__generate_options *options,
                         const int32_t *prompt, int32_t n,
                         moh__generate_result *result, moh_error *err);

/* Whether a token ends a text: the end token, and with it the tokenizer's
 * others. */
static inline bool moh__ends_text(const moh__generate_options *options,
                                  int32_t token) {
  if (token == options->end_token) return true;
  return options->end_token >= 0 && options->tokenizer != NULL &&
         moh__tokenizer_is_end(options->tokenizer, token);
}

#endif
