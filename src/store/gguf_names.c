/* The tables of names. */
#include "store/gguf_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const moh__gguf_family moh__gguf_families[MOH__FAMILY_NONE] = {
    [MOH__FAMILY_LLAMA] = {"llama", true},
    [MOH__FAMILY_QWEN2] = {"qwen2", false},
    [MOH__FAMILY_QWEN3] = {"qwen3", false}};

typedef struct name_pair {
  const char *ours, *theirs;
} name_pair;

static const name_pair whole[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

/* Of a layer: before ".weight" or ".bias". */
static const name_pair parts[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};

const char moh__gguf_rope_factors[] = "rope_freqs.weight";

static bool layer_name(char name[MOH__GGUF_NAME], int64_t layer,
                       const char *rest) {
  const char *end = strrchr(rest, '.');
  if (end == NULL ||
      (strcmp(end, ".weight") != 0 && strcmp(end, ".bias") != 0))
    return false;
  size_t n = (size_t)(end - rest);
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    if (strlen(parts[i].ours) != n || memcmp(parts[i].ours, rest, n) != 0)
      continue;
    snprintf(name, MOH__GGUF_NAME, "blk.%" PRId64 ".%s%s", layer,
             parts[i].theirs, end);
    return true;
  }
  return false;
}

bool moh__gguf_name(char name[MOH__GGUF_NAME], const char *ours) {
  static const char layers[] = "model.layers.";
  for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
    if (strcmp(whole[i].ours, ours) != 0) continue;
    snprintf(name, MOH__GGUF_NAME, "%s", whole[i].theirs);
    return true;
  }
  if (strncmp(ours, layers, sizeof(layers) - 1) != 0) return false;
  char *rest;
  long long layer = strtoll(ours + sizeof(layers) - 1, &rest, 10);
  return *rest == '.' && layer_name(name, layer, rest + 1);
}

int64_t moh__gguf_turned(const moh__param *w, const moh__config *config) {
  bool turned = strstr(w->name, "self_attn.q_proj.") != NULL ||
                strstr(w->name, "self_attn.k_proj.") != NULL;
  return turned ? config->d_head : 0;
}
