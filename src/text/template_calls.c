/*
 * What a template can call, in tables by name: filters, tests, methods of
 * strings and dictionaries, functions. Each gets what stands before it and
 * its arguments by place; those given by name are put in their places.
 */
#include <string.h>

#include "text/pattern.h"
#include "text/template_internal.h"

/* Argument i, or NULL when it is not given, or none. */
static const moh__tvalue *argument(const moh__targuments *a, int i) {
  bool given = i < a->n && a->items[i].kind != MOH__T_UNDEFINED &&
               a->items[i].kind != MOH__T_NONE;
  return given ? &a->items[i] : NULL;
}

static moh_status wrong(moh__trun *run, const char *what,
                        const moh__tvalue *v) {
  return moh__trun_fail(run, "%s must not be %s", what,
                        moh__tkind_name(v->kind));
}

/* ---- letters ----------------------------------------------------------- */

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static char to_upper(char c) { return is_lower(c) ? (char)(c - 32) : c; }
static char to_lower(char c) { return is_upper(c) ? (char)(c + 32) : c; }

/* Whether a letter behind `before` (at the front: NUL) is to be upper
 * case. */
typedef bool begins_fn(size_t at, char before);

static moh_status recase(moh__trun *run, const moh__tvalue *self,
                         begins_fn *begins, moh__tvalue *out) {
  char *bytes = moh__tvalue_copy(run, self, out), before = '\0';
  if (bytes == NULL) return MOH_ERR_FORMAT;
  for (size_t i = 0; i < self->string.n; i++) {
    char c = bytes[i];
    bytes[i] = begins(i, before) ? to_upper(c) : to_lower(c);
    before = c;
  }
  return MOH_OK;
}

static bool always(size_t at, char before) {
  (void)at, (void)before;
  return true;
}

static bool never(size_t at, char before) {
  (void)at, (void)before;
  return false;
}

static bool at_front(size_t at, char before) {
  (void)before;
  return at == 0;
}

/* The filter: behind a blank, a hyphen or an opening bracket. */
static bool begins_word(size_t at, char before) {
  return at == 0 ||
         (before != '\0' && strchr("- \t\n\v\f\r({[<", before) != NULL);
}

/* The method: behind what is no letter. */
static bool behind_no_letter(size_t at, char before) {
  bool letter = is_upper(before) || is_lower(before);
  return at == 0 || (!letter && (unsigned char)before < 0x80);
}

#define CASE_CALL(function, begins)                                        \
  static moh_status function(moh__trun *run, const moh__tvalue *self,      \
                             const moh__targuments *a, moh__tvalue *out) { \
    (void)a;                                                               \
    return recase(run, self, begins, out);                                 \
  }

CASE_CALL(upper, always)
CASE_CALL(lower, never)
CASE_CALL(capitalize, at_front)
CASE_CALL(title_words, begins_word)
CASE_CALL(title_letters, behind_no_letter)

/* ---- ends -------------------------------------------------------------- */

/* White space as Python strips it. */
static bool is_space(uint32_t code) {
  return moh__is_blank(code) || (code >= 0x1C && code <= 0x1F);
}

/* Whether the character [at, at + n) of s is one of `set`, or a blank. */
static bool strips(const moh__tstring *s, size_t at, size_t n,
                   const moh__tvalue *set) {
  uint32_t code = 0;
  moh__text one = {s->bytes + at, n};
  if (set == NULL) return moh__utf8_next(one, &code) == n && is_space(code);
  for (size_t i = 0; i < set->string.n;) {
    size_t step = moh__tstring_step(&set->string, i);
    if (step == n && memcmp(set->string.bytes + i, one.bytes, n) == 0)
      return true;
    i += step;
  }
  return false;
}

/* Where the character in front of `end` begins. */
static size_t step_back(const moh__tstring *s, size_t end) {
  for (size_t n = end < 4 ? end : 4; n > 1; n--)
    if (moh__tstring_step(s, end - n) == n) return end - n;
  return end - 1;
}

