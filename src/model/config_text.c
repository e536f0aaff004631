/* Choices of a configuration as people write them: heads, windows, experts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"

const char *const moh__window_names[] = {"none",    "sliding",    "length",
                                         "entropy", "perplexity", NULL};

/* Reads digits, at most nine, and moves *text behind them. */
static bool read_count(const char **text, int64_t *count) {
  size_t n = strspn(*text, "0123456789");
  if (n == 0 || n > 9) return false;
  *count = strtol(*text, NULL, 10);
  *text += n;
  return true;
}

/* "S+K" and nothing behind it. */
static bool read_moh(const char *text, int64_t *n_shared, int64_t *k) {
  if (!read_count(&text, n_shared) || *text++ != '+') return false;
  return read_count(&text, k) && *text == '\0';
}

static bool read_static(const char *text, int64_t *n_static) {
  return read_count(&text, n_static) && *text == '\0';
}

/* "MIN-MAX" and nothing behind it. */
static bool read_range(const char *text, int64_t *min, int64_t *max) {
  if (!read_count(&text, min) || *text++ != '-') return false;
  return read_count(&text, max) && *text == '\0';
}

/* "S+MIN-MAX" and nothing behind it. */
static bool read_adaptive(const char *text, int64_t *n_shared, int64_t *min,
                          int64_t *max) {
  if (!read_count(&text, n_shared) || *text++ != '+') return false;
  return read_range(text, min, max);
}

/* "length:MIN-MAX" and its like. */
static bool read_ranged(const char *text, moh__window *w) {
  const char *colon = strchr(text, ':');
  if (colon == NULL || !read_range(colon + 1, &w->min, &w->max)) return false;
  for (int kind = MOH__WINDOW_LENGTH; moh__window_names[kind] != NULL;
       kind++) {
    size_t n = strlen(moh__window_names[kind]);
    if (n != (size_t)(colon - text) ||
        strncmp(text, moh__window_names[kind], n) != 0)
      continue;
    w->kind = (moh__window_kind)kind;
    return true;
  }
  return false;
}

moh_status moh__config_set_window(moh__config *config, const char *text,
                                  moh_error *err) {
  moh__window w = {.kind = MOH__WINDOW_NONE};
  if (read_static(text, &w.size))
    w.kind = MOH__WINDOW_SLIDING;
  else if (!read_ranged(text, &w) && strcmp(text, "none") != 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "'%.60s' is no window: write none, N (the last N keys), "
                     "length:MIN-MAX (half of the sequence so far, within "
                     "these), or entropy:MIN-MAX or perplexity:MIN-MAX "
                     "(learned)",
                     text);
  config->window = w;
  return MOH_OK;
}

void moh__config_window_text(const moh__config *config, char *text,
                             size_t size) {
  const moh__window *w = &config->window;
  if (w->kind == MOH__WINDOW_SLIDING)
    snprintf(text, size, "%" PRId64, w->size);
  else if (w->kind == MOH__WINDOW_NONE)
    snprintf(text, size, "none");
  else
    snprintf(text, size, "%s:%" PRId64 "-%" PRId64,
             moh__window_names[w->kind], w->min, w->max);
}

/* n numbers with commas between them, and nothing behind. */
static bool read_numbers(const char *text, double *numbers, int n) {
  for (int i = 0; i < n; i++) {
    char *end;
    numbers[i] = strtod(text, &end);
    if (end == text || *end != (i + 1 < n ? ',' : '\0')) return false;
    text = end + 1;
  }
  return true;
}

/* A length that is no whole number, or too large, is 0, which is no length. */
static bool read_llama3(const char *text, moh__rope_scaling *s) {
  double n[4];
  if (!read_numbers(text, n, 4)) return false;
  s->factor = n[0];
  s->low_freq_factor = n[1];
  s->high_freq_factor = n[2];
  if (n[3] >= 1 && n[3] <= 1e9 && n[3] == (double)(int64_t)n[3])
    s->original_max = (int64_t)n[3];
  return true;
}

moh_status moh__config_set_rope_scaling(moh__config *config, const char *text,
                                        moh_error *err) {
  moh__rope_scaling s = {.kind = MOH__ROPE_UNSCALED};
  if (strncmp(text, "linear:", 7) == 0 &&
      read_numbers(text + 7, &s.factor, 1))
    s.kind = MOH__ROPE_LINEAR;
  else if (strncmp(text, "llama3:", 7) == 0 && read_llama3(text + 7, &s))
    s.kind = MOH__ROPE_LLAMA3;
  else if (strcmp(text, "none") != 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "'%.60s' is no scaling of rotary positions: write none, "
                     "linear:FACTOR or llama3:FACTOR,LOW,HIGH,LENGTH",
                     text);
  config->rope_scaling = s;
  return MOH_OK;
}

void moh__config_rope_scaling_text(const moh__config *config, char *text,
                                   size_t size) {
  const moh__rope_scaling *s = &config->rope_scaling;
  if (s->kind == MOH__ROPE_LINEAR)
    snprintf(text, size, "linear:%g", s->factor);
  else if (s->kind == MOH__ROPE_LLAMA3)
    snprintf(text, size, "llama3:%g,%g,%g,%" PRId64, s->factor,
             s->low_freq_factor, s->high_freq_factor, s->original_max);
  else
    snprintf(text, size, "none");
}

