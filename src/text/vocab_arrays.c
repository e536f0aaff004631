/* Arrays of a tokenizer: made, and read again for comparison. */
#include "text/vocab_arrays.h"

#include <stdlib.h>
#include <string.h>

#include "text/bpe.h"
#include "text/vocab_internal.h"

static const char blank_sign[] = "\xE2\x96\x81";

/* What is made, of what. */
typedef struct making {
  moh__gguf_arrays *a;
  const moh__tokenizer *from;
  const char *blank; /* how tokens spell a blank; NULL: byte-level BPE */
  moh_error *err;
} making;

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a vocabulary");
}

static moh_status refuse(const making *m, const char *what) {
  return moh__fail(m->err, MOH_ERR_UNSUPPORTED,
                   "GGUF has no way to say this tokenizer: %s", what);
}

/* ---- what has no place ---- */

static moh_status check_added(const making *m) {
  for (size_t i = 0; i < m->from->added.n; i++) {
    const moh__added *added = &m->from->added.tokens[i];
    bool plain = !added->single_word && !added->lstrip && !added->rstrip &&
                 (!added->normalized || m->from->normalizer == NULL);
    if (plain) continue;
    return moh__fail(m->err, MOH_ERR_UNSUPPORTED,
                     "GGUF has no way to say this tokenizer: the added token "
                     "\"%.*s\" is not looked for as it stands (single_word, "
                     "lstrip, rstrip or normalized)",
                     moh__quoted(added->text), added->text.bytes);
  }
  return MOH_OK;
}

static moh_status find_rules(making *m) {
  moh__gguf_vocab *v = &m->a->vocab;
  const json_t *document = m->from->document;
  bool prefix = false;
  if (m->from->bpe == NULL)
    return refuse(m, "its model is WordLevel; only BPE is known there");
  v->add_space_prefix = -1;
  if (m->from->pre.byte_level) {
    v->model = moh__text_of("gpt2");
    const char *name = moh__gguf_pre_name(document);
    if (name == NULL)
      return refuse(m,
                    "its normalizer, pre-tokenizer and decoder are not those "
                    "of any name that is known here");
    v->pre = moh__text_of(name);
    return MOH_OK;
  }
  v->model = moh__text_of("llama");
  m->blank = moh__scores_blank(document, &prefix);
  if (m->blank == NULL)
    return refuse(m,
                  "its normalizer, pre-tokenizer and decoder are neither "
                  "those of byte-level BPE nor of SentencePiece");
  v->add_space_prefix = prefix;
  return MOH_OK;
}

/* ---- special tokens ---- */

static bool ends_a_message(moh__text token) {
  static const char name[] = "<|eom_id|>";
  return token.n == sizeof(name) - 1 &&
         memcmp(token.bytes, name, token.n) == 0;
}

/* The first end is eos; of two others one may be the end of a message only,
 * as in LLaMA 3.1. Programs stop at any of them. */
static void name_ends(const moh__tokenizer *t, moh__gguf_vocab *v) {
  const moh__ids *ends = &t->ends;
  v->eos = ends->n > 0 ? ends->ids[0] : -1;
  v->eot = ends->n > 1 ? ends->ids[1] : -1;
  v->eom = ends->n > 2 ? ends->ids[2] : -1;
  if (v->eom < 0 || !ends_a_message(t->vocab.words[v->eot])) return;
  v->eom = ends->ids[1];
  v->eot = ends->ids[2];
}

static moh_status set_ends(const making *m) {
  moh__gguf_vocab *v = &m->a->vocab;
  const moh__ids *front = &m->from->post.front;
  const moh__ids *behind = &m->from->post.behind;
  const moh__ids *ends = &m->from->ends;
  v->bos = moh__tokenizer_bos(m->from);
  name_ends(m->from, v);
  v->unk = m->from->unknown;
  v->add_bos = front->n > 0;
  v->add_eos = behind->n > 0;
  if (ends->n > 3) return refuse(m, "it has more than three end tokens");
  if (front->n > 1 || (front->n == 1 && front->ids[0] != v->bos))
    return refuse(m, "other tokens than its first one begin a text");
  if (behind->n > 1 || (behind->n == 1 && behind->ids[0] != v->eos))
    return refuse(m, "other tokens than its end token end a text");
  return MOH_OK;
}

/* ---- tokens ---- */

static const moh__added *added_of(const moh__tokenizer *t, int32_t id) {
  for (size_t i = 0; i < t->added.n; i++)
    if (t->added.tokens[i].id == id) return &t->added.tokens[i];
  return NULL;
}

