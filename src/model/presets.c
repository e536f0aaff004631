/*
 * Presets: named sizes with the MoH setting that goes with them.
 *
 * seed        the original project's model as its plan counts it: 573,440
 *             parameters with all heads, 577,280 with routers. No W_O, no
 *             final norm (hence post-norm), 64 CoPE rows a head.
 * seed-train  the same sizes as a complete model, for training.
 * nano        the size of nanoGPT's character model for a CPU.
 * moh-xs      five million parameters with a vocabulary of 4,096: a
 * language model of books that two processors train in half an hour. moh-s,
 * -b   the MoH paper's language models (arXiv 2410.11842) with 75 % of
 * their heads active.
 */
#include <string.h>

#include "model/config.h"

typedef struct preset {
  const char *name;
  int64_t vocab_size; /* 0: the data's own */
  int64_t d_model, d_ff, n_layers;
  int64_t n_heads, n_kv_heads, d_head;
  int64_t max_seq_len;
  int64_t n_shared, k;
  int64_t cope_positions; /* 0: RoPE */
  bool complete;          /* pre-norm, final norm and W_O */
  bool tied;
} preset;

/* nanoGPT's two matrices of 4 d are three in SwiGLU: 8/3 d = 341.3, rounded
 * up to a multiple of 8. */
enum { NANO_D_FF = 344, XS_D_FF = 688 };

static const preset presets[] = {
    {"seed", 605, 128, 256, 3, 8, 4, 16, 80, 2, 4, 64, false, false},
    {"seed-train", 0, 128, 256, 3, 8, 4, 16, 80, 2, 4, 64, true, false},
    {"nano", 0, 128, NANO_D_FF, 4, 4, 4, 32, 64, 1, 2, 0, true, true},
    {"moh-xs", 0, 256, XS_D_FF, 5, 8, 8, 32, 256, 2, 4, 0, true, true},
    {"moh-s", 65536, 768, 2048, 12, 12, 12, 64, 2048, 3, 6, 0, true, false},
    {"moh-b", 65536, 1536, 4096, 24, 16, 16, 96, 2048, 4, 8, 0, true,
     false},
};

static const char *const names[] = {"seed",  "seed-train", "nano", "moh-xs",
                                    "moh-s", "moh-b",      NULL};

const char *const *moh__config_preset_names(void) { return names; }

static void set_sizes(moh__config *config, const preset *p) {
  config->vocab_size = p->vocab_size;
  config->d_model = p->d_model;
  config->d_ff = p->d_ff;
  config->n_layers = p->n_layers;
  config->n_heads = p->n_heads;
  config->n_kv_heads = p->n_kv_heads;
  config->d_head = p->d_head;
  config->max_seq_len = p->max_seq_len;
}

static void apply(moh__config *config, const preset *p) {
  moh__config_default(config);
  set_sizes(config, p);
  config->pre_norm = p->complete;
  config->final_norm = p->complete;
  config->output_projection = p->complete;
  config->tied = p->tied;
  config->heads = MOH__HEADS_MOH;
  config->n_shared = p->n_shared;
  config->k = p->k;
  if (p->cope_positions == 0) return;
  config->position = MOH__POSITION_COPE;
  config->cope_positions = p->cope_positions;
}

moh_status moh__config_preset(moh__config *config, const char *name,
                              moh_error *err) {
  for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
    if (strcmp(presets[i].name, name) != 0) continue;
    apply(config, &presets[i]);
    return MOH_OK;
  }
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "there is no preset '%.60s': choose seed, seed-train, "
                   "nano, moh-xs, moh-s or moh-b",
                   name);
}
