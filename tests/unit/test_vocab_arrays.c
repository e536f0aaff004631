/*
 * GGUF's arrays from tokenizers: what they say, that they give the same
 * tokenizer again, and which tokenizers they have no words for.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "support/ids.h"
#include "text/vocab_arrays.h"

static moh_error err;

static moh__tokenizer *parsed(const json_t *document) {
  moh__tokenizer *tokenizer;
  char *text = json_dumps(document, 0);
  assert_non_null(text);
  moh_status status =
      moh__tokenizer_parse(&tokenizer, text, strlen(text), "test", &err);
  free(text);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return tokenizer;
}

/* From a text in which ' stands for ". */
static json_t *document_of(const char *text) {
  char *copy = strdup(text);
  assert_non_null(copy);
  for (char *c = copy; *c; c++)
    if (*c == '\'') *c = '"';
  json_error_t error;
  json_t *document = json_loads(copy, JSON_DECODE_ANY, &error);
  if (document == NULL) fail_msg("%s at %d", error.text, error.position);
  free(copy);
  return document;
}

/* Byte-level BPE as others write it: nested steps, merges as pairs. */
static const char bytes_text[] =
    "{'added_tokens': [{'id': 5, 'content': '<s>', 'single_word': false,"
    "  'lstrip': false, 'rstrip': false, 'normalized': true,"
    "  'special': true}, {'id': 6, 'content': '<tool>',"
    "  'single_word': false, 'lstrip': false, 'rstrip': false,"
    "  'normalized': false, 'special': false}],"
    " 'normalizer': null,"
    " 'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': ["
    "  {'type': 'Digits', 'individual_digits': true},"
    "  {'type': 'ByteLevel', 'add_prefix_space': false}]},"
    " 'post_processor': {'type': 'TemplateProcessing', 'single': ["
    "  {'SpecialToken': {'id': '<s>', 'type_id': 0}},"
    "  {'Sequence': {'id': 'A', 'type_id': 0}}], 'pair': [],"
    "  'special_tokens': {'<s>': {'id': '<s>', 'ids': [5],"
    "  'tokens': ['<s>']}}},"
    " 'decoder': {'type': 'ByteLevel', 'add_prefix_space': true,"
    "  'trim_offsets': true},"
    " 'model': {'type': 'BPE', 'vocab': {'a': 0, 'b': 1, '1': 2, 'ab': 3,"
    "  'aba': 4}, 'merges': [['a', 'b'], ['ab', 'a']]}}";

/* SentencePiece's, as LLaMA 2 has it. */
static const char scores_text[] =
    "{'added_tokens': [{'id': 0, 'content': '<unk>', 'single_word': false,"
    "  'lstrip': false, 'rstrip': false, 'normalized': false,"
    "  'special': true}, {'id': 1, 'content': '</s>',"
    "  'single_word': false, 'lstrip': false, 'rstrip': false,"
    "  'normalized': false, 'special': true}],"
    " 'normalizer': {'type': 'Sequence', 'normalizers': ["
    "  {'type': 'Prepend', 'prepend': '\u2581'},"
    "  {'type': 'Replace', 'pattern': {'String': ' '},"
    "   'content': '\u2581'}]},"
    " 'pre_tokenizer': null, 'post_processor': null,"
    " 'decoder': {'type': 'Sequence', 'decoders': ["
    "  {'type': 'Replace', 'pattern': {'String': '\u2581'},"
    "   'content': ' '}, {'type': 'ByteFallback'}, {'type': 'Fuse'},"
    "  {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]},"
    " 'model': {'type': 'BPE', 'unk_token': '<unk>', 'fuse_unk': true,"
    "  'byte_fallback': true, 'vocab': {'<unk>': 0, '</s>': 1,"
    "  '<0x0A>': 2, '\u2581': 3, 'a': 4, 'b': 5, 'aba': 6, 'ab': 7,"
    "  'ba': 8}, 'merges': ["
    "  'b a', 'a b', 'a ba', 'ab a']}}";

