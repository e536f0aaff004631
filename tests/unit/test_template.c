/* Chat templates: against what jinja2 gives (scripts/golden_templates.py),
 * where bytes come from, bounds, and messages. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "support/check.h"
#include "text/template_internal.h"
#include "text/utf8.h"

#define FOLDER MOH_SOURCE_DIR "/tests/golden/templates/"

static moh_status parse(moh__template **t, const char *source,
                        moh_error *err) {
  return moh__template_parse(t, moh__text_of(source), "t", err);
}

/* ---- the golden file ---------------------------------------------------- */

static char *source_of(const json_t *one) {
  const char *file = json_string_value(json_object_get(one, "file"));
  const char *source = json_string_value(json_object_get(one, "source"));
  if (source != NULL) return strdup(source);
  char path[512];
  moh__map map;
  snprintf(path, sizeof(path), "%s%s", FOLDER, file);
  assert_int_equal(moh__map_open(&map, path, NULL), MOH_OK);
  char *text = strndup((const char *)map.bytes, map.size);
  moh__map_close(&map);
  return text;
}

static moh_status render(const char *source, const json_t *settings,
                         const json_t *data, moh__rendered *out,
                         moh_error *err) {
  moh__template *t;
  *out = (moh__rendered){0};
  MOH_TRY(parse(&t, source, err));
  moh_status status = moh__template_render(t, settings, data, NULL, out, err);
  moh__template_free(t);
  return status;
}

/* Pieces cover the text, and neighbours differ. */
static void check_pieces(const moh__rendered *r) {
  size_t at = 0;
  for (size_t i = 0; i < r->n_pieces; i++) {
    assert_true(r->pieces[i].start == at && r->pieces[i].end > at);
    if (i > 0)
      assert_int_not_equal(r->pieces[i].content, r->pieces[i - 1].content);
    at = r->pieces[i].end;
  }
  assert_int_equal(at, r->n);
}

static void check_case(const json_t *one) {
  moh__rendered r;
  moh_error err = {0};
  char *source = source_of(one);
  const json_t *text = json_object_get(one, "text");
  const char *raised = json_string_value(json_object_get(one, "raised"));
  moh_status status = render(source, json_object_get(one, "settings"),
                             json_object_get(one, "data"), &r, &err);
  if (text != NULL) {
    if (status != MOH_OK) fail_msg("%s\n%s", err.message, source);
    assert_string_equal(r.bytes, json_string_value(text));
    check_pieces(&r);
  } else if (status == MOH_OK) {
    fail_msg("rendered: %s", source);
  } else {
    assert_int_equal(status, raised ? MOH_ERR_ARGUMENT : MOH_ERR_FORMAT);
    if (raised != NULL) assert_non_null(strstr(err.message, raised));
    assert_null(r.bytes);
  }
  moh__rendered_free(&r);
  free(source);
}

static void as_the_library_renders(void **state) {
  json_t *cases;
  size_t i;
  const json_t *one;
  (void)state;
  assert_int_equal(moh__json_load(&cases, FOLDER "expected.json", NULL),
                   MOH_OK);
  assert_true(json_array_size(cases) > 200);
  json_array_foreach(cases, i, one) { check_case(one); }
  json_decref(cases);
}

/* ---- origins ------------------------------------------------------------ */

/* What a template makes of the setting s = "<s>" and the content c =
 * "Hey <s>", with content between [ and ]. */
static void assert_marked(const char *source, const char *expected) {
  moh__rendered r;
  moh_error err = {0};
  char marked[512] = "";
  json_t *settings = json_pack("{s:s}", "s", "<s>");
  json_t *data =
      json_pack("{s:s, s:{s:s}}", "c", "Hey <s>", "m", "role", "user");
  if (render(source, settings, data, &r, &err) != MOH_OK)
    fail_msg("%s: %s", source, err.message);
  for (size_t i = 0; i < r.n_pieces; i++) {
    const moh__text_run *p = &r.pieces[i];
    size_t used = strlen(marked);
    snprintf(marked + used, sizeof(marked) - used,
             p->content ? "[%.*s]" : "%.*s", (int)(p->end - p->start),
             r.bytes + p->start);
  }
  assert_string_equal(marked, expected);
  moh__rendered_free(&r);
  json_decref(settings);
  json_decref(data);
}

