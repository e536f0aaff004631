/*
 * What a model is: every choice that its tensors and its arithmetic depend
 * on. config.json holds it, with the field names of LLaMA checkpoints
 * wherever those have one (docs/design.md lists them).
 */
#ifndef MOH_MODEL_CONFIG_H
#define MOH_MODEL_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "op/op.h"
#include "route/head_router.h"

typedef enum moh__architecture {
  MOH__TRANSFORMER,
  MOH__HRM,
  MOH__HYPERMIXER
} moh__architecture;

typedef enum moh__ffn_kind { MOH__FFN_SWIGLU, MOH__FFN_RELU } moh__ffn_kind;

typedef enum moh__position_kind {
  MOH__POSITION_ROPE,
  MOH__POSITION_LEARNED,
  MOH__POSITION_COPE,
  MOH__POSITION_NONE
} moh__position_kind;

/* How much more slowly pairs of a head turn than RoPE lets them
 * (model/rope_speed.h): for sequences longer than those of training. */
typedef enum moh__rope_scaling_kind {
  MOH__ROPE_UNSCALED,
  MOH__ROPE_LINEAR, /* all of them, by factor */
  MOH__ROPE_LLAMA3  /* slow ones by factor, fast ones not */
} moh__rope_scaling_kind;

typedef struct moh__rope_scaling {
  moh__rope_scaling_kind kind;
  double factor;
  /* LLaMA 3: turns within original_max tokens below which a pair is slow, and
   * above which it is fast. */
  double low_freq_factor, high_freq_factor;
  int64_t original_max;
} moh__rope_scaling;

typedef enum moh__head_strategy {
  MOH__HEADS_ALL,     /* every token uses every head */
  MOH__HEADS_MOH,     /* n_shared always, k of the others by the router */
  MOH__HEADS_STATIC,  /* the first n_static heads only */
  MOH__HEADS_RANDOM,  /* n_shared always, k of the others by chance */
  MOH__HEADS_ADAPTIVE, /* n_shared always, k_min to k of the others by the
                        * router: until their probabilities reach a mass */
  MOH__HEADS_NORM /* n_shared always, the k others of the largest queries
                   * (op/query_scores.h): without a router's parameters */
} moh__head_strategy;

/* What tokens choose among. */
typedef enum moh__route_by {
  MOH__ROUTE_BY_HEAD, /* query heads, each for itself */
  MOH__ROUTE_BY_GROUP /* KV heads, with all query heads that use them: the
                       * keys and values of the others are not read */
} moh__route_by;

/* A feed-forward of experts (arch/feed_forward.h). */
typedef struct moh__experts {
  int64_t n_routed; /* experts that the router chooses among; 0: there are no
                     * experts, and the feed-forward is one of d_ff */
  int64_t k;        /* those of them that a token uses, */
  int64_t n_shared; /* and those that every token uses */
  int64_t width;    /* hidden units of one */
  double balance_weight, z_weight; /* of the means over layers, as of heads */
  double router_init_std;
  double bias_balance;
} moh__experts;

typedef struct moh__config {
  moh__architecture architecture;
  int64_t vocab_size;
  int64_t d_model;
  int64_t d_ff;
  int64_t n_layers;
  int64_t n_heads;
  int64_t n_kv_heads; /* divides n_heads */
  int64_t d_head;
  int64_t max_seq_len; /* tokens */
  moh__norm_kind norm;
  double norm_eps;
  bool pre_norm;   /* false: x = norm(x + f(x)) */
  bool final_norm; /* a norm before the output matrix */
  moh__ffn_kind ffn;
  moh__position_kind position;
  double rope_theta;
  moh__rope_scaling rope_scaling;
  int64_t cope_positions;
  moh__window window; /* keys that a query sees */
  bool tied;              /* output matrix is the embedding */
  bool output_projection; /* W_O */
  bool qkv_bias;          /* of W_Q, W_K and W_V, */
  bool output_bias;       /* of W_O, */
  bool mlp_bias;          /* and of a dense feed-forward's matrices */
  bool qk_norm; /* RMSNorm of each head's query and key, before positions:
                 * one gain for all heads */
  moh__head_strategy heads;
  moh__route_by route_by; /* what n_shared and k count */
  int64_t n_shared;       /* heads (or groups) always on, the first ones */
  int64_t k; /* others (routed heads or groups) that a token uses, at most */
  int64_t k_min; /* adaptive: and at least */
  double mass;   /* adaptive: to begin with; each layer has its own then */
  double
      sparsity_weight; /* adaptive: of the mean over layers of the entropy of
                         * the router's probabilities: sparsity */
  int64_t route_seed; /* random: of the draws (route/random_heads.h) */
  int64_t n_static; /* static: heads in use */
  moh__gate_scale gate_scale;
  double balance_weight; /* beta: weight of the mean over layers of L_b */
  double z_weight;
  double bias_balance;    /* rate of the biases that balance the selection
                        * (route/balance.h); 0: there are none */
  double init_std;        /* of matrices; see arch/declare.c */
  double router_init_std; /* of W_s, W_r, W_h */
  int64_t hrm_cycles; /* HRM (arch/hrm.h): steps of the higher module */
  int64_t hrm_steps;  /* of the lower one in each */
  bool hrm_exact;     /* gradient through all steps, not the last alone */
  int64_t hrm_supervision; /* losses of a training step: behind equal parts of
                            * the cycles, with the states between them held */
  int64_t hyper_width; /* HyperMixer (arch/hypermixer.h): hidden layer of its
                        * hypernetworks, */
  int64_t hyper_mix;   /* and rows of a head's state */
  moh__experts experts;
} moh__config;

