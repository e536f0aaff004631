/*
 * Tokens that begin and end texts: those that a tokenizer's file and the
 * files beside it name, and how they go through a directory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/tokenizer_dir.h"
#include "support/ids.h"
#include "support/temp_dir.h"

static moh_error err;

#define TOKEN(content, id)                                      \
  "{\"id\":" id ",\"content\":\"" content                       \
  "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false," \
  "\"normalized\":false,\"special\":true}"
#define PIECE(content) "{\"SpecialToken\":{\"id\":\"" content "\"}}"
#define TEXT "{\"Sequence\":{\"id\":\"A\"}}"
#define IDS(content, ids) "\"" content "\":{\"ids\":[" ids "]}"
#define TEMPLATE(single, specials)                       \
  "{\"type\":\"TemplateProcessing\",\"single\":[" single \
  "],"                                                   \
  "\"special_tokens\":{" specials "}}"
#define USUAL                                        \
  TEMPLATE(PIECE("<s>") "," TEXT "," PIECE("<end>"), \
           IDS("<s>", "2") "," IDS("<end>", "3,4"))

static const char *document(const char *end, const char *post) {
  static char json[4096];
  snprintf(json, sizeof(json),
           "{\"added_tokens\":[" TOKEN("<s>", "2") ",{\"id\":3,"
           "\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
           "\"rstrip\":false,\"normalized\":false,\"special\":true},"
           TOKEN("<turn>", "4") "],\"post_processor\":%s,"
           "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"a\","
           "\"vocab\":{\"a\":0,\"b\":1}}}",
           end, post);
  return json;
}

static moh__tokenizer *parsed(const char *json) {
  moh__tokenizer *tokenizer;
  moh_status status =
      moh__tokenizer_parse(&tokenizer, json, strlen(json), "t", &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return tokenizer;
}

static void the_end_has_a_name(void **state) {
  (void)state;
  const char *names[] = {"</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>"};
  for (size_t i = 0; i < 4; i++) {
    moh__tokenizer *t = parsed(document(names[i], "null"));
    assert_int_equal(moh__tokenizer_end(t), 3);
    assert_true(moh__tokenizer_is_end(t, 3));
    assert_false(moh__tokenizer_is_end(t, 4));
    assert_int_equal(moh__tokenizer_bos(t), -1);
    assert_false(moh__tokenizer_adds_bos(t));
    moh__tokenizer_free(t);
  }
  moh__tokenizer *t = parsed(document("<end>", "null"));
  assert_int_equal(moh__tokenizer_end(t), -1);
  assert_false(moh__tokenizer_is_end(t, -1));
  moh__tokenizer_free(t);
}

static void ends_are_set_and_copied(void **state) {
  (void)state;
  moh__tokenizer *copy, *t = parsed(document("</s>", "null"));
  const int32_t ends[] = {4, 3, 4}, wrong[] = {4, 5};
  assert_int_equal(moh__tokenizer_set_ends(t, ends, 3, &err), MOH_OK);
  assert_int_equal(moh__tokenizer_ends(t)->n, 2);
  assert_int_equal(moh__tokenizer_set_ends(t, wrong, 2, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__tokenizer_set_bos(t, 2, &err), MOH_OK);
  assert_int_equal(moh__tokenizer_set_bos(t, 9, &err), MOH_ERR_FORMAT);
  assert_int_equal(moh__tokenizer_copy(&copy, t, &err), MOH_OK);
  assert_int_equal(moh__tokenizer_end(copy), 4);
  assert_true(moh__tokenizer_is_end(copy, 3));
  assert_int_equal(moh__tokenizer_bos(copy), 2);
  moh__tokenizer_free(copy);
  moh__tokenizer_free(t);
}

static void a_template_has_two_sides(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(document("<end>", USUAL));
  moh__ids ids = {0};
  assert_true(moh__tokenizer_adds_bos(t));
  assert_int_equal(moh__tokenizer_bos(t), 2);
  assert_int_equal(moh__tokenizer_n_begin(t), 1);
  assert_int_equal(moh__tokenizer_begin(t, &ids, &err), MOH_OK);
  assert_int_equal(moh__tokenizer_finish(t, &ids, &err), MOH_OK);
  assert_int_equal(ids.n, 3);
  assert_int_equal(ids.ids[0], 2);
  assert_int_equal(ids.ids[1], 3);
  assert_int_equal(ids.ids[2], 4);
  ASSERT_IDS(t, text_of("a"), true, 0); /* encoding adds none by itself */
  moh__ids_free(&ids);
  moh__tokenizer_free(t);
}

