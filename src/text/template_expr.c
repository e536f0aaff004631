/*
 * Expressions of a template, by recursive descent. From loose to tight:
 *   a if b else c; or; and; not; comparisons; + -; ~; * // %; sign;
 *   x.name x[i] x.method(); | filter, is test
 * One level is one function. The depth of the tree is bounded, and so is the
 * nesting of these functions.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/template_internal.h"

/* ---- tokens ------------------------------------------------------------ */

moh_status moh__tparser_fail(const moh__tparser *p, size_t at,
                             const char *format, ...) {
  char message[200];
  va_list rest;
  va_start(rest, format);
  vsnprintf(message, sizeof(message), format, rest);
  va_end(rest);
  (void)moh__template_fail(p->lexer.name, p->lexer.source, at, p->lexer.err,
                           "%s", message);
  return MOH_ERR_FORMAT;
}

moh_status moh__tparser_advance(moh__tparser *p) {
  return moh__tlexer_next(&p->lexer, &p->token);
}

bool moh__tparser_is(const moh__tparser *p, moh__ttoken_kind kind,
                     const char *text) {
  return p->token.kind == kind && moh__ttext_is(p->token.text, text);
}

static bool is_sign(const moh__tparser *p, const char *sign) {
  return moh__tparser_is(p, MOH__TTOKEN_SIGN, sign);
}

static bool is_name(const moh__tparser *p, const char *name) {
  return moh__tparser_is(p, MOH__TTOKEN_NAME, name);
}

moh_status moh__tparser_unexpected(const moh__tparser *p,
                                   const char *wanted) {
  const moh__ttoken *t = &p->token;
  static const char *const names[] = {
      [MOH__TTOKEN_END] = "the end",
      [MOH__TTOKEN_BLOCK_END] = "the end of the block",
      [MOH__TTOKEN_OUTPUT_END] = "the end of the output",
      [MOH__TTOKEN_INTEGER] = "a number",
      [MOH__TTOKEN_STRING] = "a string"};
  if (t->kind == MOH__TTOKEN_NAME || t->kind == MOH__TTOKEN_SIGN)
    return moh__tparser_fail(p, t->at, "'%.*s' where %s is expected",
                             moh__quoted(t->text), t->text.bytes, wanted);
  return moh__tparser_fail(p, t->at, "%s where %s is expected",
                           names[t->kind], wanted);
}

moh_status moh__tparser_expect(moh__tparser *p, moh__ttoken_kind kind,
                               const char *text) {
  char wanted[32];
  if (moh__tparser_is(p, kind, text)) return moh__tparser_advance(p);
  snprintf(wanted, sizeof(wanted), "'%s'", text);
  return moh__tparser_unexpected(p, wanted);
}

/* Takes a sign or a name when it stands there. */
static moh_status take(moh__tparser *p, moh__ttoken_kind kind,
                       const char *text, bool *taken) {
  *taken = moh__tparser_is(p, kind, text);
  return *taken ? moh__tparser_advance(p) : MOH_OK;
}

/* ---- nodes ------------------------------------------------------------- */

moh_status moh__tparser_node(moh__tparser *p, moh__tnode_kind kind, size_t at,
                             moh__tnode **out) {
  *out = moh__tpool_alloc(p->lexer.pool, sizeof(**out));
  if (*out == NULL) {
    (void)moh__tlexer_no_room(&p->lexer, at);
    return p->lexer.pool->full ? MOH_ERR_FORMAT : MOH_ERR_MEMORY;
  }
  (*out)->kind = kind;
  (*out)->at = at;
  return MOH_OK;
}

/* The deepest of a list. */
static int depth_of(const moh__tnode *list) {
  int deepest = 0;
  for (; list != NULL; list = list->next)
    if (list->depth > deepest) deepest = list->depth;
  return deepest;
}

moh_status moh__tparser_close(const moh__tparser *p, moh__tnode *node) {
  const moh__tnode *parts[] = {node->a, node->b, node->c, node->d};
  for (size_t i = 0; i < 4; i++) {
    int depth = depth_of(parts[i]) + 1;
    if (depth > node->depth) node->depth = depth;
  }
  if (node->depth <= MOH__TEMPLATE_DEPTH_MAX) return MOH_OK;
  return moh__tparser_fail(p, node->at, "nested deeper than %d levels",
                           MOH__TEMPLATE_DEPTH_MAX);
}