/* The defaults: a small pre-norm LLaMA-style transformer, AllHeads. */
void moh__config_default(moh__config *config);

/* Refuses what cannot be, naming the field. */
moh_status moh__config_check(const moh__config *config, moh_error *err);

/* Whether tokens have heads of their own; whether it is by scores, which
 * training balances; and whether these are a learned router's. */
bool moh__config_routes(const moh__config *config);
bool moh__config_has_scores(const moh__config *config);
bool moh__config_has_router(const moh__config *config);

/* What is chosen among: query heads or their groups, and the number
 * of query heads that go together. */
int64_t moh__config_candidates(const moh__config *config);
int64_t moh__config_heads_each(const moh__config *config);

/* Query heads in use per token: at most, and at least. */
int64_t moh__config_active_heads(const moh__config *config);
int64_t moh__config_least_heads(const moh__config *config);

/* The weight of sparsity in the loss, 0 where it has no place. */
double moh__config_sparsity(const moh__config *config);

/* Elements of a page of a state slot: keys and values of 64 tokens, or
 * HyperMixer's whole state, of which a sequence has one page. */
int64_t moh__config_page_size(const moh__config *config);
/* Tokens of a page: 64, or more than there are. */
int64_t moh__config_page_tokens(const moh__config *config);

/* How often a token passes through a block: n_layers, or more where blocks are
 * passed several times. Each pass has its state slot. And how many of these a
 * training step records. */
int64_t moh__config_passes(const moh__config *config);
int64_t moh__config_trained_passes(const moh__config *config);
/* States of which a training step's loss is the mean: 1, or more with deep
 * supervision. */
int64_t moh__config_losses(const moh__config *config);

moh__router_shape moh__config_router_shape(const moh__config *config);

/* Of the experts of a feed-forward. */
moh__router_shape moh__config_expert_shape(const moh__config *config);

/* "none"; "S+K/E": S shared experts, and K of E by the router, each as wide as
 * the feed-forward that they replace. */
moh_status moh__config_set_experts(moh__config *config, const char *text,
                                   moh_error *err);
/* The same spelling back. */
void moh__config_experts_text(const moh__config *config, char *text,
                              size_t size);
/* ", experts S+K/E", or nothing: for people, behind the heads. */
void moh__config_experts_label(const moh__config *config, char *text,
                               size_t size);

/* Presets: "seed", "seed-train", "nano", "moh-xs", "moh-s", "moh-b". Sizes
 * and the MoH default of the preset; vocab_size is 0 where the data's own
 * decides. */
moh_status moh__config_preset(moh__config *config, const char *name,
                              moh_error *err);
/* Names in order, NULL at the end. */
const char *const *moh__config_preset_names(void);

/* "all", "moh:S+K", "static:N", "random:S+K", "adaptive:S+MIN-MAX",
 * "norm:S+K", which has gates of 1 and none else. */
moh_status moh__config_set_heads(moh__config *config, const char *text,
                                 moh_error *err);
/* The same spelling back. */
void moh__config_heads_text(const moh__config *config, char *text,
                            size_t size);
/* That, and " by KV group" where the router chooses groups: for people. */
void moh__config_heads_label(const moh__config *config, char *text,
                             size_t size);

/* "transformer", "hrm", "hypermixer", NULL: the names of moh__architecture. A
 * change sets what goes with it: HRM has post-norm blocks and an even number of
 * them, HyperMixer learned positions and neither W_O nor KV groups. */
extern const char *const moh__architecture_names[];
void moh__config_set_architecture(moh__config *config,
                                  moh__architecture architecture);

/* "none", "sliding", "length", "entropy", "perplexity", NULL: the names of
 * moh__window_kind. */
extern const char *const moh__window_names[];
/* "none"; "N", a sliding window of N keys; "length:MIN-MAX", half of the
 * sequence so far, within these; "entropy:MIN-MAX", "perplexity:MIN-MAX". */
moh_status moh__config_set_window(moh__config *config, const char *text,
                                  moh_error *err);
/* The same spelling back. */
void moh__config_window_text(const moh__config *config, char *text,
                             size_t size);

/* "none"; "linear:F"; "llama3:F,LOW,HIGH,LENGTH": the members of
 * moh__rope_scaling in order. */
moh_status moh__config_set_rope_scaling(moh__config *config, const char *text,
                                        moh_error *err);
/* The same spelling back. */
void moh__config_rope_scaling_text(const moh__config *config, char *text,
                                   size_t size);

/* "head", "group", NULL: the names of moh__route_by. */
extern const char *const moh__route_by_names[];
moh_status moh__config_set_route_by(moh__config *config, const char *text,
                                    moh_error *err);

/* config.json. Read: missing or wrong fields are refused by name, unknown
 * ones ignored outside the "moh" object and refused inside it. Write: a new
 * reference, NULL when memory ran out. */
moh_status moh__config_from_json(moh__config *config, const json_t *root,
                                 moh_error *err);
json_t *moh__config_to_json(const moh__config *config);

#endif
