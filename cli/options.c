/*
 * The parser: walks the words of a command line and stores what they say in
 * the fields that the command's table names. Values start as "not given".
 */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An option together with the place of its value. */
typedef struct found {
  const moh__option *option; /* NULL: no such option */
  void *field;
} found;

/* Walks all options of a command; start with {0}. */
typedef struct walk {
  const moh__option_group *group;
  const moh__option *option;
} walk;

static bool walk_next(walk *w, const moh__command *command) {
  if (w->group == NULL) {
    w->group = command->groups;
    w->option = w->group->options;
  } else {
    w->option++;
  }
  while (w->option != NULL && w->option->name == NULL) {
    w->group++;
    w->option = w->group->options;
  }
  return w->option != NULL;
}

static void *walk_field(const walk *w, const void *values) {
  return (char *)values + w->group->offset + w->option->offset;
}

static void clear_field(const moh__option *option, void *field) {
  switch (option->kind) {
    case MOH__OPTION_FLAG:
      *(bool *)field = false;
      break;
    case MOH__OPTION_INT:
      *(int64_t *)field = MOH__UNSET_INT;
      break;
    case MOH__OPTION_REAL:
      *(double *)field = NAN;
      break;
    case MOH__OPTION_STRING:
      *(const char **)field = NULL;
      break;
    case MOH__OPTION_CHOICE:
      *(int *)field = MOH__UNSET_CHOICE;
      break;
    case MOH__OPTION_LIST:
    case MOH__OPTION_TEXTS:
      ((moh__list *)field)->n = 0;
      break;
  }
}

static bool field_is_set(const moh__option *option, const void *field) {
  switch (option->kind) {
    case MOH__OPTION_FLAG:
      return *(const bool *)field;
    case MOH__OPTION_INT:
      return moh__is_set_int(*(const int64_t *)field);
    case MOH__OPTION_REAL:
      return moh__is_set_real(*(const double *)field);
    case MOH__OPTION_STRING:
      return *(const char *const *)field != NULL;
    case MOH__OPTION_CHOICE:
      return moh__is_set_choice(*(const int *)field);
    case MOH__OPTION_LIST:
    case MOH__OPTION_TEXTS:
      return ((const moh__list *)field)->n > 0;
  }
  return false;
}

/* ---- values ---- */

static moh_status out_of_range(const moh__option *option, const char *text,
                               moh_error *err) {
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "--%s must lie between %.10g and %.10g, not '%s'",
                   option->name, option->min, option->max, text);
}

static moh_status store_int(const moh__option *option, const char *text,
                            int64_t *field, moh_error *err) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end != '\0')
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--%s needs a whole number, not '%s'", option->name,
                     text);
  if (errno == ERANGE || (double)value < option->min ||
      (double)value > option->max)
    return out_of_range(option, text, err);
  *field = value;
  return MOH_OK;
}

static moh_status store_real(const moh__option *option, const char *text,
                             double *field, moh_error *err) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end != '\0' || isnan(value))
    return moh__fail(err, MOH_ERR_ARGUMENT, "--%s needs a number, not '%s'",
                     option->name, text);
  if (value < option->min || value > option->max)
    return out_of_range(option, text, err);
  *field = value;
  return MOH_OK;
}

static void join_choices(const moh__option *option, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (int i = 0; option->choices[i] != NULL && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, "%s%s",
                             i == 0 ? "" : ", ", option->choices[i]);
}

static moh_status store_choice(const moh__option *option, const char *text,
                               int *field, moh_error *err) {
  for (int i = 0; option->choices[i] != NULL; i++) {
    if (strcmp(option->choices[i], text) == 0) {
      *field = i;
      return MOH_OK;
    }
  }
  char choices[128];
  join_choices(option, choices, sizeof choices);
  return moh__fail(err, MOH_ERR_ARGUMENT, "--%s must be one of %s, not '%s'",
                   option->name, choices, text);
}