static moh_status strip_ends(moh__trun *run, const moh__tvalue *self,
                             const moh__targuments *a, bool left, bool right,
                             moh__tvalue *out) {
  const moh__tvalue *set = argument(a, 0);
  const moh__tstring *s = &self->string;
  size_t from = 0, to = s->n;
  if (set != NULL && set->kind != MOH__T_STRING)
    return wrong(run, "what is stripped", set);
  MOH_TRY(moh__trun_charge(run, set == NULL ? s->n : s->n + set->string.n));
  while (left && from < to) {
    size_t n = moh__tstring_step(s, from);
    if (!strips(s, from, n, set)) break;
    MOH_TRY(moh__trun_charge(run, set == NULL ? 0 : set->string.n));
    from += n;
  }
  while (right && to > from) {
    size_t at = step_back(s, to);
    if (!strips(s, at, to - at, set)) break;
    MOH_TRY(moh__trun_charge(run, set == NULL ? 0 : set->string.n));
    to = at;
  }
  *out = moh__tvalue_part(self, from, to);
  return MOH_OK;
}

static moh_status strip(moh__trun *run, const moh__tvalue *self,
                        const moh__targuments *a, moh__tvalue *out) {
  return strip_ends(run, self, a, true, true, out);
}

static moh_status lstrip(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, moh__tvalue *out) {
  return strip_ends(run, self, a, true, false, out);
}

static moh_status rstrip(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, moh__tvalue *out) {
  return strip_ends(run, self, a, false, true, out);
}

/* trim writes what is no string first. */
static moh_status trim(moh__trun *run, const moh__tvalue *self,
                       const moh__targuments *a, moh__tvalue *out) {
  moh__tvalue shown;
  MOH_TRY(moh__tvalue_show(run, self, &shown));
  return strip_ends(run, &shown, a, true, true, out);
}

static moh_status stands_at_end(moh__trun *run, const moh__tvalue *self,
                                const moh__tvalue *part, bool front,
                                bool *is) {
  if (part->kind != MOH__T_STRING)
    return wrong(run, "what a string starts or ends with", part);
  size_t n = part->string.n, all = self->string.n;
  MOH_TRY(moh__trun_charge(run, n));
  *is = n <= all && memcmp(self->string.bytes + (front ? 0 : all - n),
                           part->string.bytes, n) == 0;
  return MOH_OK;
}

/* One of several, when a list is given. */
static moh_status stands_at(moh__trun *run, const moh__tvalue *self,
                            const moh__targuments *a, bool front,
                            moh__tvalue *out) {
  bool is = false;
  const moh__tvalue *parts = &a->items[0];
  if (parts->kind != MOH__T_LIST)
    MOH_TRY(stands_at_end(run, self, parts, front, &is));
  else
    for (size_t i = 0; i < parts->list->n && !is; i++)
      MOH_TRY(stands_at_end(run, self, &parts->list->items[i], front, &is));
  *out = moh__tvalue_bool(is);
  return MOH_OK;
}

static moh_status startswith(moh__trun *run, const moh__tvalue *self,
                             const moh__targuments *a, moh__tvalue *out) {
  return stands_at(run, self, a, true, out);
}

static moh_status endswith(moh__trun *run, const moh__tvalue *self,
                           const moh__targuments *a, moh__tvalue *out) {
  return stands_at(run, self, a, false, out);
}

/* ---- cutting and joining ----------------------------------------------- */

/* How often at most; all when it is not given or negative. */
static moh_status count_argument(moh__trun *run, const moh__targuments *a,
                                 int i, int64_t *most) {
  const moh__tvalue *v = argument(a, i);
  *most = INT64_MAX;
  if (v == NULL) return MOH_OK;
  if (v->kind != MOH__T_INT) return wrong(run, "a count", v);
  if (v->number >= 0) *most = v->number;
  return MOH_OK;
}

/* The place of a part at or behind `from`, or the end. */
static moh_status find(moh__trun *run, const moh__tstring *s, size_t from,
                       const moh__tstring *part, size_t *at) {
  const char *place =
      memmem(s->bytes + from, s->n - from, part->bytes, part->n);
  *at = place == NULL ? s->n : (size_t)(place - s->bytes);
  return moh__trun_charge(run, *at - from);
}