/* A node of two parts around what stands in *out. */
static moh_status wrap(moh__tparser *p, moh__tnode_kind kind, size_t at,
                       moh__tnode *b, moh__tnode **out) {
  moh__tnode *node;
  MOH_TRY(moh__tparser_node(p, kind, at, &node));
  node->a = *out;
  node->b = b;
  *out = node;
  return moh__tparser_close(p, node);
}

/* Calls a parsing function one level deeper. */
typedef moh_status parse_fn(moh__tparser *p, moh__tnode **out);

static moh_status deeper(moh__tparser *p, parse_fn *parse, moh__tnode **out) {
  *out = NULL;
  if (++p->nesting > MOH__TEMPLATE_DEPTH_MAX) {
    (void)moh__tparser_fail(p, p->token.at, "nested deeper than %d levels",
                            MOH__TEMPLATE_DEPTH_MAX);
    return MOH_ERR_FORMAT;
  }
  moh_status status = parse(p, out);
  p->nesting--;
  return status;
}

/* ---- what stands by itself --------------------------------------------- */

/* Items up to a closing sign, which is taken; a comma may stand behind the
 * last. */
static moh_status parse_items(moh__tparser *p, const char *close,
                              parse_fn *item, moh__tnode **out) {
  moh__tnode **end = out;
  *out = NULL;
  while (!is_sign(p, close)) {
    MOH_TRY(item(p, end));
    end = &(*end)->next;
    if (!is_sign(p, close))
      MOH_TRY(moh__tparser_expect(p, MOH__TTOKEN_SIGN, ","));
  }
  return moh__tparser_advance(p);
}

static moh_status parse_list(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_LIST, p->token.at, out));
  MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(parse_items(p, "]", moh__texpr_parse, &(*out)->a));
  return moh__tparser_close(p, *out);
}

static moh_status parse_pair(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_PAIR, p->token.at, out));
  MOH_TRY(moh__texpr_parse(p, &(*out)->a));
  MOH_TRY(moh__tparser_expect(p, MOH__TTOKEN_SIGN, ":"));
  MOH_TRY(moh__texpr_parse(p, &(*out)->b));
  return moh__tparser_close(p, *out);
}

static moh_status parse_dict(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_DICT, p->token.at, out));
  MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(parse_items(p, "}", parse_pair, &(*out)->a));
  return moh__tparser_close(p, *out);
}

/* (x) is x; () and (x, y) are lists. */
static moh_status parse_brackets(moh__tparser *p, moh__tnode **out) {
  moh__tnode *list;
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_LIST, p->token.at, &list));
  MOH_TRY(moh__tparser_advance(p));
  *out = list;
  if (!is_sign(p, ")")) {
    MOH_TRY(moh__texpr_parse(p, &list->a));
    if (is_sign(p, ")")) {
      *out = list->a;
      return moh__tparser_advance(p);
    }
    MOH_TRY(moh__tparser_expect(p, MOH__TTOKEN_SIGN, ","));
  }
  moh__tnode **rest = list->a == NULL ? &list->a : &list->a->next;
  MOH_TRY(parse_items(p, ")", moh__texpr_parse, rest));
  return moh__tparser_close(p, list);
}

/* A string in work: room doubles, so that many parts cost no more than some
 * times their length. */
typedef struct joined {
  char *bytes;
  size_t n, capacity;
} joined;

static moh_status join(const moh__tparser *p, moh__text more, joined *all) {
  if (all->bytes == NULL || more.n > all->capacity - all->n) {
    size_t capacity = 2 * (all->n + more.n) + 1;
    char *grown = moh__tpool_alloc(p->lexer.pool, capacity);
    if (grown == NULL) return moh__tlexer_no_room(&p->lexer, p->token.at);
    if (all->bytes != NULL) memcpy(grown, all->bytes, all->n);
    *all = (joined){grown, all->n, capacity};
  }
  memcpy(all->bytes + all->n, more.bytes, more.n);
  all->n += more.n;
  return MOH_OK;
}