/* No file and no directory has an empty name. */
static moh_status store_string(const moh__option *option, const char *text,
                               const char **field, moh_error *err) {
  static const char *const names[] = {"DIR", "FILE", "PATH"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (*text == '\0' && strcmp(option->metavar, names[i]) == 0)
      return moh__fail(err, MOH_ERR_ARGUMENT, "--%s needs a name, not ''",
                       option->name);
  *field = text;
  return MOH_OK;
}

static moh_status store_item(const moh__option *option, const char *item,
                             moh__list *list, moh_error *err) {
  if (*item == '\0')
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--%s has an empty item in its list", option->name);
  if (list->n == MOH__LIST_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--%s takes at most %d items",
                     option->name, MOH__LIST_MAX);
  list->items[list->n++] = item;
  return MOH_OK;
}

/* Cuts the text at its commas, in place; empty parts are refused. */
static moh_status store_list(const moh__option *option, char *text,
                             moh__list *list, moh_error *err) {
  for (char *item = text; item != NULL;) {
    char *comma = strchr(item, ',');
    if (comma != NULL) *comma++ = '\0';
    MOH_TRY(store_item(option, item, list, err));
    item = comma;
  }
  return MOH_OK;
}

static moh_status store(found f, char *text, moh_error *err) {
  switch (f.option->kind) {
    case MOH__OPTION_FLAG:
      *(bool *)f.field = true;
      return MOH_OK;
    case MOH__OPTION_INT:
      return store_int(f.option, text, f.field, err);
    case MOH__OPTION_REAL:
      return store_real(f.option, text, f.field, err);
    case MOH__OPTION_STRING:
      return store_string(f.option, text, f.field, err);
    case MOH__OPTION_CHOICE:
      return store_choice(f.option, text, f.field, err);
    case MOH__OPTION_LIST:
      return store_list(f.option, text, f.field, err);
    case MOH__OPTION_TEXTS:
      return store_item(f.option, text, f.field, err);
  }
  return MOH_OK;
}

/* ---- words ---- */

typedef struct parser {
  const moh__command *command;
  void *values;
  char **words;
  int n, next; /* words, and the one to be read next */
  moh__call *call;
} parser;

static found find_long(const parser *p, const char *name, size_t n) {
  for (walk w = {0}; walk_next(&w, p->command);)
    if (strlen(w.option->name) == n && memcmp(w.option->name, name, n) == 0)
      return (found){w.option, walk_field(&w, p->values)};
  return (found){NULL, NULL};
}

static found find_letter(const parser *p, char letter) {
  for (walk w = {0}; walk_next(&w, p->command);)
    if (w.option->letter == letter)
      return (found){w.option, walk_field(&w, p->values)};
  return (found){NULL, NULL};
}

enum { MAX_OPTIONS = 128 };

static moh_status unknown_option(const parser *p, const char *name, size_t n,
                                 moh_error *err) {
  const char *names[MAX_OPTIONS] = {"help"};
  int n_names = 1;
  for (walk w = {0}; n_names < MAX_OPTIONS && walk_next(&w, p->command);)
    names[n_names++] = w.option->name;
  char word[64];
  snprintf(word, sizeof word, "%.*s", (int)n, name);
  const char *near = moh__nearest(word, names, n_names);
  if (near == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "there is no option '--%s'",
                     word);
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "there is no option '--%s'; did you mean '--%s'?", word,
                   near);
}

/* The word after an option; another option there means it was forgotten. */
static moh_status take_value(parser *p, const moh__option *option,
                             char **text, moh_error *err) {
  if (p->next == p->n || strncmp(p->words[p->next], "--", 2) == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--%s needs a value",
                     option->name);
  *text = p->words[p->next++];
  return MOH_OK;
}

