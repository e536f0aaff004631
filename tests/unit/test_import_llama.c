/*
 * Directories of the LLaMA family: weights of every type, in one file or in
 * several, come in with their bits; what is not used is passed over; an index
 * that lies, or leads elsewhere, is refused by name.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/file.h"
#include "base/json.h"
#include "format/safetensors_set.h"
#include "store/import.h"
#include "support/check.h"
#include "support/small.h"
#include "support/temp_dir.h"

static const char index_name[] = "model.safetensors.index.json";

/* ---- making directories ---- */

static moh__model *a_model(const char *kind) {
  moh__config c;
  moh__model *model;
  moh_error err;
  moh__config_default(&c);
  c.vocab_size = 11;
  c.d_model = 8;
  c.d_ff = 6;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.d_head = 4;
  c.tied = strcmp(kind, "tied") == 0;
  c.qkv_bias = strcmp(kind, "qwen2") == 0;
  c.qk_norm = strcmp(kind, "qwen3") == 0;
  small_must(moh__arch_model_init(&model, &c, 5, &err), &err);
  return model;
}

static const char *file_of(void **state, const char *name) {
  return temp_path(state, name);
}

static void write_text(void **state, const char *name, const char *text) {
  temp_write(file_of(state, name), text, strlen(text));
}

static void write_config(void **state, const moh__model *model) {
  moh_error err;
  json_t *root = moh__config_to_json(&model->config);
  small_must(moh__json_save(root, file_of(state, "config.json"), &err), &err);
  json_decref(root);
}

static moh__st_item item_of(const moh__param *w) {
  moh__st_item item = {.name = w->name,
                       .dtype = MOH__F32,
                       .n_dims = w->n_dims,
                       .data = w->data};
  for (int i = 0; i < w->n_dims; i++) item.shape[i] = w->shape[i];
  return item;
}

static void write_tensors(void **state, const char *name,
                          const moh__st_item *items, size_t n) {
  moh_error err;
  small_must(
      moh__safetensors_write(file_of(state, name), items, n, NULL, &err),
      &err);
}

/* Parameters [first, last) and an extra tensor (NULL: none). */
static void write_part(void **state, const char *name,
                       const moh__model *model, int first, int last,
                       const char *extra) {
  static const float zeros[4] = {0};
  moh__st_item items[64];
  size_t n = 0;
  for (int i = first; i < last; i++) items[n++] = item_of(&model->params[i]);
  if (extra != NULL)
    items[n++] = (moh__st_item){extra, MOH__F32, 1, {4}, zeros};
  write_tensors(state, name, items, n);
}

static void write_whole(void **state, const moh__model *model,
                        const char *extra) {
  write_config(state, model);
  write_part(state, "model.safetensors", model, 0, model->n_params, extra);
}

/* Parameter i is in file i / 5. */
static void shard_name(char name[40], int i) {
  snprintf(name, 40, "part-%d.safetensors", i / 5);
}

static json_t *an_index(const moh__model *model) {
  json_t *map = json_object();
  char name[40];
  for (int i = 0; i < model->n_params; i++) {
    shard_name(name, i);
    json_object_set_new(map, model->params[i].name, json_string(name));
  }
  return json_pack("{s:{s:i}, s:o}", "metadata", "total_size", 1,
                   "weight_map", map);
}

static void write_index(void **state, json_t *index) {
  moh_error err;
  small_must(moh__json_save(index, file_of(state, index_name), &err), &err);
  json_decref(index);
}

static void write_sharded(void **state, const moh__model *model) {
  char name[40];
  write_config(state, model);
  for (int i = 0; i < model->n_params; i += 5) {
    shard_name(name, i);
    write_part(state, name, model, i,
               i + 5 < model->n_params ? i + 5 : model->n_params, NULL);
  }
  write_index(state, an_index(model));
}

/* ---- what is expected ---- */