static int32_t type_of(const making *m, int32_t id) {
  const moh__tokenizer *t = m->from;
  const moh__added *added = added_of(t, id);
  if (added != NULL && !added->special) return MOH__GGUF_USER_DEFINED;
  if (added != NULL && m->blank != NULL && id == t->unknown)
    return MOH__GGUF_UNKNOWN;
  if (added != NULL) return MOH__GGUF_CONTROL;
  int byte = m->blank == NULL ? -1 : moh__byte_token(t->vocab.words[id]);
  return byte >= 0 && t->bpe->byte_id[byte] == id ? MOH__GGUF_BYTE
                                                  : MOH__GGUF_NORMAL;
}

/* Keeps a new string; the text is empty where there was no memory. */
static moh_status keep(const making *m, json_t *string, moh__text *text) {
  if (string == NULL || json_array_append_new(m->a->strings, string) != 0)
    return no_memory(m->err);
  *text = (moh__text){json_string_value(string), json_string_length(string)};
  return MOH_OK;
}

static moh_status set_tokens(const making *m) {
  moh__gguf_arrays *a = m->a;
  size_t n = m->from->vocab.n;
  for (size_t id = 0; id < a->vocab.n_tokens; id++) {
    if (id < n) {
      a->tokens[id] = m->from->vocab.words[id];
      a->types[id] = type_of(m, (int32_t)id);
      continue;
    }
    json_t *name = json_sprintf("[PAD%zu]", id);
    MOH_TRY(keep(m, name, &a->tokens[id]));
    a->types[id] = MOH__GGUF_UNUSED;
  }
  return MOH_OK;
}

/* ---- merges ---- */

static json_t *merge_text(const json_t *merge) {
  if (json_is_string(merge))
    return json_stringn(json_string_value(merge), json_string_length(merge));
  return json_sprintf("%s %s", json_string_value(json_array_get(merge, 0)),
                      json_string_value(json_array_get(merge, 1)));
}

static moh_status set_merges(const making *m) {
  moh__gguf_arrays *a = m->a;
  const json_t *list =
      json_object_get(json_object_get(m->from->document, "model"), "merges");
  a->vocab.merges = a->merges;
  a->vocab.n_merges = m->from->bpe->n_merges;
  for (size_t i = 0; i < a->vocab.n_merges; i++)
    MOH_TRY(keep(m, merge_text(json_array_get(list, i)), &a->merges[i]));
  return MOH_OK;
}

/* The first token that merges make has the highest score; those that none
 * makes have the lowest. */
static moh_status set_scores(const making *m) {
  moh__gguf_arrays *a = m->a;
  const moh__bpe *bpe = m->from->bpe;
  float next = 0;
  a->vocab.scores = a->scores;
  for (size_t id = 0; id < a->vocab.n_tokens; id++) a->scores[id] = 1;
  for (size_t i = 0; i < bpe->n_merges; i++) {
    int32_t id = bpe->result[i];
    if (i > 0 && id == bpe->result[i - 1]) continue;
    if (a->scores[id] <= 0)
      return refuse(m,
                    "merges of the same token are not side by side, so "
                    "that no scores are like them");
    a->scores[id] = --next;
  }
  for (size_t id = 0; id < a->vocab.n_tokens; id++) {
    if (a->scores[id] <= 0) continue;
    a->scores[id] = a->types[id] == MOH__GGUF_NORMAL ? next - 1 : 0;
  }
  return MOH_OK;
}

/* ---- reading it again ---- */

static bool has_merge(const moh__bpe *bpe, const moh__merge *merge) {
  size_t at = moh__pair_slot(merge->pair, bpe->n_slots);
  for (; bpe->merges[at].id >= 0; at = (at + 1) & (bpe->n_slots - 1))
    if (bpe->merges[at].pair == merge->pair)
      return bpe->merges[at].id == merge->id;
  return false;
}

/* The same ones; those of one token in any order, as scores have none. */
static bool same_merges(const moh__bpe *a, const moh__bpe *b) {
  if (a->n_merges != b->n_merges || a->ignore_merges != b->ignore_merges ||
      memcmp(a->result, b->result, a->n_merges * sizeof(*a->result)) != 0)
    return false;
  for (size_t i = 0; i < a->n_slots; i++)
    if (a->merges[i].id >= 0 && !has_merge(b, &a->merges[i])) return false;
  return true;
}

/* What becomes of letters that the vocabulary lacks. */
static bool same_letters(const moh__tokenizer *a, const moh__tokenizer *b) {
  bool all = true;
  if (memcmp(a->bpe->byte_id, b->bpe->byte_id, sizeof(a->bpe->byte_id)) != 0)
    return false;
  for (int i = 0; i < 256; i++) all &= a->bpe->byte_id[i] >= 0;
  return all || (a->unknown == b->unknown &&
                 a->bpe->fuse_unknown == b->bpe->fuse_unknown);
}

