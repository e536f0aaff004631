/* tojson: values as Python's json.dumps writes them (ensure_ascii off). */
#include <stdio.h>

#include "text/template_internal.h"

typedef struct writer {
  moh__trun *run;
  moh__toutput out;
  int64_t indent; /* blanks a level; < 0: one line */
  int64_t depth;
} writer;

static moh_status write_value(writer *w, const moh__tvalue *v);

static moh_status put(writer *w, const char *text) {
  return moh__toutput_put(w->run, &w->out, text, __builtin_strlen(text),
                          false);
}

/* What stands for a byte that JSON does not take as it is; NULL: itself. */
static const char *escape_of(unsigned char c, char buffer[8]) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\f':
      return "\\f";
    case '\b':
      return "\\b";
    default:
      if (c >= 0x20) return NULL;
      snprintf(buffer, 8, "\\u%04x", c);
      return buffer;
  }
}

static moh_status write_string(writer *w, const moh__tvalue *v) {
  const moh__tstring *s = &v->string;
  MOH_TRY(put(w, "\""));
  for (size_t i = 0; i < s->n; i++) {
    char buffer[8];
    const char *escape = escape_of((unsigned char)s->bytes[i], buffer);
    if (escape == NULL)
      MOH_TRY(moh__toutput_put(w->run, &w->out, s->bytes + i, 1,
                               s->content[i] != 0));
    else
      MOH_TRY(moh__toutput_put(w->run, &w->out, escape,
                               __builtin_strlen(escape), s->content[i] != 0));
  }
  return put(w, "\"");
}

/* Before item i, and (i = n) before the closing bracket. */
static moh_status separate(writer *w, size_t i, size_t n) {
  if (i > 0 && i < n) MOH_TRY(put(w, w->indent < 0 ? ", " : ","));
  if (w->indent < 0 || n == 0) return MOH_OK;
  MOH_TRY(put(w, "\n"));
  int64_t blanks = w->indent * (w->depth - (i == n));
  for (int64_t b = 0; b < blanks; b++) MOH_TRY(put(w, " "));
  return MOH_OK;
}

static moh_status write_list(writer *w, const moh__tlist *list) {
  w->depth++;
  MOH_TRY(put(w, "["));
  for (size_t i = 0; i < list->n; i++) {
    MOH_TRY(separate(w, i, list->n));
    MOH_TRY(write_value(w, &list->items[i]));
  }
  MOH_TRY(separate(w, list->n, list->n));
  w->depth--;
  return put(w, "]");
}

static moh_status write_key(writer *w, const moh__tvalue *key) {
  if (key->kind == MOH__T_STRING) return write_string(w, key);
  MOH_TRY(put(w, "\""));
  MOH_TRY(write_value(w, key));
  return put(w, "\"");
}

static moh_status write_dict(writer *w, const moh__tdict *dict) {
  w->depth++;
  MOH_TRY(put(w, "{"));
  for (size_t i = 0; i < dict->n; i++) {
    MOH_TRY(separate(w, i, dict->n));
    MOH_TRY(write_key(w, &dict->keys[i]));
    MOH_TRY(put(w, ": "));
    MOH_TRY(write_value(w, &dict->values[i]));
  }
  MOH_TRY(separate(w, dict->n, dict->n));
  w->depth--;
  return put(w, "}");
}

static moh_status write_value(writer *w, const moh__tvalue *v) {
  char number[32];
  MOH_TRY(moh__trun_charge(w->run, 0));
  switch (v->kind) {
    case MOH__T_STRING:
      return write_string(w, v);
    case MOH__T_LIST:
      return write_list(w, v->list);
    case MOH__T_DICT:
      return write_dict(w, v->dict);
    case MOH__T_NONE:
      return put(w, "null");
    case MOH__T_BOOL:
      return put(w, v->number ? "true" : "false");
    case MOH__T_INT:
      snprintf(number, sizeof(number), "%lld", (long long)v->number);
      return put(w, number);
    default:
      return moh__trun_fail(w->run, "%s cannot be written as JSON",
                            moh__tkind_name(v->kind));
  }
}

moh_status moh__tvalue_json(moh__trun *run, const moh__tvalue *v,
                            int64_t indent, moh__tvalue *out) {
  writer w = {.run = run, .indent = indent > 16 ? 16 : indent};
  MOH_TRY(write_value(&w, v));
  *out = moh__toutput_value(&w.out);
  return MOH_OK;
}
