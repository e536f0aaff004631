/*
 * A template at work: it walks along its tree, once, within its bounds.
 * Names that {% set %} makes inside a loop end with the turn, as the language
 * has it; those of {% if %} belong to what is around it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/template_internal.h"

static moh_status evaluate(moh__trun *run, const moh__tnode *node,
                           moh__tvalue *out);
static moh_status execute(moh__trun *run, const moh__tnode *list);

/* ---- names ------------------------------------------------------------- */

static bool same_name(moh__text a, moh__text b) {
  return a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0;
}

static moh_status find_name(moh__trun *run, moh__text name,
                            moh__tvalue *out) {
  MOH_TRY(moh__trun_charge(run, run->n_bindings));
  for (size_t i = run->n_bindings; i-- > 0;)
    if (same_name(run->bindings[i].name, name)) {
      *out = run->bindings[i].value;
      return MOH_OK;
    }
  *out = moh__tvalue_undefined(name);
  return MOH_OK;
}

/* In the innermost frame. */
static moh_status bind(moh__trun *run, moh__text name,
                       const moh__tvalue *value) {
  for (size_t i = run->frame; i < run->n_bindings; i++)
    if (same_name(run->bindings[i].name, name)) {
      run->bindings[i].value = *value;
      return MOH_OK;
    }
  if (run->n_bindings == run->capacity) {
    size_t capacity = 2 * run->capacity + 16;
    struct moh__tbinding *grown =
        moh__trun_alloc(run, capacity, sizeof(*grown));
    if (grown == NULL) return MOH_ERR_FORMAT;
    if (run->n_bindings > 0)
      memcpy(grown, run->bindings, run->n_bindings * sizeof(*grown));
    run->bindings = grown;
    run->capacity = capacity;
  }
  run->bindings[run->n_bindings++] = (struct moh__tbinding){name, *value};
  return MOH_OK;
}

/* ---- numbers ----------------------------------------------------------- */

static moh_status divide(moh__trun *run, moh__toperator op, int64_t a,
                         int64_t b, int64_t *out) {
  if (b == 0) return moh__trun_fail(run, "a division by zero");
  if (a == INT64_MIN && b == -1)
    return moh__trun_fail(run, "a number that is too large");
  int64_t quotient = a / b, rest = a % b;
  if (rest != 0 && (rest < 0) != (b < 0)) { /* rounds down, as Python does */
    quotient--;
    rest += b;
  }
  *out = op == MOH__T_DIVIDE ? quotient : rest;
  return MOH_OK;
}

static moh_status compute(moh__trun *run, moh__toperator op, int64_t a,
                          int64_t b, moh__tvalue *out) {
  bool overflow = false;
  *out = moh__tvalue_int(0);
  switch (op) {
    case MOH__T_ADD:
      overflow = __builtin_add_overflow(a, b, &out->number);
      break;
    case MOH__T_SUBTRACT:
      overflow = __builtin_sub_overflow(a, b, &out->number);
      break;
    case MOH__T_MULTIPLY:
      overflow = __builtin_mul_overflow(a, b, &out->number);
      break;
    default:
      return divide(run, op, a, b, &out->number);
  }
  return overflow ? moh__trun_fail(run, "a number that is too large")
                  : MOH_OK;
}

static bool is_number(const moh__tvalue *v) {
  return v->kind == MOH__T_INT || v->kind == MOH__T_BOOL;
}

/* ---- operators --------------------------------------------------------- */

static moh_status check_defined(moh__trun *run, const moh__tvalue *v) {
  if (v->kind != MOH__T_UNDEFINED) return MOH_OK;
  return moh__trun_fail(run, "'%.*s' is undefined", moh__quoted(v->name),
                        v->name.bytes);
}

static moh_status join_lists(moh__trun *run, const moh__tlist *a,
                             const moh__tlist *b, moh__tvalue *out) {
  MOH_TRY(moh__tvalue_list(run, a->n + b->n, out));
  for (size_t i = 0; i < a->n; i++)
    MOH_TRY(moh__tlist_push(run, out->list, &a->items[i]));
  for (size_t i = 0; i < b->n; i++)
    MOH_TRY(moh__tlist_push(run, out->list, &b->items[i]));
  return MOH_OK;
}