static moh_status push_part(moh__trun *run, moh__tlist *list,
                            const moh__tvalue *v, size_t from, size_t to) {
  moh__tvalue part = moh__tvalue_part(v, from, to);
  return moh__tlist_push(run, list, &part);
}

static moh_status split_at(moh__trun *run, const moh__tvalue *self,
                           const moh__tstring *separator, int64_t most,
                           moh__tvalue *out) {
  size_t from = 0, at;
  for (; most > 0; most--) {
    MOH_TRY(find(run, &self->string, from, separator, &at));
    if (at == self->string.n) break;
    MOH_TRY(push_part(run, out->list, self, from, at));
    from = at + separator->n;
  }
  return push_part(run, out->list, self, from, self->string.n);
}

/* At white space, as much as there is; none at the ends. */
static moh_status split_blanks(moh__trun *run, const moh__tvalue *self,
                               int64_t most, moh__tvalue *out) {
  const moh__tstring *s = &self->string;
  size_t at = 0;
  MOH_TRY(moh__trun_charge(run, s->n));
  for (;;) {
    size_t n;
    while (at < s->n &&
           (n = moh__tstring_step(s, at), strips(s, at, n, NULL)))
      at += n;
    if (at == s->n) return MOH_OK;
    size_t from = at;
    while (at < s->n && (most == 0 || (n = moh__tstring_step(s, at),
                                       !strips(s, at, n, NULL))))
      at = most == 0 ? s->n : at + n;
    most--;
    MOH_TRY(push_part(run, out->list, self, from, at));
  }
}

static moh_status split(moh__trun *run, const moh__tvalue *self,
                        const moh__targuments *a, moh__tvalue *out) {
  const moh__tvalue *separator = argument(a, 0);
  int64_t most;
  MOH_TRY(count_argument(run, a, 1, &most));
  MOH_TRY(moh__tvalue_list(run, 0, out));
  if (separator == NULL) return split_blanks(run, self, most, out);
  if (separator->kind != MOH__T_STRING || separator->string.n == 0)
    return moh__trun_fail(run, "split needs a string that is not empty");
  return split_at(run, self, &separator->string, most, out);
}

static bool has_content(const moh__tstring *s, size_t from, size_t to) {
  return memchr(s->content + from, 1, to - from) != NULL;
}

/* What comes in for content is content. */
static moh_status put_in(moh__trun *run, moh__toutput *o,
                         const moh__tstring *new, bool for_content) {
  if (!for_content) return moh__toutput_add(run, o, new);
  return moh__toutput_put(run, o, new->bytes, new->n, true);
}

static moh_status replace(moh__trun *run, const moh__tvalue *self,
                          const moh__targuments *a, moh__tvalue *out) {
  const moh__tvalue *old = &a->items[0], *new = &a->items[1];
  const moh__tstring *s = &self->string;
  moh__toutput o = {0};
  int64_t most;
  size_t from = 0, at;
  MOH_TRY(count_argument(run, a, 2, &most));
  if (old->kind != MOH__T_STRING || new->kind != MOH__T_STRING ||
      old->string.n == 0)
    return moh__trun_fail(run,
                          "replace needs two strings, the first not empty");
  for (; most > 0; most--) {
    MOH_TRY(find(run, s, from, &old->string, &at));
    if (at == s->n) break;
    moh__tvalue before = moh__tvalue_part(self, from, at);
    from = at + old->string.n;
    MOH_TRY(moh__toutput_add(run, &o, &before.string));
    MOH_TRY(put_in(run, &o, &new->string, has_content(s, at, from)));
  }
  moh__tvalue rest = moh__tvalue_part(self, from, s->n);
  MOH_TRY(moh__toutput_add(run, &o, &rest.string));
  *out = moh__toutput_value(&o);
  return MOH_OK;
}

static moh_status join_items(moh__trun *run, const moh__tvalue *v,
                             const moh__tvalue *between, moh__tvalue *out) {
  moh__tvalue items, shown;
  moh__toutput o = {0};
  MOH_TRY(moh__tvalue_items(run, v, &items));
  for (size_t i = 0; i < items.list->n; i++) {
    if (i > 0 && between != NULL)
      MOH_TRY(moh__toutput_add(run, &o, &between->string));
    MOH_TRY(moh__tvalue_show(run, &items.list->items[i], &shown));
    MOH_TRY(moh__toutput_add(run, &o, &shown.string));
  }
  *out = moh__toutput_value(&o);
  return MOH_OK;
}