/* Strings side by side are one. */
static moh_status parse_string(moh__tparser *p, moh__tnode **out) {
  joined all = {0};
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_STRING, p->token.at, out));
  moh__text first = p->token.text;
  MOH_TRY(moh__tparser_advance(p));
  (*out)->text = first;
  if (p->token.kind != MOH__TTOKEN_STRING) return MOH_OK;
  MOH_TRY(join(p, first, &all));
  while (p->token.kind == MOH__TTOKEN_STRING) {
    MOH_TRY(join(p, p->token.text, &all));
    MOH_TRY(moh__tparser_advance(p));
  }
  (*out)->text = (moh__text){all.bytes, all.n};
  return MOH_OK;
}

/* ---- calls ------------------------------------------------------------- */

static moh_status parse_argument(moh__tparser *p, moh__tnode **out) {
  moh__tnode *value, *node;
  size_t at = p->token.at;
  moh__text name = {NULL, 0};
  MOH_TRY(moh__texpr_parse(p, &value));
  if (value->kind == MOH__TNODE_NAME && is_sign(p, "=")) {
    name = value->text;
    MOH_TRY(moh__tparser_advance(p));
    MOH_TRY(moh__texpr_parse(p, &value));
  }
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_ARGUMENT, at, &node));
  node->a = value;
  node->text = name;
  *out = node;
  return moh__tparser_close(p, node);
}

/* Behind the opening bracket. */
static moh_status parse_arguments(moh__tparser *p, moh__tnode **out) {
  size_t at = p->token.at;
  int n = 0;
  MOH_TRY(parse_items(p, ")", parse_argument, out));
  for (const moh__tnode *node = *out; node != NULL; node = node->next) n++;
  if (n <= MOH__TCALL_ARGUMENTS) return MOH_OK;
  return moh__tparser_fail(p, at, "more than %d arguments",
                           MOH__TCALL_ARGUMENTS);
}

/* Its index in the table, or an error that names it. */
static moh_status find_call(const moh__tparser *p, moh__tcall_kind kind,
                            moh__text name, size_t at, int64_t *index) {
  static const char *const kinds[] = {"filter", "test", "method", "function"};
  *index = moh__tcall_find(kind, name);
  if (*index >= 0) return MOH_OK;
  return moh__tparser_fail(p, at, "the %s '%.*s' is not known here",
                           kinds[kind], moh__quoted(name), name.bytes);
}

static moh_status parse_function(moh__tparser *p, moh__tnode *node) {
  node->kind = MOH__TNODE_FUNCTION;
  MOH_TRY(
      find_call(p, MOH__TCALL_FUNCTION, node->text, node->at, &node->number));
  MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(parse_arguments(p, &node->b));
  return moh__tparser_close(p, node);
}

/* A constant, a variable, or a call of a function. */
static moh_status parse_name(moh__tparser *p, moh__tnode **out) {
  static const struct {
    const char *name;
    moh__tnode_kind kind;
    int64_t number;
  } constants[] = {
      {"true", MOH__TNODE_BOOL, 1},  {"True", MOH__TNODE_BOOL, 1},
      {"false", MOH__TNODE_BOOL, 0}, {"False", MOH__TNODE_BOOL, 0},
      {"none", MOH__TNODE_NONE, 0},  {"None", MOH__TNODE_NONE, 0}};
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_NAME, p->token.at, out));
  moh__tnode *node = *out;
  node->text = p->token.text;
  for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
    if (moh__ttext_is(node->text, constants[i].name)) {
      node->kind = constants[i].kind;
      node->number = constants[i].number;
    }
  MOH_TRY(moh__tparser_advance(p));
  if (node->kind != MOH__TNODE_NAME || !is_sign(p, "(")) return MOH_OK;
  return parse_function(p, node);
}

static moh_status parse_primary(moh__tparser *p, moh__tnode **out) {
  switch (p->token.kind) {
    case MOH__TTOKEN_NAME:
      return parse_name(p, out);
    case MOH__TTOKEN_STRING:
      return parse_string(p, out);
    case MOH__TTOKEN_INTEGER:
      MOH_TRY(moh__tparser_node(p, MOH__TNODE_INTEGER, p->token.at, out));
      (*out)->number = p->token.number;
      return moh__tparser_advance(p);
    default:
      break;
  }
  if (is_sign(p, "(")) return parse_brackets(p, out);
  if (is_sign(p, "[")) return parse_list(p, out);
  if (is_sign(p, "{")) return parse_dict(p, out);
  (void)moh__tparser_unexpected(p, "a value");
  return MOH_ERR_FORMAT;
}

/* ---- what stands behind a value ----------------------------------------- */

