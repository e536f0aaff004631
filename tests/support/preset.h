/* Presets, for tests of configurations. */
#ifndef MOH_TESTS_PRESET_H
#define MOH_TESTS_PRESET_H

#include "model/config.h"
#include "support/check.h"

/* One whose vocabulary comes from the data has 100 tokens. */
static inline moh__config preset(const char *name) {
  moh__config config;
  moh_error err;
  if (moh__config_preset(&config, name, &err) != MOH_OK)
    fail_msg("%s", err.message);
  if (config.vocab_size == 0) config.vocab_size = 100;
  return config;
}

#endif