static moh_status repeat(moh__trun *run, const moh__tvalue *string, int64_t n,
                         moh__tvalue *out) {
  MOH_TRY(moh__tvalue_text(run, (moh__text){"", 0}, false, out));
  for (int64_t i = 0; i < n && string->string.n > 0; i++)
    MOH_TRY(moh__tvalue_join(run, out, string, out));
  return MOH_OK;
}

static moh_status join_shown(moh__trun *run, const moh__tvalue *a,
                             const moh__tvalue *b, moh__tvalue *out) {
  moh__tvalue left, right;
  MOH_TRY(moh__tvalue_show(run, a, &left));
  MOH_TRY(moh__tvalue_show(run, b, &right));
  return moh__tvalue_join(run, &left, &right, out);
}

static moh_status evaluate_binary(moh__trun *run, const moh__tnode *node,
                                  moh__tvalue *out) {
  static const char signs[] = "+-*/%~";
  moh__toperator op = (moh__toperator)node->number;
  moh__tvalue a, b;
  MOH_TRY(evaluate(run, node->a, &a));
  MOH_TRY(evaluate(run, node->b, &b));
  run->at = node->at;
  if (op == MOH__T_JOIN) return join_shown(run, &a, &b, out);
  MOH_TRY(check_defined(run, &a));
  MOH_TRY(check_defined(run, &b));
  if (is_number(&a) && is_number(&b))
    return compute(run, op, a.number, b.number, out);
  if (op == MOH__T_ADD && a.kind == b.kind && a.kind == MOH__T_STRING)
    return moh__tvalue_join(run, &a, &b, out);
  if (op == MOH__T_ADD && a.kind == b.kind && a.kind == MOH__T_LIST)
    return join_lists(run, a.list, b.list, out);
  if (op == MOH__T_MULTIPLY && a.kind == MOH__T_STRING && is_number(&b))
    return repeat(run, &a, b.number, out);
  return moh__trun_fail(run, "%s %c %s means nothing",
                        moh__tkind_name(a.kind), signs[op],
                        moh__tkind_name(b.kind));
}

/* -1, 0 or 1; strings by their bytes, which is the order of code points. */
static moh_status order(moh__trun *run, const moh__tvalue *a,
                        const moh__tvalue *b, int *out) {
  MOH_TRY(check_defined(run, a));
  MOH_TRY(check_defined(run, b));
  if (is_number(a) && is_number(b)) {
    *out = (a->number > b->number) - (a->number < b->number);
    return MOH_OK;
  }
  if (a->kind != MOH__T_STRING || b->kind != MOH__T_STRING)
    return moh__trun_fail(run, "%s and %s have no order",
                          moh__tkind_name(a->kind), moh__tkind_name(b->kind));
  size_t x = a->string.n, y = b->string.n;
  MOH_TRY(moh__trun_charge(run, x));
  int front = memcmp(a->string.bytes, b->string.bytes, x < y ? x : y);
  *out = front != 0 ? front : (x > y) - (x < y);
  return MOH_OK;
}

static moh_status compare(moh__trun *run, moh__toperator op,
                          const moh__tvalue *a, const moh__tvalue *b,
                          bool *is) {
  int sign = 0;
  switch (op) {
    case MOH__T_EQUAL:
      return moh__tvalue_equal(run, a, b, is);
    case MOH__T_UNEQUAL:
      MOH_TRY(moh__tvalue_equal(run, a, b, is));
      *is = !*is;
      return MOH_OK;
    case MOH__T_IN:
      return moh__tvalue_contains(run, b, a, is);
    case MOH__T_NOT_IN:
      MOH_TRY(moh__tvalue_contains(run, b, a, is));
      *is = !*is;
      return MOH_OK;
    default:
      MOH_TRY(order(run, a, b, &sign));
      *is = op == MOH__T_LESS      ? sign < 0
            : op == MOH__T_GREATER ? sign > 0
            : op == MOH__T_AT_MOST ? sign <= 0
                                   : sign >= 0;
      return MOH_OK;
  }
}