/* .name, .method( */
static moh_status parse_attribute(moh__tparser *p, moh__tnode **out) {
  moh__tnode *name;
  size_t at = p->token.at;
  if (p->token.kind != MOH__TTOKEN_NAME)
    return moh__tparser_unexpected(p, "a name");
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_STRING, at, &name));
  name->text = p->token.text;
  MOH_TRY(moh__tparser_advance(p));
  if (!is_sign(p, "(")) return wrap(p, MOH__TNODE_ITEM, at, name, out);
  int64_t index;
  MOH_TRY(find_call(p, MOH__TCALL_METHOD, name->text, at, &index));
  MOH_TRY(moh__tparser_advance(p));
  moh__tnode *arguments;
  MOH_TRY(parse_arguments(p, &arguments));
  MOH_TRY(wrap(p, MOH__TNODE_METHOD, at, arguments, out));
  (*out)->number = index;
  return MOH_OK;
}

/* A part of a slice, when there is one. */
static moh_status parse_bound(moh__tparser *p, moh__tnode **out) {
  *out = NULL;
  if (is_sign(p, ":") || is_sign(p, "]")) return MOH_OK;
  return moh__texpr_parse(p, out);
}

/* [i], [a:b], [a:b:c]; the opening bracket is taken. */
static moh_status parse_subscript(moh__tparser *p, size_t at,
                                  moh__tnode **out) {
  moh__tnode *first;
  bool colon, step;
  MOH_TRY(parse_bound(p, &first));
  MOH_TRY(take(p, MOH__TTOKEN_SIGN, ":", &colon));
  if (!colon) {
    if (first == NULL) return moh__tparser_unexpected(p, "a value");
    MOH_TRY(wrap(p, MOH__TNODE_ITEM, at, first, out));
    return moh__tparser_expect(p, MOH__TTOKEN_SIGN, "]");
  }
  MOH_TRY(wrap(p, MOH__TNODE_SLICE, at, first, out));
  MOH_TRY(parse_bound(p, &(*out)->c));
  MOH_TRY(take(p, MOH__TTOKEN_SIGN, ":", &step));
  if (step) MOH_TRY(parse_bound(p, &(*out)->d));
  MOH_TRY(moh__tparser_expect(p, MOH__TTOKEN_SIGN, "]"));
  return moh__tparser_close(p, *out);
}

static moh_status parse_postfix(moh__tparser *p, moh__tnode **out) {
  for (;;) {
    bool dot, bracket;
    size_t at = p->token.at;
    MOH_TRY(take(p, MOH__TTOKEN_SIGN, ".", &dot));
    if (dot) {
      MOH_TRY(parse_attribute(p, out));
      continue;
    }
    MOH_TRY(take(p, MOH__TTOKEN_SIGN, "[", &bracket));
    if (!bracket && is_sign(p, "("))
      return moh__tparser_fail(p, at, "a call of what is no name");
    if (!bracket) return MOH_OK;
    MOH_TRY(parse_subscript(p, at, out));
  }
}

static moh_status parse_filter(moh__tparser *p, moh__tnode **out) {
  moh__tnode *arguments = NULL;
  size_t at = p->token.at;
  bool bracket;
  int64_t index;
  if (p->token.kind != MOH__TTOKEN_NAME)
    return moh__tparser_unexpected(p, "the name of a filter");
  MOH_TRY(find_call(p, MOH__TCALL_FILTER, p->token.text, at, &index));
  MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(take(p, MOH__TTOKEN_SIGN, "(", &bracket));
  if (bracket) MOH_TRY(parse_arguments(p, &arguments));
  MOH_TRY(wrap(p, MOH__TNODE_FILTER, at, arguments, out));
  (*out)->number = index;
  return MOH_OK;
}

/* Whether a test's argument without brackets follows. */
static bool has_argument(const moh__tparser *p) {
  static const char *const words[] = {"else", "or", "and", "if", "is"};
  moh__ttoken_kind kind = p->token.kind;
  if (kind == MOH__TTOKEN_STRING || kind == MOH__TTOKEN_INTEGER) return true;
  if (is_sign(p, "[") || is_sign(p, "{")) return true;
  if (kind != MOH__TTOKEN_NAME) return false;
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
    if (is_name(p, words[i])) return false;
  return true;
}

