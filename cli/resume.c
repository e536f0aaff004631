/*
 * The first call's options are parsed once more, with the few that may be
 * given anew in their place; model, tokenizer, training options and
 * counters come from the checkpoint, the data from where the first call
 * found them.
 */
#include "resume.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "json_output.h"
#include "run.h"
#include "store/model_dir.h"

typedef struct resume {
  const char *dir;
  json_t *record; /* run.json */
  char **words;   /* the first call's options, as they could be typed */
  int n_words;
  void *values; /* of the command, from these words */
  moh__call call;
  moh__checkpoint checkpoint;
  char *data, *mix, *out; /* paths */
} resume;

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* What err says is wrong with run.json, as the fault of that file. */
static moh_status fail_record(const resume *r, moh_error *err) {
  return moh__fail_in(err, MOH_ERR_FORMAT, "%s/run.json", r->dir);
}

/* ---- the first call ---- */

static moh_status load_record(resume *r, const moh__call *now,
                              moh_error *err) {
  const char *command;
  char *path = moh__path_join(r->dir, "run.json");
  if (path == NULL) return fail_memory(err);
  moh_status status =
      access(path, F_OK) == 0
          ? moh__json_load(&r->record, path, err)
          : moh__fail(err, MOH_ERR_ARGUMENT, "%s holds no run", r->dir);
  free(path);
  MOH_TRY(status);
  status = moh__json_get_string(r->record, "command", &command, err);
  if (status != MOH_OK) return fail_record(r, err);
  if (strcmp(command, now->command->name) == 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the run in %s was started by moh %.20s: go on with "
                   "'moh %.20s --resume %s'",
                   r->dir, command, command, r->dir);
}

