/* The results of a contest for scripts: one number of threads. */
#include <math.h>

#include "bench.h"
#include "kernel/kernel.h"

/* Null where there is no number. */
static json_t *real_or_null(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static json_t *memory_json(const moh__contender_memory *m) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "weights",
                   (json_int_t)m->weights, "packed", (json_int_t)m->packed,
                   "gradients", (json_int_t)m->gradients, "moments",
                   (json_int_t)m->moments, "keys_and_values",
                   (json_int_t)m->cache, "work", (json_int_t)m->work);
}

static json_t *times_json(const moh__result *r) {
  json_t *row =
      json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "seconds",
                r->seconds.median, "quartile_low", r->seconds.low,
                "quartile_high", r->seconds.high, "ratio", r->ratio.median,
                "ratio_low", r->ratio.low, "ratio_high", r->ratio.high);
  if (isnan(r->speed_up.median)) return row;
  json_object_set_new(row, "speed_up", json_real(r->speed_up.median));
  json_object_set_new(row, "speed_up_low", json_real(r->speed_up.low));
  json_object_set_new(row, "speed_up_high", json_real(r->speed_up.high));
  return row;
}

/* What was counted, and what of it was found. */
static void add_counts(json_t *row, const moh__contender *c,
                       const moh__result *r) {
  json_object_set_new(row, "counted", json_real(moh__contender_count(c)));
  json_object_set_new(row, "counted_ratio", json_real(r->counted));
  if (r->bytes_read > 0) {
    json_object_set_new(row, "bytes_read", json_real(r->bytes_read));
    json_object_set_new(row, "counted_bytes_ratio",
                        json_real(r->counted_bytes));
    json_object_set_new(row, "bytes_per_second",
                        json_real(r->bytes_read / r->seconds.median));
  }
  json_object_set_new(row, "kept_saving", real_or_null(r->kept));
  if (!isnan(r->kept))
    json_object_set_new(
        row, "kept_of",
        json_string(r->kept_of_bytes ? "bytes" : "multiply_adds"));
}

static json_t *row_json(const moh__contender *c, const moh__result *r) {
  char heads[64];
  moh__config_heads_text(&c->config, heads, sizeof heads);
  json_t *row = json_pack("{s:s, s:s, s:s, s:b, s:f, s:s}", "heads", c->label,
                          "strategy", heads, "route_by",
                          moh__route_by_names[c->config.route_by], "masked",
                          c->masked, "active_share",
                          (double)moh__config_active_heads(&c->config) /
                              (double)c->config.n_heads,
                          "work", moh__bench_work_names[c->work]);
  if (c->config.experts.n_routed > 0) {
    moh__config_experts_text(&c->config, heads, sizeof heads);
    json_object_set_new(row, "experts", json_string(heads));
  }
  json_t *times = times_json(r);
  json_object_update(row, times);
  json_decref(times);
  add_counts(row, c, r);
  json_object_set_new(row, "bytes",
                      json_integer(moh__contender_bytes(&r->memory)));
  json_object_set_new(row, "bytes_ratio", json_real(r->memory_ratio));
  json_object_set_new(row, "memory", memory_json(&r->memory));
  return row;
}

moh_status moh__contest_json(const moh__contest *t, int pool, json_t *tables,
                             moh_error *err) {
  json_t *rows = json_array();
  for (int i = 0; i < t->n_contenders; i++) {
    moh__result r;
    moh_status status = moh__contest_result(t, i, pool, &r, err);
    if (status != MOH_OK) {
      json_decref(rows);
      return status;
    }
    json_array_append_new(rows, row_json(&t->contenders[i], &r));
  }
  json_t *table = json_pack(
      "{s:s, s:i, s:i, s:s, s:i, s:s, s:s, s:i, s:o, s:o}", "work",
      moh__bench_work_names[t->work], "tokens", t->context, "sequences",
      t->n_seq, "precision", moh__precision_names[t->precision], "threads",
      t->n_threads[pool], "time",
      t->n_threads[pool] == 1 ? "processor" : "clock", "kernels",
      moh__kernel()->name, "rounds", t->n_rounds, "model",
      moh__config_to_json(t->config), "contenders", rows);
  json_array_append_new(tables, table);
  return MOH_OK;
}