static moh__imported import(void **state) {
  moh__imported in;
  moh_error err;
  small_must(moh__import_llama(&in, *state, &err), &err);
  return in;
}

static void assert_refused(void **state, moh_status expected,
                           const char *part) {
  moh__imported in;
  moh_error err = {0};
  moh_status status = moh__import_llama(&in, *state, &err);
  if (status == MOH_OK) fail_msg("imported, though %s", part);
  assert_null(in.model);
  assert_null(in.tokenizer);
  if (strstr(err.message, part) == NULL)
    fail_msg("'%s' lacks '%s'", err.message, part);
  assert_int_equal(status, expected);
}

static void assert_same(const moh__model *a, const moh__model *b) {
  assert_int_equal(a->n_params, b->n_params);
  for (int i = 0; i < a->n_params; i++) {
    assert_string_equal(a->params[i].name, b->params[i].name);
    assert_memory_equal(a->params[i].data, b->params[i].data,
                        (size_t)a->params[i].n * sizeof(real));
  }
}

static void assert_comes_in(void **state, const moh__model *model) {
  moh__imported in = import(state);
  assert_same(model, in.model);
  assert_int_equal(in.weights, MOH__BLOCK_F32);
  assert_non_null(in.model->rope_angles);
  assert_null(in.tokenizer);
  moh__imported_free(&in);
}

/* ---- whole ones ---- */

static void the_family_comes_in(void **state) {
  static const char *const kinds[] = {"llama", "tied", "qwen2", "qwen3"};
  for (int i = 0; i < 4; i++) {
    moh__model *model = a_model(kinds[i]);
    write_whole(state, model, NULL);
    assert_comes_in(state, model);
    moh__model_free(model);
  }
}

static void several_files_are_one(void **state) {
  moh__model *model = a_model("qwen2");
  write_sharded(state, model);
  assert_comes_in(state, model);
  moh__model_free(model);
}

/* Weights of 16 bits are widened exactly. */
static void half_precision_is_widened(void **state) {
  static const struct {
    moh__dtype dtype;
    moh__block_type block;
  } types[] = {{MOH__F16, MOH__BLOCK_F16}, {MOH__BF16, MOH__BLOCK_BF16}};
  moh__model *model = a_model("llama");
  write_config(state, model);
  for (int t = 0; t < 2; t++) {
    moh__st_item items[64];
    for (int i = 0; i < model->n_params; i++) {
      moh__param *w = &model->params[i];
      uint16_t *bits = malloc((size_t)w->n * sizeof(*bits));
      assert_non_null(bits);
      moh__block_encode(types[t].block, w->data, w->n, bits);
      moh__block_decode(types[t].block, bits, w->n, w->data);
      items[i] = item_of(w);
      items[i].dtype = types[t].dtype;
      items[i].data = bits;
    }
    write_tensors(state, "model.safetensors", items, (size_t)model->n_params);
    moh__imported in = import(state);
    assert_same(model, in.model);
    assert_int_equal(in.weights, types[t].block);
    moh__imported_free(&in);
    for (int i = 0; i < model->n_params; i++) free((void *)items[i].data);
  }
  moh__model_free(model);
}

static void what_is_not_used_is_passed_over(void **state) {
  moh__model *model = a_model("tied");
  write_whole(state, model, "lm_head.weight");
  assert_comes_in(state, model);
  write_whole(state, model, "model.layers.0.self_attn.rotary_emb.inv_freq");
  assert_comes_in(state, model);
  write_whole(state, model, "model.layers.0.self_attn.q_proj.bias");
  assert_refused(state, MOH_ERR_UNSUPPORTED, "q_proj.bias");
  write_whole(state, model, "model.layers.0.self_attn.rotary_emb.cos");
  assert_refused(state, MOH_ERR_UNSUPPORTED, "rotary_emb.cos");
  moh__model_free(model);
}

/* ---- what is wrong with tensors ---- */