/* "--name", "--name value" or "--name=value". */
static moh_status parse_long(parser *p, char *word, moh_error *err) {
  char *name = word + 2;
  size_t n = strcspn(name, "=");
  char *text = name[n] == '=' ? name + n + 1 : NULL;
  if (strcmp(name, "help") == 0) {
    p->call->help = true;
    return MOH_OK;
  }
  found f = find_long(p, name, n);
  if (f.option == NULL) return unknown_option(p, name, n, err);
  if (f.option->kind == MOH__OPTION_FLAG && text != NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--%s takes no value",
                     f.option->name);
  if (f.option->kind != MOH__OPTION_FLAG && text == NULL)
    MOH_TRY(take_value(p, f.option, &text, err));
  return store(f, text, err);
}

/* "-x", "-x value" or "-xvalue". */
static moh_status parse_letter(parser *p, char *word, moh_error *err) {
  if (strcmp(word, "-h") == 0) {
    p->call->help = true;
    return MOH_OK;
  }
  found f = find_letter(p, word[1]);
  if (f.option == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "there is no option '-%c'",
                     word[1]);
  if (f.option->kind == MOH__OPTION_FLAG) {
    if (word[2] != '\0')
      return moh__fail(err, MOH_ERR_ARGUMENT, "-%c takes no value", word[1]);
    return store(f, NULL, err);
  }
  char *text = word + 2;
  if (*text == '\0') MOH_TRY(take_value(p, f.option, &text, err));
  return store(f, text, err);
}

static moh_status add_argument(parser *p, char *word, moh_error *err) {
  moh__call *call = p->call;
  if (call->n_arguments == p->command->max_arguments)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "there is one word too many: '%s'", word);
  call->arguments[call->n_arguments++] = word;
  return MOH_OK;
}

static moh_status parse_words(parser *p, moh_error *err) {
  bool options = true; /* until "--" */
  while (p->next < p->n && !p->call->help) {
    char *word = p->words[p->next++];
    if (!options || word[0] != '-' || word[1] == '\0')
      MOH_TRY(add_argument(p, word, err));
    else if (strcmp(word, "--") == 0)
      options = false;
    else if (word[1] == '-')
      MOH_TRY(parse_long(p, word, err));
    else
      MOH_TRY(parse_letter(p, word, err));
  }
  return MOH_OK;
}

static moh_status fail_missing(const moh__option *option, moh_error *err) {
  char choices[128];
  if (option->metavar != NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--%s %s is missing",
                     option->name, option->metavar);
  join_choices(option, choices, sizeof choices);
  return moh__fail(err, MOH_ERR_ARGUMENT, "--%s is missing: one of %s",
                   option->name, choices);
}

static moh_status check_required(const moh__command *command,
                                 const void *values, moh_error *err) {
  for (walk w = {0}; walk_next(&w, command);)
    if (w.option->required && !field_is_set(w.option, walk_field(&w, values)))
      return fail_missing(w.option, err);
  return MOH_OK;
}

moh_status moh__options_parse(const moh__command *command, int n,
                              char **words, void *values, moh__call *call,
                              moh_error *err) {
  for (walk w = {0}; walk_next(&w, command);)
    clear_field(w.option, walk_field(&w, values));
  *call = (moh__call){command, values, words, 0, false};
  parser p = {command, values, words, n, 0, call};
  MOH_TRY(parse_words(&p, err));
  return call->help ? MOH_OK : check_required(command, values, err);
}

/* ---- one value, later ---- */

static bool is_settable(const moh__option *option) {
  return option->kind == MOH__OPTION_INT ||
         option->kind == MOH__OPTION_REAL ||
         option->kind == MOH__OPTION_CHOICE;
}

