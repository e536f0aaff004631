/*
 * config.json from memory. A configuration that is accepted must be valid,
 * come back the same from the text that is written for it, and have counts
 * of parameters, bytes and multiply-adds that are positive: none wrapped.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LAYERS = 3 }; /* of the model that is counted: its time */

static void require(bool truth) {
  if (!truth) abort();
}

static void check_round_trip(const moh__config *config) {
  moh__config back;
  json_t *first = moh__config_to_json(config), *parsed;
  require(first != NULL);
  char *text = json_dumps(first, JSON_REAL_PRECISION(17));
  require(text != NULL);
  require(moh__json_parse(&parsed, text, strlen(text), "again", NULL) ==
          MOH_OK);
  require(moh__config_from_json(&back, parsed, NULL) == MOH_OK);
  json_t *second = moh__config_to_json(&back);
  require(json_equal(first, second));
  free(text);
  json_decref(first);
  json_decref(parsed);
  json_decref(second);
}

static void check_bytes(const moh__model *model, int64_t most_layers) {
  const int64_t most = INT64_MAX / (most_layers / LAYERS + 1);
  moh__model_bytes bytes = moh__model_measure(model);
  int64_t n = moh__model_count(model);
  require(n > 0 && n < most / (int64_t)sizeof(real));
  require(bytes.data >= n && bytes.data < most);
  require(bytes.grads >= n && bytes.grads < most);
  require(bytes.moments >= n && bytes.moments < most);
  require(bytes.packed >= 0 && bytes.packed < most);
}

/* A model of few layers is declared; all of them must still be counted. */
static void check_counts(const moh__config *config) {
  moh__config few = *config;
  moh__model *model;
  if (few.n_layers > LAYERS) few.n_layers = LAYERS;
  require(moh__arch_model(&model, &few, NULL) == MOH_OK);
  check_bytes(model, config->n_layers);
  moh__model_free(model);
  moh__macs macs = moh__arch_macs(config, config->max_seq_len);
  require(macs.dense > 0 && macs.active > 0 && macs.router >= 0);
  require(moh__config_active_heads(config) >= 1);
  require(moh__config_active_heads(config) <= config->n_heads);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__config config;
  moh_error err = {0};
  json_t *root;
  if (moh__json_parse(&root, (const char *)data, size, "fuzz", &err) !=
      MOH_OK) {
    require(strncmp(err.message, "fuzz", 4) == 0);
    return 0;
  }
  moh_status status = moh__config_from_json(&config, root, &err);
  json_decref(root);
  if (status != MOH_OK) {
    require(err.message[0] != '\0');
    return 0;
  }
  require(moh__config_check(&config, &err) == MOH_OK);
  check_round_trip(&config);
  check_counts(&config);
  return 0;
}