static moh_status parse_bare_argument(moh__tparser *p, moh__tnode **out) {
  moh__tnode *value;
  MOH_TRY(deeper(p, parse_primary, &value));
  MOH_TRY(parse_postfix(p, &value));
  MOH_TRY(moh__tparser_node(p, MOH__TNODE_ARGUMENT, value->at, out));
  (*out)->a = value;
  return moh__tparser_close(p, *out);
}

/* Behind `is`. */
static moh_status parse_test(moh__tparser *p, moh__tnode **out) {
  moh__tnode *arguments = NULL;
  size_t at = p->token.at;
  bool negated, bracket;
  int64_t index;
  MOH_TRY(take(p, MOH__TTOKEN_NAME, "not", &negated));
  if (p->token.kind != MOH__TTOKEN_NAME)
    return moh__tparser_unexpected(p, "the name of a test");
  MOH_TRY(find_call(p, MOH__TCALL_TEST, p->token.text, p->token.at, &index));
  MOH_TRY(moh__tparser_advance(p));
  MOH_TRY(take(p, MOH__TTOKEN_SIGN, "(", &bracket));
  if (bracket)
    MOH_TRY(parse_arguments(p, &arguments));
  else if (has_argument(p))
    MOH_TRY(parse_bare_argument(p, &arguments));
  MOH_TRY(wrap(p, MOH__TNODE_TEST, at, arguments, out));
  (*out)->number = index;
  return negated ? wrap(p, MOH__TNODE_NOT, at, NULL, out) : MOH_OK;
}

static moh_status parse_filters(moh__tparser *p, moh__tnode **out) {
  for (;;) {
    bool filter, test;
    MOH_TRY(take(p, MOH__TTOKEN_SIGN, "|", &filter));
    if (filter) {
      MOH_TRY(parse_filter(p, out));
      continue;
    }
    MOH_TRY(take(p, MOH__TTOKEN_NAME, "is", &test));
    if (!test) return MOH_OK;
    MOH_TRY(parse_test(p, out));
  }
}

/* ---- operators --------------------------------------------------------- */

/* A sign, a value and what stands behind it, without filters: they belong
 * to the whole. */
static moh_status parse_signed(moh__tparser *p, moh__tnode **out) {
  size_t at = p->token.at;
  bool minus, plus;
  MOH_TRY(take(p, MOH__TTOKEN_SIGN, "-", &minus));
  plus = false;
  if (!minus) MOH_TRY(take(p, MOH__TTOKEN_SIGN, "+", &plus));
  if (minus || plus) {
    MOH_TRY(deeper(p, parse_signed, out));
    MOH_TRY(
        wrap(p, minus ? MOH__TNODE_MINUS : MOH__TNODE_PLUS, at, NULL, out));
  } else {
    MOH_TRY(deeper(p, parse_primary, out));
  }
  return parse_postfix(p, out);
}

static moh_status parse_unary(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(parse_signed(p, out));
  return parse_filters(p, out);
}

typedef struct sign_operator {
  const char *sign;
  moh__toperator op;
} sign_operator;

static const sign_operator *find_operator(const moh__tparser *p,
                                          const sign_operator *list) {
  for (; list->sign != NULL; list++)
    if (is_sign(p, list->sign)) return list;
  return NULL;
}

/* Operators of one level, from left to right. */
static moh_status parse_level(moh__tparser *p, const sign_operator *list,
                              parse_fn *tighter, moh__tnode **out) {
  const sign_operator *found;
  MOH_TRY(tighter(p, out));
  while ((found = find_operator(p, list)) != NULL) {
    moh__tnode *right;
    size_t at = p->token.at;
    MOH_TRY(moh__tparser_advance(p));
    MOH_TRY(tighter(p, &right));
    MOH_TRY(wrap(p, MOH__TNODE_BINARY, at, right, out));
    (*out)->number = found->op;
  }
  return MOH_OK;
}

static moh_status parse_product(moh__tparser *p, moh__tnode **out) {
  static const sign_operator list[] = {{"*", MOH__T_MULTIPLY},
                                       {"//", MOH__T_DIVIDE},
                                       {"%", MOH__T_MODULO},
                                       {NULL, 0}};
  return parse_level(p, list, parse_unary, out);
}

static moh_status parse_join(moh__tparser *p, moh__tnode **out) {
  static const sign_operator list[] = {{"~", MOH__T_JOIN}, {NULL, 0}};
  return parse_level(p, list, parse_product, out);
}