moh_status moh__options_set(const moh__command *command, void *values,
                            const char *name, const char *text,
                            moh_error *err) {
  for (walk w = {0}; walk_next(&w, command);) {
    if (strcmp(w.option->name, name) != 0 || !is_settable(w.option)) continue;
    found f = {w.option, walk_field(&w, values)};
    char *copy = strdup(text);
    if (copy == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
    moh_status status = store(f, copy, err);
    free(copy);
    return status;
  }
  return moh__fail(err, MOH_ERR_ARGUMENT, "there is no setting '%s'", name);
}

static void show_value(FILE *out, const moh__option *option,
                       const void *field) {
  if (!field_is_set(option, field))
    fprintf(out, "(%s)", option->fallback);
  else if (option->kind == MOH__OPTION_INT)
    fprintf(out, "%lld", (long long)*(const int64_t *)field);
  else if (option->kind == MOH__OPTION_REAL)
    fprintf(out, "%g", *(const double *)field);
  else
    fputs(option->choices[*(const int *)field], out);
}

void moh__options_show(FILE *out, const moh__command *command,
                       const void *values) {
  for (walk w = {0}; walk_next(&w, command);) {
    if (!is_settable(w.option)) continue;
    fprintf(out, "%-15s ", w.option->name);
    show_value(out, w.option, walk_field(&w, values));
    fputc('\n', out);
  }
}

/* ---- the record of a run ---- */

static json_t *list_json(const moh__list *list) {
  json_t *array = json_array();
  for (int i = 0; i < list->n; i++)
    json_array_append_new(array, json_string(list->items[i]));
  return array;
}

static json_t *field_json(const moh__option *option, const void *field) {
  switch (option->kind) {
    case MOH__OPTION_FLAG:
      return json_true();
    case MOH__OPTION_INT:
      return json_integer(*(const int64_t *)field);
    case MOH__OPTION_REAL:
      return json_real(*(const double *)field);
    case MOH__OPTION_STRING:
      return json_string(*(const char *const *)field);
    case MOH__OPTION_CHOICE:
      return json_string(option->choices[*(const int *)field]);
    case MOH__OPTION_LIST:
    case MOH__OPTION_TEXTS:
      return list_json(field);
  }
  return NULL;
}

json_t *moh__options_json(const moh__call *call) {
  json_t *object = json_object();
  for (walk w = {0}; object != NULL && walk_next(&w, call->command);) {
    const void *field = walk_field(&w, call->values);
    if (field_is_set(w.option, field))
      json_object_set_new(object, w.option->name,
                          field_json(w.option, field));
  }
  return object;
}

/* ---- the nearest name ---- */

enum { NEAREST_MAX = 40 }; /* characters that are compared */

static int min3(int a, int b, int c) {
  int m = a < b ? a : b;
  return m < c ? m : c;
}

/* Levenshtein distance: insertions, deletions and replacements. */
static int edit_distance(const char *a, const char *b) {
  int row[NEAREST_MAX + 1];
  int n = (int)strnlen(b, NEAREST_MAX);
  for (int j = 0; j <= n; j++) row[j] = j;
  for (int i = 1; a[i - 1] != '\0' && i <= NEAREST_MAX; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= n; j++) {
      int change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = min3(change, row[j] + 1, row[j - 1] + 1);
    }
  }
  return row[n];
}

const char *moh__nearest(const char *word, const char *const *names,
                         int n_names) {
  const char *best = NULL;
  int best_distance = 3; /* further away it is no slip of the finger */
  for (int i = 0; i < n_names; i++) {
    int distance = edit_distance(word, names[i]);
    bool starts =
        strlen(word) >= 3 && strncmp(word, names[i], strlen(word)) == 0;
    if (starts && distance > 1) distance = 1;
    if (distance < best_distance) {
      best = names[i];
      best_distance = distance;
    }
  }
  return best;
}

moh_status moh__as_usage(moh_status status, moh_error *err) {
  if (status != MOH_ERR_CONFIG && status != MOH_ERR_FORMAT) return status;
  if (err != NULL) err->status = MOH_ERR_ARGUMENT;
  return MOH_ERR_ARGUMENT;
}
