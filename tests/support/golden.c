/* Models and tensors of tests/golden. */
#include "support/golden.h"

#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "base/json.h"
#include "support/check.h"

void must(moh_status status, const moh_error *err) {
  if (status != MOH_OK) fail_msg("%s", err->message);
}

static void path_of(char *path, size_t size, const char *name,
                    const char *file) {
  snprintf(path, size, "%s/tests/golden/%s/%s", MOH_SOURCE_DIR, name, file);
}

/* ---- loading ---- */

static void load_config(moh__config *config, const char *name) {
  char path[512];
  moh_error err;
  json_t *root;
  path_of(path, sizeof path, name, "config.json");
  must(moh__json_load(&root, path, &err), &err);
  must(moh__config_from_json(config, root, &err), &err);
  json_decref(root);
}

moh__safetensors *golden_tensors(const char *name, const char *file) {
  char path[512];
  moh_error err;
  moh__safetensors *tensors;
  path_of(path, sizeof path, name, file);
  must(moh__safetensors_open(&tensors, path, &err), &err);
  return tensors;
}

static void load_weights(moh__model *model, const char *name) {
  moh__safetensors *file = golden_tensors(name, "model.safetensors");
  assert_int_equal(model->n_params, file->n_tensors);
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    const moh__st_tensor *t = moh__safetensors_find(file, w->name);
    if (t == NULL) fail_msg("%s: no tensor %s", name, w->name);
    assert_int_equal(t->dtype, MOH__F32);
    assert_int_equal(t->n, w->n);
    for (int64_t e = 0; e < w->n; e++) {
      float value;
      memcpy(&value, t->data + e * (int64_t)sizeof value, sizeof value);
      w->data[e] = value;
    }
  }
  moh__safetensors_close(file);
}

moh__model *golden_model(const char *name) {
  moh_error err;
  moh__config config;
  moh__model *model = NULL;
  load_config(&config, name);
  must(moh__arch_model_init(&model, &config, 1, &err), &err);
  load_weights(model, name);
  return model;
}