static moh_status evaluate_compare(moh__trun *run, const moh__tnode *node,
                                   moh__tvalue *out) {
  moh__tvalue left, right;
  bool is = true;
  MOH_TRY(evaluate(run, node->a, &left));
  for (const moh__tnode *c = node->b; c != NULL && is; c = c->next) {
    MOH_TRY(evaluate(run, c->a, &right));
    run->at = c->at;
    MOH_TRY(compare(run, (moh__toperator)c->number, &left, &right, &is));
    left = right;
  }
  *out = moh__tvalue_bool(is);
  return MOH_OK;
}

static moh_status evaluate_sign(moh__trun *run, const moh__tnode *node,
                                moh__tvalue *out) {
  moh__tvalue v;
  MOH_TRY(evaluate(run, node->a, &v));
  run->at = node->at;
  if (!is_number(&v))
    return moh__trun_fail(run, "a sign before %s", moh__tkind_name(v.kind));
  if (node->kind == MOH__TNODE_MINUS)
    return compute(run, MOH__T_SUBTRACT, 0, v.number, out);
  *out = moh__tvalue_int(v.number);
  return MOH_OK;
}

/* and, or: the value of one side, as in Python. */
static moh_status evaluate_logic(moh__trun *run, const moh__tnode *node,
                                 moh__tvalue *out) {
  MOH_TRY(evaluate(run, node->a, out));
  bool decided = moh__tvalue_truth(out) == (node->kind == MOH__TNODE_OR);
  return decided ? MOH_OK : evaluate(run, node->b, out);
}

/* ---- parts ------------------------------------------------------------- */

static moh_status evaluate_item(moh__trun *run, const moh__tnode *node,
                                moh__tvalue *out) {
  moh__tvalue v, key;
  MOH_TRY(evaluate(run, node->a, &v));
  MOH_TRY(evaluate(run, node->b, &key));
  run->at = node->at;
  return moh__tvalue_get(run, &v, &key, out);
}

/* A bound of a slice, or `otherwise` where there is none. */
static moh_status evaluate_bound(moh__trun *run, const moh__tnode *node,
                                 int64_t otherwise, int64_t *out) {
  moh__tvalue v = {.kind = MOH__T_NONE};
  if (node != NULL) MOH_TRY(evaluate(run, node, &v));
  *out = otherwise;
  if (v.kind == MOH__T_NONE) return MOH_OK;
  if (!is_number(&v))
    return moh__trun_fail(run, "%s as a bound of a slice",
                          moh__tkind_name(v.kind));
  *out = v.number;
  return MOH_OK;
}

static int64_t clamp(int64_t i, int64_t least, int64_t most) {
  return i < least ? least : i > most ? most : i;
}

/* Python's rule: negative bounds count from the end. */
static int64_t bound_of(int64_t i, int64_t n, int64_t step) {
  if (i < 0) i = i < -n ? -1 : i + n;
  return step > 0 ? clamp(i, 0, n) : clamp(i, -1, n - 1);
}

