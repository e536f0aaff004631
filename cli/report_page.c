/* The page of a run: HTML that needs nothing else, no script, no network. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "moh.h"
#include "numbers.h"
#include "report.h"
#include "routes.h"
#include "svg.h"
#include "text/utf8.h"

static const char style[] =
    "body{margin:0;background:#f6f8fa;color:#24292f;"
    "font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:1012px;margin:0 auto;padding:24px 16px}"
    "h1{font-size:24px;margin:0 0 2px}h2{font-size:18px;margin:32px 0 10px}"
    ".sub{color:#57606a;margin:0 0 18px}"
    ".warn{border-left:4px solid #d55e00;padding-left:10px}"
    ".tiles{display:grid;gap:10px;"
    "grid-template-columns:repeat(auto-fit,minmax(124px,1fr))}"
    ".tile{background:#fff;border:1px solid #d0d7de;border-radius:8px;"
    "padding:10px 14px}"
    ".tile b{display:block;font-size:21px;font-weight:600}"
    ".tile span{color:#57606a;font-size:13px}"
    "svg{display:block;background:#fff;border:1px solid #d0d7de;"
    "border-radius:8px;margin:0 0 12px;max-width:100%;height:auto}"
    ".pair{display:flex;gap:12px;flex-wrap:wrap}"
    ".pair svg{flex:1 1 440px;min-width:0}"
    "table{border-collapse:collapse;background:#fff;width:100%;"
    "border:1px solid #d0d7de;margin:0 0 12px;font-size:14px}"
    "caption{text-align:left;font-weight:600;padding:6px 0}"
    "td{border-top:1px solid #eaeef2;padding:4px 12px;"
    "overflow-wrap:anywhere}"
    "td:first-child{color:#57606a;width:38%}"
    ".tables{display:grid;gap:16px;align-items:start;"
    "grid-template-columns:repeat(auto-fit,minmax(300px,1fr))}"
    "footer{color:#57606a;font-size:13px;margin:28px 0 8px}";

static void write_text(FILE *out, const char *text) {
  moh__xml_write(out, moh__text_of(text));
}

/* ---- tiles ---- */

static void tile(FILE *out, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tile(FILE *out, const char *label, const char *format, ...) {
  char value[96];
  va_list args;
  va_start(args, format);
  vsnprintf(value, sizeof value, format, args);
  va_end(args);
  fputs("<div class=\"tile\"><b>", out);
  write_text(out, value);
  fputs("</b><span>", out);
  write_text(out, label);
  fputs("</span></div>\n", out);
}

/* A loss of result.json, where it has one. */
static void loss_tile(FILE *out, const moh__report *r, const char *key,
                      const char *label) {
  const json_t *loss =
      json_object_get(json_object_get(r->result, key), "loss");
  if (json_is_number(loss)) tile(out, label, "%.4f", json_number_value(loss));
}

static void step_tile(FILE *out, const moh__report *r) {
  moh__number done, all;
  const moh__run_log *log = &r->log;
  int64_t n_steps = json_integer_value(json_object_get(r->record, "n_steps"));
  int64_t last = log->steps[log->n_steps - 1].step;
  if (last < n_steps)
    tile(out, "steps so far", "%s of %s", moh__number_grouped(&done, last),
         moh__number_grouped(&all, n_steps));
  else
    tile(out, "steps", "%s", moh__number_grouped(&done, last));
}

static void tiles(FILE *out, const moh__report *r) {
  moh__number number;
  double speed = moh__report_tokens_per_second(r);
  const json_t *seconds = json_object_get(r->result, "seconds");
  fputs("<div class=\"tiles\">\n", out);
  step_tile(out, r);
  tile(out, "loss of the last step", "%.4f",
       r->log.steps[r->log.n_steps - 1].loss);
  loss_tile(out, r, "train", "loss, training data");
  loss_tile(out, r, "held_out", "loss, held-out data");
  loss_tile(out, r, "best", "best held-out loss");
  loss_tile(out, r, "mix", "loss, mixed-in data");
  if (json_is_number(seconds))
    tile(out, "training time", "%s",
         moh__number_duration(&number, json_number_value(seconds)));
  if (isfinite(speed))
    tile(out, "tokens per second, median", "%s",
         moh__number_grouped(&number, llround(speed)));
  fputs("</div>\n", out);
}

/* ---- what a token costs ---- */

/* Of a token: as the last step had them where tokens differ. */
static double mean_heads(const moh__report *r) {
  const moh__run_log *log = &r->log;
  double most = (double)moh__config_active_heads(&r->config);
  if (r->config.heads != MOH__HEADS_ADAPTIVE || log->n_steps == 0)
    return most;
  double mean = log->steps[log->n_steps - 1].mean_heads;
  return isnan(mean) ? most : mean;
}

static void cost(FILE *out, const moh__report *r) {
  moh__number dense, active;
  int64_t context = r->config.max_seq_len;
  moh__macs macs = moh__arch_macs_at(&r->config, context, mean_heads(r));
  fprintf(out,
          "<p>A token behind %" PRId64
          " others takes %s multiply-adds in the "
          "forward pass with all heads%s, %s with those in use: %.1f %% "
          "are saved, the routers' own included. Counted from the "
          "configuration.</p>\n",
          context - 1, moh__number_grouped(&dense, macs.dense),
          r->config.experts.n_routed > 0 ? " and experts" : "",
          moh__number_grouped(&active, macs.active),
          100 * (1 - (double)macs.active / (double)macs.dense));
}

/* ---- tables of the configuration ---- */

static void write_value(FILE *out, const json_t *value) {
  char *text = json_dumps(
      value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
  if (json_is_string(value))
    write_text(out, json_string_value(value));
  else if (text != NULL)
    write_text(out, text);
  free(text);
}

/* Fields of an object; of objects in it those fields, one level deep. */
static void write_rows(FILE *out, const json_t *object, const char *prefix) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    if (json_is_object(value)) {
      write_rows(out, value, key);
      continue;
    }
    fputs("<tr><td>", out);
    if (prefix != NULL) {
      write_text(out, prefix);
      fputs(": ", out);
    }
    write_text(out, key);
    fputs("</td><td>", out);
    write_value(out, value);
    fputs("</td></tr>\n", out);
  }
}

