/*
 * BPE against plain loops: training that counts all pairs anew for every
 * merge, and encoding that looks at all pairs for every join. Few letters
 * and long runs, so that pairs lie over each other and the same token comes
 * about in several ways.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/check.h"
#include "text/bpe_trainer.h"

enum {
  N_WORDS = 12,
  WORD_MAX = 24,   /* letters */
  N_LETTERS = 3,   /* a, b, c */
  TOKENS_MAX = 80, /* letters and merges */
  N_SEEDS = 300
};

typedef struct token {
  char text[WORD_MAX + 1];
} token;

typedef struct word {
  int ids[WORD_MAX];
  int n;
  int64_t count;
} word;

typedef struct reference {
  word words[N_WORDS];
  token tokens[TOKENS_MAX];
  int n_tokens;
  int merges[4 * TOKENS_MAX][3]; /* left, right, result, in order */
  int n_merges;
} reference;

static moh_error err;

static int find_merge(const reference *r, int left, int right) {
  for (int i = 0; i < r->n_merges; i++) {
    if (r->merges[i][0] == left && r->merges[i][1] == right) return i;
  }
  return -1;
}

static int find_token(const reference *r, const char *text) {
  for (int i = 0; i < r->n_tokens; i++) {
    if (strcmp(r->tokens[i].text, text) == 0) return i;
  }
  return -1;
}

/* The most frequent pair, the least among equals; its count. */
static int64_t best_pair(const reference *r, int *left, int *right) {
  static int64_t counts[TOKENS_MAX][TOKENS_MAX];
  int64_t best = 0;
  memset(counts, 0, sizeof(counts));
  for (int w = 0; w < N_WORDS; w++) {
    const word *v = &r->words[w];
    for (int i = 0; i + 1 < v->n; i++) {
      counts[v->ids[i]][v->ids[i + 1]] += v->count;
    }
  }
  for (int a = 0; a < r->n_tokens; a++) {
    for (int b = 0; b < r->n_tokens; b++) {
      if (counts[a][b] <= best) continue;
      best = counts[a][b];
      *left = a;
      *right = b;
    }
  }
  return best;
}

static void join(word *v, int left, int right, int id) {
  int n = 0;
  for (int i = 0; i < v->n; i++) {
    bool here = i + 1 < v->n && v->ids[i] == left && v->ids[i + 1] == right;
    v->ids[n++] = here ? id : v->ids[i];
    i += here;
  }
  v->n = n;
}

static void train(reference *r, int n_tokens) {
  int left, right;
  while (r->n_tokens < n_tokens && best_pair(r, &left, &right) >= 2) {
    char text[2 * WORD_MAX + 2];
    strcpy(text, r->tokens[left].text);
    strcat(text, r->tokens[right].text);
    int id = find_token(r, text);
    if (id < 0) {
      id = r->n_tokens++;
      strcpy(r->tokens[id].text, text);
    }
    if (find_merge(r, left, right) < 0) {
      int *merge = r->merges[r->n_merges++];
      merge[0] = left, merge[1] = right, merge[2] = id;
    }
    for (int w = 0; w < N_WORDS; w++) join(&r->words[w], left, right, id);
  }
}

/* Joins the first pair in the list of merges that the word has, at the
 * leftmost place, until there is none. */
static void encode(const reference *r, word *v) {
  for (;;) {
    int best = r->n_merges, place = -1;
    for (int i = 0; i + 1 < v->n; i++) {
      int rank = find_merge(r, v->ids[i], v->ids[i + 1]);
      if (rank < 0 || rank >= best) continue;
      best = rank;
      place = i;
    }
    if (place < 0) return;
    v->ids[place] = r->merges[best][2];
    v->n--;
    memmove(v->ids + place + 1, v->ids + place + 2,
            (size_t)(v->n - place - 1) * sizeof(int));
  }
}

/* ---- comparing --------------------------------------------------------
 */

/* Letters in runs; `text` as well as the ids of the letters. */
static word random_word(moh__rng *rng, char text[WORD_MAX + 1]) {
  word v = {.n = 1 + (int)moh__rng_below(rng, WORD_MAX),
            .count = 1 + (int64_t)moh__rng_below(rng, 4)};
  int letter = 0;
  for (int i = 0; i < v.n; i++) {
    if (moh__rng_below(rng, 3) != 0) {
      letter = (int)moh__rng_below(rng, N_LETTERS);
    }
    v.ids[i] = letter;
    text[i] = (char)('a' + letter);
  }
  text[v.n] = '\0';
  return v;
}

static moh__tokenizer *train_both(reference *r, moh__rng *rng) {
  moh__bpe_trainer *trainer;
  moh__tokenizer *tokenizer;
  assert_int_equal(moh__bpe_trainer_new(&trainer, 64, &err), MOH_OK);
  for (int w = 0; w < N_WORDS; w++) {
    char text[WORD_MAX + 1];
    r->words[w] = random_word(rng, text);
    moh__text all = {text, strlen(text)};
    for (int64_t i = 0; i < r->words[w].count; i++) {
      assert_int_equal(moh__bpe_trainer_feed(trainer, all, &err), MOH_OK);
    }
  }
  int n = N_LETTERS + (int)moh__rng_below(rng, TOKENS_MAX - N_LETTERS);
  train(r, n);
  assert_int_equal(
      moh__bpe_trainer_finish(trainer, MOH__BPE_LEAST + n - N_LETTERS,
                              &tokenizer, &err),
      MOH_OK);
  moh__bpe_trainer_free(trainer);
  return tokenizer;
}

/* The id that the tokenizer gives a token of the reference. */
static int32_t id_of(const moh__tokenizer *tokenizer, int id) {
  if (id >= N_LETTERS) return MOH__BPE_LEAST + id - N_LETTERS;
  return moh__tokenizer_id(tokenizer, (char[]){(char)('a' + id), '\0'});
}

static void assert_same(const moh__tokenizer *tokenizer, const reference *r,
                        const char *text, word v) {
  moh__ids ids = {0};
  encode(r, &v);
  assert_int_equal(
      moh__tokenizer_encode(tokenizer, (moh__text){text, strlen(text)},
                            true, &ids, &err),
      MOH_OK);
  assert_int_equal(ids.n, v.n);
  for (int i = 0; i < v.n; i++) {
    assert_int_equal(ids.ids[i], id_of(tokenizer, v.ids[i]));
  }
  moh__ids_free(&ids);
}

static void training_and_encoding_are_those_of_loops(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
    static reference r;
    moh__rng rng = moh__rng_make(seed, 0);
    r = (reference){.n_tokens = N_LETTERS, .tokens = {{"a"}, {"b"}, {"c"}}};
    moh__tokenizer *tokenizer = train_both(&r, &rng);
    assert_int_equal(moh__tokenizer_size(tokenizer),
                     MOH__BPE_LEAST + r.n_tokens - N_LETTERS);
    for (int id = 0; id < r.n_tokens; id++) {
      assert_int_equal(moh__tokenizer_id(tokenizer, r.tokens[id].text),
                       id_of(tokenizer, id));
    }
    for (int i = 0; i < 40; i++) {
      char text[WORD_MAX + 1];
      word v = random_word(&rng, text);
      assert_same(tokenizer, &r, text, v);
    }
    moh__tokenizer_free(tokenizer);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(training_and_encoding_are_those_of_loops),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