static moh_status parse_sum(moh__tparser *p, moh__tnode **out) {
  static const sign_operator list[] = {
      {"+", MOH__T_ADD}, {"-", MOH__T_SUBTRACT}, {NULL, 0}};
  return parse_level(p, list, parse_join, out);
}

/* ==, in, not in, ...; *found false: none stands there. */
static moh_status take_comparison(moh__tparser *p, int64_t *op, bool *found) {
  static const sign_operator list[] = {{"==", MOH__T_EQUAL},
                                       {"!=", MOH__T_UNEQUAL},
                                       {"<", MOH__T_LESS},
                                       {">", MOH__T_GREATER},
                                       {"<=", MOH__T_AT_MOST},
                                       {">=", MOH__T_AT_LEAST},
                                       {NULL, 0}};
  const sign_operator *sign = find_operator(p, list);
  *found = true;
  if (sign != NULL) {
    *op = sign->op;
    return moh__tparser_advance(p);
  }
  *op = MOH__T_IN;
  if (is_name(p, "in")) return moh__tparser_advance(p);
  *op = MOH__T_NOT_IN;
  *found = is_name(p, "not");
  if (!*found) return MOH_OK;
  MOH_TRY(moh__tparser_advance(p));
  return moh__tparser_expect(p, MOH__TTOKEN_NAME, "in");
}

/* a < b < c is a < b and b < c. */
static moh_status parse_comparison(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(parse_sum(p, out));
  moh__tnode *list = NULL, **end = &list;
  for (;;) {
    size_t at = p->token.at;
    int64_t op = 0;
    bool found;
    MOH_TRY(take_comparison(p, &op, &found));
    if (!found) break;
    MOH_TRY(moh__tparser_node(p, MOH__TNODE_COMPARISON, at, end));
    (*end)->number = op;
    MOH_TRY(parse_sum(p, &(*end)->a));
    MOH_TRY(moh__tparser_close(p, *end));
    end = &(*end)->next;
  }
  return list == NULL ? MOH_OK
                      : wrap(p, MOH__TNODE_COMPARE, list->at, list, out);
}

static moh_status parse_not(moh__tparser *p, moh__tnode **out) {
  size_t at = p->token.at;
  bool negated;
  MOH_TRY(take(p, MOH__TTOKEN_NAME, "not", &negated));
  if (!negated) return parse_comparison(p, out);
  MOH_TRY(deeper(p, parse_not, out));
  return wrap(p, MOH__TNODE_NOT, at, NULL, out);
}

static moh_status parse_words(moh__tparser *p, const char *word,
                              moh__tnode_kind kind, parse_fn *tighter,
                              moh__tnode **out) {
  MOH_TRY(tighter(p, out));
  while (is_name(p, word)) {
    moh__tnode *right;
    size_t at = p->token.at;
    MOH_TRY(moh__tparser_advance(p));
    MOH_TRY(tighter(p, &right));
    MOH_TRY(wrap(p, kind, at, right, out));
  }
  return MOH_OK;
}

static moh_status parse_and(moh__tparser *p, moh__tnode **out) {
  return parse_words(p, "and", MOH__TNODE_AND, parse_not, out);
}

moh_status moh__texpr_parse_plain(moh__tparser *p, moh__tnode **out) {
  return parse_words(p, "or", MOH__TNODE_OR, parse_and, out);
}

static moh_status parse_choice(moh__tparser *p, moh__tnode **out) {
  MOH_TRY(moh__texpr_parse_plain(p, out));
  while (is_name(p, "if")) {
    moh__tnode *node;
    bool otherwise;
    MOH_TRY(moh__tparser_node(p, MOH__TNODE_CHOICE, p->token.at, &node));
    MOH_TRY(moh__tparser_advance(p));
    node->b = *out;
    MOH_TRY(moh__texpr_parse_plain(p, &node->a));
    MOH_TRY(take(p, MOH__TTOKEN_NAME, "else", &otherwise));
    if (otherwise) MOH_TRY(deeper(p, parse_choice, &node->c));
    *out = node;
    MOH_TRY(moh__tparser_close(p, node));
  }
  return MOH_OK;
}

moh_status moh__texpr_parse(moh__tparser *p, moh__tnode **out) {
  return deeper(p, parse_choice, out);
}
