/*
 * Beam search: of all texts that a model could go on with, the likeliest that
 * a limited search finds. A *beam* is a text in work. At each step every beam
 * may go on with every token, and the `width` likeliest of these stay. This
 * file is the search by itself, over whatever logits it is given;
 * infer/generate.h runs it on a session.
 *
 * ln p of a text is the sum over its generated tokens of log softmax(z / T),
 * T = temperature; its score is
 *   ln p / n^a,  n: generated tokens, the end token included,
 *                a: length_penalty (Wu et al., GNMT, 2016, section 7, with
 *                   n in place of (5 + n) / 6).
 *
 * Adaptive width: before each step, with H the mean entropy of the beams'
 * distributions, the width rises by one (to max_width at most) where
 * H / ln V > threshold, and falls by one (to min_width) elsewhere.
 *
 * A text that ends takes one of the step's places and is complete. The search
 * is over when no beam is left, when they have max_tokens tokens, or when the
 * best complete text cannot be beaten: a beam's ln p only falls, so its score
 * cannot come above ln p / m^a, with
 *   m = its tokens so far: then neither this rule nor the texts that it ends
 *       the search with depend on max_tokens. With a > 0 a beam that would
 *       have risen by going on with nearly certain tokens is given up;
 *   m = max_tokens when `exact`: no such text is missed.
 *
 * Nothing is random. Of equal scores the earlier beam comes first, then the
 * likelier token, then the lower id; of complete texts the one that was
 * complete first.
 */
#ifndef MOH_INFER_BEAM_H
#define MOH_INFER_BEAM_H

#include "base/pool.h"
#include "base/real.h"
#include "base/status.h"
#include "text/tokenizer.h"

enum { MOH__BEAM_WIDTH_MAX = 1024 };

typedef struct moh__beam_rules {
  int32_t width;                /* at the beginning; 0: no beam search */
  int32_t min_width, max_width; /* both 0: the width stays */
  double threshold;             /* in [0, 1] */
  double temperature;           /* 1e-6 or more */
  double length_penalty;        /* 0 or more */
  bool exact;
  int32_t n_best; /* complete texts that are kept; at least 1 */
} moh__beam_rules;

/* Width 0; threshold 0.5, temperature 1, length penalty 1, n_best 1. */
moh__beam_rules moh__beam_rules_default(void);

/* A value outside its range is MOH_ERR_ARGUMENT with its name. */
moh_status moh__beam_rules_check(const moh__beam_rules *rules,
                                 moh_error *err);

/* The most beams that there may be. */
int32_t moh__beam_most(const moh__beam_rules *rules);

typedef enum moh__beam_state {
  MOH__BEAM_LIVE, /* may go on */
  MOH__BEAM_END,  /* ended with the end token */
  MOH__BEAM_STOP  /* ended by the caller, see moh__beam_stop */
} moh__beam_state;

typedef struct moh__beam {
  int32_t node;   /* of the newest token, in the search's tree */
  int32_t parent; /* which beam of the step before it goes on from */
  int32_t token;
  int32_t n; /* tokens */
  double log_p, score;
  moh__beam_state state;
} moh__beam;

typedef struct moh__beam_search moh__beam_search;

/* A search over `vocab` tokens, texts of max_tokens > 0 at most. It starts
 * with one beam without a token. end_token -1: none. The pool must outlive
 * it. */
moh_status moh__beam_search_new(moh__beam_search **out,
                                const moh__beam_rules *rules, int32_t vocab,
                                int32_t max_tokens, int32_t end_token,
                                moh__pool *pool, moh_error *err);
/* Further tokens that end a text: those of a tokenizer (NULL: none). */
void moh__beam_search_ends(moh__beam_search *search,
                           const moh__tokenizer *tokenizer);
void moh__beam_search_free(moh__beam_search *search);

/* One step. logits: [beams][vocab], in the order of moh__beam_search_beams.
 * Logits that are not finite are MOH_ERR_DIVERGED. */
moh_status moh__beam_search_step(moh__beam_search *search, const real *logits,
                                 moh_error *err);

/* Whether the search is over. */
bool moh__beam_search_done(const moh__beam_search *search);

/* The beams behind the last step, the likeliest first; *n of them. */
const moh__beam *moh__beam_search_beams(const moh__beam_search *search,
                                        int32_t *n);

/* Complete texts, the best first, n_best at most; *n of them. */
const moh__beam *moh__beam_search_complete(const moh__beam_search *search,
                                           int32_t *n);

/* Makes beam i complete for a reason of the caller's. The others keep their
 * order; those behind it move up. */
void moh__beam_search_stop(moh__beam_search *search, int32_t i);

/* All texts, complete or not, the best first, n_best at most; the return
 * value is how many. out: [n_best]. */
int32_t moh__beam_search_rank(const moh__beam_search *search, moh__beam *out);

/* How many tokens all beams and the best complete text begin with: whatever
 * comes, the best text of all begins with them, too. */
int32_t moh__beam_search_common(const moh__beam_search *search);

/* Writes the tokens of a beam, [beam->n]. */
void moh__beam_search_tokens(const moh__beam_search *search,
                             const moh__beam *beam, int32_t *tokens);

/* The width of the last step; the first one's before it. */
int32_t moh__beam_search_width(const moh__beam_search *search);

/* H / ln V of the last step, in [0, 1]. */
double moh__beam_search_entropy(const moh__beam_search *search);

#endif
