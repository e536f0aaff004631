/*
 * Models and tokenizers through moh.h: what they are, files that are
 * damaged, structures of other versions, and wrong arguments.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/api.h"
#include "support/temp_dir.h"

/* ---- models ---- */

static void a_model_is_what_was_asked_for(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = routed_model("moh:1+2");
  moh_model_info info;
  must(moh_model_describe(model, &info, sizeof(info), &err), &err);
  assert_string_equal(info.heads, "moh:1+2");
  assert_true(info.vocab_size == ROUTED_VOCAB && info.n_layers == 2);
  assert_true(info.n_heads == 6 && info.n_kv_heads == 3);
  assert_true(info.n_shared_heads == 1 && info.n_active_heads == 3);
  assert_true(info.d_model == 24 && info.d_ff == 20 && info.d_head == 4);
  assert_true(info.max_length == ROUTED_LENGTH && info.trainable);
  /* W_r 5 rows and W_h 2 rows of 24, twice. */
  assert_int_equal(info.n_router_parameters, 2 * 7 * 24);
  moh_macs macs;
  must(moh_model_macs(model, 10, &macs, &err), &err);
  assert_int_equal(macs.router, info.n_router_parameters);
  /* A head: q and W_O columns, scores and weighted sum of 10 keys. */
  int64_t head = 2 * 4 * 24 + 2 * 10 * 4;
  assert_int_equal(macs.dense - macs.active, 2 * 3 * head - macs.router);
  refused(moh_model_macs(model, 0, &macs, &err), &err, "not 0");
  moh_memory small, large;
  must(moh_model_memory(model, 64, &small, &err), &err);
  must(moh_model_memory(model, 0, &large, &err), &err);
  int64_t exact = info.n_parameters * 4; /* and what aligns each tensor */
  assert_in_range(small.weights, exact, exact + 1024);
  assert_true(small.packed > 0 && small.packed == large.packed);
  /* One page of 64 keys and values in 2 layers of 3 heads of 4. */
  assert_int_equal(small.cache, 2 * 3 * 2 * 4 * 64 * 4);
  assert_int_equal(large.cache, 5 * small.cache);
  assert_true(large.work > small.work);
  refused(moh_model_memory(model, 311, &small, &err), &err, "311");
  char *json;
  must(moh_model_config(model, &json, &err), &err);
  assert_non_null(strstr(json, "\"hidden_size\": 24"));
  moh_free(json);
  assert_null(moh_model_tokenizer(model));
  moh_model_free(model);
}

/* One shared and two of five others in each of 2 layers. */
static void a_model_may_have_experts(void **state) {
  (void)state;
  moh_error err;
  moh_model *model;
  moh_model_info info;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  o.preset = "nano";
  o.config = "{\"vocab_size\": 23, \"num_hidden_layers\": 2}";
  o.experts = "1+2/5";
  o.expert_hidden = 7;
  must(moh_model_new(&model, NULL, &o, &err), &err);
  must(moh_model_describe(model, &info, sizeof(info), &err), &err);
  assert_true(info.n_shared_experts == 1 && info.n_routed_experts == 5);
  assert_true(info.n_active_experts == 3 && info.expert_hidden == 7);
  assert_int_equal(info.n_parameters - info.n_active_parameters,
                   2 * 3 * 3 * 7 * 128); /* layers, experts, matrices */
  moh_model_free(model);
  o.expert_hidden = 0;
  must(moh_model_new(&model, NULL, &o, &err), &err);
  must(moh_model_describe(model, &info, sizeof(info), &err), &err);
  assert_int_equal(info.expert_hidden, info.d_ff);
  moh_model_free(model);
  o.experts = "2/5";
  refused(moh_model_new(&model, NULL, &o, &err), &err, "'2/5'");
  o.experts = "0+6/5";
  assert_int_equal(moh_model_new(&model, NULL, &o, &err), MOH_ERR_CONFIG);
  o.experts = "none";
  o.expert_hidden = 7;
  refused(moh_model_new(&model, NULL, &o, &err), &err, "no experts");
  o.expert_hidden = 0;
  must(moh_model_new(&model, NULL, &o, &err), &err);
  must(moh_model_describe(model, &info, sizeof(info), &err), &err);
  assert_true(info.n_routed_experts == 0 && info.n_active_experts == 0);
  assert_int_equal(info.n_parameters, info.n_active_parameters);
  moh_model_free(model);
}