static moh_status join(moh__trun *run, const moh__tvalue *self,
                       const moh__targuments *a, moh__tvalue *out) {
  const moh__tvalue *between = argument(a, 0);
  if (between != NULL && between->kind != MOH__T_STRING)
    return wrong(run, "what stands between", between);
  return join_items(run, self, between, out);
}

static moh_status join_method(moh__trun *run, const moh__tvalue *self,
                              const moh__targuments *a, moh__tvalue *out) {
  return join_items(run, &a->items[0], self, out);
}

/* ---- lists and dictionaries -------------------------------------------- */

static moh_status length(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  *out = moh__tvalue_int(0);
  return moh__tvalue_length(run, self, &out->number);
}

static moh_status item_at(moh__trun *run, const moh__tvalue *self, int64_t at,
                          moh__tvalue *out) {
  moh__tvalue items, key = moh__tvalue_int(at);
  MOH_TRY(moh__tvalue_items(run, self, &items));
  return moh__tvalue_get(run, &items, &key, out);
}

static moh_status first(moh__trun *run, const moh__tvalue *self,
                        const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  return item_at(run, self, 0, out);
}

static moh_status last(moh__trun *run, const moh__tvalue *self,
                       const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  return item_at(run, self, -1, out);
}

static moh_status to_list(moh__trun *run, const moh__tvalue *self,
                          const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  return moh__tvalue_items(run, self, out);
}

/* Pairs of key and value, as lists of two. */
static moh_status items(moh__trun *run, const moh__tvalue *self,
                        const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  MOH_TRY(moh__tvalue_list(run, 0, out));
  if (self->kind == MOH__T_UNDEFINED) return MOH_OK;
  if (self->kind != MOH__T_DICT) return wrong(run, "what has pairs", self);
  for (size_t i = 0; i < self->dict->n; i++) {
    moh__tvalue pair;
    MOH_TRY(moh__tvalue_list(run, 2, &pair));
    MOH_TRY(moh__tlist_push(run, pair.list, &self->dict->keys[i]));
    MOH_TRY(moh__tlist_push(run, pair.list, &self->dict->values[i]));
    MOH_TRY(moh__tlist_push(run, out->list, &pair));
  }
  return MOH_OK;
}

static moh_status keys(moh__trun *run, const moh__tvalue *self,
                       const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  if (self->kind != MOH__T_DICT) return wrong(run, "what has keys", self);
  return moh__tvalue_items(run, self, out);
}

static moh_status values(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  if (self->kind != MOH__T_DICT) return wrong(run, "what has values", self);
  MOH_TRY(moh__tvalue_list(run, self->dict->n, out));
  for (size_t i = 0; i < self->dict->n; i++)
    MOH_TRY(moh__tlist_push(run, out->list, &self->dict->values[i]));
  return MOH_OK;
}

static moh_status get(moh__trun *run, const moh__tvalue *self,
                      const moh__targuments *a, moh__tvalue *out) {
  moh__tvalue *found;
  if (self->kind != MOH__T_DICT) return wrong(run, "what has keys", self);
  MOH_TRY(moh__tdict_find(run, self->dict, &a->items[0], &found));
  *out = (moh__tvalue){.kind = MOH__T_NONE};
  if (found != NULL)
    *out = *found;
  else if (a->n > 1)
    *out = a->items[1];
  return MOH_OK;
}

/* ---- other filters ----------------------------------------------------- */

static moh_status default_to(moh__trun *run, const moh__tvalue *self,
                             const moh__targuments *a, moh__tvalue *out) {
  bool falsy =
      a->n > 1 && moh__tvalue_truth(&a->items[1]) && !moh__tvalue_truth(self);
  *out = *self;
  if (self->kind != MOH__T_UNDEFINED && !falsy) return MOH_OK;
  if (a->n == 0 || a->items[0].kind == MOH__T_UNDEFINED)
    return moh__tvalue_text(run, (moh__text){"", 0}, false, out);
  *out = a->items[0];
  return MOH_OK;
}

