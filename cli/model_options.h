/* The options that describe a new model, shared by train and inspect: a
 * preset, and changes to it. */
#ifndef MOH_CLI_MODEL_OPTIONS_H
#define MOH_CLI_MODEL_OPTIONS_H

#include "model/config.h"
#include "options.h"

typedef struct moh__model_values {
  const char *preset, *heads;
  int64_t n_layers, d_model, d_ff, n_heads, n_kv_heads, d_head, max_seq_len;
  int64_t cope_positions;
  const char *window, *experts, *rope_scaling;
  int64_t expert_hidden;
  double rope_theta;
  int norm, norm_placement, final_norm, ffn, position, output_projection;
  int gate_scale, route_by;
  int64_t route_seed;
  double bias_balance, expert_bias_balance;
  double head_mass;
  int architecture, hrm_gradient;
  int64_t hrm_cycles, hrm_steps, hrm_supervision, hyper_width, hyper_mix;
  bool tied, untied;
  int attention_bias;
  bool mlp_bias, qk_norm;
} moh__model_values;

extern const moh__option moh__preset_options[]; /* --preset, --heads,
                                                 * --route-by */
extern const moh__option moh__model_options[];  /* the changes */

/* The preset with its changes; not yet checked, as the vocabulary may still
 * be missing. Mistakes are MOH_ERR_ARGUMENT. */
moh_status moh__model_options_config(const moh__model_values *values,
                                     const char *default_preset,
                                     moh__config *config, moh_error *err);

/* moh__config_check, but a mistake is one of usage. */
moh_status moh__model_options_check(const moh__config *config,
                                    moh_error *err);

#endif