static void every_byte_knows_its_origin(void **state) {
  (void)state;
  assert_marked("{{ s }}{{ c }}</s>", "<s>[Hey <s>]</s>");
  assert_marked("{{ s + c + '\n' }}", "<s>[Hey <s>]\n");
  assert_marked("{{ (s ~ c ~ s)[1:-1] }}", "s>[Hey <s>]<s");
  assert_marked("{{ (' ' + c + ' ') | trim }}", "[Hey <s>]");
  assert_marked("{{ c | upper }}{{ s | upper }}", "[HEY <S>]<S>");
  assert_marked("{{ m.role | capitalize }}: ", "[User]: ");
  assert_marked("{{ c.split(' ')[1] }}{{ c[::-1] }}", "[<s>>s< yeH]");
  /* What replaces content is content; what comes of content is, too. */
  assert_marked("{{ c | replace('<s>', s) }}", "[Hey <s>]");
  assert_marked("{{ ('a-b' ~ c) | replace('-', s) }}", "a<s>b[Hey <s>]");
  assert_marked("{{ ('a-b') | replace('-', c) }}", "a[Hey <s>]b");
  assert_marked("{{ [c, s] | join('</s>') }}", "[Hey <s>]</s><s>");
  assert_marked("{{ {'k': c} | tojson }}", "{\"k\": \"[Hey <s>]\"}");
  assert_marked("{{ m | tojson }}", "{\"[role]\": \"[user]\"}");
  assert_marked("{% set x %}{{ c }}{{ s }}{% endset %}{{ x }}",
                "[Hey <s>]<s>");
  assert_marked("{% for k, v in m | items %}{{ k }}={{ v }}{% endfor %}",
                "[role]=[user]");
  assert_marked("{% for x in c[:2] %}{{ x }}.{% endfor %}", "[H].[e].");
  assert_marked(
      "{% set ns = namespace(t=c) %}{% set ns.t = ns.t + s %}"
      "{{ ns.t }}{{ c | length }}",
      "[Hey <s>]<s>7");
  assert_marked("{{ c | first }}{{ c if c else s }}{{ c | default(s) }}",
                "[HHey <s>Hey <s>]");
  assert_marked("{{ c | string }}{{ '' ~ c }}{{ c * 2 }}",
                "[Hey <s>Hey <s>Hey <s>Hey <s>]");
}

/* ---- messages ------------------------------------------------------------ */

static void assert_message(const char *source, moh_status expected,
                           const char *message) {
  moh__rendered r;
  moh_error err = {0};
  json_t *data = json_pack("{s:s, s:[i]}", "s", "text", "l", 1);
  assert_int_equal(render(source, NULL, data, &r, &err), expected);
  assert_string_equal(err.message, message);
  json_decref(data);
}

static void messages_name_the_place_and_the_thing(void **state) {
  (void)state;
  const moh_status bad = MOH_ERR_FORMAT;
  assert_message("a\n{% macro x() %}", bad,
                 "t: line 2, column 4: the block 'macro' is not known here");
  assert_message("{{ s | sort }}", bad,
                 "t: line 1, column 8: the filter 'sort' is not known here");
  assert_message("{{ s.encode() }}", bad,
                 "t: line 1, column 6: the method 'encode' is not known "
                 "here");
  assert_message("{{ s is odd }}", bad,
                 "t: line 1, column 9: the test 'odd' is not known here");
  assert_message("{{ lipsum() }}", bad,
                 "t: line 1, column 4: the function 'lipsum' is not known "
                 "here");
  assert_message("{{ l[0]() }}", bad,
                 "t: line 1, column 8: a call of what is no name");
  assert_message("{{ 1.5 }}", bad,
                 "t: line 1, column 4: only whole decimal numbers are known "
                 "here");
  assert_message("\u00e9\u00e9{{ 'x' 5 }}", bad,
                 "t: line 1, column 10: a number where the end of the "
                 "output is expected");
  assert_message("{% if s %}", bad,
                 "t: line 1, column 11: {% endif %} is missing");
  assert_message("x\n\n{% endfor %}", bad,
                 "t: line 3, column 1: 'endfor' ends nothing");
  assert_message("{{ a.b }}", bad, "t: line 1, column 6: 'a' is undefined");
  assert_message("{{ s + 1 }}", bad,
                 "t: line 1, column 6: a string + a number means nothing");
  assert_message("{{ raise_exception('not ' ~ s) }}", MOH_ERR_ARGUMENT,
                 "the chat template says: not text");
  assert_message("{{ raise_exception('\\x1b[31mred\\nline') }}",
                 MOH_ERR_ARGUMENT, "the chat template says: ?[31mred line");
  assert_message("{{ strftime_now('%Y') }}", bad,
                 "t: line 1, column 4: strftime_now is not given: a prompt "
                 "does not depend on the day");
  assert_message("{{ s.split(',', 2, 3) }}", bad,
                 "t: line 1, column 6: split with 3 arguments");
  assert_message("{{ s | trim(letters='x') }}", bad,
                 "t: line 1, column 8: trim has no argument 'letters' here");
  assert_message("{{ l }}", bad,
                 "t: line 1, column 1: a list cannot be written; tojson can");
  assert_message("{{ 99999999999999999999 }}", bad,
                 "t: line 1, column 4: a number that is too large");
  assert_message("{{ 9223372036854775807 + 1 }}", bad,
                 "t: line 1, column 24: a number that is too large");
}