static moh_status tojson(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, moh__tvalue *out) {
  const moh__tvalue *indent = argument(a, 0);
  if (indent != NULL && indent->kind != MOH__T_INT)
    return wrong(run, "indent", indent);
  int64_t blanks = indent == NULL       ? -1
                   : indent->number < 0 ? 0
                                        : indent->number;
  return moh__tvalue_json(run, self, blanks, out);
}

static moh_status to_string(moh__trun *run, const moh__tvalue *self,
                            const moh__targuments *a, moh__tvalue *out) {
  (void)a;
  return moh__tvalue_show(run, self, out);
}

/* A whole number in decimal digits with blanks around it; a fraction is cut
 * off. */
static bool read_number(const moh__tstring *s, int64_t *number) {
  size_t i = 0, digits = 0;
  *number = 0;
  bool minus = s->n > 0 && s->bytes[0] == '-';
  if (s->n > 0 && (minus || s->bytes[0] == '+')) i++;
  for (; i < s->n && s->bytes[i] >= '0' && s->bytes[i] <= '9'; i++, digits++)
    if (__builtin_mul_overflow(*number, 10, number) ||
        __builtin_add_overflow(*number, s->bytes[i] - '0', number))
      return false;
  if (i < s->n && s->bytes[i] == '.')
    for (i++; i < s->n && s->bytes[i] >= '0' && s->bytes[i] <= '9'; i++)
      digits++;
  if (minus) *number = -*number;
  return digits > 0 && i == s->n;
}

static moh_status to_int(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, moh__tvalue *out) {
  moh__tvalue trimmed;
  moh__targuments none = {0};
  const moh__tvalue *otherwise = argument(a, 0);
  *out = moh__tvalue_int(0);
  if (self->kind == MOH__T_INT || self->kind == MOH__T_BOOL) {
    out->number = self->number;
    return MOH_OK;
  }
  if (self->kind == MOH__T_STRING) {
    MOH_TRY(strip(run, self, &none, &trimmed));
    if (read_number(&trimmed.string, &out->number)) return MOH_OK;
  }
  *out = otherwise != NULL ? *otherwise : moh__tvalue_int(0);
  return MOH_OK;
}

/* ---- choosing items ---------------------------------------------------- */

/* The test whose name is argument `at`, on a value, with what follows as its
 * argument; without a name: truth. */
static moh_status passes(moh__trun *run, const moh__tvalue *v,
                         const moh__targuments *a, int at, bool *is) {
  moh__targuments rest = {0};
  moh__tvalue result;
  *is = moh__tvalue_truth(v);
  if (at >= a->n) return MOH_OK;
  if (a->items[at].kind != MOH__T_STRING)
    return wrong(run, "the name of a test", &a->items[at]);
  moh__text name = {a->items[at].string.bytes, a->items[at].string.n};
  int index = moh__tcall_find(MOH__TCALL_TEST, name);
  if (index < 0)
    return moh__trun_fail(run, "the test '%.*s' is not known here",
                          moh__quoted(name), name.bytes);
  if (at + 1 < a->n) rest.items[rest.n++] = a->items[at + 1];
  MOH_TRY(moh__tcall_run(run, MOH__TCALL_TEST, index, v, &rest, &result));
  *is = moh__tvalue_truth(&result);
  return MOH_OK;
}

/* Items that pass, or (wanted false) those that do not; with_attribute: the
 * test is of the attribute that the first argument names. */
static moh_status choose(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, bool with_attribute,
                         bool wanted, moh__tvalue *out) {
  moh__tvalue all;
  MOH_TRY(moh__tvalue_items(run, self, &all));
  MOH_TRY(moh__tvalue_list(run, 0, out));
  for (size_t i = 0; i < all.list->n; i++) {
    const moh__tvalue *item = &all.list->items[i];
    moh__tvalue tested = *item;
    bool is;
    if (with_attribute)
      MOH_TRY(moh__tvalue_get(run, item, &a->items[0], &tested));
    MOH_TRY(passes(run, &tested, a, with_attribute, &is));
    if (is == wanted) MOH_TRY(moh__tlist_push(run, out->list, item));
  }
  return MOH_OK;
}