/* Items of a list, or characters, joined again at the end. */
static moh_status slice(moh__trun *run, const moh__tvalue *v, int64_t from,
                        int64_t to, int64_t step, moh__tvalue *out) {
  moh__tvalue items, kept;
  MOH_TRY(moh__tvalue_items(run, v, &items));
  MOH_TRY(moh__tvalue_list(run, 0, &kept));
  for (int64_t i = from; step > 0 ? i < to : i > to;) {
    MOH_TRY(moh__tlist_push(run, kept.list, &items.list->items[i]));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  *out = kept;
  if (v->kind != MOH__T_STRING) return MOH_OK;
  moh__toutput o = {0};
  for (size_t i = 0; i < kept.list->n; i++)
    MOH_TRY(moh__toutput_add(run, &o, &kept.list->items[i].string));
  *out = moh__toutput_value(&o);
  return MOH_OK;
}

static moh_status evaluate_slice(moh__trun *run, const moh__tnode *node,
                                 moh__tvalue *out) {
  moh__tvalue v;
  int64_t n, step, from, to;
  MOH_TRY(evaluate(run, node->a, &v));
  MOH_TRY(evaluate_bound(run, node->d, 1, &step));
  run->at = node->at;
  if (v.kind != MOH__T_STRING && v.kind != MOH__T_LIST)
    return moh__trun_fail(run, "a slice of %s", moh__tkind_name(v.kind));
  if (step == 0) return moh__trun_fail(run, "a slice with steps of zero");
  MOH_TRY(moh__tvalue_length(run, &v, &n));
  MOH_TRY(evaluate_bound(run, node->b, step > 0 ? 0 : n, &from));
  MOH_TRY(evaluate_bound(run, node->c, step > 0 ? n : -n - 1, &to));
  return slice(run, &v, bound_of(from, n, step), bound_of(to, n, step), step,
               out);
}

static moh_status evaluate_list(moh__trun *run, const moh__tnode *node,
                                moh__tvalue *out) {
  MOH_TRY(moh__tvalue_list(run, 0, out));
  for (const moh__tnode *item = node->a; item != NULL; item = item->next) {
    moh__tvalue v;
    MOH_TRY(evaluate(run, item, &v));
    MOH_TRY(moh__tlist_push(run, out->list, &v));
  }
  return MOH_OK;
}

static moh_status evaluate_dict(moh__trun *run, const moh__tnode *node,
                                moh__tvalue *out) {
  MOH_TRY(moh__tvalue_dict(run, MOH__T_DICT, out));
  for (const moh__tnode *pair = node->a; pair != NULL; pair = pair->next) {
    moh__tvalue key, v;
    MOH_TRY(evaluate(run, pair->a, &key));
    MOH_TRY(evaluate(run, pair->b, &v));
    run->at = pair->at;
    MOH_TRY(moh__tdict_set(run, out->dict, &key, &v));
  }
  return MOH_OK;
}

/* ---- calls ------------------------------------------------------------- */

static moh_status evaluate_arguments(moh__trun *run, const moh__tnode *list,
                                     moh__targuments *out) {
  *out = (moh__targuments){0};
  for (const moh__tnode *node = list; node != NULL; node = node->next) {
    if (node->text.n == 0 && out->n_named > 0)
      return moh__trun_fail(run, "an argument without a name behind one");
    int i = out->n + out->n_named;
    MOH_TRY(evaluate(run, node->a, &out->items[i]));
    out->names[i] = node->text;
    if (node->text.n > 0)
      out->n_named++;
    else
      out->n++;
  }
  return MOH_OK;
}

static moh_status evaluate_call(moh__trun *run, const moh__tnode *node,
                                moh__tvalue *out) {
  static const moh__tcall_kind kinds[] = {
      [MOH__TNODE_FUNCTION] = MOH__TCALL_FUNCTION,
      [MOH__TNODE_METHOD] = MOH__TCALL_METHOD,
      [MOH__TNODE_FILTER] = MOH__TCALL_FILTER,
      [MOH__TNODE_TEST] = MOH__TCALL_TEST};
  moh__targuments arguments;
  moh__tvalue self;
  bool has_self = node->kind != MOH__TNODE_FUNCTION;
  if (has_self) MOH_TRY(evaluate(run, node->a, &self));
  MOH_TRY(evaluate_arguments(run, node->b, &arguments));
  run->at = node->at;
  return moh__tcall_run(run, kinds[node->kind], (int)node->number,
                        has_self ? &self : NULL, &arguments, out);
}

static moh_status evaluate_choice(moh__trun *run, const moh__tnode *node,
                                  moh__tvalue *out) {
  moh__tvalue condition;
  MOH_TRY(evaluate(run, node->a, &condition));
  if (moh__tvalue_truth(&condition)) return evaluate(run, node->b, out);
  if (node->c != NULL) return evaluate(run, node->c, out);
  *out = moh__tvalue_undefined(moh__text_of("a choice without else"));
  return MOH_OK;
}

static moh_status evaluate_not(moh__trun *run, const moh__tnode *node,
                               moh__tvalue *out) {
  moh__tvalue v;
  MOH_TRY(evaluate(run, node->a, &v));
  *out = moh__tvalue_bool(!moh__tvalue_truth(&v));
  return MOH_OK;
}

/* What does not depend on other nodes. */
static moh_status evaluate_leaf(moh__trun *run, const moh__tnode *node,
                                moh__tvalue *out) {
  switch (node->kind) {
    case MOH__TNODE_STRING:
      return moh__tvalue_text(run, node->text, false, out);
    case MOH__TNODE_INTEGER:
      *out = moh__tvalue_int(node->number);
      return MOH_OK;
    case MOH__TNODE_BOOL:
      *out = moh__tvalue_bool(node->number != 0);
      return MOH_OK;
    case MOH__TNODE_NONE:
      *out = (moh__tvalue){.kind = MOH__T_NONE};
      return MOH_OK;
    default:
      return find_name(run, node->text, out);
  }
}

static moh_status evaluate(moh__trun *run, const moh__tnode *node,
                           moh__tvalue *out) {
  run->at = node->at;
  MOH_TRY(moh__trun_charge(run, 0));
  switch (node->kind) {
    case MOH__TNODE_LIST:
      return evaluate_list(run, node, out);
    case MOH__TNODE_DICT:
      return evaluate_dict(run, node, out);
    case MOH__TNODE_ITEM:
      return evaluate_item(run, node, out);
    case MOH__TNODE_SLICE:
      return evaluate_slice(run, node, out);
    case MOH__TNODE_FUNCTION:
    case MOH__TNODE_METHOD:
    case MOH__TNODE_FILTER:
    case MOH__TNODE_TEST:
      return evaluate_call(run, node, out);
    case MOH__TNODE_NOT:
      return evaluate_not(run, node, out);
    case MOH__TNODE_MINUS:
    case MOH__TNODE_PLUS:
      return evaluate_sign(run, node, out);
    case MOH__TNODE_AND:
    case MOH__TNODE_OR:
      return evaluate_logic(run, node, out);
    case MOH__TNODE_COMPARE:
      return evaluate_compare(run, node, out);
    case MOH__TNODE_BINARY:
      return evaluate_binary(run, node, out);
    case MOH__TNODE_CHOICE:
      return evaluate_choice(run, node, out);
    default:
      return evaluate_leaf(run, node, out);
  }
}

/* ---- output ------------------------------------------------------------ */

static moh_status write_value(moh__trun *run, const moh__tnode *node) {
  moh__tvalue v, shown;
  MOH_TRY(evaluate(run, node->a, &v));
  run->at = node->at;
  MOH_TRY(moh__tvalue_show(run, &v, &shown));
  return moh__toutput_add(run, &run->output, &shown.string);
}

/* ---- set --------------------------------------------------------------- */

static moh_status set_attribute(moh__trun *run, const moh__tnode *node,
                                const moh__tvalue *value) {
  moh__tvalue space, key;
  MOH_TRY(find_name(run, node->text, &space));
  run->at = node->at;
  if (space.kind != MOH__T_NAMESPACE)
    return moh__trun_fail(run, "'%.*s' is %s, not a namespace",
                          moh__quoted(node->text), node->text.bytes,
                          moh__tkind_name(space.kind));
  MOH_TRY(moh__tvalue_text(run, node->text2, false, &key));
  return moh__tdict_set(run, space.dict, &key, value);
}

static moh_status execute_set(moh__trun *run, const moh__tnode *node) {
  moh__tvalue value;
  MOH_TRY(evaluate(run, node->a, &value));
  if (node->text2.n > 0) return set_attribute(run, node, &value);
  return bind(run, node->text, &value);
}

/* What the body writes becomes a string; its names end with it. */
static moh_status execute_set_body(moh__trun *run, const moh__tnode *node) {
  moh__toutput outer = run->output;
  size_t frame = run->frame, n_bindings = run->n_bindings;
  run->output = (moh__toutput){0};
  run->frame = n_bindings;
  MOH_TRY(execute(run, node->b));
  moh__tvalue value = moh__toutput_value(&run->output);
  run->output = outer;
  run->frame = frame;
  run->n_bindings = n_bindings;
  return bind(run, node->text, &value);
}

/* ---- loops ------------------------------------------------------------- */

typedef enum flow { GO_ON, BREAK, CONTINUE } flow;

static moh_status unpack(moh__trun *run, const moh__tnode *node,
                         const moh__tvalue *item) {
  if (node->text2.n == 0) return bind(run, node->text, item);
  if (item->kind != MOH__T_LIST || item->list->n != 2)
    return moh__trun_fail(run, "%s is no pair", moh__tkind_name(item->kind));
  MOH_TRY(bind(run, node->text, &item->list->items[0]));
  return bind(run, node->text2, &item->list->items[1]);
}

/* The items for which the condition of {% for %} holds. */
static moh_status choose_items(moh__trun *run, const moh__tnode *node,
                               const moh__tvalue *all, moh__tvalue *kept) {
  *kept = *all;
  if (node->d == NULL) return MOH_OK;
  size_t n_bindings = run->n_bindings;
  MOH_TRY(moh__tvalue_list(run, 0, kept));
  for (size_t i = 0; i < all->list->n; i++) {
    moh__tvalue is;
    MOH_TRY(unpack(run, node, &all->list->items[i]));
    MOH_TRY(evaluate(run, node->d, &is));
    if (moh__tvalue_truth(&is))
      MOH_TRY(moh__tlist_push(run, kept->list, &all->list->items[i]));
    run->n_bindings = n_bindings;
  }
  return MOH_OK;
}

static moh_status set_loop_field(moh__trun *run, moh__tdict *loop,
                                 const char *name, moh__tvalue value) {
  moh__tvalue key;
  MOH_TRY(moh__tvalue_text(run, moh__text_of(name), false, &key));
  return moh__tdict_set(run, loop, &key, &value);
}

/* loop.index and its kin, for turn i. */
static moh_status set_loop(moh__trun *run, moh__tdict *loop,
                           const moh__tlist *items, size_t i) {
  const moh__tvalue none = moh__tvalue_undefined(moh__text_of("loop item"));
  int64_t n = (int64_t)items->n, at = (int64_t)i;
  const struct {
    const char *name;
    moh__tvalue value;
  } fields[] = {{"index", moh__tvalue_int(at + 1)},
                {"index0", moh__tvalue_int(at)},
                {"revindex", moh__tvalue_int(n - at)},
                {"revindex0", moh__tvalue_int(n - at - 1)},
                {"length", moh__tvalue_int(n)},
                {"first", moh__tvalue_bool(i == 0)},
                {"last", moh__tvalue_bool(at == n - 1)},
                {"previtem", i > 0 ? items->items[i - 1] : none},
                {"nextitem", at < n - 1 ? items->items[i + 1] : none}};
  loop->depth = items->depth;
  for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
    if (i > 0)
      loop->values[f] = fields[f].value;
    else
      MOH_TRY(set_loop_field(run, loop, fields[f].name, fields[f].value));
  }
  return MOH_OK;
}