static void table(FILE *out, const moh__report *r, const char *key,
                  const char *caption) {
  const json_t *object = json_object_get(r->record, key);
  if (!json_is_object(object) || json_object_size(object) == 0) return;
  fputs("<table><caption>", out);
  write_text(out, caption);
  fputs("</caption>\n", out);
  write_rows(out, object, NULL);
  fputs("</table>\n", out);
}

/* ---- sections ---- */

static void heading(FILE *out, const char *text) {
  fprintf(out, "<h2>%s</h2>\n", text);
}

static void samples(FILE *out, const moh__report *r) {
  heading(out, "Routing of sample texts");
  if (r->no_samples != NULL) {
    fprintf(out, "<p>%s</p>\n", r->no_samples);
    return;
  }
  for (int i = 0, text = 0; i < r->n_samples; i++) {
    char title[64];
    bool experts = r->samples[i].experts;
    bool both = moh__config_routes(&r->config);
    text += !(experts && both); /* experts follow the heads of a text */
    snprintf(title, sizeof title, "Text %d%s", text,
             experts ? ", experts" : "");
    moh__routes_svg(out, &r->samples[i], r->runner.tokenizer, title);
  }
}

static void top(FILE *out, const moh__report *r) {
  char heads[64], experts[64];
  moh__number count;
  const char *origin =
      json_string_value(json_object_get(r->record, "origin"));
  int64_t parameters =
      json_integer_value(json_object_get(r->record, "parameters"));
  moh__config_heads_label(&r->config, heads, sizeof heads);
  moh__config_experts_label(&r->config, experts, sizeof experts);
  fputs("<h1>", out);
  write_text(out, r->dir);
  fputs("</h1>\n<p class=\"sub\">", out);
  write_text(out, origin == NULL ? "a model" : origin);
  fprintf(out,
          ", %s parameters, heads %s of %" PRId64 "%s, %" PRId64
          " layers%s</p>\n",
          moh__number_grouped(&count, parameters), heads, r->config.n_heads,
          experts, r->config.n_layers,
          r->result == NULL ? ", not finished" : "");
}

/* NaN, where a line of the log has no loads, is no use of a head. */
static bool is_dead(const moh__run_log *log, int32_t column, int64_t n) {
  for (int64_t i = log->n_steps - n; i < log->n_steps; i++)
    if (log->heads.load[i * log->heads.n_columns + column] > 0) return false;
  return true;
}

static void begin(FILE *out, const moh__report *r) {
  fputs(MOH__PAGE_BEGIN
        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>",
        out);
  write_text(out, r->dir);
  fprintf(out, "</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n",
          style);
}

/* Layers whose heads no token used in the last twentieth of the steps. */
static void dead_heads(FILE *out, const moh__report *r) {
  const moh__run_log *log = &r->log;
  int64_t most = log->n_steps / 20 > 10 ? log->n_steps / 20 : 10;
  int64_t n = log->n_steps < most ? log->n_steps : most;
  const char *between = "";
  int32_t n_dead = 0;
  for (int32_t l = 0; l < log->heads.n_layers; l++)
    for (int32_t h = 0; h < log->heads.layers[l].n_routed; h++) {
      if (r->config.k == 0 ||
          !is_dead(log, log->heads.layers[l].first + h, n))
        continue;
      if (n_dead++ == 0)
        fprintf(out,
                "<p class=\"warn\">Heads that no token of the last %" PRId64
                " steps used: ",
                n);
      fprintf(out, "%slayer %d, routed head %d", between, l, h);
      between = "; ";
    }
  if (n_dead > 0)
    fputs(
        ". A larger weight of the load-balance loss spreads the load.</p>\n",
        out);
}

static moh_status body(FILE *out, const moh__report *r, moh_error *err) {
  top(out, r);
  tiles(out, r);
  heading(out, "Curves");
  MOH_TRY(moh__report_curves(out, r, err));
  if (r->log.heads.n_layers > 0) heading(out, "Load of the heads");
  dead_heads(out, r);
  MOH_TRY(moh__report_loads(out, r, err));
  if (r->log.experts.n_layers > 0) heading(out, "Load of the experts");
  MOH_TRY(moh__report_expert_loads(out, r, err));
  samples(out, r);
  heading(out, "Speed and cost");
  cost(out, r);
  MOH_TRY(moh__report_speed(out, r, err));
  heading(out, "Configuration");
  fputs("<div class=\"tables\">\n<div>", out);
  table(out, r, "options", "What was asked for");
  table(out, r, "training", "Training");
  fputs("</div>\n<div>", out);
  table(out, r, "model", "Model");
  fputs("</div>\n</div>\n", out);
  return MOH_OK;
}

moh_status moh__report_page(FILE *out, const moh__report *r, moh_error *err) {
  begin(out, r);
  MOH_TRY(body(out, r, err));
  fprintf(out, "<footer>moh %s</footer>\n</main>\n</body>\n</html>\n",
          moh_version());
  return MOH_OK;
}
