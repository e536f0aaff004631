/* Statements of a template, and the template as a whole. */
#include <stdlib.h>
#include <string.h>

#include "text/template_internal.h"

static moh_status parse_body(moh__tparser *p, moh__tnode **out);

static moh_status end_block(moh__tparser *p) {
  if (p->token.kind == MOH__TTOKEN_BLOCK_END) return moh__tparser_advance(p);
  return moh__tparser_unexpected(p, "the end of the block");
}

/* The word of a block, `{% word`; an error when there is none. */
static moh_status open_block(moh__tparser *p, moh__text *word, size_t *at) {
  MOH_TRY(moh__tparser_advance(p));
  *word = p->token.text;
  *at = p->token.at;
  if (p->token.kind == MOH__TTOKEN_NAME) return moh__tparser_advance(p);
  return moh__tparser_unexpected(p, "the name of a block");
}

/* At `{% word %}`, which ends something: takes it. */
static moh_status close_with(moh__tparser *p, const char *word) {
  if (p->token.kind != MOH__TTOKEN_BLOCK)
    return moh__tparser_fail(p, p->token.at, "{%% %s %%} is missing", word);
  MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(moh__tparser_expect(p, MOH__TTOKEN_NAME, word));
  return end_block(p);
}

/* Words that end the body around them, and are left to what it belongs to. */
static bool is_closing(moh__text word) {
  static const char *const words[] = {"elif",   "else",   "endif",
                                      "endfor", "endset", "endgeneration"};
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
    if (moh__ttext_is(word, words[i])) return true;
  return false;
}

/* Looks at the word behind {% without taking anything. */
static moh_status peek_word(const moh__tparser *p, moh__text *word) {
  moh__tlexer ahead = p->lexer;
  moh__ttoken token;
  *word = (moh__text){"", 0};
  if (p->token.kind != MOH__TTOKEN_BLOCK) return MOH_OK;
  MOH_TRY(moh__tlexer_next(&ahead, &token));
  if (token.kind == MOH__TTOKEN_NAME) *word = token.text;
  return MOH_OK;
}

/* ---- if ---------------------------------------------------------------- */

/* Behind `if` or `elif`, up to the end of it all. */
static moh_status parse_if(moh__tparser *p, size_t at, moh__tnode **out) {
  moh__text word;
  size_t next_at;
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_IF, at, out));
  moh__tnode *node = *out;
  MOH_TRY(moh__texpr_parse(p, &node->a));
  MOH_TRY(end_block(p));
  MOH_TRY(parse_body(p, &node->b));
  MOH_TRY(peek_word(p, &word));
  if (moh__ttext_is(word, "elif")) {
    MOH_TRY(open_block(p, &word, &next_at));
    if (++p->nesting > MOH__TEMPLATE_DEPTH_MAX)
      return moh__tparser_fail(p, at, "nested deeper than %d levels",
                               MOH__TEMPLATE_DEPTH_MAX);
    MOH_TRY(parse_if(p, next_at, &node->c));
    p->nesting--;
    return moh__tparser_close(p, node);
  }
  if (moh__ttext_is(word, "else")) {
    MOH_TRY(close_with(p, "else"));
    MOH_TRY(parse_body(p, &node->c));
  }
  MOH_TRY(close_with(p, "endif"));
  return moh__tparser_close(p, node);
}

/* ---- for --------------------------------------------------------------- */

static moh_status take_name(moh__tparser *p, moh__text *name) {
  if (p->token.kind != MOH__TTOKEN_NAME)
    return moh__tparser_unexpected(p, "a name");
  *name = p->token.text;
  return moh__tparser_advance(p);
}

/* x, or x, y, with brackets around them or not. */
static moh_status parse_targets(moh__tparser *p, moh__tnode *node) {
  bool bracket = moh__tparser_is(p, MOH__TTOKEN_SIGN, "(");
  if (bracket) MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(take_name(p, &node->text));
  if (moh__tparser_is(p, MOH__TTOKEN_SIGN, ",")) {
    MOH_TRY(moh__tparser_advance(p));
    MOH_TRY(take_name(p, &node->text2));
  }
  return bracket ? moh__tparser_expect(p, MOH__TTOKEN_SIGN, ")") : MOH_OK;
}

