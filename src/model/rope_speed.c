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
