/*
 * What a model is, read off the tensors that it has (and not from what its
 * configuration says): parameters by kind, and the choices they show.
 */
#ifndef MOH_CLI_SUMMARY_H
#define MOH_CLI_SUMMARY_H

#include <jansson.h>

#include "box.h"
#include "model/model.h"

/* One list makes the kinds, their names in text and in JSON. */
#define MOH__PART_MAP(X)                              \
  X(EMBEDDING, "embedding", "embedding")              \
  X(OUTPUT, "output", "output matrix")                \
  X(QUERY, "attention_q", "attention Q")              \
  X(KEY, "attention_k", "attention K")                \
  X(VALUE, "attention_v", "attention V")              \
  X(PROJECTION, "attention_o", "attention O")         \
  X(MIXING, "mixing", "token mixing")                 \
  X(ROUTER, "router", "routers")                      \
  X(EXPERT_ROUTER, "expert_router", "expert routers") \
  X(POSITION, "position", "positions")                \
  X(NORM, "norm", "norms")                            \
  X(FEED_FORWARD, "feed_forward", "feed-forward")     \
  X(OTHER, "other", "other")

typedef enum moh__part {
#define MOH__PART_CODE(code, key, text) MOH__PART_##code,
  MOH__PART_MAP(MOH__PART_CODE)
#undef MOH__PART_CODE
      MOH__N_PARTS
} moh__part;

typedef struct moh__summary {
  int64_t counts[MOH__N_PARTS]; /* parameters of each kind */
  int64_t total;                /* their sum */
  int64_t routers_per_layer;
  int64_t vocabulary, d_model, d_ff;
  int64_t n_layers;
  int64_t n_heads, n_kv_heads, d_head;
  int64_t n_shared, n_routed; /* candidates of the router, */
  int64_t heads_each;         /* heads of one of them */
  int64_t active, least;      /* heads of a token, at most and at least */
  double mean;    /* and on average, seen in training; 0: not known */
  double mass[2]; /* adaptive: of the layers, lowest and highest */
  int64_t n_shared_experts, n_routed_experts; /* of a layer; 0: none */
  int64_t unused; /* parameters of the experts that a token does not use */
  int64_t n_positions;        /* rows of a position or CoPE table; 0: none */
  bool rope, cope, mixer;
  bool layer_norm, dynamic_tanh, swiglu, tied, final_norm, projection, routed;
  /* Heads by chance, and by the norms of queries, which no tensor tells. */
  bool drawn, by_query;
} moh__summary;

void moh__summary_make(const moh__model *model, moh__summary *summary);

/* Sections of a box: configuration, choices, layers, parameters. */
void moh__summary_print(const moh__box *box, const moh__model *model,
                        const moh__summary *summary);

/* A new reference; NULL when memory ran out. */
json_t *moh__summary_json(const moh__model *model,
                          const moh__summary *summary);

#endif