/* ---- bounds ------------------------------------------------------------- */

static void assert_bounded(const char *source, const char *part) {
  moh__template *t;
  moh__rendered r;
  moh_error err = {0};
  moh__template_limits limits = {
      .steps = 1 << 20, .output = 1 << 16, .memory = 1 << 22};
  assert_int_equal(parse(&t, source, &err), MOH_OK);
  assert_int_equal(moh__template_render(t, NULL, NULL, &limits, &r, &err),
                   MOH_ERR_FORMAT);
  if (strstr(err.message, part) == NULL) fail_msg("%s", err.message);
  moh__template_free(t);
}

static void a_rendering_has_bounds(void **state) {
  (void)state;
#define TEN(x) x x x x x x x x x x
#define LOOP(x)                                                        \
  "{% for a in s %}{% for b in s %}{% for c in s %}{% for d in s %}" x \
  "{% endfor %}{% endfor %}{% endfor %}{% endfor %}"
  assert_bounded("{% set s = '" TEN("0123456789") "' %}" LOOP(""), "bytes");
  assert_bounded("{% set s = 'abcdefghijklmnopqrst' %}" LOOP("{{ s }}"),
                 "writes more than 65536 bytes");
  assert_bounded("{{ 'x' * 9223372036854775807 }}", "than");
  assert_bounded(
      "{% set ns = namespace(x='xy') %}"
      "{% for a in 'abcdefghijklmnopqrst' %}"
      "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
      "than");
  assert_bounded(
      "{% set ns = namespace(x=[]) %}"
      "{% for a in 'x' * 100 %}{% set ns.x = [ns.x] %}{% endfor %}",
      "nested deeper than 64 levels");
}

/* Tags in tags, brackets in brackets, long chains: refused, not overflowed. */
static void assert_too_deep(const char *front, const char *back, int n) {
  moh__template *t;
  moh_error err = {0};
  size_t size = (size_t)n * (strlen(front) + strlen(back)) + 64;
  char *source = calloc(1, size), *end = source;
  assert_non_null(source);
  end = stpcpy(end, *front == '{' ? "" : "{{ ");
  for (int i = 0; i < n; i++) end = stpcpy(end, front);
  end = stpcpy(end, *front == '{' ? "" : "1");
  for (int i = 0; i < n; i++) end = stpcpy(end, back);
  stpcpy(end, *front == '{' ? "" : " }}");
  assert_int_equal(parse(&t, source, &err), MOH_ERR_FORMAT);
  if (strstr(err.message, "nested deeper than 200 levels") == NULL)
    fail_msg("%s%s: %s", front, back, err.message);
  free(source);
}

static void a_template_has_bounds(void **state) {
  (void)state;
  assert_too_deep("(", ")", 50000);
  assert_too_deep("[", "]", 50000);
  assert_too_deep("-", "", 50000);
  assert_too_deep("not ", "", 50000);
  assert_too_deep("1 + ", "", 50000);
  assert_too_deep("1 if 1 else ", "", 50000);
  assert_too_deep("", ".a", 50000);
  assert_too_deep("", " | trim", 50000);
  assert_too_deep("", " is none", 50000);
  assert_too_deep("{% if 1 %}", "{% endif %}", 20000);
  assert_too_deep("{% for a in b %}", "{% endfor %}", 20000);
  assert_too_deep("{% set a %}", "{% endset %}", 20000);
}

/* n times the same between a front and a back. */
static char *repeated(const char *front, const char *part, size_t n,
                      const char *back) {
  char *source = malloc(strlen(front) + n * strlen(part) + strlen(back) + 1);
  assert_non_null(source);
  char *end = stpcpy(source, front);
  for (size_t i = 0; i < n; i++) end = stpcpy(end, part);
  stpcpy(end, back);
  return source;
}

static void strings_side_by_side_cost_their_length(void **state) {
  moh__template *t;
  moh__rendered r;
  (void)state;
  char *source = repeated("{{ ", "'aa' ", 200000, " }}");
  assert_int_equal(parse(&t, source, NULL), MOH_OK);
  assert_true(t->pool.used < 16u << 20);
  assert_int_equal(moh__template_render(t, NULL, NULL, NULL, &r, NULL),
                   MOH_OK);
  assert_int_equal(r.n, 400000);
  assert_int_equal(r.bytes[0], 'a');
  assert_int_equal(r.bytes[r.n - 1], 'a');
  moh__rendered_free(&r);
  moh__template_free(t);
  free(source);
}

