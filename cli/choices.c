/*
 * Reading questions, and scoring them: an answer's log-probability is the sum
 * over its tokens; acc takes the likeliest answer, acc_norm the likeliest by
 * byte, acc_norm_token by token. The text before the answers is read once.
 */
#include "choices.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "infer/nats.h"
#include "interrupt.h"
#include "json_output.h"

enum { CHOICES_MAX = 64 };

/* ---- a question -------------------------------------------------------- */

typedef struct question {
  char *prompt; /* owned */
  const char *choices[CHOICES_MAX];
  size_t n;
  size_t answer;
} question;

/* The first of several fields that is there; NULL: none is. */
static const json_t *find_field(const json_t *object,
                                const char *const *names) {
  for (; *names != NULL; names++) {
    const json_t *found = json_object_get(object, *names);
    if (found != NULL && !json_is_null(found)) return found;
  }
  return NULL;
}

static moh_status bad(moh_error *err, const char *what) {
  return moh__fail(err, MOH_ERR_FORMAT, "%s", what);
}

static bool have_gap(const char *front, const char *back) {
  size_t n = strlen(front);
  return n == 0 || isspace((unsigned char)front[n - 1]) ||
         isspace((unsigned char)back[0]);
}

/* Both, with `gap` between them unless they have white space there. */
static moh_status join(char **text, const char *front, const char *gap,
                       const char *back, moh_error *err) {
  if (have_gap(front, back)) gap = "";
  if (asprintf(text, "%s%s%s", front, gap, back) >= 0) return MOH_OK;
  *text = NULL;
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* A context goes before the question, if there is one. */
static moh_status read_prompt(question *q, const json_t *object,
                              moh_error *err) {
  static const char *const questions[] = {"question", "query", NULL};
  static const char *const contexts[] = {"context", NULL};
  static const char *const alone[] = {"context", "ctx", NULL};
  const json_t *back = find_field(object, questions), *front = NULL;
  if (back != NULL)
    front = find_field(object, contexts);
  else
    back = find_field(object, alone);
  if (!json_is_string(back) || (front != NULL && !json_is_string(front)))
    return bad(err, "there is no text \"question\" or \"context\"");
  return join(&q->prompt, front == NULL ? "" : json_string_value(front), "\n",
              json_string_value(back), err);
}

static moh_status read_choices(question *q, const json_t *list,
                               moh_error *err) {
  if (json_is_object(list)) list = json_object_get(list, "text");
  q->n = json_array_size(list);
  if (q->n < 2 || q->n > CHOICES_MAX)
    return bad(err, "\"choices\" must be a list of 2 to 64 texts");
  for (size_t i = 0; i < q->n; i++) {
    q->choices[i] = json_string_value(json_array_get(list, i));
    if (q->choices[i] == NULL || q->choices[i][0] == '\0')
      return bad(err, "a choice must be a text that is not empty");
  }
  return MOH_OK;
}

/* The index of a label: in the list of labels, else a letter from A on or a
 * number. */
static moh_status find_label(question *q, const json_t *labels,
                             const char *label, moh_error *err) {
  char *end;
  if (json_array_size(labels) == q->n)
    for (q->answer = 0; q->answer < q->n; q->answer++) {
      const char *one = json_string_value(json_array_get(labels, q->answer));
      if (one != NULL && strcmp(one, label) == 0) return MOH_OK;
    }
  bool letter = label[0] >= 'A' && label[0] <= 'Z' && label[1] == '\0';
  long i = letter ? label[0] - 'A' : strtol(label, &end, 10);
  q->answer = (size_t)i;
  bool number = letter || (label[0] != '\0' && *end == '\0');
  if (number && labels == NULL && i >= 0 && q->answer < q->n) return MOH_OK;
  return bad(err, "\"answer\" names none of the choices");
}

static moh_status read_answer(question *q, const json_t *object,
                              const json_t *list, moh_error *err) {
  static const char *const names[] = {"answer", "gold", "answerKey", "label",
                                      NULL};
  const json_t *answer = find_field(object, names);
  if (json_is_string(answer))
    return find_label(q, json_object_get(list, "label"),
                      json_string_value(answer), err);
  json_int_t i = json_integer_value(answer);
  if (!json_is_integer(answer) || i < 0 || i >= (json_int_t)q->n)
    return bad(err, "\"answer\" must be the index or the label of a choice");
  q->answer = (size_t)i;
  return MOH_OK;
}

static moh_status read_question(question *q, const json_t *object,
                                moh_error *err) {
  static const char *const lists[] = {"choices", "endings", NULL};
  const json_t *list = find_field(object, lists);
  MOH_TRY(read_prompt(q, object, err));
  MOH_TRY(read_choices(q, list, err));
  return read_answer(q, object, list, err);
}

/* ---- scores ------------------------------------------------------------ */

enum { ACC, ACC_NORM, ACC_NORM_TOKEN, MEASURES };

static const char *const measure_names[] = {"acc", "acc_norm",
                                            "acc_norm_token"};

typedef struct scoring {
  const moh__runner *runner;
  const moh__choices_options *options;
  moh__session *session;
  moh__ids before, whole;
  json_t *answers; /* NULL: not wanted */
  int64_t n, n_right[MEASURES];
  int64_t n_cut; /* questions that were too long for the model */
} scoring;

static moh_status encode(const scoring *s, const char *text, size_t n,
                         moh__ids *ids, moh_error *err) {
  ids->n = 0;
  MOH_TRY(moh__tokenizer_begin(s->runner->tokenizer, ids, err));
  return moh__tokenizer_encode(s->runner->tokenizer, (moh__text){text, n},
                               true, ids, err);
}

/* The tokens of both. */
static moh_status encode_choice(scoring *s, const question *q,
                                const char *choice, moh_error *err) {
  char *text;
  const char *gap = s->options->no_blank ? "" : " ";
  MOH_TRY(join(&text, q->prompt, gap, choice, err));
  moh_status status = encode(s, text, strlen(text), &s->whole, err);
  free(text);
  return status;
}

/* How many tokens stand before the answers: those that the text by itself has,
 * too. An answer that goes on within a word may change the text's last tokens;
 * then these are scored with all answers, or sums could not be compared. */
static moh_status count_before(scoring *s, const question *q, size_t *from,
                               moh_error *err) {
  MOH_TRY(encode(s, q->prompt, strlen(q->prompt), &s->before, err));
  *from = s->before.n;
  for (size_t i = 0; i < q->n; i++) {
    size_t at = 0;
    MOH_TRY(encode_choice(s, q, q->choices[i], err));
    while (at < *from && at + 1 < s->whole.n &&
           s->before.ids[at] == s->whole.ids[at])
      at++;
    *from = at;
  }
  if (*from > 0) return MOH_OK;
  return bad(err,
             "a question without a text before its answers, for a tokenizer "
             "that puts no token in front");
}

/* Of the tokens from `from` on. Too long: the beginning goes. */
static moh_status score_choice(scoring *s, const question *q, size_t i,
                               size_t from, double *log_p, int64_t *n_tokens,
                               bool *cut, moh_error *err) {
  size_t most = (size_t)moh__session_max_length(s->session), drop = 0;
  MOH_TRY(encode_choice(s, q, q->choices[i], err));
  if (s->whole.n > most) drop = s->whole.n - most;
  if (drop >= from)
    return bad(err, "an answer that is too long for the model");
  *cut = *cut || drop > 0;
  *n_tokens = (int64_t)(s->whole.n - from);
  double nats;
  MOH_TRY(moh__session_nats(s->session, s->whole.ids + drop,
                            (int32_t)(s->whole.n - drop),
                            (int32_t)(from - drop), &nats, err));
  *log_p = -nats;
  return MOH_OK;
}

typedef struct verdict {
  double log_p[CHOICES_MAX];
  size_t chosen[MEASURES]; /* the first of the best */
} verdict;

static moh_status judge(scoring *s, const question *q, verdict *v,
                        moh_error *err) {
  double best[MEASURES] = {0};
  bool cut = false;
  size_t from;
  MOH_TRY(count_before(s, q, &from, err));
  for (size_t i = 0; i < q->n; i++) {
    int64_t n_tokens;
    MOH_TRY(score_choice(s, q, i, from, &v->log_p[i], &n_tokens, &cut, err));
    const double scores[MEASURES] = {
        v->log_p[i], v->log_p[i] / (double)strlen(q->choices[i]),
        v->log_p[i] / (double)n_tokens};
    for (int m = 0; m < MEASURES; m++)
      if (i == 0 || scores[m] > best[m]) {
        best[m] = scores[m];
        v->chosen[m] = i;
      }
  }
  s->n_cut += cut;
  return MOH_OK;
}

static json_t *verdict_json(const question *q, const verdict *v,
                            int64_t line) {
  json_t *log_p = json_array();
  for (size_t i = 0; i < q->n; i++)
    json_array_append_new(log_p, json_real(v->log_p[i]));
  return json_pack("{s:I, s:I, s:o, s:I, s:I, s:I}", "line", (json_int_t)line,
                   "answer", (json_int_t)q->answer, "log_p", log_p, "acc",
                   (json_int_t)v->chosen[ACC], "acc_norm",
                   (json_int_t)v->chosen[ACC_NORM], "acc_norm_token",
                   (json_int_t)v->chosen[ACC_NORM_TOKEN]);
}

static void print_verdict(const question *q, const verdict *v, int64_t line) {
  printf(
      "line %lld: answer %zu, chosen %zu, %zu by byte, %zu by token; "
      "ln p",
      (long long)line, q->answer, v->chosen[ACC], v->chosen[ACC_NORM],
      v->chosen[ACC_NORM_TOKEN]);
  for (size_t i = 0; i < q->n; i++) printf(" %.4f", v->log_p[i]);
  putchar('\n');
}

static void count(scoring *s, const question *q, const verdict *v,
                  int64_t line) {
  s->n++;
  for (int m = 0; m < MEASURES; m++)
    s->n_right[m] += v->chosen[m] == q->answer;
  if (s->answers != NULL)
    json_array_append_new(s->answers, verdict_json(q, v, line));
  else if (s->options->each)
    print_verdict(q, v, line);
}

static moh_status ask(scoring *s, const json_t *object, int64_t line,
                      moh_error *err) {
  question q = {0};
  verdict v;
  if (moh__interrupted())
    return moh__fail(err, MOH_ERR_INTERRUPTED,
                     "interrupted after %lld questions", (long long)s->n);
  moh_status status = read_question(&q, object, err);
  if (status == MOH_OK) status = judge(s, &q, &v, err);
  if (status == MOH_OK) count(s, &q, &v, line);
  free(q.prompt);
  return status;
}

/* ---- a file ------------------------------------------------------------ */

static bool is_blank(const char *line, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (strchr(" \t\r", line[i]) == NULL) return false;
  return true;
}

static moh_status ask_line(scoring *s, const char *path, const char *line,
                           size_t n, int64_t number, moh_error *err) {
  json_t *object;
  if (is_blank(line, n)) return MOH_OK;
  moh_status status = moh__json_parse(&object, line, n, "the line", err);
  if (status == MOH_OK) {
    status = json_is_object(object)
                 ? ask(s, object, number, err)
                 : bad(err, "a question must be an object");
    json_decref(object);
  }
  if (status == MOH_OK || status == MOH_ERR_INTERRUPTED) return status;
  return moh__fail_in(err, status, "%s: line %lld", path, (long long)number);
}

static moh_status ask_lines(scoring *s, const char *path, const char *bytes,
                            size_t n, moh_error *err) {
  int64_t number = 1, limit = s->options->limit;
  for (size_t at = 0; at < n && (limit == 0 || s->n < limit); number++) {
    const char *end = memchr(bytes + at, '\n', n - at);
    size_t length = end == NULL ? n - at : (size_t)(end - bytes) - at;
    MOH_TRY(ask_line(s, path, bytes + at, length, number, err));
    at += length + 1;
  }
  if (s->n > 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "%s: no question in it", path);
}

/* Of n answers, each right or not. */
static double standard_error(double rate, int64_t n) {
  return n < 2 ? 0 : sqrt(rate * (1 - rate) / (double)(n - 1));
}

static json_t *result_json(const scoring *s, const char *path) {
  json_t *result = json_pack("{s:s, s:I, s:I}", "file", path, "questions",
                             (json_int_t)s->n, "cut", (json_int_t)s->n_cut);
  for (int m = 0; m < MEASURES; m++) {
    char name[32];
    double rate = (double)s->n_right[m] / (double)s->n;
    snprintf(name, sizeof(name), "%s_stderr", measure_names[m]);
    json_object_set_new(result, measure_names[m], json_real(rate));
    json_object_set_new(result, name, json_real(standard_error(rate, s->n)));
  }
  if (s->answers != NULL) json_object_set(result, "answers", s->answers);
  return result;
}

static void print_result(const scoring *s, const char *path) {
  printf("%-24s %lld questions:", path, (long long)s->n);
  for (int m = 0; m < MEASURES; m++) {
    double rate = (double)s->n_right[m] / (double)s->n;
    printf("%s %s %.4f +- %.4f", m == 0 ? "" : ",", measure_names[m], rate,
           standard_error(rate, s->n));
  }
  putchar('\n');
  if (s->n_cut > 0)
    fprintf(stderr,
            "(%lld questions are too long for the model and lost their "
            "beginning)\n",
            (long long)s->n_cut);
}

static moh_status score_file(const moh__runner *runner,
                             const moh__choices_options *options,
                             moh__session *session, const char *path,
                             json_t *files, moh_error *err) {
  scoring s = {.runner = runner, .options = options, .session = session};
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  if (options->json && options->each) s.answers = json_array();
  moh_status status =
      ask_lines(&s, path, (const char *)map.bytes, map.size, err);
  if (status == MOH_OK && options->json)
    json_array_append_new(files, result_json(&s, path));
  else if (status == MOH_OK)
    print_result(&s, path);
  json_decref(s.answers);
  moh__ids_free(&s.before);
  moh__ids_free(&s.whole);
  moh__map_close(&map);
  return status;
}

static moh_status print_json(const moh__choices_options *options,
                             json_t *files, moh_error *err) {
  json_t *object =
      json_pack("{s:s, s:O}", "model", options->model, "files", files);
  return moh__print_json(object, err);
}

moh_status moh__choices_run(const moh__runner *runner,
                            const moh__choices_options *options,
                            moh_error *err) {
  moh__session *session;
  MOH_TRY(moh__session_new(&session, runner->model, runner->pool, 0, err));
  json_t *files = json_array();
  moh_status status = MOH_OK;
  for (int i = 0; i < options->n_paths && status == MOH_OK; i++)
    status =
        score_file(runner, options, session, options->paths[i], files, err);
  if (status == MOH_OK && options->json)
    status = print_json(options, files, err);
  json_decref(files);
  moh__session_free(session);
  return status;
}
