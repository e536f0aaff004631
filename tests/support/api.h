/* What the tests of moh.h share. Every failure fails the test. */
#ifndef MOH_TESTS_API_H
#define MOH_TESTS_API_H

#include "moh.h"
#include "support/check.h"

/* Fails with the message of the error. */
void must(moh_status status, const moh_error *err);

/* The status is MOH_ERR_ARGUMENT, with `word` in its message. */
void refused(moh_status status, const moh_error *err, const char *word);

/* A model without tokenizer, two layers of 6 heads; heads is "moh:1+2": 1
 * shared, 2 of the 5 others, or another choice. */
enum { ROUTED_VOCAB = 23, ROUTED_LENGTH = 310 };
moh_model *routed_model(const char *heads);

/* A tokenizer trained on texts. */
moh_tokenizer *trained_tokenizer(moh_tokenizer_kind kind,
                                 const moh_text *texts, size_t n);

/* A session of the greatest length. */
moh_session *open_session(const moh_model *model, int32_t n_threads);

#endif
