/*
 * Command-line options from tables. A command is one table of groups of
 * options; the same table makes the parser, --help, man pages, completion
 * and the record of a run's options, and knows the field of the command's
 * values that an option fills.
 */
#ifndef MOH_CLI_OPTIONS_H
#define MOH_CLI_OPTIONS_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* The kind decides the type of the field, and its value when not given. */
typedef enum moh__option_kind {
  MOH__OPTION_FLAG,   /* bool, false */
  MOH__OPTION_INT,    /* int64_t, MOH__UNSET_INT */
  MOH__OPTION_REAL,   /* double, NaN */
  MOH__OPTION_STRING, /* const char *, NULL */
  MOH__OPTION_CHOICE, /* int: index into choices, MOH__UNSET_CHOICE */
  MOH__OPTION_LIST,   /* moh__list, empty: repeatable, or with commas */
  MOH__OPTION_TEXTS   /* moh__list, empty: repeatable, taken as it is */
} moh__option_kind;

#define MOH__UNSET_INT INT64_MIN
enum { MOH__UNSET_CHOICE = -1, MOH__LIST_MAX = 64 };

/* Strings that lie in argv. */
typedef struct moh__list {
  const char *items[MOH__LIST_MAX];
  int n;
} moh__list;

typedef struct moh__option {
  const char *name; /* without dashes; NULL ends a table */
  char letter;      /* 0: none */
  moh__option_kind kind;
  const char *metavar;        /* NULL for flags and choices: FILE..., DIR
                               * and PRESET are known to completion */
  const char *help;           /* without final stop */
  const char *fallback;       /* the default, as shown; NULL: none */
  size_t offset;              /* of the field in the group's values */
  double min, max;            /* of numbers, both ends allowed */
  const char *const *choices; /* NULL-terminated */
  bool required;
} moh__option;

typedef struct moh__option_group {
  const char *title;          /* heading in --help */
  const moh__option *options; /* NULL ends the groups */
  size_t offset; /* of the group's values in the command's values */
} moh__option_group;

typedef struct moh__call moh__call;

typedef struct moh__command {
  const char *name;
  const char *summary;     /* one line, for the list of commands */
  const char *usage;       /* what follows "moh NAME" */
  const char *description; /* paragraphs for --help */
  const char *examples;    /* whole lines, or NULL */
  const moh__option_group *groups;
  size_t values_size; /* bytes of the struct that the options fill */
  int max_arguments;  /* that are no options */
  const char *argument; /* their metavar, NULL for free text: FILE, DIR,
                         * PATH and COMMAND are known to completion */
  const char *const *argument_words; /* NULL-terminated: all that one may
                                      * be; NULL: it may be anything */
  moh_status (*run)(const moh__call *call, moh_error *err);
} moh__command;

/* A parsed command line. */
struct moh__call {
  const moh__command *command;
  const void *values; /* the command's own struct */
  char **arguments;   /* in argv */
  int n_arguments;
  bool help; /* --help was among the options: nothing else was checked */
};

/* True when an option of this kind was given. */
static inline bool moh__is_set_int(int64_t value) {
  return value != MOH__UNSET_INT;
}
static inline bool moh__is_set_real(double value) { return !isnan(value); }
static inline bool moh__is_set_choice(int value) {
  return value != MOH__UNSET_CHOICE;
}

/* The given value, or the default. */
static inline int64_t moh__int_or(int64_t value, int64_t fallback) {
  return moh__is_set_int(value) ? value : fallback;
}
static inline double moh__real_or(double value, double fallback) {
  return moh__is_set_real(value) ? value : fallback;
}
static inline int moh__choice_or(int value, int fallback) {
  return moh__is_set_choice(value) ? value : fallback;
}

/*
 * Fills values (values_size bytes) and call from the n words after the
 * command's name. The words are reordered, and lists are cut at their
 * commas, in place. Wrong usage is MOH_ERR_ARGUMENT.
 */
moh_status moh__options_parse(const moh__command *command, int n,
                              char **words, void *values, moh__call *call,
                              moh_error *err);

/* Stores one value in a command's values after they were parsed. Only numbers
 * and choices can be set so. */
moh_status moh__options_set(const moh__command *command, void *values,
                            const char *name, const char *text,
                            moh_error *err);
/* A line for each such option: its name and its value, or its default. */
void moh__options_show(FILE *out, const moh__command *command,
                       const void *values);

/* The options that were given, by name: a new reference, NULL when memory
 * ran out. */
json_t *moh__options_json(const moh__call *call);

/* Of n_names names the one that was probably meant, NULL when none is near.
 */
const char *moh__nearest(const char *word, const char *const *names,
                         int n_names);

/* A library's complaint about what the user typed is one about usage. */
moh_status moh__as_usage(moh_status status, moh_error *err);

#endif
