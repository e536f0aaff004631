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

moh_model *routed_model(const char *heads) {
  moh_error err;
  moh_model *model;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  o.preset = "nano";
  o.heads = heads;
  o.config =
      "{\"vocab_size\": 23, \"hidden_size\": 24, \"intermediate_size\": 20,"
      " \"num_hidden_layers\": 2, \"num_attention_heads\": 6,"
      " \"num_key_value_heads\": 3, \"head_dim\": 4,"
      " \"moh\": {\"heads\": {\"router_init_std\": 0.5}}}";
  o.max_length = ROUTED_LENGTH;
  must(moh_model_new(&model, NULL, &o, &err), &err);
  return model;
}