static moh_status execute_turn(moh__trun *run, const moh__tnode *node,
                               const moh__tlist *items, size_t i,
                               const moh__tvalue *loop) {
  run->at = node->at;
  MOH_TRY(unpack(run, node, &items->items[i]));
  MOH_TRY(set_loop(run, loop->dict, items, i));
  MOH_TRY(bind(run, moh__text_of("loop"), loop));
  return execute(run, node->b);
}

static moh_status execute_for(moh__trun *run, const moh__tnode *node) {
  moh__tvalue v, all, items, loop;
  MOH_TRY(evaluate(run, node->a, &v));
  run->at = node->at;
  MOH_TRY(moh__tvalue_items(run, &v, &all));
  MOH_TRY(moh__tvalue_dict(run, MOH__T_DICT, &loop));
  size_t frame = run->frame, n_bindings = run->n_bindings;
  run->frame = n_bindings;
  MOH_TRY(choose_items(run, node, &all, &items));
  for (size_t i = 0; i < items.list->n && run->flow != BREAK; i++) {
    run->flow = GO_ON;
    MOH_TRY(execute_turn(run, node, items.list, i, &loop));
    run->n_bindings = n_bindings;
  }
  run->flow = GO_ON;
  run->frame = frame;
  return items.list->n == 0 ? execute(run, node->c) : MOH_OK;
}

