/* Speeds of rotary positions. */
#include "model/rope_speed.h"

#include <math.h>

static const double TURN = 6.283185307179586476925286766559; /* 2 pi */

double moh__rope_speed(const moh__config *config, int64_t pair) {
  const moh__rope_scaling *s = &config->rope_scaling;
  double speed =
      pow(config->rope_theta, -2.0 * (double)pair / (double)config->d_head);
  if (s->kind == MOH__ROPE_UNSCALED) return speed;
  if (s->kind == MOH__ROPE_LINEAR) return speed / s->factor;
  double turns = (double)s->original_max * speed / TURN;
  double fast = (turns - s->low_freq_factor) /
                (s->high_freq_factor - s->low_freq_factor);
  fast = fmin(fmax(fast, 0), 1);
  return fast * speed + (1 - fast) * speed / s->factor;
}

double moh__rope_factor(const moh__config *config, int64_t pair) {
  moh__config plain = *config;
  plain.rope_scaling = (moh__rope_scaling){.kind = MOH__ROPE_UNSCALED};
  return moh__rope_speed(&plain, pair) / moh__rope_speed(config, pair);
}

/* ---- a scaling from its factors ---- */

static bool explains(const moh__config *c, const float *factors) {
  for (int64_t i = 0; i < c->d_head / 2; i++) {
    double want = moh__rope_factor(c, i);
    if (!(fabs((double)factors[i] - want) <= 1e-5 * want)) return false;
  }
  return true;
}

/* A pair between those that are left alone and those that are slowed by the
 * whole factor: its unscaled speed, and how much of it is kept. */
typedef struct middle {
  double speed, fast;
} middle;

/* The first and the last of them; how many there are. */
static int find_middles(const moh__config *c, const float *factors,
                        middle ends[2]) {
  const double whole = c->rope_scaling.factor, margin = 1e-5;
  moh__config plain = *c;
  int n = 0;
  plain.rope_scaling = (moh__rope_scaling){.kind = MOH__ROPE_UNSCALED};
  for (int64_t i = 0; i < c->d_head / 2; i++) {
    double factor = (double)factors[i];
    if (factor < 1 + margin || factor > whole * (1 - margin)) continue;
    ends[n == 0 ? 0 : 1] =
        (middle){moh__rope_speed(&plain, i),
                 (1 / factor - 1 / whole) / (1 - 1 / whole)};
    n++;
  }
  return n;
}

/* fast = (original_max speed / (2 pi) - low) / (high - low) at both. */
static void solve(moh__rope_scaling *s, const middle ends[2], int n) {
  double range = s->high_freq_factor - s->low_freq_factor;
  double length =
      TURN * (s->low_freq_factor + range * ends[0].fast) / ends[0].speed;
  if (n > 1) {
    double slope =
        (ends[0].fast - ends[1].fast) / (ends[0].speed - ends[1].speed);
    range = s->low_freq_factor / (slope * ends[0].speed - ends[0].fast);
    length = TURN * slope * range;
  }
  if (!(range > 0 && range < 1e6 && length >= 1 && length < 1e12)) return;
  s->high_freq_factor = round(1e3 * (s->low_freq_factor + range)) / 1e3;
  s->original_max = llround(length);
}

/* Where no pair is between them, the longest length that slows the first of
 * those that are slowed. */
static void solve_without(moh__config *c, const float *factors) {
  moh__rope_scaling *s = &c->rope_scaling;
  moh__config plain = *c;
  int64_t i = 0;
  plain.rope_scaling = (moh__rope_scaling){.kind = MOH__ROPE_UNSCALED};
  while (i < c->d_head / 2 - 1 && factors[i] <= 1) i++;
  double length =
      floor(TURN * s->low_freq_factor / moh__rope_speed(&plain, i));
  if (!(length >= 1 && length < 1e12)) return;
  s->original_max = (int64_t)length;
  if (i == 0) return;
  s->high_freq_factor = fmin(s->high_freq_factor,
                             length * moh__rope_speed(&plain, i - 1) / TURN);
}

bool moh__rope_find_scaling(moh__config *c, const float *factors) {
  middle ends[2];
  double most = 1;
  for (int64_t i = 0; i < c->d_head / 2; i++)
    most = fmax(most, (double)factors[i]);
  c->rope_scaling = (moh__rope_scaling){.kind = MOH__ROPE_UNSCALED};
  if (most > 1)
    c->rope_scaling = (moh__rope_scaling){.kind = MOH__ROPE_LLAMA3,
                                          .factor = most,
                                          .low_freq_factor = 1,
                                          .high_freq_factor = 4,
                                          .original_max = 8192};
  if (explains(c, factors)) return true;
  int n = find_middles(c, factors, ends);
  if (n > 0) {
    solve(&c->rope_scaling, ends, n);
  } else if (most > 1) {
    solve_without(c, factors);
  }
  return explains(c, factors);
}