static void a_text_is_read_behind_its_begin_token(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(document("<end>", USUAL));
  moh__encoder *encoder;
  moh__ids ids = {0};
  assert_int_equal(moh__encoder_new(&encoder, t, &err), MOH_OK);
  assert_int_equal(
      moh__encoder_encode_begun(encoder, text_of("a"), &ids, &err), MOH_OK);
  assert_int_equal(ids.n, 2);
  assert_int_equal(ids.ids[0], 2);
  assert_int_equal(ids.ids[1], 0);
  moh__encoder_free(encoder);
  moh__ids_free(&ids);
  moh__tokenizer_free(t);
}

static void wrong_templates_are_refused(void **state) {
  (void)state;
  const struct {
    const char *post;
    moh_status status;
    const char *part;
  } cases[] = {
      {TEMPLATE(PIECE("<s>"), IDS("<s>", "2")), MOH_ERR_FORMAT,
       "without a text"},
      {TEMPLATE(TEXT "," TEXT, ""), MOH_ERR_UNSUPPORTED, "not there once"},
      {TEMPLATE(PIECE("<s>") "," TEXT, ""), MOH_ERR_FORMAT,
       "\"<s>\" of a template has no ids"},
      {TEMPLATE(PIECE("<s>") "," TEXT, IDS("<s>", "5")), MOH_ERR_FORMAT,
       "none of 0..4"},
      {TEMPLATE(PIECE("<s>") "," TEXT, IDS("<s>", "-1")), MOH_ERR_FORMAT,
       "none of 0..4"},
      {TEMPLATE("3", ""), MOH_ERR_FORMAT, "\"Sequence\" is missing"},
      {"{\"type\":\"TemplateProcessing\"}", MOH_ERR_FORMAT, "\"single\""},
      {"{\"type\":\"Sequence\",\"processors\":[" USUAL "," USUAL "]}",
       MOH_ERR_UNSUPPORTED, "two templates"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    moh__tokenizer *t;
    const char *json = document("<end>", cases[i].post);
    moh_status status =
        moh__tokenizer_parse(&t, json, strlen(json), "t", &err);
    if (status != cases[i].status || !strstr(err.message, cases[i].part)) {
      fail_msg("%zu: %s: %s", i, moh_status_name(status), err.message);
    }
  }
}

/* ---- directories ---- */

static void put_file(void **state, const char *name, const char *text) {
  temp_write(temp_path(state, name), text, strlen(text));
}

static moh__tokenizer *loaded(void **state) {
  moh__tokenizer *t;
  moh_status status = moh__tokenizer_load_dir(&t, *state, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return t;
}

static void files_beside_it_name_tokens(void **state) {
  put_file(state, "tokenizer.json", document("</s>", "null"));
  moh__tokenizer *t = loaded(state);
  assert_int_equal(moh__tokenizer_end(t), 3);
  moh__tokenizer_free(t);
  put_file(state, "config.json",
           "{\"eos_token_id\": [3, 1], \"bos_token_id\": 2}");
  t = loaded(state);
  assert_int_equal(moh__tokenizer_end(t), 3);
  assert_true(moh__tokenizer_is_end(t, 1));
  assert_int_equal(moh__tokenizer_bos(t), 2);
  assert_false(moh__tokenizer_adds_bos(t));
  moh__tokenizer_free(t);
  put_file(state, "tokenizer_config.json",
           "{\"eos_token\": {\"content\": \"<turn>\"}, "
           "\"bos_token\": \"a\"}");
  put_file(state, "generation_config.json", "{\"eos_token_id\": 0}");
  t = loaded(state);
  assert_int_equal(moh__tokenizer_end(t), 4);
  assert_true(moh__tokenizer_is_end(t, 3) && moh__tokenizer_is_end(t, 1) &&
              moh__tokenizer_is_end(t, 0));
  assert_int_equal(moh__tokenizer_bos(t), 0);
  moh__tokenizer_free(t);
}

static void assert_refused(void **state, const char *name, const char *text,
                           const char *part) {
  moh__tokenizer *t;
  put_file(state, name, text);
  moh_status status = moh__tokenizer_load_dir(&t, *state, &err);
  if (status != MOH_ERR_FORMAT || strstr(err.message, part) == NULL) {
    fail_msg("%s: %s", moh_status_name(status), err.message);
  }
  assert_null(t);
  assert_non_null(strstr(err.message, name));
  put_file(state, name, "{}");
}

static void foreign_tokens_are_refused(void **state) {
  put_file(state, "tokenizer.json", document("</s>", "null"));
  assert_refused(state, "config.json", "{\"eos_token_id\": 5}",
                 "\"eos_token_id\" is not one of the ids 0..4");
  assert_refused(state, "config.json", "{\"eos_token_id\": [3, \"x\"]}",
                 "\"eos_token_id\"");
  assert_refused(state, "generation_config.json", "{\"bos_token_id\": -1}",
                 "\"bos_token_id\"");
  assert_refused(state, "tokenizer_config.json", "{\"eos_token\": \"</x>\"}",
                 "the \"eos_token\" \"</x>\" is not in the vocabulary");
  assert_refused(state, "tokenizer_config.json", "{", "line 1");
}

static void wrong_types_are_refused(void **state) {
  static const char file[] = "tokenizer_config.json";
  const struct {
    const char *text, *part;
  } cases[] = {
      {"[]", "tokenizer_config.json: must be an object"},
      {"{\"chat_template\": 3}", "\"chat_template\" must be a text"},
      {"{\"chat_template\": []}", "\"chat_template\" must be a text"},
      {"{\"chat_template\": {}}", "\"chat_template\" must be a text"},
      {"{\"chat_template\": [\"a\"]}", "\"chat_template\" must be a list"},
      {"{\"chat_template\": [{\"name\": \"default\"}]}",
       "\"chat_template\" must be a list"},
      {"{\"chat_template\": [{\"name\": 1, \"template\": \"a\"}]}",
       "\"chat_template\" must be a list"},
      {"{\"eos_token\": {\"content\": 5}}", "\"eos_token\" must be a text"},
      {"{\"eos_token\": 5}", "\"eos_token\" must be a text"},
      {"{\"bos_token\": []}", "\"bos_token\" must be a text"},
  };
  put_file(state, "tokenizer.json", document("</s>", "null"));
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    assert_refused(state, file, cases[i].text, cases[i].part);
  assert_refused(state, "generation_config.json", "[1]", "must be an object");
}

static void assert_chat(void **state, const char *config, const char *want) {
  put_file(state, "tokenizer_config.json", config);
  moh__tokenizer *t = loaded(state);
  const char *chat = moh__tokenizer_chat(t);
  if (want == NULL)
    assert_null(chat);
  else
    assert_string_equal(chat, want);
  moh__tokenizer_free(t);
}

static void a_chat_template_may_have_a_name(void **state) {
  put_file(state, "tokenizer.json", document("</s>", "null"));
  assert_chat(state, "{\"chat_template\": \"a\"}", "a");
  assert_chat(state,
              "{\"chat_template\": ["
              "{\"name\": \"tool_use\", \"template\": \"a\"}, "
              "{\"name\": \"default\", \"template\": \"b\"}]}",
              "b");
  assert_chat(state,
              "{\"chat_template\": ["
              "{\"name\": \"tool_use\", \"template\": \"a\"}]}",
              NULL);
  assert_chat(state,
              "{\"chat_template\": null, \"eos_token\": null, "
              "\"bos_token\": null}",
              NULL);
  assert_chat(state, "{}", NULL);
}

static void chat_refused(void **state, const char *bytes, size_t n,
                         const char *part) {
  moh__tokenizer *t;
  temp_write(temp_path(state, "chat_template.jinja"), bytes, n);
  moh_status status = moh__tokenizer_load_dir(&t, *state, &err);
  if (status != MOH_ERR_FORMAT || strstr(err.message, part) == NULL)
    fail_msg("%s: %s", moh_status_name(status), err.message);
  assert_non_null(strstr(err.message, "chat_template.jinja: "));
  assert_null(t);
}

static void chat_templates_are_short_texts(void **state) {
  enum { MOST = 1 << 20 };
  put_file(state, "tokenizer.json", document("</s>", "null"));
  chat_refused(state, "a\xff\xfe", 3, "not UTF-8 at byte 1");
  chat_refused(state, "ab\0c", 4, "a NUL at byte 2");
  char *text = malloc(MOST + 1);
  memset(text, 'x', MOST + 1);
  chat_refused(state, text, MOST + 1,
               "1048577 bytes; a chat template has at most 1048576");
  temp_write(temp_path(state, "chat_template.jinja"), text, MOST);
  moh__tokenizer *t = loaded(state), *copy;
  assert_int_equal(moh__tokenizer_copy(&copy, t, &err), MOH_OK);
  assert_int_equal(strlen(moh__tokenizer_chat(copy)), MOST);
  moh__tokenizer_free(copy);
  moh__tokenizer_free(t);
  free(text);
  put_file(state, "chat_template.jinja", "");
  t = loaded(state);
  assert_string_equal(moh__tokenizer_chat(t), "");
  moh__tokenizer_free(t);
}

static void what_is_written_is_read_again(void **state) {
  put_file(state, "tokenizer.json", document("</s>", "null"));
  moh__tokenizer *t = loaded(state), *again;
  const int32_t ends[] = {4, 3};
  moh__tokenizer_set_ends(t, ends, 2, &err);
  moh__tokenizer_set_bos(t, 2, &err);
  json_t *config = json_object(), *names = json_object();
  assert_int_equal(moh__put_token_ids(config, t, &err), MOH_OK);
  assert_int_equal(moh__put_tokens(names, t, &err), MOH_OK);
  char *json = json_dumps(config, 0);
  put_file(state, "config.json", json);
  free(json);
  json = json_dumps(names, 0);
  put_file(state, "tokenizer_config.json", json);
  free(json);
  again = loaded(state);
  assert_int_equal(moh__tokenizer_end(again), 4);
  assert_int_equal(moh__tokenizer_ends(again)->n, 2);
  assert_int_equal(moh__tokenizer_bos(again), 2);
  json_decref(config);
  json_decref(names);
  moh__tokenizer_free(t);
  moh__tokenizer_free(again);
}

#define DIR_TEST(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_end_has_a_name),
      cmocka_unit_test(ends_are_set_and_copied),
      cmocka_unit_test(a_template_has_two_sides),
      cmocka_unit_test(a_text_is_read_behind_its_begin_token),
      cmocka_unit_test(wrong_templates_are_refused),
      DIR_TEST(files_beside_it_name_tokens),
      DIR_TEST(foreign_tokens_are_refused),
      DIR_TEST(wrong_types_are_refused),
      DIR_TEST(a_chat_template_may_have_a_name),
      DIR_TEST(chat_templates_are_short_texts),
      DIR_TEST(what_is_written_is_read_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