static void wrong_tensors_are_named(void **state) {
  moh__model *model = a_model("llama");
  moh__st_item items[64];
  size_t n = (size_t)model->n_params;
  for (size_t i = 0; i < n; i++) items[i] = item_of(&model->params[i]);
  write_config(state, model);
  write_tensors(state, "model.safetensors", items, n - 1);
  assert_refused(state, MOH_ERR_FORMAT, "lm_head.weight' is missing");
  items[1].shape[0] = 4;
  items[1].shape[1] = 2;
  items[1].n_dims = 2;
  write_tensors(state, "model.safetensors", items, n);
  assert_refused(state, MOH_ERR_FORMAT, "the shape [4, 2]");
  items[1] = item_of(&model->params[1]);
  items[1].dtype = MOH__I32;
  write_tensors(state, "model.safetensors", items, n);
  assert_refused(state, MOH_ERR_FORMAT, "type I32");
  items[1] = item_of(&model->params[1]);
  model->params[2].data[3] = NAN;
  write_tensors(state, "model.safetensors", items, n);
  assert_refused(state, MOH_ERR_FORMAT, "model.safetensors: model.layers.0.");
  model->params[2].data[3] = 0;
  double *numbers = calloc((size_t)model->params[2].n, sizeof(*numbers));
  assert_non_null(numbers);
  numbers[3] = 1e300;
  items[2].dtype = MOH__F64;
  items[2].data = numbers;
  write_tensors(state, "model.safetensors", items, n);
  assert_refused(state, MOH_ERR_FORMAT, model->params[2].name);
  free(numbers);
  moh__model_free(model);
}

static void directories_without_weights_are_named(void **state) {
  moh__model *model = a_model("llama");
  assert_refused(state, MOH_ERR_FORMAT, "config.json: is missing");
  write_config(state, model);
  assert_refused(state, MOH_ERR_FORMAT,
                 "model.safetensors: is missing, and so is");
  model->config.heads = MOH__HEADS_STATIC;
  model->config.n_static = 2;
  write_config(state, model);
  assert_refused(state, MOH_ERR_UNSUPPORTED, "needs no import");
  moh__model_free(model);
}

/* ---- the index ---- */

static void an_index_leads_nowhere_else(void **state) {
  static const char *const names[] = {"../part-0.safetensors",
                                      "/etc/part-0.safetensors",
                                      "a/part-0.safetensors",
                                      "..",
                                      "",
                                      ".safetensors",
                                      ".part-0.safetensors",
                                      "part-0.bin",
                                      "a\\part-0.safetensors",
                                      "part-0.safetensors\n"};
  moh__model *model = a_model("llama");
  write_sharded(state, model);
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    json_t *index = an_index(model);
    json_object_set_new(json_object_get(index, "weight_map"),
                        model->params[0].name, json_string(names[i]));
    write_index(state, index);
    assert_refused(state, MOH_ERR_FORMAT, "no plain name");
  }
  moh__model_free(model);
}

static void an_index_says_what_there_is(void **state) {
  moh__model *model = a_model("llama");
  write_sharded(state, model);
  const char *first = model->params[0].name;
  json_t *index = an_index(model),
         *map = json_object_get(index, "weight_map");
  json_object_set_new(map, first, json_string("part-1.safetensors"));
  write_index(state, index);
  assert_refused(state, MOH_ERR_FORMAT, "looks for");
  index = an_index(model);
  map = json_object_get(index, "weight_map");
  json_object_del(map, first);
  write_index(state, index);
  assert_refused(state, MOH_ERR_FORMAT, "looks for");
  index = an_index(model);
  map = json_object_get(index, "weight_map");
  json_object_set_new(map, "more", json_string("part-0.safetensors"));
  write_index(state, index);
  assert_refused(state, MOH_ERR_FORMAT,
                 "model.safetensors.index.json: the tensor 'more' is not in");
  index = an_index(model);
  map = json_object_get(index, "weight_map");
  json_object_set_new(map, "more", json_string("part-9.safetensors"));
  write_index(state, index);
  assert_refused(state, MOH_ERR_FORMAT,
                 "part-9.safetensors: is missing, but is listed in");
  moh__model_free(model);
}

