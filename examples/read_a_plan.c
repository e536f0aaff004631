/*
 * Shows which heads each token of a text used, layer by layer.
 *
 *     read_a_plan DIRECTORY TEXT
 *
 * A line is a token, a column a head: its gate, or a dot when the head was
 * not computed for that token.
 */
#include <moh.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "read_a_plan: %s\n", err->message);
  exit(1);
}

static void print_token(const moh_tokenizer *tokenizer, int32_t token) {
  moh_error err;
  char *text;
  size_t n;
  check(moh_decode(tokenizer, &token, 1, true, &text, &n, &err), &err);
  if (n == 1 && text[0] == '\n')
    printf("%10s  ", "\\n");
  else
    printf("%10s  ", text);
  moh_free(text);
}

/* The heads of one row, ascending, with the entries of their gates. */
static void print_row(const moh_plan *plan, int32_t row) {
  const float *gates = moh_plan_gates(plan);
  const int32_t *heads;
  const int32_t *entries;
  int32_t n = moh_plan_row(plan, row, &heads, &entries);
  int32_t i = 0;
  for (int32_t h = 0; h < moh_plan_n_heads(plan); h++) {
    if (i < n && heads[i] == h)
      printf(" %5.2f", (double)gates[entries[i++]]);
    else
      printf("   .  ");
  }
  printf("\n");
}

/* How the load spreads over the heads. */
static void print_load(const moh_plan *plan, int32_t n_shared) {
  moh_error err;
  int32_t n = moh_plan_n_heads(plan);
  float *load = calloc((size_t)n, sizeof(float));
  if (load == NULL) exit(1);
  check(moh_plan_load(plan, load, &err), &err);
  printf("load:");
  for (int32_t h = 0; h < n; h++)
    printf(" %.0f%%", 100 * (double)load[h]);
  if (n_shared < n) {
    float entropy;
    check(moh_load_entropy(load + n_shared, n - n_shared, &entropy, &err),
          &err);
    printf("; entropy of those that are chosen: %.2f nats",
           (double)entropy);
  }
  printf("\n");
  free(load);
}

static void show_layer(const moh_session *session, int32_t layer,
                       const moh_tokenizer *tokenizer, const int32_t *tokens,
                       int32_t n, int32_t n_shared) {
  moh_error err;
  moh_plan *plan;
  check(moh_session_plan(session, layer, 0, n, &plan, &err), &err);
  printf("\nlayer %d: %d of %d pairs of token and head were computed\n",
         layer, moh_plan_n_entries(plan), n * moh_plan_n_heads(plan));
  for (int32_t row = 0; row < n; row++) {
    print_token(tokenizer, tokens[row]);
    print_row(plan, row);
  }
  print_load(plan, n_shared);
  moh_plan_free(plan);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: read_a_plan DIRECTORY TEXT\n");
    return 2;
  }
  moh_error err;
  moh_model *model;
  moh_model_info info;
  moh_session *session;
  check(moh_model_load(&model, argv[1], NULL, &err), &err);
  check(moh_model_describe(model, &info, sizeof(info), &err), &err);
  const moh_tokenizer *tokenizer = moh_model_tokenizer(model);
  if (tokenizer == NULL) {
    fprintf(stderr, "read_a_plan: the model has no tokenizer\n");
    return 1;
  }

  moh_text text = {argv[2], strlen(argv[2])};
  int32_t *tokens;
  size_t n;
  check(moh_encode(tokenizer, text, false, &tokens, &n, &err), &err);
  check(moh_session_new(&session, model, NULL, &err), &err);
  int32_t length = (int32_t)n;
  const float *logits; /* of the token that would follow; not needed here */
  check(moh_session_feed(session, tokens, length, &logits, &err), &err);

  printf("heads: %s, %lld of %lld for a token\n", info.heads,
         (long long)info.n_active_heads, (long long)info.n_heads);
  for (int32_t layer = 0; layer < info.n_layers; layer++)
    show_layer(session, layer, tokenizer, tokens, length,
               (int32_t)info.n_shared_heads);

  moh_session_free(session);
  moh_free(tokens);
  moh_model_free(model);
  return 0;
}