static bool same_tokens(const moh__tokenizer *a, const moh__tokenizer *b) {
  for (int32_t id = 0; (size_t)id < a->vocab.n; id++) {
    moh__text x = moh__tokenizer_token(a, id);
    moh__text y = moh__tokenizer_token(b, id);
    if (a->is_special[id] != b->is_special[id] || x.n != y.n ||
        memcmp(x.bytes, y.bytes, x.n) != 0)
      return false;
  }
  return true;
}

static moh_status compare(const making *m, const moh__tokenizer *again) {
  const moh__tokenizer *t = m->from;
  if (!same_tokens(t, again))
    return refuse(m, "its tokens would stand for other texts");
  if (!same_merges(t->bpe, again->bpe))
    return refuse(m, "its merges are not those that come of scores");
  if (!same_letters(t, again))
    return refuse(m, "letters that it lacks become other tokens");
  return MOH_OK;
}

static moh_status check(const making *m) {
  moh__tokenizer *again = NULL;
  moh_status status =
      m->blank == NULL
          ? moh__tokenizer_from_gguf(&again, &m->a->vocab, m->err)
          : moh__tokenizer_of_scores(&again, &m->a->vocab, m->blank, m->err);
  if (status != MOH_OK)
    return moh__fail_in(m->err, status, "the vocabulary for GGUF");
  status = compare(m, again);
  moh__tokenizer_free(again);
  return status;
}

/* ---- blanks ---- */

static moh_status spell_blank(const making *m, moh__text *token) {
  moh__buffer changed = {0};
  moh_status status = MOH_OK;
  for (size_t i = 0; i < token->n && status == MOH_OK; i++) {
    moh__text one = moh__text_part(*token, i, i + 1);
    if (token->bytes[i] == ' ') one = moh__text_of(blank_sign);
    status = moh__buffer_add(&changed, one, m->err);
  }
  if (status == MOH_OK)
    status = keep(m, json_stringn(changed.bytes, changed.n), token);
  moh__buffer_free(&changed);
  return status;
}

/* Where blanks stand for themselves: as GGUF has them. */
static moh_status spell_blanks(const making *m) {
  for (size_t id = 0; id < m->a->vocab.n_tokens; id++) {
    moh__text *token = &m->a->tokens[id];
    if (m->a->types[id] != MOH__GGUF_NORMAL) continue;
    if (memmem(token->bytes, token->n, blank_sign, 3) != NULL)
      return refuse(m, "it has both blanks and U+2581 in its tokens");
    if (memchr(token->bytes, ' ', token->n) != NULL)
      MOH_TRY(spell_blank(m, token));
  }
  return MOH_OK;
}

/* ---- the whole ---- */

static moh_status allocate(making *m, size_t n_tokens) {
  moh__gguf_arrays *a = m->a;
  size_t n_merges = m->from->bpe->n_merges;
  a->tokens = calloc(n_tokens, sizeof(*a->tokens));
  a->types = calloc(n_tokens, sizeof(*a->types));
  a->scores = calloc(n_tokens, sizeof(*a->scores));
  a->merges = calloc(n_merges + 1, sizeof(*a->merges));
  a->strings = json_array();
  a->vocab.n_tokens = n_tokens;
  a->vocab.tokens = a->tokens;
  a->vocab.types = a->types;
  if (a->tokens == NULL || a->types == NULL || a->scores == NULL ||
      a->merges == NULL || a->strings == NULL)
    return no_memory(m->err);
  return MOH_OK;
}

static moh_status make(making *m, size_t n_tokens) {
  MOH_TRY(find_rules(m));
  MOH_TRY(check_added(m));
  if (n_tokens < m->from->vocab.n)
    return refuse(m, "it has more tokens than the model");
  MOH_TRY(allocate(m, n_tokens));
  MOH_TRY(set_ends(m));
  MOH_TRY(set_tokens(m));
  MOH_TRY(m->blank == NULL ? set_merges(m) : set_scores(m));
  MOH_TRY(check(m));
  bool spelled = m->blank != NULL && strcmp(m->blank, " ") == 0;
  return spelled ? spell_blanks(m) : MOH_OK;
}

moh_status moh__gguf_arrays_of(moh__gguf_arrays *out,
                               const moh__tokenizer *tokenizer,
                               size_t n_tokens, moh_error *err) {
  *out = (moh__gguf_arrays){.tokens = NULL};
  making m = {out, tokenizer, NULL, err};
  moh_status status = make(&m, n_tokens);
  if (status != MOH_OK) moh__gguf_arrays_free(out);
  return status;
}

void moh__gguf_arrays_free(moh__gguf_arrays *a) {
  free(a->tokens);
  free(a->merges);
  free(a->scores);
  free(a->types);
  json_decref(a->strings);
  *a = (moh__gguf_arrays){.tokens = NULL};
}
