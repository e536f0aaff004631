/*
 * The state.json of a checkpoint. What is accepted must be consistent (no
 * step beyond the last, no more updates than steps), and its options must come
 * back the same from the JSON that they are written as.
 */
#include <stdint.h>
#include <stdlib.h>

#include "train/trainer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

static void check_options(const moh__train_options *options) {
  moh__train_options again;
  json_t *json = moh__train_options_json(options), *second;
  require(json != NULL);
  require(moh__train_options_from_json(&again, json, NULL) == MOH_OK);
  second = moh__train_options_json(&again);
  require(json_equal(json, second));
  json_decref(json);
  json_decref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__checkpoint c;
  moh_error err = {MOH_OK, ""};
  if (moh__checkpoint_parse(&c, (const char *)data, size, "input", &err) !=
      MOH_OK) {
    require(err.message[0] != '\0' && c.state == NULL);
    return 0;
  }
  require(c.step >= 0 && c.step <= c.n_steps);
  require(c.updates >= 0 && c.updates <= c.step);
  check_options(&c.options);
  moh__checkpoint_close(&c);
  return 0;
}