static moh_model *configured(const char *config) {
  moh_error err;
  moh_model *model;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  o.preset = "nano";
  o.config = config;
  must(moh_model_new(&model, NULL, &o, &err), &err);
  return model;
}

static void layers_have_windows(void **state) {
  (void)state;
  moh_error err;
  moh_model_info info;
  int64_t n = 0;
  moh_model *model = configured(
      "{\"vocab_size\": 23, \"num_hidden_layers\": 2, \"moh\": {\"window\":"
      " {\"kind\": \"entropy\", \"min\": 4, \"max\": 40}}}");
  must(moh_model_window(model, 1, &n, &err), &err);
  assert_int_equal(n, 40); /* the widest, before anything is known */
  refused(moh_model_window(model, 2, &n, &err), &err, "no layer 2");
  refused(moh_model_window(model, -1, &n, &err), &err, "no layer -1");
  moh_model_free(model);
  model = configured("{\"vocab_size\": 23}");
  must(moh_model_describe(model, &info, sizeof(info), &err), &err);
  must(moh_model_window(model, 0, &n, &err), &err);
  assert_int_equal(n, info.max_length);
  moh_model_free(model);
}

/* Biases of the selection are no parameters. */
static void biases_are_not_counted(void **state) {
  (void)state;
  static const char *const configs[] = {
      "{\"vocab_size\": 23}",
      "{\"vocab_size\": 23, \"moh\": {\"heads\": {\"bias_balance\": 0.1}}}"};
  moh_error err;
  moh_model_info info[2];
  for (int i = 0; i < 2; i++) {
    moh_model *model = configured(configs[i]);
    must(moh_model_describe(model, &info[i], sizeof(info[i]), &err), &err);
    moh_model_free(model);
  }
  assert_int_equal(info[0].n_parameters, info[1].n_parameters);
  assert_int_equal(info[0].n_router_parameters, info[1].n_router_parameters);
}

/* 1 shared KV head and 1 of 2 others, each with its 2 query heads. */
static moh_model *grouped_model(void) {
  moh_error err;
  moh_model *model;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  o.preset = "nano";
  o.heads = "moh:1+1";
  o.route_by = "group";
  o.config =
      "{\"vocab_size\": 23, \"num_hidden_layers\": 2,"
      " \"num_attention_heads\": 6, \"num_key_value_heads\": 3}";
  must(moh_model_new(&model, NULL, &o, &err), &err);
  return model;
}

static void assert_grouped(const moh_model *model) {
  moh_error err;
  moh_model_info info;
  must(moh_model_describe(model, &info, sizeof(info), &err), &err);
  assert_string_equal(info.heads, "moh:1+1");
  assert_int_equal(info.n_heads_each, 2);
  assert_int_equal(info.n_shared_heads, 2);
  assert_int_equal(info.n_active_heads, 4);
  /* W_r 2 rows and W_h 2 rows, twice. */
  assert_int_equal(info.n_router_parameters, 2 * 4 * info.d_model);
}