/* What changes nothing of the result. */
static bool may_change(const char *name) {
  static const char *const names[] = {"threads", "max-time",
                                      "checkpoint-every",
                                      "keep-checkpoints", "json"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

/* Puts what is given now into the options of the first call. */
static moh_status merge(json_t *first, const moh__call *now,
                        moh_error *err) {
  const char *name;
  json_t *value, *given = moh__options_json(now);
  json_object_del(first, "max-time"); /* these are of one call only */
  json_object_del(first, "json");
  moh_status status = given == NULL ? fail_memory(err) : MOH_OK;
  json_object_foreach(given, name, value) {
    if (strcmp(name, "resume") == 0) continue;
    if (!may_change(name)) {
      status = moh__fail(err, MOH_ERR_ARGUMENT,
                         "--%s cannot change when a run goes on; only "
                         "--threads, --max-time, --checkpoint-every, "
                         "--keep-checkpoints and --json can",
                         name);
      break;
    }
    json_object_set(first, name, value);
  }
  json_decref(given);
  return status;
}

/* "--name" or "--name=value"; NULL for what no option has as its value. */
static char *word_of(const char *name, const json_t *value) {
  char *word = NULL;
  int n = -1;
  if (json_is_true(value)) n = asprintf(&word, "--%s", name);
  if (json_is_string(value))
    n = asprintf(&word, "--%s=%s", name, json_string_value(value));
  if (json_is_integer(value))
    n = asprintf(&word, "--%s=%" JSON_INTEGER_FORMAT, name,
                 json_integer_value(value));
  if (json_is_real(value))
    n = asprintf(&word, "--%s=%.17g", name, json_real_value(value));
  return n < 0 ? NULL : word;
}

/* As options are called; --help and --resume are none of a run. */
static bool is_option_name(const char *name) {
  return name[0] != '\0' &&
         strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") ==
             strlen(name) &&
         strcmp(name, "help") != 0 && strcmp(name, "resume") != 0;
}

static moh_status add_word(resume *r, const char *name, const json_t *value,
                           moh_error *err) {
  char **words =
      reallocarray(r->words, (size_t)r->n_words + 1, sizeof(char *));
  if (words == NULL) return fail_memory(err);
  r->words = words;
  words[r->n_words] = is_option_name(name) ? word_of(name, value) : NULL;
  if (words[r->n_words++] != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s/run.json: \"options\" has no proper value for "
                   "\"%.60s\"",
                   r->dir, name);
}

static moh_status add_words(resume *r, const json_t *options,
                            moh_error *err) {
  const char *name;
  json_t *value, *item;
  size_t i;
  json_object_foreach((json_t *)options, name, value) {
    if (!json_is_array(value)) {
      MOH_TRY(add_word(r, name, value, err));
      continue;
    }
    json_array_foreach(value, i, item) {
      MOH_TRY(add_word(r, name, item, err));
    }
  }
  return MOH_OK;
}

static moh_status parse_again(resume *r, const moh__call *now,
                              moh_error *err) {
  json_t *options = json_object_get(r->record, "options");
  if (!json_is_object(options))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s/run.json: \"options\" must be an object", r->dir);
  MOH_TRY(merge(options, now, err));
  MOH_TRY(add_words(r, options, err));
  r->values = calloc(1, now->command->values_size);
  if (r->values == NULL) return fail_memory(err);
  if (moh__options_parse(now->command, r->n_words, r->words, r->values,
                         &r->call, err) != MOH_OK)
    return fail_record(r, err);
  const moh__training_values *values = r->values;
  if (values->data != NULL) return MOH_OK;
  moh__fail(err, MOH_ERR_FORMAT, "the option \"data\" is missing");
  return fail_record(r, err);
}

/* ---- the checkpoint ---- */

static void tell_skipped(void *context, const char *path,
                         const moh_error *reason) {
  (void)context;
  fprintf(stderr, "left out  %s: %s\n", path, reason->message);
}

/* *any is false when no checkpoint was ever finished. */
static moh_status open_checkpoint(resume *r, bool *any, moh_error *err) {
  size_t n = 0;
  char *dir = moh__path_join(r->dir, "checkpoints");
  if (dir == NULL) return fail_memory(err);
  moh_status status = moh__checkpoints_count(dir, &n, err);
  *any = n > 0;
  if (status == MOH_OK && *any)
    status = moh__checkpoint_newest(&r->checkpoint, dir, tell_skipped, NULL,
                                    err);
  free(dir);
  if (status != MOH_ERR_IO) return status;
  return moh__fail_in(err, *any ? MOH_ERR_FORMAT : status,
                      "%s cannot go on (start anew with --overwrite)",
                      r->dir);
}

/* The run was ended before its first checkpoint. The first call is made
 * once more, from where it was made, and gives what it would have given. */
static moh_status begin_anew(resume *r, moh_error *err) {
  moh__training_values *values = r->values;
  const json_t *place = json_object_get(r->record, "directory");
  fprintf(stderr,
          "the run in %s has no checkpoint yet and begins once more\n",
          r->dir);
  r->out = realpath(r->dir, NULL);
  bool there = r->out != NULL && (!json_is_string(place) ||
                                  chdir(json_string_value(place)) == 0);
  if (!there)
    return moh__fail(err, MOH_ERR_IO,
                     "the run in %s cannot begin once more where it was "
                     "started: %s",
                     r->dir, strerror(errno));
  values->out = r->out;
  values->overwrite = true;
  return r->call.command->run(&r->call, err);
}

/* result.json is written last. */
static bool is_finished(const char *dir) {
  return moh__holds(dir, "result.json");
}

/* What a finished run said at its end, where --json asks for it. */
static moh_status print_result(const resume *r, moh_error *err) {
  json_t *result = NULL;
  const moh__training_values *values = r->values;
  if (!values->json) return MOH_OK;
  char *path = moh__path_join(r->dir, "result.json");
  moh_status status =
      path != NULL ? moh__json_load(&result, path, err) : fail_memory(err);
  free(path);
  MOH_TRY(status);
  return moh__print_json(result, err);
}

/* ---- data ---- */

/* A path of the first call, from where that was made. */
static moh_status find_path(const resume *r, const char *path, char **found,
                            moh_error *err) {
  const json_t *place = json_object_get(r->record, "directory");
  bool here = path[0] == '/' || !json_is_string(place);
  *found =
      here ? strdup(path) : moh__path_join(json_string_value(place), path);
  return *found == NULL ? fail_memory(err) : MOH_OK;
}

static moh_status find_mix(resume *r, moh_error *err) {
  double share;
  char *path = NULL;
  const json_t *mix =
      json_object_get(json_object_get(r->record, "options"), "mix");
  if (mix == NULL) return MOH_OK;
  const char *text = json_is_string(mix) ? json_string_value(mix) : "";
  if (moh__training_parse_mix(text, &path, &share, err) != MOH_OK)
    return fail_record(r, err);
  moh_status status = find_path(r, path, &r->mix, err);
  free(path);
  return status;
}

static moh_status read_share(const resume *r, moh__run *run,
                             moh_error *err) {
  double *share = &run->held_out_share;
  moh_status status =
      moh__json_get_real(r->checkpoint.extra, "held_out", share, err);
  if (status == MOH_OK && *share >= 0 && *share < 1) return MOH_OK;
  if (status == MOH_OK)
    moh__fail(err, MOH_ERR_FORMAT, "\"held_out\" is %g, not in [0, 1)",
              *share);
  return moh__fail_in(err, MOH_ERR_FORMAT, "%s/state.json",
                      r->checkpoint.dir);
}

static moh_status reload(resume *r, moh__run *run, moh_error *err) {
  moh__training_values *values = r->values;
  moh__load_options options = {.verify = false, .writable = true};
  MOH_TRY(moh__model_load(&run->model, &run->tokenizer, r->checkpoint.dir,
                          options, err));
  if (run->tokenizer == NULL)
    return moh__fail(err, MOH_ERR_FORMAT, "%s has no tokenizer.json",
                     r->checkpoint.dir);
  if (moh__json_get_string(r->record, "origin", &run->origin, err) !=
      MOH_OK)
    return fail_record(r, err);
  MOH_TRY(read_share(r, run, err));
  MOH_TRY(find_path(r, values->data, &r->data, err));
  MOH_TRY(find_mix(r, err));
  values->data = r->data;
  values->out = r->dir;
  run->options = r->checkpoint.options;
  run->from = &r->checkpoint;
  MOH_TRY(moh__run_load_main(run, err));
  if (r->mix != NULL) MOH_TRY(moh__run_load_mix(run, r->mix, err));
  return moh__run_open_pool(run, err);
}

/* ---- the whole ---- */

static moh_status go_on(resume *r, const moh__call *now, moh_error *err) {
  MOH_TRY(load_record(r, now, err));
  MOH_TRY(parse_again(r, now, err));
  if (is_finished(r->dir)) {
    fprintf(stderr,
            "the run in %s is finished: its model is %s/final; 'moh tune' "
            "trains it further\n",
            r->dir, r->dir);
    return print_result(r, err);
  }
  bool any;
  MOH_TRY(open_checkpoint(r, &any, err));
  if (!any) return begin_anew(r, err);
  moh__run run = {.call = &r->call, .values = r->values};
  moh_status status =
      moh__training_max_time(run.values, &run.max_seconds, err);
  if (status == MOH_OK) status = reload(r, &run, err);
  if (status == MOH_OK) status = moh__run_execute(&run, err);
  moh__run_free(&run);
  return status;
}

static void close_resume(resume *r) {
  moh__checkpoint_close(&r->checkpoint);
  json_decref(r->record);
  for (int i = 0; i < r->n_words; i++) free(r->words[i]);
  free(r->words);
  free(r->values);
  free(r->data);
  free(r->mix);
  free(r->out);
}

moh_status moh__resume(const moh__call *call, const char *dir,
                       moh_error *err) {
  resume r = {.dir = dir};
  moh__run_loading();
  moh_status status = go_on(&r, call, err);
  close_resume(&r);
  return status;
}