static moh_status select_items(moh__trun *run, const moh__tvalue *self,
                               const moh__targuments *a, moh__tvalue *out) {
  return choose(run, self, a, false, true, out);
}

static moh_status reject(moh__trun *run, const moh__tvalue *self,
                         const moh__targuments *a, moh__tvalue *out) {
  return choose(run, self, a, false, false, out);
}

static moh_status selectattr(moh__trun *run, const moh__tvalue *self,
                             const moh__targuments *a, moh__tvalue *out) {
  return choose(run, self, a, true, true, out);
}

static moh_status rejectattr(moh__trun *run, const moh__tvalue *self,
                             const moh__targuments *a, moh__tvalue *out) {
  return choose(run, self, a, true, false, out);
}

/* map(attribute='name') */
static moh_status map(moh__trun *run, const moh__tvalue *self,
                      const moh__targuments *a, moh__tvalue *out) {
  moh__tvalue all, value;
  MOH_TRY(moh__tvalue_items(run, self, &all));
  MOH_TRY(moh__tvalue_list(run, all.list->n, out));
  for (size_t i = 0; i < all.list->n; i++) {
    MOH_TRY(moh__tvalue_get(run, &all.list->items[i], &a->items[0], &value));
    MOH_TRY(moh__tlist_push(run, out->list, &value));
  }
  return MOH_OK;
}

/* ---- functions --------------------------------------------------------- */

static moh_status raise_exception(moh__trun *run, const moh__tvalue *self,
                                  const moh__targuments *a,
                                  moh__tvalue *out) {
  moh__tvalue text;
  (void)self, (void)out;
  MOH_TRY(moh__tvalue_show(run, &a->items[0], &text));
  moh__text shown = {text.string.bytes,
                     text.string.n < 200 ? text.string.n : 200};
  return moh__fail(run->err, MOH_ERR_ARGUMENT, "the chat template says: %.*s",
                   (int)moh__utf8_valid(shown), shown.bytes);
}

static moh_status strftime_now(moh__trun *run, const moh__tvalue *self,
                               const moh__targuments *a, moh__tvalue *out) {
  (void)self, (void)a, (void)out;
  return moh__trun_fail(
      run, "strftime_now is not given: a prompt does not depend on the day");
}

static moh_status make_namespace(moh__trun *run, const moh__tvalue *self,
                                 const moh__targuments *a, moh__tvalue *out) {
  (void)self;
  MOH_TRY(moh__tvalue_dict(run, MOH__T_NAMESPACE, out));
  for (int i = 0; i < a->n_named; i++) {
    moh__tvalue key;
    MOH_TRY(moh__tvalue_text(run, a->names[i], false, &key));
    MOH_TRY(moh__tdict_set(run, out->dict, &key, &a->items[i]));
  }
  return MOH_OK;
}

/* ---- the tables -------------------------------------------------------- */

static const moh__tcall filters[] = {
    {"capitalize", capitalize, 0, 0, {NULL}, true},
    {"count", length, 0, 0, {NULL}, false},
    {"d", default_to, 0, 2, {"default_value", "boolean"}, false},
    {"default", default_to, 0, 2, {"default_value", "boolean"}, false},
    {"first", first, 0, 0, {NULL}, false},
    {"int", to_int, 0, 1, {"default"}, false},
    {"items", items, 0, 0, {NULL}, false},
    {"join", join, 0, 1, {"d"}, false},
    {"last", last, 0, 0, {NULL}, false},
    {"length", length, 0, 0, {NULL}, false},
    {"list", to_list, 0, 0, {NULL}, false},
    {"lower", lower, 0, 0, {NULL}, true},
    {"map", map, 1, 1, {"attribute"}, false},
    {"reject", reject, 0, 2, {NULL}, false},
    {"rejectattr", rejectattr, 1, 3, {NULL}, false},
    {"replace", replace, 2, 3, {"old", "new", "count"}, true},
    {"select", select_items, 0, 2, {NULL}, false},
    {"selectattr", selectattr, 1, 3, {NULL}, false},
    {"string", to_string, 0, 0, {NULL}, false},
    {"title", title_words, 0, 0, {NULL}, true},
    {"tojson", tojson, 0, 1, {"indent"}, false},
    {"trim", trim, 0, 1, {"chars"}, false},
    {"upper", upper, 0, 0, {NULL}, true},
    {.name = NULL},
};