static void groups_are_kept_in_files_and_plans(void **state) {
  moh_error err;
  const char *dir = temp_path(state, "groups");
  moh_model *model = grouped_model();
  assert_grouped(model);
  must(moh_model_save(model, dir, NULL, &err), &err);
  moh_model_free(model);
  must(moh_model_load(&model, dir, NULL, &err), &err);
  assert_grouped(model);
  moh_session *session = open_session(model, 1);
  const int32_t tokens[] = {1, 2, 3, 4, 5};
  const float *logits;
  must(moh_session_feed(session, tokens, 5, &logits, &err), &err);
  moh_plan *plan;
  must(moh_session_plan(session, 1, 0, 5, &plan, &err), &err);
  assert_int_equal(moh_plan_n_heads(plan), 6);
  for (int32_t row = 0; row < 5; row++) {
    const int32_t *heads, *entries;
    assert_int_equal(moh_plan_row(plan, row, &heads, &entries), 4);
    assert_true(heads[0] == 0 && heads[1] == 1);
    assert_true(heads[2] % 2 == 0 && heads[3] == heads[2] + 1);
    const float *gates = moh_plan_gates(plan);
    assert_true(gates[entries[0]] == gates[entries[1]]);
    assert_true(gates[entries[2]] == gates[entries[3]]);
  }
  moh_plan_free(plan);
  moh_session_free(session);
  moh_model_free(model);
}

static const float *logits_of(moh_session *session) {
  moh_error err;
  const float *logits;
  must(moh_session_feed(session, (const int32_t[]){3, 1, 4, 1, 5}, 5, &logits,
                        &err),
       &err);
  return logits;
}

/* With all heads to the bit, with fewer not; as a model of its own. */
static void dense_models_are_upcycled(void **state) {
  (void)state;
  moh_error err;
  moh_model_info info;
  moh_model *dense, *model;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  o.heads = "all";
  o.config = "{\"vocab_size\": 23}";
  must(moh_model_new(&dense, NULL, &o, &err), &err);
  assert_int_equal(moh_model_upcycle(&model, dense, "moh:1+1", NULL, &err),
                   MOH_ERR_ARGUMENT);
  assert_null(model);
  moh_session *whole = open_session(dense, 1);
  const float *wanted = logits_of(whole);
  static const char *const heads[] = {"norm:2+6", "norm:2+2"};
  for (int i = 0; i < 2; i++) {
    must(moh_model_upcycle(&model, dense, heads[i], "head", &err), &err);
    must(moh_model_describe(model, &info, sizeof(info), &err), &err);
    assert_string_equal(info.heads, heads[i]);
    assert_true(info.trainable && info.n_router_parameters == 0);
    moh_session *session = open_session(model, 1);
    const float *logits = logits_of(session);
    int n_same = 0;
    for (int v = 0; v < 23; v++) n_same += logits[v] == wanted[v];
    assert_true(i == 0 ? n_same == 23 : n_same < 23);
    moh_session_free(session);
    moh_model_free(model);
  }
  moh_session_free(whole);
  moh_model_free(dense);
}

static void wrong_models_are_refused(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = (moh_model *)&err;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  assert_int_equal(moh_model_new(&model, NULL, &o, &err), MOH_ERR_CONFIG);
  assert_non_null(strstr(err.message, "vocab_size"));
  assert_null(model);
  o.preset = "small";
  refused(moh_model_new(&model, NULL, &o, &err), &err, "small");
  o.preset = NULL;
  refused(moh_model_new(&model, NULL, &o, &err), &err, "preset");
  o.config = "{\"vocab_size\": 23}";
  assert_int_equal(moh_model_new(&model, NULL, &o, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "config: "));
  o.preset = "nano";
  o.config = "[1]";
  assert_int_equal(moh_model_new(&model, NULL, &o, &err), MOH_ERR_FORMAT);
  o.config = "{";
  assert_int_equal(moh_model_new(&model, NULL, &o, &err), MOH_ERR_FORMAT);
  o.config = "{\"vocab_size\": 23}";
  o.route_by = "token";
  refused(moh_model_new(&model, NULL, &o, &err), &err, "not by 'token'");
  o.route_by = NULL;
  o.heads = "moh:9+9";
  assert_int_not_equal(moh_model_new(&model, NULL, &o, &err), MOH_OK);
  assert_null(model);
  refused(moh_model_new(NULL, NULL, &o, &err), &err, "model");
  refused(moh_model_describe(NULL, NULL, 0, &err), &err, "model");
  refused(moh_model_config(NULL, NULL, &err), &err, "json");
  refused(moh_model_save(NULL, "x", NULL, &err), &err, "model");
  assert_null(moh_model_tokenizer(NULL));
  moh_model_free(NULL);
  moh_free(NULL);
}