static moh__gguf_arrays arrays_of(const moh__tokenizer *t, size_t n) {
  moh__gguf_arrays arrays;
  moh_status status = moh__gguf_arrays_of(&arrays, t, n, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return arrays;
}

static void assert_text(moh__text text, const char *expected) {
  assert_int_equal(text.n, strlen(expected));
  assert_memory_equal(text.bytes, expected, text.n);
}

static void byte_level(void **state) {
  (void)state;
  json_t *document = document_of(bytes_text);
  moh__tokenizer *t = parsed(document), *again;
  moh__gguf_arrays a = arrays_of(t, 8);
  const moh__gguf_vocab *v = &a.vocab;
  const int32_t types[] = {1, 1, 1, 1, 1, 3, 4, 5};
  assert_text(v->model, "gpt2");
  assert_text(v->pre, "smollm");
  assert_int_equal(v->n_tokens, 8);
  assert_text(v->tokens[4], "aba");
  assert_text(v->tokens[7], "[PAD7]");
  assert_memory_equal(v->types, types, sizeof(types));
  assert_null(v->scores);
  assert_int_equal(v->n_merges, 2);
  assert_text(v->merges[1], "ab a");
  assert_int_equal(v->bos, 5);
  assert_int_equal(v->eos, -1);
  assert_true(v->add_bos == 1 && v->add_eos == 0);
  assert_int_equal(moh__tokenizer_from_gguf(&again, v, &err), MOH_OK);
  ASSERT_IDS(again, text_of("aba1<tool>ab"), true, 4, 2, 6, 3);
  moh__tokenizer_free(again);
  moh__gguf_arrays_free(&a);
  moh__tokenizer_free(t);
  json_decref(document);
}

static void scores(void **state) {
  (void)state;
  json_t *document = document_of(scores_text);
  moh__tokenizer *t = parsed(document), *again;
  moh__gguf_arrays a = arrays_of(t, 9);
  const moh__gguf_vocab *v = &a.vocab;
  const int32_t types[] = {2, 3, 6, 1, 1, 1, 1, 1, 1};
  const float expected[] = {0, 0, 0, -4, -4, -4, -3, -2, -1};
  assert_text(v->model, "llama");
  assert_int_equal(v->add_space_prefix, 1);
  assert_memory_equal(v->types, types, sizeof(types));
  assert_memory_equal(v->scores, expected, sizeof(expected));
  assert_true(v->bos == -1 && v->eos == 1 && v->unk == 0);
  assert_int_equal(moh__tokenizer_from_gguf(&again, v, &err), MOH_OK);
  ASSERT_IDS(again, text_of("aba\nab"), false, 3, 6, 2, 7);
  moh__tokenizer_free(again);
  moh__gguf_arrays_free(&a);
  moh__tokenizer_free(t);
  json_decref(document);
}

/* With another value at a path of members. */
static void assert_refused(const char *text, const char *const *path,
                           const char *value, const char *part) {
  json_t *document = document_of(text), *at = document;
  for (; path[1] != NULL; path++)
    at = json_is_array(at) ? json_array_get(at, (size_t)atoi(*path))
                           : json_object_get(at, *path);
  assert_int_equal(json_object_set_new(at, *path, document_of(value)), 0);
  moh__tokenizer *t = parsed(document);
  moh__gguf_arrays a;
  moh_status status = moh__gguf_arrays_of(&a, t, 9, &err);
  if (status != MOH_ERR_UNSUPPORTED || strstr(err.message, part) == NULL)
    fail_msg("%s instead of \"%s\": %s", moh_status_name(status), part,
             err.message);
  assert_null(a.tokens);
  moh__tokenizer_free(t);
  json_decref(document);
}
#define ASSERT_REFUSED(text, value, part, ...) \
  assert_refused(text, (const char *const[]){__VA_ARGS__, NULL}, value, part)

static void steps_without_a_name(void **state) {
  (void)state;
  static const char names[] = "are not those of any name";
  ASSERT_REFUSED(bytes_text,
                 "{'type': 'ByteLevel', 'add_prefix_space': true}", names,
                 "pre_tokenizer");
  ASSERT_REFUSED(bytes_text, "{'type': 'Lowercase'}", names, "normalizer");
  ASSERT_REFUSED(bytes_text, "true", names, "model", "ignore_merges");
  ASSERT_REFUSED(scores_text, "{'type': 'Digits', 'individual_digits': true}",
                 "neither those of", "pre_tokenizer");
  ASSERT_REFUSED(scores_text, "{'type': 'Fuse'}", "neither those of",
                 "decoder");
  ASSERT_REFUSED(scores_text,
                 "{'type': 'WordLevel', 'unk_token': '<unk>',"
                 " 'vocab': {'<unk>': 0, '</s>': 1, 'a': 2}}",
                 "its model is WordLevel", "model");
}

static void tokens_without_a_place(void **state) {
  (void)state;
  ASSERT_REFUSED(bytes_text, "true", "the added token \"<s>\" is not looked",
                 "added_tokens", "0", "single_word");
  ASSERT_REFUSED(bytes_text, "true", "the added token \"<tool>\" is not",
                 "added_tokens", "1", "lstrip");
  ASSERT_REFUSED(bytes_text,
                 "[{'SpecialToken': {'id': '<s>', 'type_id': 0}},"
                 " {'SpecialToken': {'id': '<s>', 'type_id': 0}},"
                 " {'Sequence': {'id': 'A', 'type_id': 0}}]",
                 "other tokens than its first one begin", "post_processor",
                 "single");
  ASSERT_REFUSED(scores_text, "false", "letters that it lacks", "model",
                 "fuse_unk");
}

static void merges_that_no_scores_make(void **state) {
  (void)state;
  ASSERT_REFUSED(scores_text, "['a ba', 'b a', 'a b', 'ab a']",
                 "not side by side", "model", "merges");
  ASSERT_REFUSED(scores_text, "['b a', 'a b', 'ab a']",
                 "not those that come of scores", "model", "merges");
}

/* Read back, a text ends at the same tokens. */
static void assert_same_ends(const moh__gguf_vocab *v,
                             const moh__tokenizer *t) {
  moh__tokenizer *back;
  if (moh__tokenizer_from_gguf(&back, v, &err) != MOH_OK)
    fail_msg("%s", err.message);
  for (int32_t id = 0; id < (int32_t)v->n_tokens; id++)
    assert_int_equal(moh__tokenizer_is_end(back, id),
                     moh__tokenizer_is_end(t, id));
  moh__tokenizer_free(back);
}

static void ends_and_sizes(void **state) {
  (void)state;
  json_t *document = document_of(bytes_text);
  json_t *added = json_object_get(document, "added_tokens");
  json_array_append_new(
      added, json_pack("{si ss sb sb sb sb sb}", "id", 7, "content",
                       "<|eom_id|>", "single_word", 0, "lstrip", 0, "rstrip",
                       0, "normalized", 0, "special", 1));
  moh__tokenizer *t = parsed(document);
  moh__gguf_arrays a;
  const int32_t ends[] = {5, 7, 0, 1};
  assert_int_equal(moh__gguf_arrays_of(&a, t, 7, &err), MOH_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.message, "more tokens than the model"));
  assert_int_equal(moh__tokenizer_set_ends(t, ends + 2, 2, &err), MOH_OK);
  a = arrays_of(t, 8);
  assert_true(a.vocab.eos == 0 && a.vocab.eot == 1 && a.vocab.eom == -1);
  moh__gguf_arrays_free(&a);
  assert_int_equal(moh__tokenizer_set_ends(t, ends, 3, &err), MOH_OK);
  a = arrays_of(t, 8);
  assert_true(a.vocab.eos == 5 && a.vocab.eot == 0 && a.vocab.eom == 7);
  assert_same_ends(&a.vocab, t);
  moh__gguf_arrays_free(&a);
  assert_int_equal(moh__tokenizer_set_ends(t, ends, 4, &err), MOH_OK);
  assert_int_equal(moh__gguf_arrays_of(&a, t, 8, &err), MOH_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.message, "more than three end tokens"));
  moh__tokenizer_free(t);
  json_decref(document);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(byte_level),
      cmocka_unit_test(scores),
      cmocka_unit_test(steps_without_a_name),
      cmocka_unit_test(tokens_without_a_place),
      cmocka_unit_test(merges_that_no_scores_make),
      cmocka_unit_test(ends_and_sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