static const moh__tcall methods[] = {
    {"capitalize", capitalize, 0, 0, {NULL}, true},
    {"endswith", endswith, 1, 1, {NULL}, true},
    {"get", get, 1, 2, {NULL}, false},
    {"items", items, 0, 0, {NULL}, false},
    {"join", join_method, 1, 1, {NULL}, true},
    {"keys", keys, 0, 0, {NULL}, false},
    {"lower", lower, 0, 0, {NULL}, true},
    {"lstrip", lstrip, 0, 1, {NULL}, true},
    {"replace", replace, 2, 3, {NULL}, true},
    {"rstrip", rstrip, 0, 1, {NULL}, true},
    {"split", split, 0, 2, {"sep", "maxsplit"}, true},
    {"startswith", startswith, 1, 1, {NULL}, true},
    {"strip", strip, 0, 1, {NULL}, true},
    {"title", title_letters, 0, 0, {NULL}, true},
    {"upper", upper, 0, 0, {NULL}, true},
    {"values", values, 0, 0, {NULL}, false},
    {.name = NULL},
};

static const moh__tcall functions[] = {
    {"namespace", make_namespace, 0, -1, {NULL}, false},
    {"raise_exception", raise_exception, 1, 1, {NULL}, false},
    {"strftime_now", strftime_now, 0, 1, {NULL}, false},
    {.name = NULL},
};

static const moh__tcall *const tables[] = {[MOH__TCALL_FILTER] = filters,
                                           [MOH__TCALL_TEST] = moh__ttests,
                                           [MOH__TCALL_METHOD] = methods,
                                           [MOH__TCALL_FUNCTION] = functions};

int moh__tcall_find(moh__tcall_kind kind, moh__text name) {
  for (int i = 0; tables[kind][i].name != NULL; i++)
    if (moh__ttext_is(name, tables[kind][i].name)) return i;
  return -1;
}

/* Arguments given by name go to their places; the ones before them that are
 * not given are undefined. */
static moh_status place_names(moh__trun *run, const moh__tcall *c,
                              moh__targuments *a) {
  moh__targuments placed = {.n = a->n};
  memcpy(placed.items, a->items, (size_t)a->n * sizeof(a->items[0]));
  for (int i = a->n; i < a->n + a->n_named; i++) {
    int place = 0;
    while (place < 3 && (c->names[place] == NULL ||
                         !moh__ttext_is(a->names[i], c->names[place])))
      place++;
    if (place == 3 || place < a->n)
      return moh__trun_fail(run, "%s has no argument '%.*s' here", c->name,
                            moh__quoted(a->names[i]), a->names[i].bytes);
    placed.items[place] = a->items[i];
    if (place >= placed.n) placed.n = place + 1;
  }
  *a = placed;
  return MOH_OK;
}

moh_status moh__tcall_run(moh__trun *run, moh__tcall_kind kind, int index,
                          const moh__tvalue *self, moh__targuments *a,
                          moh__tvalue *out) {
  const moh__tcall *c = &tables[kind][index];
  MOH_TRY(moh__trun_charge(run, 0));
  if (c->most < 0 && a->n > 0)
    return moh__trun_fail(run, "%s takes arguments with names", c->name);
  if (c->most >= 0) MOH_TRY(place_names(run, c, a));
  if (a->n < c->least || (c->most >= 0 && a->n > c->most))
    return moh__trun_fail(run, "%s with %d arguments", c->name, a->n);
  if (c->of_string && self->kind != MOH__T_STRING)
    return moh__trun_fail(run, "%s of %s", c->name,
                          moh__tkind_name(self->kind));
  return c->run(run, self, a, out);
}
