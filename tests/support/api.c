/* Helpers of the tests of moh.h. */
#include "support/api.h"

#include <string.h>

void must(moh_status status, const moh_error *err) {
  if (status != MOH_OK) fail_msg("%s", err->message);
}

void refused(moh_status status, const moh_error *err, const char *word) {
  assert_int_equal(status, MOH_ERR_ARGUMENT);
  assert_int_equal(err->status, MOH_ERR_ARGUMENT);
  if (strstr(err->message, word) == NULL)
    fail_msg("'%s' is not in: %s", word, err->message);
}

moh_tokenizer *trained_tokenizer(moh_tokenizer_kind kind,
                                 const moh_text *texts, size_t n) {
  moh_error err;
  moh_tokenizer *tokenizer;
  moh_tokenizer_options options;
  moh_tokenizer_options_default(&options, sizeof(options));
  options.kind = kind;
  must(moh_tokenizer_train(&tokenizer, texts, n, &options, &err), &err);
  return tokenizer;
}

moh_session *open_session(const moh_model *model, int32_t n_threads) {
  moh_error err;
  moh_session *session;
  moh_session_options options;
  moh_session_options_default(&options, sizeof(options));
  options.n_threads = n_threads;
  must(moh_session_new(&session, model, &options, &err), &err);
  return session;
}
