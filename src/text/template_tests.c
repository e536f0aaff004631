/* Tests of a template: `x is defined`. */
#include "text/template_internal.h"

/* A test of the kind alone: a set of kinds, one bit each. */
static moh_status has_kind(const moh__tvalue *self, unsigned kinds,
                           moh__tvalue *out) {
  *out = moh__tvalue_bool(kinds >> self->kind & 1);
  return MOH_OK;
}

enum {
  SEQUENCE = 1 << MOH__T_STRING | 1 << MOH__T_LIST | 1 << MOH__T_DICT |
             1 << MOH__T_UNDEFINED
};

#define KIND_TEST(function, kinds)                                         \
  static moh_status function(moh__trun *run, const moh__tvalue *self,      \
                             const moh__targuments *a, moh__tvalue *out) { \
    (void)run, (void)a;                                                    \
    return has_kind(self, kinds, out);                                     \
  }

KIND_TEST(is_defined, ~(1u << MOH__T_UNDEFINED))
KIND_TEST(is_undefined, 1u << MOH__T_UNDEFINED)
KIND_TEST(is_none, 1u << MOH__T_NONE)
KIND_TEST(is_string, 1u << MOH__T_STRING)
KIND_TEST(is_mapping, 1u << MOH__T_DICT)
KIND_TEST(is_sequence, SEQUENCE)
KIND_TEST(is_number, 1u << MOH__T_INT | 1u << MOH__T_BOOL)
KIND_TEST(is_integer, 1u << MOH__T_INT)
KIND_TEST(is_boolean, 1u << MOH__T_BOOL)

static moh_status is_true(moh__trun *run, const moh__tvalue *self,
                          const moh__targuments *a, moh__tvalue *out) {
  (void)run, (void)a;
  *out = moh__tvalue_bool(self->kind == MOH__T_BOOL && self->number != 0);
  return MOH_OK;
}

static moh_status is_false(moh__trun *run, const moh__tvalue *self,
                           const moh__targuments *a, moh__tvalue *out) {
  (void)run, (void)a;
  *out = moh__tvalue_bool(self->kind == MOH__T_BOOL && self->number == 0);
  return MOH_OK;
}

static moh_status is_equal(moh__trun *run, const moh__tvalue *self,
                           const moh__targuments *a, moh__tvalue *out) {
  bool is;
  MOH_TRY(moh__tvalue_equal(run, self, &a->items[0], &is));
  *out = moh__tvalue_bool(is);
  return MOH_OK;
}

static moh_status is_unequal(moh__trun *run, const moh__tvalue *self,
                             const moh__targuments *a, moh__tvalue *out) {
  MOH_TRY(is_equal(run, self, a, out));
  out->number = !out->number;
  return MOH_OK;
}

static moh_status is_in(moh__trun *run, const moh__tvalue *self,
                        const moh__targuments *a, moh__tvalue *out) {
  bool is;
  MOH_TRY(moh__tvalue_contains(run, &a->items[0], self, &is));
  *out = moh__tvalue_bool(is);
  return MOH_OK;
}

const moh__tcall moh__ttests[] = {
    {"==", is_equal, 1, 1, {NULL}, false},
    {"boolean", is_boolean, 0, 0, {NULL}, false},
    {"defined", is_defined, 0, 0, {NULL}, false},
    {"eq", is_equal, 1, 1, {NULL}, false},
    {"equalto", is_equal, 1, 1, {NULL}, false},
    {"false", is_false, 0, 0, {NULL}, false},
    {"in", is_in, 1, 1, {NULL}, false},
    {"integer", is_integer, 0, 0, {NULL}, false},
    {"iterable", is_sequence, 0, 0, {NULL}, false},
    {"mapping", is_mapping, 0, 0, {NULL}, false},
    {"ne", is_unequal, 1, 1, {NULL}, false},
    {"none", is_none, 0, 0, {NULL}, false},
    {"number", is_number, 0, 0, {NULL}, false},
    {"sequence", is_sequence, 0, 0, {NULL}, false},
    {"string", is_string, 0, 0, {NULL}, false},
    {"true", is_true, 0, 0, {NULL}, false},
    {"undefined", is_undefined, 0, 0, {NULL}, false},
    {.name = NULL},
};