static moh_status parse_for_head(moh__tparser *p, moh__tnode *node) {
  MOH_TRY(parse_targets(p, node));
  MOH_TRY(moh__tparser_expect(p, MOH__TTOKEN_NAME, "in"));
  MOH_TRY(moh__texpr_parse_plain(p, &node->a));
  if (moh__tparser_is(p, MOH__TTOKEN_NAME, "if")) {
    MOH_TRY(moh__tparser_advance(p));
    MOH_TRY(moh__texpr_parse(p, &node->d));
  }
  return end_block(p);
}

static moh_status parse_for(moh__tparser *p, size_t at, moh__tnode **out) {
  moh__text word;
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_FOR, at, out));
  moh__tnode *node = *out;
  MOH_TRY(parse_for_head(p, node));
  p->loops++;
  MOH_TRY(parse_body(p, &node->b));
  p->loops--;
  MOH_TRY(peek_word(p, &word));
  if (moh__ttext_is(word, "else")) {
    MOH_TRY(close_with(p, "else"));
    MOH_TRY(parse_body(p, &node->c));
  }
  MOH_TRY(close_with(p, "endfor"));
  return moh__tparser_close(p, node);
}

static moh_status parse_flow(moh__tparser *p, moh__tnode_kind kind, size_t at,
                             moh__tnode **out) {
  if (p->loops == 0) return moh__tparser_fail(p, at, "outside of a loop");
  MOH_TRY(moh__tparser_node(p, kind, at, out));
  MOH_TRY(moh__tparser_close(p, *out));
  return end_block(p);
}

/* ---- set --------------------------------------------------------------- */

static moh_status parse_set(moh__tparser *p, size_t at, moh__tnode **out) {
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_SET, at, out));
  moh__tnode *node = *out;
  MOH_TRY(take_name(p, &node->text));
  if (moh__tparser_is(p, MOH__TTOKEN_SIGN, ".")) {
    MOH_TRY(moh__tparser_advance(p));
    MOH_TRY(take_name(p, &node->text2));
  }
  if (p->token.kind == MOH__TTOKEN_BLOCK_END && node->text2.n == 0) {
    node->kind = MOH__TNODE_SET_BODY;
    MOH_TRY(moh__tparser_advance(p));
    MOH_TRY(parse_body(p, &node->b));
    MOH_TRY(close_with(p, "endset"));
    return moh__tparser_close(p, node);
  }
  MOH_TRY(moh__tparser_expect(p, MOH__TTOKEN_SIGN, "="));
  MOH_TRY(moh__texpr_parse(p, &node->a));
  MOH_TRY(moh__tparser_close(p, node));
  return end_block(p);
}

/* ---- all of them ------------------------------------------------------- */

/* {% generation %} marks answers for training; its body counts here. */
static moh_status parse_generation(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(end_block(p));
  MOH_TRY(parse_body(p, out));
  return close_with(p, "endgeneration");
}

static moh_status parse_block(moh__tparser *p, moh__tnode **out) {
  moh__text word;
  size_t at;
  MOH_TRY(open_block(p, &word, &at));
  if (moh__ttext_is(word, "if")) return parse_if(p, at, out);
  if (moh__ttext_is(word, "for")) return parse_for(p, at, out);
  if (moh__ttext_is(word, "set")) return parse_set(p, at, out);
  if (moh__ttext_is(word, "break"))
    return parse_flow(p, MOH__TNODE_BREAK, at, out);
  if (moh__ttext_is(word, "continue"))
    return parse_flow(p, MOH__TNODE_CONTINUE, at, out);
  if (moh__ttext_is(word, "generation")) return parse_generation(p, out);
  return moh__tparser_fail(p, at, "the block '%.*s' is not known here",
                           moh__quoted(word), word.bytes);
}

