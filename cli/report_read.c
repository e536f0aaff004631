/* Reading a run's directory, and texts through its model. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "report.h"
#include "text/texts.h"
#include "text/utf8.h"

enum { DEFAULT_SAMPLES = 2 };

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for the report");
}

/* ---- the directory ---- */

static moh_status read_json(json_t **json, const char *dir, const char *name,
                            moh_error *err) {
  char *path = moh__path_join(dir, name);
  if (path == NULL) return no_memory(err);
  moh_status status = moh__json_load(json, path, err);
  free(path);
  return status;
}

static moh_status read_log(moh__report *r, moh_error *err) {
  char *path = moh__path_join(r->dir, "log.jsonl");
  if (path == NULL) return no_memory(err);
  moh_status status = moh__run_log_load(&r->log, path, err);
  if (status == MOH_OK && r->log.n_steps == 0)
    status = moh__fail(err, MOH_ERR_FORMAT, "%s has no step yet", path);
  free(path);
  return status;
}

static moh_status read_config(moh__report *r, moh_error *err) {
  const json_t *model = json_object_get(r->record, "model");
  if (!json_is_object(model))
    return moh__fail(err, MOH_ERR_FORMAT, "%s/run.json has no \"model\"",
                     r->dir);
  moh_status status = moh__config_from_json(&r->config, model, err);
  if (status == MOH_OK) return status;
  return moh__fail_in(err, status, "%s/run.json", r->dir);
}

moh_status moh__report_open(moh__report *r, const char *dir, moh_error *err) {
  *r = (moh__report){.dir = dir};
  if (!moh__holds(dir, "run.json"))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s is not the directory of a run: it has no run.json",
                     dir);
  MOH_TRY(read_json(&r->record, dir, "run.json", err));
  MOH_TRY(read_config(r, err));
  if (moh__holds(dir, "result.json"))
    MOH_TRY(read_json(&r->result, dir, "result.json", err));
  r->model = moh__holds(dir, "final")  ? "final"
             : moh__holds(dir, "best") ? "best"
                                       : NULL;
  return read_log(r, err);
}

void moh__report_close(moh__report *r) {
  for (int i = 0; i < r->n_samples; i++) moh__routing_free(&r->samples[i]);
  free(r->samples);
  moh__runner_close(&r->runner);
  moh__run_log_free(&r->log);
  json_decref(r->record);
  json_decref(r->result);
}

/* ---- samples ---- */

static moh_status open_model(moh__report *r, moh_error *err) {
  char *path = moh__path_join(r->dir, r->model);
  if (path == NULL) return no_memory(err);
  moh__runner_values values = {.model = path,
                               .threads = MOH__UNSET_INT,
                               .precision = MOH__UNSET_CHOICE};
  moh_status status = moh__runner_open(&r->runner, &values, err);
  free(path);
  return status;
}

static moh_status route_ids(moh__report *r, moh__session *session,
                            const moh__ids *ids, bool experts, int32_t show,
                            moh_error *err) {
  moh__routing *sample = &r->samples[r->n_samples];
  int64_t n = (int64_t)ids->n < show ? (int64_t)ids->n : show;
  MOH_TRY(
      moh__routing_init(sample, r->runner.model, r->dir, experts, show, err));
  r->n_samples++;
  return moh__routing_add(sample, session, ids->ids, n, NULL, NULL, err);
}

/* Its heads, then its experts, whichever are routed. */
static moh_status route_text(moh__report *r, moh__session *session,
                             moh__text text, int32_t show, moh_error *err) {
  moh__ids ids = {.n = 0};
  moh_status status = moh__tokenizer_begin(r->runner.tokenizer, &ids, err);
  if (status == MOH_OK)
    status = moh__tokenizer_encode(r->runner.tokenizer, text, true, &ids, err);
  if (status == MOH_OK && moh__config_routes(&r->config))
    status = route_ids(r, session, &ids, false, show, err);
  if (status == MOH_OK && r->config.experts.n_routed > 0)
    status = route_ids(r, session, &ids, true, show, err);
  moh__ids_free(&ids);
  return status;
}

static moh_status route_texts(moh__report *r, const moh__text *texts, int n,
                              int32_t show, moh_error *err) {
  moh__session *session;
  r->samples = calloc(2 * (size_t)n + 1, sizeof(*r->samples));
  if (r->samples == NULL) return no_memory(err);
  MOH_TRY(
      moh__session_new(&session, r->runner.model, r->runner.pool, 0, err));
  moh_status status = MOH_OK;
  for (int i = 0; i < n && status == MOH_OK; i++)
    status = route_text(r, session, texts[i], show, err);
  moh__session_free(session);
  return status;
}

/* Of a long text the part that can be shown, roughly. */
static moh__text front_of(moh__text text, int32_t show) {
  size_t most = 32 * (size_t)show;
  if (text.n > most) text.n = most;
  text.n = moh__utf8_valid(text);
  return text;
}

/* The training data by the name that it had when the run began; NULL when
 * memory ran out or the record does not say. */
static char *data_path(const moh__report *r) {
  const json_t *options = json_object_get(r->record, "options");
  const char *data = json_string_value(json_object_get(options, "data"));
  const char *place =
      json_string_value(json_object_get(r->record, "directory"));
  if (data == NULL) return NULL;
  if (data[0] == '/' || place == NULL) return strdup(data);
  return moh__path_join(place, data);
}

static moh_status route_data(moh__report *r, int32_t show, moh_error *err) {
  static const char why[] =
      "The training data cannot be read any more; --text names others.";
  moh__texts texts;
  moh__text fronts[DEFAULT_SAMPLES];
  char *path = data_path(r);
  if (path == NULL || moh__texts_load(&texts, path, NULL, NULL) != MOH_OK) {
    free(path);
    r->no_samples = why;
    return MOH_OK;
  }
  int n = texts.n < DEFAULT_SAMPLES ? (int)texts.n : DEFAULT_SAMPLES;
  for (int i = 0; i < n; i++) fronts[i] = front_of(texts.texts[i], show);
  moh_status status = route_texts(r, fronts, n, show, err);
  moh__texts_free(&texts);
  free(path);
  return status;
}

moh_status moh__report_add_samples(moh__report *r, const moh__list *texts,
                                   int32_t show, moh_error *err) {
  moh__text given[MOH__LIST_MAX];
  if (!moh__config_routes(&r->config) && r->config.experts.n_routed == 0)
    r->no_samples =
        "The model has no routers: every token uses the same heads.";
  else if (r->model == NULL)
    r->no_samples = "There is no model yet: the run is not finished.";
  if (r->no_samples != NULL) return MOH_OK;
  MOH_TRY(open_model(r, err));
  if (texts->n == 0) return route_data(r, show, err);
  for (int i = 0; i < texts->n; i++) given[i] = moh__text_of(texts->items[i]);
  return route_texts(r, given, texts->n, show, err);
}