static void bad_directories_are_named(void **state) {
  moh_error err;
  moh_model *model = (moh_model *)&err;
  const char *dir = temp_path(state, "model");
  assert_int_equal(moh_model_load(&model, dir, NULL, &err), MOH_ERR_IO);
  assert_non_null(strstr(err.message, dir));
  assert_null(model);
  refused(moh_model_load(&model, NULL, NULL, &err), &err, "dir");
  moh_model *saved = routed_model("moh:1+2");
  must(moh_model_save(saved, dir, "a test", &err), &err);
  moh_model_free(saved);
  must(moh_model_load(&model, dir, NULL, &err), &err);
  moh_model_free(model);

  const char *weights = temp_path(state, "model/model.safetensors");
  size_t n;
  unsigned char *bytes = temp_read(weights, &n);
  bytes[n - 1] ^= 1;
  temp_write(weights, bytes, n); /* seen by its hash only */
  moh_load_options o;
  moh_load_options_default(&o, sizeof(o));
  o.verify = true;
  assert_int_equal(moh_model_load(&model, dir, &o, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "model.safetensors"));
  temp_write(weights, bytes, n / 2);
  assert_int_equal(moh_model_load(&model, dir, NULL, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "model.safetensors"));
  free(bytes);
  assert_null(model);
}

/* ---- tokenizers ---- */

static void texts_become_tokens_and_back(void **state) {
  moh_error err;
  const char *path = temp_path(state, "tokenizer.json");
  const moh_text texts[] = {{"the cat. </s>", 13}, {"a cat", 5}};
  moh_tokenizer *trained, *tokenizer;
  trained = trained_tokenizer(MOH_TOKENIZER_WORDS, texts, 2);
  must(moh_tokenizer_save(trained, path, &err), &err);
  must(moh_tokenizer_load(&tokenizer, path, &err), &err);
  moh_tokenizer_free(trained);
  assert_int_equal(moh_tokenizer_size(tokenizer), 6);
  int32_t end = moh_tokenizer_end(tokenizer);
  int32_t unknown = moh_tokenizer_unknown(tokenizer);
  int32_t *ids;
  size_t n;
  must(moh_encode(tokenizer, (moh_text){"the dog</s>", 11}, true, &ids, &n,
                  &err),
       &err);
  assert_int_equal(n, 3);
  assert_true(ids[1] == unknown && ids[2] == end);
  char *text;
  must(moh_decode(tokenizer, ids, n, false, &text, &n, &err), &err);
  assert_int_equal(n, strlen(text));
  assert_null(strstr(text, "</s>"));
  moh_free(text);
  must(moh_decode(tokenizer, ids, 3, true, &text, NULL, &err), &err);
  assert_non_null(strstr(text, "</s>"));
  moh_free(text);
  moh_free(ids);
  must(moh_encode(tokenizer, (moh_text){NULL, 0}, false, &ids, &n, &err),
       &err);
  assert_true(ids == NULL && n == 0);
  must(moh_decode(tokenizer, NULL, 0, false, &text, &n, &err), &err);
  assert_true(n == 0);
  assert_string_equal(text, "");
  moh_free(text);
  assert_int_equal(moh_token_id(tokenizer, "</s>"), end);
  assert_int_equal(moh_token_id(tokenizer, "dog"), -1);
  assert_int_equal(moh_token_id(NULL, "cat"), -1);
  const char *bytes =
      moh_token_bytes(tokenizer, moh_token_id(tokenizer, "cat"), &n);
  assert_true(n == 3 && memcmp(bytes, "cat", 3) == 0);
  assert_null(moh_token_bytes(tokenizer, 6, &n));
  assert_null(moh_token_bytes(tokenizer, -1, NULL));
  moh_tokenizer_free(tokenizer);
}

