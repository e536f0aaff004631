/* Small model directories. */
#include "support/small.h"

#include "arch/arch.h"
#include "support/check.h"

void small_must(moh_status status, const moh_error *err) {
  if (status != MOH_OK) fail_msg("%s", err->message);
}

moh__tokenizer *small_tokenizer(void) {
  moh__tokenizer *tokenizer;
  moh_error err;
  const moh__text text = {"User: hi </s>", 13};
  small_must(moh__tokenizer_train_words(&tokenizer, &text, 1, &err), &err);
  return tokenizer;
}

/* A model with every kind of tensor, small enough to try every byte of it.
 */
moh__model *small_model(int64_t vocab_size, uint64_t seed) {
  moh__config config;
  moh__model *model;
  moh_error err;
  small_must(moh__config_preset(&config, "seed", &err), &err);
  config.vocab_size = vocab_size;
  config.d_model = 4;
  config.d_ff = 3;
  config.n_layers = 1;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.d_head = 1;
  config.cope_positions = 2;
  small_must(moh__config_set_heads(&config, "moh:2+1", &err), &err);
  small_must(moh__arch_model_init(&model, &config, seed, &err), &err);
  return model;
}

moh__config small_blocks_config(int64_t max_seq_len) {
  moh__config c;
  moh__config_default(&c);
  c.vocab_size = 70;
  c.d_model = 64;
  c.d_ff = 96;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.d_head = 32;
  c.max_seq_len = max_seq_len;
  c.heads = MOH__HEADS_MOH;
  c.n_shared = 1;
  c.k = 2;
  return c;
}

void small_save(const char *dir, const moh__model *model,
                const moh__tokenizer *tokenizer) {
  moh_error err;
  const moh__model_note note = {.description = "a test", .steps = 17};
  small_must(moh__model_save(model, tokenizer, dir, &note, &err), &err);
}

/* Saves the small model with its tokenizer. */
void small_dir(const char *dir, uint64_t seed) {
  moh__tokenizer *tokenizer = small_tokenizer();
  moh__model *model = small_model(moh__tokenizer_size(tokenizer), seed);
  small_save(dir, model, tokenizer);
  moh__model_free(model);
  moh__tokenizer_free(tokenizer);
}