/* ---- statements -------------------------------------------------------- */

static moh_status execute_if(moh__trun *run, const moh__tnode *node) {
  moh__tvalue condition;
  MOH_TRY(evaluate(run, node->a, &condition));
  return execute(run, moh__tvalue_truth(&condition) ? node->b : node->c);
}

static moh_status execute_one(moh__trun *run, const moh__tnode *node) {
  run->at = node->at;
  MOH_TRY(moh__trun_charge(run, 0));
  switch (node->kind) {
    case MOH__TNODE_DATA:
      return moh__toutput_put(run, &run->output, node->text.bytes,
                              node->text.n, false);
    case MOH__TNODE_OUTPUT:
      return write_value(run, node);
    case MOH__TNODE_FOR:
      return execute_for(run, node);
    case MOH__TNODE_IF:
      return execute_if(run, node);
    case MOH__TNODE_SET:
      return execute_set(run, node);
    case MOH__TNODE_SET_BODY:
      return execute_set_body(run, node);
    default:
      run->flow = node->kind == MOH__TNODE_BREAK ? BREAK : CONTINUE;
      return MOH_OK;
  }
}

static moh_status execute(moh__trun *run, const moh__tnode *list) {
  for (; list != NULL && run->flow == GO_ON; list = list->next)
    MOH_TRY(execute_one(run, list));
  return MOH_OK;
}