static moh_status parse_output(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_OUTPUT, p->token.at, out));
  MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(moh__texpr_parse(p, &(*out)->a));
  MOH_TRY(moh__tparser_close(p, *out));
  if (p->token.kind == MOH__TTOKEN_OUTPUT_END) return moh__tparser_advance(p);
  return moh__tparser_unexpected(p, "the end of the output");
}

static moh_status parse_data(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_DATA, p->token.at, out));
  (*out)->text = p->token.text;
  MOH_TRY(moh__tparser_close(p, *out));
  return moh__tparser_advance(p);
}

static moh_status parse_statement(moh__tparser *p, moh__tnode **out) {
  if (p->token.kind == MOH__TTOKEN_DATA) return parse_data(p, out);
  if (p->token.kind == MOH__TTOKEN_OUTPUT) return parse_output(p, out);
  return parse_block(p, out);
}

/* Up to the end, or to a word that is not of this body. */
static moh_status parse_body(moh__tparser *p, moh__tnode **out) {
  moh__text word;
  *out = NULL;
  if (++p->nesting > MOH__TEMPLATE_DEPTH_MAX)
    return moh__tparser_fail(p, p->token.at, "nested deeper than %d levels",
                             MOH__TEMPLATE_DEPTH_MAX);
  while (p->token.kind != MOH__TTOKEN_END) {
    MOH_TRY(peek_word(p, &word));
    if (is_closing(word)) break;
    MOH_TRY(parse_statement(p, out));
    while (*out != NULL) out = &(*out)->next;
  }
  p->nesting--;
  return MOH_OK;
}

static moh_status parse_all(moh__template *t, moh_error *err) {
  moh__tparser p = {.lexer = {.source = {t->source, t->n},
                              .name = t->name,
                              .pool = &t->pool,
                              .err = err,
                              .line_start = true}};
  MOH_TRY(moh__tparser_advance(&p));
  MOH_TRY(parse_body(&p, &t->body));
  if (p.token.kind == MOH__TTOKEN_END) return MOH_OK;
  moh__text word;
  MOH_TRY(peek_word(&p, &word));
  return moh__tparser_fail(&p, p.token.at, "'%.*s' ends nothing",
                           moh__quoted(word), word.bytes);
}

/* Ends of lines become \n, and the last one goes. */
static void copy_source(moh__template *t, moh__text source) {
  for (size_t i = 0; i < source.n; i++) {
    char c = source.bytes[i];
    if (c == '\r' && i + 1 < source.n && source.bytes[i + 1] == '\n')
      continue;
    t->source[t->n++] = c == '\r' ? '\n' : c;
  }
  if (t->n > 0 && t->source[t->n - 1] == '\n') t->n--;
}

moh_status moh__template_parse(moh__template **out, moh__text source,
                               const char *name, moh_error *err) {
  *out = NULL;
  if (source.n > MOH__TEMPLATE_SOURCE_MAX)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: a template of %zu bytes; at most %d are read", name,
                     source.n, MOH__TEMPLATE_SOURCE_MAX);
  moh__template *t = calloc(1, sizeof(*t));
  if (t != NULL) {
    t->name = strdup(name);
    t->source = malloc(source.n + 1);
  }
  if (t == NULL || t->name == NULL || t->source == NULL) {
    moh__template_free(t);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a template");
  }
  copy_source(t, source);
  t->pool.most =
      MOH__TEMPLATE_TREE_LEAST + MOH__TEMPLATE_TREE_FACTOR * source.n;
  moh_status status = parse_all(t, err);
  if (status == MOH_OK)
    *out = t;
  else
    moh__template_free(t);
  return status;
}

void moh__template_free(moh__template *t) {
  if (t == NULL) return;
  moh__tpool_free(&t->pool);
  free(t->source);
  free(t->name);
  free(t);
}