static void an_index_is_an_object_of_names(void **state) {
  static const struct {
    const char *text, *part;
  } rows[] = {{"", "JSON"},
              {"[]", "weight_map"},
              {"{\"weight_map\":{}}", "weight_map"},
              {"{\"weight_map\":[\"a\"]}", "weight_map"},
              {"{\"weight_map\":{\"a\":1}}", "no plain name"},
              {"{\"weight_map\":{\"a\":\"b.safetensors\",\"a\":\"c\"}}",
               "duplicate"}};
  moh__model *model = a_model("llama");
  write_config(state, model);
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    write_text(state, index_name, rows[i].text);
    assert_refused(state, MOH_ERR_FORMAT, rows[i].part);
  }
  moh__model_free(model);
}

/* ---- what comes with the weights ---- */

/* Of the words of a text; to be freed. */
static moh__tokenizer *write_tokenizer(void **state, const moh__text *words) {
  moh__tokenizer *tokenizer;
  moh_error err;
  const char *path = file_of(state, "tokenizer.json");
  small_must(moh__tokenizer_train_words(&tokenizer, words, 1, &err), &err);
  small_must(moh__tokenizer_save(tokenizer, path, &err), &err);
  return tokenizer;
}

static void assert_template(void **state, const char *expected) {
  moh__imported in = import(state);
  const char *chat = moh__tokenizer_chat(in.tokenizer);
  if (expected == NULL)
    assert_null(chat);
  else
    assert_string_equal(chat, expected);
  moh__imported_free(&in);
}

static void chat_templates_come_along(void **state) {
  static const moh__text words = {"a b </s>", 8};
  moh__model *model = a_model("llama");
  write_whole(state, model, NULL);
  moh__tokenizer_free(write_tokenizer(state, &words));
  write_text(state, "tokenizer_config.json", "{\"eos_token\":\"</s>\"}");
  assert_template(state, NULL);
  write_text(state, "tokenizer_config.json",
             "{\"chat_template\":\"{{ a }}\"}");
  assert_template(state, "{{ a }}");
  write_text(state, "tokenizer_config.json",
             "{\"chat_template\":[{\"name\":\"tool\",\"template\":\"x\"},"
             "{\"name\":\"default\",\"template\":\"y\"}]}");
  assert_template(state, "y");
  write_text(state, "chat_template.jinja", "{{ b }}");
  assert_template(state, "{{ b }}");
  moh__model_free(model);
}

/* The tokenizer's ids are rows of the embedding. */
static void tokenizers_come_along(void **state) {
  moh__model *model = a_model("llama");
  moh__tokenizer *tokenizer;
  const moh__text few = {"a b", 3}, many = {"a b c d e f g h i j k l", 23};
  write_whole(state, model, NULL);
  tokenizer = write_tokenizer(state, &few);
  moh__imported in = import(state);
  assert_true(moh__tokenizer_equal(in.tokenizer, tokenizer));
  moh__imported_free(&in);
  moh__tokenizer_free(tokenizer);
  tokenizer = write_tokenizer(state, &many);
  assert_refused(state, MOH_ERR_FORMAT, "vocab_size");
  moh__tokenizer_free(tokenizer);
  moh__model_free(model);
}

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_family_comes_in),
      TEST(several_files_are_one),
      TEST(half_precision_is_widened),
      TEST(what_is_not_used_is_passed_over),
      TEST(wrong_tensors_are_named),
      TEST(directories_without_weights_are_named),
      TEST(an_index_leads_nowhere_else),
      TEST(an_index_says_what_there_is),
      TEST(an_index_is_an_object_of_names),
      TEST(chat_templates_come_along),
      TEST(tokenizers_come_along),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