/* ---- from start to end ------------------------------------------------- */

moh__template_limits moh__template_limits_default(void) {
  return (moh__template_limits){
      .steps = 1 << 24, .output = 16u << 20, .memory = 256u << 20};
}

static moh_status bind_all(moh__trun *run, const json_t *variables,
                           bool content) {
  const char *key;
  const json_t *json;
  json_object_foreach((json_t *)variables, key, json) {
    moh__tvalue value;
    MOH_TRY(moh__tvalue_from_json(run, json, content, 0, &value));
    MOH_TRY(bind(run, moh__text_of(key), &value));
  }
  return MOH_OK;
}

static moh_status add_piece(moh__rendered *out, size_t start, size_t end,
                            bool content, size_t *capacity) {
  if (out->n_pieces == *capacity) {
    *capacity = 2 * *capacity + 8;
    void *grown = reallocarray(out->pieces, *capacity, sizeof(*out->pieces));
    if (grown == NULL) return MOH_ERR_MEMORY;
    out->pieces = grown;
  }
  out->pieces[out->n_pieces++] = (moh__text_run){start, end, content};
  return MOH_OK;
}

/* Runs of bytes of the same origin. */
static moh_status cut_pieces(moh__rendered *out,
                             const unsigned char *content) {
  size_t start = 0, capacity = 0;
  for (size_t i = 1; i <= out->n; i++) {
    if (i < out->n && content[i] == content[start]) continue;
    MOH_TRY(add_piece(out, start, i, content[start], &capacity));
    start = i;
  }
  return MOH_OK;
}

static moh_status take_output(const moh__trun *run, moh__rendered *out,
                              moh_error *err) {
  out->n = run->output.n;
  out->bytes = calloc(1, out->n + 1);
  moh_status status = out->bytes == NULL ? MOH_ERR_MEMORY : MOH_OK;
  if (status == MOH_OK && out->n > 0) {
    memcpy(out->bytes, run->output.bytes, out->n);
    status = cut_pieces(out, run->output.content);
  }
  if (status == MOH_OK) return MOH_OK;
  moh__rendered_free(out);
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a prompt");
}

void moh__rendered_free(moh__rendered *rendered) {
  free(rendered->bytes);
  free(rendered->pieces);
  *rendered = (moh__rendered){0};
}

moh_status moh__template_render(const moh__template *program,
                                const json_t *settings, const json_t *data,
                                const moh__template_limits *limits,
                                moh__rendered *out, moh_error *err) {
  moh__trun run = {.program = program, .err = err};
  run.limits = limits != NULL ? *limits : moh__template_limits_default();
  run.steps = run.limits.steps;
  run.pool.most = run.limits.memory;
  *out = (moh__rendered){0};
  moh_status status = bind_all(&run, settings, false);
  if (status == MOH_OK) status = bind_all(&run, data, true);
  if (status == MOH_OK) status = execute(&run, program->body);
  if (status == MOH_OK) status = take_output(&run, out, err);
  moh__tpool_free(&run.pool);
  return status;
}