moh_status moh__config_set_heads(moh__config *config, const char *text,
                                 moh_error *err) {
  int64_t n_shared = 0, k = 0, k_min = 0, n_static = 0;
  moh__head_strategy heads;
  if (strcmp(text, "all") == 0)
    heads = MOH__HEADS_ALL;
  else if (strncmp(text, "moh:", 4) == 0 && read_moh(text + 4, &n_shared, &k))
    heads = MOH__HEADS_MOH;
  else if (strncmp(text, "static:", 7) == 0 &&
           read_static(text + 7, &n_static))
    heads = MOH__HEADS_STATIC;
  else if (strncmp(text, "random:", 7) == 0 &&
           read_moh(text + 7, &n_shared, &k))
    heads = MOH__HEADS_RANDOM;
  else if (strncmp(text, "norm:", 5) == 0 &&
           read_moh(text + 5, &n_shared, &k))
    heads = MOH__HEADS_NORM;
  else if (strncmp(text, "adaptive:", 9) == 0 &&
           read_adaptive(text + 9, &n_shared, &k_min, &k))
    heads = MOH__HEADS_ADAPTIVE;
  else
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "'%.60s' is no choice of heads: write all, moh:S+K (S "
                     "shared heads, K routed ones), norm:S+K, "
                     "adaptive:S+MIN-MAX, random:S+K or static:N",
                     text);
  config->heads = heads;
  if (heads == MOH__HEADS_NORM) config->gate_scale = MOH__GATE_ONE;
  config->n_shared = n_shared;
  config->k = k;
  config->k_min = k_min;
  config->n_static = n_static;
  return MOH_OK;
}

/* "S+K/E" and nothing behind it; E of at least 1, as 0 stands for none. */
static bool read_experts(const char *text, moh__experts *x) {
  if (!read_count(&text, &x->n_shared) || *text++ != '+') return false;
  if (!read_count(&text, &x->k) || *text++ != '/') return false;
  return read_count(&text, &x->n_routed) && *text == '\0' && x->n_routed > 0;
}

moh_status moh__config_set_experts(moh__config *config, const char *text,
                                   moh_error *err) {
  moh__experts x = config->experts;
  x.n_shared = x.k = x.n_routed = x.width = 0;
  bool none = strcmp(text, "none") == 0;
  if (!none && !read_experts(text, &x))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "'%.60s' is no choice of experts: write none, or S+K/E "
                     "(S shared experts, and K of E routed ones)",
                     text);
  if (!none) x.width = config->d_ff;
  config->experts = x;
  return MOH_OK;
}

void moh__config_experts_text(const moh__config *config, char *text,
                              size_t size) {
  const moh__experts *x = &config->experts;
  if (x->n_routed == 0)
    snprintf(text, size, "none");
  else
    snprintf(text, size, "%" PRId64 "+%" PRId64 "/%" PRId64, x->n_shared,
             x->k, x->n_routed);
}

void moh__config_experts_label(const moh__config *config, char *text,
                               size_t size) {
  char experts[48];
  text[0] = '\0';
  if (config->experts.n_routed == 0) return;
  moh__config_experts_text(config, experts, sizeof experts);
  snprintf(text, size, ", experts %s", experts);
}

void moh__config_heads_text(const moh__config *config, char *text,
                            size_t size) {
  if (config->heads == MOH__HEADS_MOH)
    snprintf(text, size, "moh:%" PRId64 "+%" PRId64, config->n_shared,
             config->k);
  else if (config->heads == MOH__HEADS_STATIC)
    snprintf(text, size, "static:%" PRId64, config->n_static);
  else if (config->heads == MOH__HEADS_RANDOM)
    snprintf(text, size, "random:%" PRId64 "+%" PRId64, config->n_shared,
             config->k);
  else if (config->heads == MOH__HEADS_NORM)
    snprintf(text, size, "norm:%" PRId64 "+%" PRId64, config->n_shared,
             config->k);
  else if (config->heads == MOH__HEADS_ADAPTIVE)
    snprintf(text, size, "adaptive:%" PRId64 "+%" PRId64 "-%" PRId64,
             config->n_shared, config->k_min, config->k);
  else
    snprintf(text, size, "all");
}

void moh__config_heads_label(const moh__config *config, char *text,
                             size_t size) {
  moh__config_heads_text(config, text, size);
  bool groups =
      moh__config_routes(config) && config->route_by == MOH__ROUTE_BY_GROUP;
  size_t used = strlen(text);
  if (groups) snprintf(text + used, size - used, " by KV group");
}

const char *const moh__route_by_names[] = {"head", "group", NULL};

moh_status moh__config_set_route_by(moh__config *config, const char *text,
                                    moh_error *err) {
  for (int i = 0; moh__route_by_names[i] != NULL; i++) {
    if (strcmp(moh__route_by_names[i], text) != 0) continue;
    config->route_by = (moh__route_by)i;
    return MOH_OK;
  }
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "routing is by head or by group, not by '%.60s'", text);
}