/* A tree far larger than its source. */
static void a_tree_is_bounded_by_its_source(void **state) {
  moh__template *t;
  moh_error err = {0};
  (void)state;
  char *dense = repeated("{{ [", "----------------1,", 20000, "] }}");
  assert_int_equal(parse(&t, dense, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "a tree of more than 23106048 bytes"));
  free(dense);
  char *usual =
      repeated("", "{% if a.b == 'c' %}{{ a.d }}{% endif %}\n", 20000, "");
  assert_int_equal(parse(&t, usual, &err), MOH_OK);
  assert_true(t->pool.used < t->pool.most / 2);
  moh__template_free(t);
  free(usual);
}

/* Keys that hold keys would be as deep as a loop is long. */
static void keys_are_not_nested(void **state) {
#define DEEP_KEYS(key)                                               \
  "{% set n = namespace(a=1) %}{% set s %}{% for c in 'x' * 9000 %}" \
  "xxxxxxxxxxxxx{% endfor %}{% endset %}"                            \
  "{% for c in s %}{% set n.a = {" key ": 1} %}{% endfor %}"
  static const char dict[] =
      "t: line 1, column 132: a dictionary cannot be a key";
  (void)state;
  assert_message(DEEP_KEYS("n.a") "{{ n.a | tojson }}", MOH_ERR_FORMAT, dict);
  assert_message(DEEP_KEYS("n.a") "{{ n.a in [n.a] }}", MOH_ERR_FORMAT, dict);
  assert_message(DEEP_KEYS("n.a") "{% set n.b = n.a %}{{ n.a == n.b }}",
                 MOH_ERR_FORMAT, dict);
  assert_message(DEEP_KEYS("[n.a]") "{{ n.a | tojson }}", MOH_ERR_FORMAT,
                 "t: line 1, column 132: a list cannot be a key");
}

static void data_may_be_anything(void **state) {
  moh__rendered r;
  moh_error err = {0};
  (void)state;
  json_t *data = json_pack("{s:f}", "x", 1.5);
  assert_int_equal(render("{{ x }}", NULL, data, &r, &err), MOH_ERR_FORMAT);
  json_decref(data);
  data = json_object();
  json_t *inner = data;
  for (int i = 0; i < 200; i++) {
    json_t *next = json_object();
    json_object_set_new(inner, "x", next);
    inner = next;
  }
  assert_int_equal(render("a", NULL, data, &r, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "nested too deep"));
  json_decref(data);
  assert_int_equal(render("a{{ b }}", NULL, NULL, &r, &err), MOH_OK);
  assert_string_equal(r.bytes, "a");
  moh__rendered_free(&r);
  moh__template_free(NULL);
}

/* ---- ids ----------------------------------------------------------------- */

/* A word that is special where the template has it, and text elsewhere. */
static void content_makes_no_special_tokens(void **state) {
  static const char text[] = "a </s> b </s>";
  moh__tokenizer *tokenizer;
  moh__text one = {text, sizeof(text) - 1};
  moh__ids ids = {0};
  (void)state;
  assert_int_equal(moh__tokenizer_train_words(&tokenizer, &one, 1, NULL),
                   MOH_OK);
  int32_t end = moh__tokenizer_id(tokenizer, "</s>");
  const moh__text_run runs[] = {{0, 2, false}, {2, 8, true}, {8, 13, false}};
  assert_int_equal(
      moh__tokenizer_encode_runs(tokenizer, one, runs, 3, &ids, NULL),
      MOH_OK);
  assert_int_equal(ids.ids[ids.n - 1], end);
  for (size_t i = 0; i + 1 < ids.n; i++)
    assert_int_not_equal(ids.ids[i], end);
  /* Half of it from the template is not enough. */
  const moh__text_run half[] = {{0, 4, false}, {4, 13, true}};
  ids.n = 0;
  assert_int_equal(
      moh__tokenizer_encode_runs(tokenizer, one, half, 2, &ids, NULL),
      MOH_OK);
  for (size_t i = 0; i < ids.n; i++) assert_int_not_equal(ids.ids[i], end);
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(as_the_library_renders),
      cmocka_unit_test(every_byte_knows_its_origin),
      cmocka_unit_test(messages_name_the_place_and_the_thing),
      cmocka_unit_test(a_rendering_has_bounds),
      cmocka_unit_test(a_template_has_bounds),
      cmocka_unit_test(strings_side_by_side_cost_their_length),
      cmocka_unit_test(a_tree_is_bounded_by_its_source),
      cmocka_unit_test(keys_are_not_nested),
      cmocka_unit_test(data_may_be_anything),
      cmocka_unit_test(content_makes_no_special_tokens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