/* By default byte pairs: any bytes come back, NUL among them. */
static void any_bytes_come_back(void **state) {
  (void)state;
  moh_error err;
  const moh_text text = {"ab ab \0\xff ab", 11};
  moh_tokenizer *tokenizer;
  must(moh_tokenizer_train(&tokenizer, &text, 1, NULL, &err), &err);
  assert_in_range(moh_tokenizer_size(tokenizer), 258, 270);
  int32_t *ids;
  size_t n;
  char *back;
  must(moh_encode(tokenizer, text, false, &ids, &n, &err), &err);
  must(moh_decode(tokenizer, ids, n, false, &back, &n, &err), &err);
  assert_int_equal(n, text.n_bytes);
  assert_memory_equal(back, text.bytes, n);
  assert_int_equal(back[n], 0);
  moh_free(back);
  moh_free(ids);
  moh_tokenizer_free(tokenizer);
}

static void wrong_tokenizers_are_refused(void **state) {
  moh_error err;
  moh_tokenizer *tokenizer = (moh_tokenizer *)&err;
  const moh_text text = {"ab", 2};
  const char *missing = temp_path(state, "none.json");
  assert_int_equal(moh_tokenizer_load(&tokenizer, missing, &err), MOH_ERR_IO);
  assert_null(tokenizer);
  moh_tokenizer_options o;
  moh_tokenizer_options_default(&o, sizeof(o));
  refused(moh_tokenizer_train(&tokenizer, NULL, 1, &o, &err), &err, "texts");
  o.vocab_size = 20;
  refused(moh_tokenizer_train(&tokenizer, &text, 1, &o, &err), &err, "257");
  o.kind = (moh_tokenizer_kind)9;
  refused(moh_tokenizer_train(&tokenizer, &text, 1, &o, &err), &err, "9");
  assert_null(tokenizer);
  tokenizer = trained_tokenizer(MOH_TOKENIZER_CHARS, &text, 1);
  int32_t ids[] = {0, 99}, *out;
  size_t n;
  char *decoded = (char *)&err;
  refused(moh_decode(tokenizer, ids, 2, true, &decoded, NULL, &err), &err,
          "99");
  assert_null(decoded);
  refused(moh_encode(NULL, text, true, &out, &n, &err), &err, "tokenizer");
  refused(moh_encode(tokenizer, (moh_text){NULL, 2}, true, &out, &n, &err),
          &err, "bytes");
  refused(moh_tokenizer_save(tokenizer, NULL, &err), &err, "path");
  assert_int_equal(moh_tokenizer_size(NULL), 0);
  assert_int_equal(moh_tokenizer_end(NULL), -1);
  assert_int_equal(moh_tokenizer_unknown(NULL), -1);
  moh_tokenizer_free(tokenizer);
  moh_tokenizer_free(NULL);
}

/* The model's share outlives the caller's. */
static void a_model_shares_its_tokenizer(void **state) {
  moh_error err;
  const moh_text text = {"abc", 3};
  const char *dir = temp_path(state, "model");
  moh_tokenizer *tokenizer;
  tokenizer = trained_tokenizer(MOH_TOKENIZER_CHARS, &text, 1);
  moh_model *model;
  must(moh_model_new(&model, tokenizer, NULL, &err), &err);
  assert_ptr_equal(moh_model_tokenizer(model), tokenizer);
  moh_tokenizer_free(tokenizer);
  assert_int_equal(moh_tokenizer_size(moh_model_tokenizer(model)), 4);
  must(moh_model_save(model, dir, NULL, &err), &err);
  moh_model_free(model);
  must(moh_model_load(&model, dir, NULL, &err), &err);
  assert_int_equal(moh_tokenizer_size(moh_model_tokenizer(model)), 4);
  moh_model_free(model);
}

/* Many threads share one tokenizer and its count of owners. */
static void *use_tokenizer(void *context) {
  moh_error err;
  for (int i = 0; i < 20; i++) {
    int32_t *ids;
    size_t n;
    moh_model *model;
    must(moh_encode(context, (moh_text){"b a c", 5}, false, &ids, &n, &err),
         &err);
    assert_int_equal(n, 5);
    moh_free(ids);
    must(moh_model_new(&model, context, NULL, &err), &err);
    moh_model_free(model);
  }
  return NULL;
}

