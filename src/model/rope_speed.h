/* How fast the pairs of a head turn with the position. */
#ifndef MOH_MODEL_ROPE_SPEED_H
#define MOH_MODEL_ROPE_SPEED_H

#include "model/config.h"

/*
 * Radians per position of pair i, of elements (i, i + d_head / 2): theta^(-2i /
 * d_head), and less where the configuration scales it (n: original_max):
 *   linear  by 1 / factor
 *   LLaMA 3 a pair turns n speed / (2 pi) times within n tokens: above
 *           high_freq_factor it is left alone, below low_freq_factor it is
 *           slowed by factor, and between them the two are mixed in proportion
 *           (as the LLaMA 3.1 release does).
 */
double moh__rope_speed(const moh__config *config, int64_t pair);

/* By how much a pair of elements is slower than unscaled. */
double moh__rope_factor(const moh__config *config, int64_t pair);

/* Sets rope_scaling to LLaMA 3's scaling that makes these factors of all
 * d_head / 2 pairs, within what f32 keeps of them; false, where there is none.
 * They tell the three lengths only up to a common factor: low_freq_factor is
 * taken for 1, as it is in all releases. */
bool moh__rope_find_scaling(moh__config *config, const float *factors);

#endif
