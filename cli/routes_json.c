/* Routing as a JSON document. */
#include "pieces.h"
#include "routes.h"

typedef double head_value(const moh__routing *routing, int64_t layer,
                          int64_t head);

static const char *key(const moh__routing *r, const char *of_heads,
                       const char *of_experts) {
  return r->experts ? of_experts : of_heads;
}

static json_t *heads_json(const moh__routing *r, int64_t layer,
                          head_value *value) {
  json_t *array = json_array();
  for (int64_t h = 0; h < r->n_heads; h++)
    json_array_append_new(array, json_real(value(r, layer, h)));
  return array;
}

static json_t *layer_json(const moh__routing *r, int64_t layer) {
  return json_pack("{s:o, s:o, s:f, s:f}", "load",
                   heads_json(r, layer, moh__routing_load), "gate",
                   heads_json(r, layer, moh__routing_gate), "entropy",
                   moh__routing_entropy(r, layer),
                   key(r, "heads_per_token", "experts_per_token"),
                   moh__routing_heads(r, layer));
}

static json_t *used_json(const moh__routing *r, int32_t token,
                         int64_t layer) {
  int64_t at = moh__routing_at(r, token, layer);
  json_t *heads = json_array(), *gates = json_array();
  for (int64_t h = 0; h < r->n_heads; h++) {
    if (!r->used[at + h]) continue;
    json_array_append_new(heads, json_integer(h));
    json_array_append_new(gates, json_real((double)r->gates[at + h]));
  }
  return json_pack("{s:o, s:o}", key(r, "heads", "experts"), heads,
                   key(r, "gates", "weights"), gates);
}

static json_t *token_json(const moh__routing *r,
                          const moh__tokenizer *tokenizer, int32_t token) {
  json_t *layers = json_array();
  int32_t id = r->ids[token];
  for (int64_t layer = 0; layer < r->n_layers; layer++)
    json_array_append_new(layers, used_json(r, token, layer));
  return json_pack("{s:i, s:o, s:o}", "id", id, "piece",
                   moh__piece_json(moh__tokenizer_token(tokenizer, id)),
                   "layers", layers);
}

json_t *moh__routes_json(const moh__routing *r,
                         const moh__tokenizer *tokenizer) {
  json_t *layers = json_array(), *tokens = json_array();
  for (int64_t layer = 0; layer < r->n_layers; layer++)
    json_array_append_new(layers, layer_json(r, layer));
  for (int32_t i = 0; i < r->n_shown; i++)
    json_array_append_new(tokens, token_json(r, tokenizer, i));
  return json_pack(
      "{s:I, s:I, s:I, s:o, s:o}", "n_tokens", (json_int_t)r->n_tokens,
      key(r, "n_heads", "n_experts"), (json_int_t)r->n_heads,
      key(r, "n_shared_heads", "n_shared_experts"), (json_int_t)r->n_shared,
      "layers", layers, "tokens", tokens);
}