static void a_tokenizer_serves_two_threads(void **state) {
  (void)state;
  const moh_text text = {"abc ", 4};
  moh_tokenizer *tokenizer;
  pthread_t threads[2];
  tokenizer = trained_tokenizer(MOH_TOKENIZER_CHARS, &text, 1);
  for (int i = 0; i < 2; i++)
    assert_int_equal(
        pthread_create(&threads[i], NULL, use_tokenizer, tokenizer), 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  assert_int_equal(moh_tokenizer_size(tokenizer), 5);
  moh_tokenizer_free(tokenizer);
}

/* ---- structures of other versions ---- */

/* An older program knows fewer fields, a newer one more. */
static void structures_may_grow(void **state) {
  (void)state;
  moh_error err;
  struct {
    moh_session_options known;
    char more[32];
  } newer;
  memset(&newer, 1, sizeof(newer));
  moh_session_options_default(&newer.known, sizeof(newer));
  for (size_t i = 0; i < sizeof(newer.more); i++)
    assert_int_equal(newer.more[i], 0);
  moh_model *model = routed_model("all");
  moh_session *session;
  refused(moh_session_new(&session, model, &newer.known, &err), &err,
          "later version");
  moh_session_options older;
  memset(&older, 1, sizeof(older));
  size_t old_size = offsetof(moh_session_options, n_threads);
  moh_session_options_default(&older, old_size);
  assert_int_equal(older.n_threads, 0x01010101); /* not touched, not read */
  older.max_length = 7;
  must(moh_session_new(&session, model, &older, &err), &err);
  assert_int_equal(moh_session_max_length(session), 7);
  moh_session_free(session);
  older.size = 0;
  refused(moh_session_new(&session, model, &older, &err), &err,
          "moh_session_options_default");
  struct {
    moh_model_info known;
    char more[32];
  } info;
  memset(&info, 1, sizeof(info));
  must(moh_model_describe(model, &info.known, 16, &err), &err);
  assert_int_equal(info.known.vocab_size, ROUTED_VOCAB);
  assert_int_not_equal(info.known.d_model, 24);
  must(moh_model_describe(model, &info.known, sizeof(info), &err), &err);
  assert_true(info.known.d_model == 24 && info.more[31] == 0);
  moh_model_free(model);
}

static void statuses_have_names(void **state) {
  (void)state;
  assert_string_equal(moh_status_name(MOH_ERR_IO), "MOH_ERR_IO");
  assert_string_equal(moh_status_text(MOH_OK), "success");
  assert_string_equal(moh_status_name((moh_status)99), "MOH_ERR_UNKNOWN");
  assert_string_equal(moh_status_text((moh_status)-1), "unknown status");
  char version[32];
  snprintf(version, sizeof(version), "%d.%d.%d", MOH_VERSION_MAJOR,
           MOH_VERSION_MINOR, MOH_VERSION_PATCH);
  assert_string_equal(moh_version(), version);
  assert_int_equal(moh_version_number(), MOH_VERSION_NUMBER);
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_model_is_what_was_asked_for),
      cmocka_unit_test(a_model_may_have_experts),
      cmocka_unit_test(layers_have_windows),
      cmocka_unit_test(biases_are_not_counted),
      WITH_DIR(groups_are_kept_in_files_and_plans),
      cmocka_unit_test(dense_models_are_upcycled),
      cmocka_unit_test(wrong_models_are_refused),
      WITH_DIR(bad_directories_are_named),
      WITH_DIR(texts_become_tokens_and_back),
      cmocka_unit_test(any_bytes_come_back),
      WITH_DIR(wrong_tokenizers_are_refused),
      WITH_DIR(a_model_shares_its_tokenizer),
      cmocka_unit_test(a_tokenizer_serves_two_threads),
      cmocka_unit_test(structures_may_grow),
      cmocka_unit_test(statuses_have_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
