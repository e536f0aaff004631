/*
 * What the sources of chat templates share: tokens, the tree, values, and
 * the state of a rendering.
 *
 *   template_lex.c    source -> tokens, white space control
 *   template_expr.c   tokens -> expressions
 *   template_parse.c  tokens -> statements
 *   template_value.c  memory, strings with origins, values
 *   template_run.c    statements and expressions at work
 *   template_calls.c  filters, methods and functions, by name
 *   template_tests.c  tests, by name
 *   template_json.c   tojson
 */
#ifndef MOH_TEXT_TEMPLATE_INTERNAL_H
#define MOH_TEXT_TEMPLATE_INTERNAL_H

#include "text/template.h"
#include "text/utf8.h"

enum {
  MOH__TEMPLATE_SOURCE_MAX = MOH__CHAT_MAX, /* bytes of a template */
  MOH__TEMPLATE_DEPTH_MAX = 200,            /* of its tree */
  MOH__TEMPLATE_TREE_LEAST = 1 << 16, /* bytes that a tree may have, ... */
  MOH__TEMPLATE_TREE_FACTOR = 64,     /* ... and more for each of source */
  MOH__TEMPLATE_DATA_DEPTH_MAX = 64   /* of what it is given and makes */
};

/* ---- memory ----------------------------------------------------------- */

/* Memory that is freed all at once. {0} is empty. */
typedef struct moh__tpool {
  struct moh__tchunk *chunks;
  size_t used, most; /* bytes; most 0: no bound */
  bool full;         /* the bound was at its end */
} moh__tpool;

void moh__tpool_free(moh__tpool *pool);
/* Zeroed; NULL when memory or the bound is at its end. */
void *moh__tpool_alloc(moh__tpool *pool, size_t n);

/* ---- tokens (template_lex.c) ------------------------------------------ */

typedef enum moh__ttoken_kind {
  MOH__TTOKEN_END, /* of the source */
  MOH__TTOKEN_DATA,
  MOH__TTOKEN_BLOCK, /* {% */
  MOH__TTOKEN_BLOCK_END,
  MOH__TTOKEN_OUTPUT, /* {{ */
  MOH__TTOKEN_OUTPUT_END,
  MOH__TTOKEN_NAME,
  MOH__TTOKEN_STRING,
  MOH__TTOKEN_INTEGER,
  MOH__TTOKEN_SIGN /* one or two characters, such as ( or == */
} moh__ttoken_kind;

typedef struct moh__ttoken {
  moh__ttoken_kind kind;
  size_t at;      /* in the source */
  moh__text text; /* data, a name, a sign, a string without its escapes */
  int64_t number;
} moh__ttoken;

typedef struct moh__tlexer {
  moh__text source;
  const char *name;
  moh__tpool *pool;
  moh_error *err;
  size_t at;
  bool in_code;    /* between {{ or {% and their ends */
  bool in_block;   /* {% */
  int open;        /* brackets in the code */
  bool line_start; /* the last token ended a line, or there was none */
} moh__tlexer;

moh_status moh__tlexer_next(moh__tlexer *lexer, moh__ttoken *token);
/* What to return where the pool gave nothing: the bound, or no memory. */
moh_status moh__tlexer_no_room(const moh__tlexer *lexer, size_t at);

/* MOH_ERR_FORMAT with "name: line 3, column 7: ..." */
moh_status moh__template_fail(const char *name, moh__text source, size_t at,
                              moh_error *err, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* ---- the tree --------------------------------------------------------- */

typedef enum moh__tnode_kind {
  /* Statements, a list by `next`. */
  MOH__TNODE_DATA,   /* text */
  MOH__TNODE_OUTPUT, /* a */
  MOH__TNODE_FOR, /* text, text2: names; a: list; b: body; c: else; d: if */
  MOH__TNODE_IF,  /* a: condition; b: body; c: else, or the elif */
  MOH__TNODE_SET, /* text = a; text.text2 = a */
  MOH__TNODE_SET_BODY, /* text = what b renders */
  MOH__TNODE_BREAK,
  MOH__TNODE_CONTINUE,
  /* Expressions. */
  MOH__TNODE_STRING,  /* text */
  MOH__TNODE_INTEGER, /* number */
  MOH__TNODE_BOOL,    /* number */
  MOH__TNODE_NONE,
  MOH__TNODE_NAME,       /* text */
  MOH__TNODE_LIST,       /* a: items by `next` */
  MOH__TNODE_DICT,       /* a: items by `next`, b of each the value of a */
  MOH__TNODE_PAIR,       /* a, b */
  MOH__TNODE_ITEM,       /* a[b], a.text as a["text"] */
  MOH__TNODE_SLICE,      /* a[b:c:d], each may be NULL */
  MOH__TNODE_FUNCTION,   /* number: index; b: arguments */
  MOH__TNODE_METHOD,     /* a.method(b): number, b */
  MOH__TNODE_FILTER,     /* a | filter(b) */
  MOH__TNODE_TEST,       /* a is test(b) */
  MOH__TNODE_ARGUMENT,   /* a; text: its name, or empty */
  MOH__TNODE_NOT,        /* a */
  MOH__TNODE_MINUS,      /* a */
  MOH__TNODE_PLUS,       /* a */
  MOH__TNODE_AND,        /* a, b */
  MOH__TNODE_OR,         /* a, b */
  MOH__TNODE_COMPARE,    /* a, then b: comparisons by `next` */
  MOH__TNODE_COMPARISON, /* number: operator; a: right side */
  MOH__TNODE_BINARY,     /* number: operator; a, b */
  MOH__TNODE_CHOICE      /* a: condition; b: then; c: else or NULL */
} moh__tnode_kind;

typedef enum moh__toperator {
  MOH__T_ADD,
  MOH__T_SUBTRACT,
  MOH__T_MULTIPLY,
  MOH__T_DIVIDE,
  MOH__T_MODULO,
  MOH__T_JOIN, /* ~ */
  MOH__T_EQUAL,
  MOH__T_UNEQUAL,
  MOH__T_LESS,
  MOH__T_GREATER,
  MOH__T_AT_MOST,
  MOH__T_AT_LEAST,
  MOH__T_IN,
  MOH__T_NOT_IN
} moh__toperator;

typedef struct moh__tnode moh__tnode;
struct moh__tnode {
  moh__tnode_kind kind;
  int depth; /* 1 + that of its deepest part */
  size_t at; /* in the source */
  moh__text text, text2;
  int64_t number;
  moh__tnode *a, *b, *c, *d, *next;
};

/* What is left to parse: the lexer, and the token in front. */
typedef struct moh__tparser {
  moh__tlexer lexer;
  moh__ttoken token;
  int nesting; /* of parsing functions */
  int loops;   /* around the statement in work */
} moh__tparser;

struct moh__template {
  char *name;
  char *source; /* with \n at the ends of lines */
  size_t n;
  moh__tpool pool;
  moh__tnode *body;
};

/* template_expr.c. An expression; a list of them without brackets is not
 * one. */
moh_status moh__texpr_parse(moh__tparser *p, moh__tnode **out);
/* The same without "a if b else c" at its top, for `for x in list if ...`. */
moh_status moh__texpr_parse_plain(moh__tparser *p, moh__tnode **out);

moh_status moh__tparser_fail(const moh__tparser *p, size_t at,
                             const char *format, ...)
    __attribute__((format(printf, 3, 4)));
moh_status moh__tparser_advance(moh__tparser *p);
bool moh__tparser_is(const moh__tparser *p, moh__ttoken_kind kind,
                     const char *text);
/* Takes the token, which must be this name or sign. */
moh_status moh__tparser_expect(moh__tparser *p, moh__ttoken_kind kind,
                               const char *text);
moh_status moh__tparser_unexpected(const moh__tparser *p, const char *wanted);
moh_status moh__tparser_node(moh__tparser *p, moh__tnode_kind kind, size_t at,
                             moh__tnode **out);
/* Behind setting the parts of a node: refuses a tree that is too deep. */
moh_status moh__tparser_close(const moh__tparser *p, moh__tnode *node);
static inline bool moh__ttext_is(moh__text text, const char *string) {
  size_t n = __builtin_strlen(string);
  return text.n == n && __builtin_memcmp(text.bytes, string, n) == 0;
}

/* ---- values (template_value.c) ---------------------------------------- */

typedef enum moh__tkind {
  MOH__T_UNDEFINED,
  MOH__T_NONE,
  MOH__T_BOOL,
  MOH__T_INT,
  MOH__T_STRING,
  MOH__T_LIST,
  MOH__T_DICT,
  MOH__T_NAMESPACE, /* a dictionary that {% set %} changes */
  MOH__T_KINDS
} moh__tkind;

/* Never changed once made. */
typedef struct moh__tstring {
  size_t n;
  const char *bytes;
  const unsigned char *content; /* [n], 1: of content */
} moh__tstring;

typedef struct moh__tlist moh__tlist;
typedef struct moh__tdict moh__tdict;

typedef struct moh__tvalue {
  moh__tkind kind;
  union {
    int64_t number; /* BOOL, INT */
    moh__tstring string;
    moh__tlist *list;
    moh__tdict *dict; /* DICT, NAMESPACE */
    moh__text name;   /* UNDEFINED: what is not there */
  };
} moh__tvalue;

/* Lists and dictionaries know how deep they are, so that what walks through
 * them can recurse: never deeper than MOH__TEMPLATE_DATA_DEPTH_MAX. */
struct moh__tlist {
  size_t n, capacity;
  int depth;
  moh__tvalue *items;
};

/* In the order in which keys came. Small: looked up one by one. Keys are
 * never lists or dictionaries, as in Python; so depth is that of values. */
struct moh__tdict {
  size_t n, capacity;
  int depth;
  moh__tvalue *keys, *values;
};

/* A string that grows. {0} is empty. */
typedef struct moh__toutput {
  char *bytes;
  unsigned char *content;
  size_t n, capacity;
} moh__toutput;

/* A rendering. */
typedef struct moh__trun moh__trun;
struct moh__trun {
  const moh__template *program;
  moh__template_limits limits;
  int64_t steps; /* left */
  moh__tpool pool;
  size_t at; /* of the node in work, for messages */
  moh_error *err;
  /* Names that are set, those of inner loops behind. */
  struct moh__tbinding {
    moh__text name;
    moh__tvalue value;
  } * bindings;
  size_t n_bindings, capacity, frame; /* frame: the first of the inner loop */
  moh__toutput output; /* {% set %} with a body collects in its own */
  int flow;            /* of loops, template_run.c */
};

moh_status moh__trun_fail(moh__trun *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Takes steps for work on n bytes or items. */
moh_status moh__trun_charge(moh__trun *run, size_t n);
/* Zeroed; NULL behind a message. */
void *moh__trun_alloc(moh__trun *run, size_t n, size_t size);

/* "a string", ... */
const char *moh__tkind_name(moh__tkind kind);
static inline moh__tvalue moh__tvalue_bool(bool is) {
  return (moh__tvalue){.kind = MOH__T_BOOL, .number = is};
}
static inline moh__tvalue moh__tvalue_int(int64_t number) {
  return (moh__tvalue){.kind = MOH__T_INT, .number = number};
}
static inline moh__tvalue moh__tvalue_undefined(moh__text name) {
  return (moh__tvalue){.kind = MOH__T_UNDEFINED, .name = name};
}
static inline bool moh__tvalue_is_dict(const moh__tvalue *v) {
  return v->kind == MOH__T_DICT || v->kind == MOH__T_NAMESPACE;
}
/* Of the template, if content is false. Copies. */
moh_status moh__tvalue_text(moh__trun *run, moh__text text, bool content,
                            moh__tvalue *out);
/* The same bytes, to be written over while nobody has seen them; their
 * origin stays. NULL behind a message. */
char *moh__tvalue_copy(moh__trun *run, const moh__tvalue *string,
                       moh__tvalue *out);
moh__tvalue moh__tvalue_part(const moh__tvalue *v, size_t from, size_t to);
moh_status moh__tvalue_join(moh__trun *run, const moh__tvalue *a,
                            const moh__tvalue *b, moh__tvalue *out);
/* Adds a string to an output, or n bytes that are all content or none. */
moh_status moh__toutput_add(moh__trun *run, moh__toutput *output,
                            const moh__tstring *string);
moh_status moh__toutput_put(moh__trun *run, moh__toutput *output,
                            const char *bytes, size_t n, bool content);
/* The string that an output has become; nothing may be added any more. */
moh__tvalue moh__toutput_value(const moh__toutput *output);
moh_status moh__tvalue_list(moh__trun *run, size_t capacity,
                            moh__tvalue *out);
moh_status moh__tlist_push(moh__trun *run, moh__tlist *list,
                           const moh__tvalue *item);
moh_status moh__tvalue_dict(moh__trun *run, moh__tkind kind,
                            moh__tvalue *out);
/* NULL: not there. */
moh_status moh__tdict_find(moh__trun *run, const moh__tdict *dict,
                           const moh__tvalue *key, moh__tvalue **out);
/* Refuses keys that are lists or dictionaries. */
moh_status moh__tdict_set(moh__trun *run, moh__tdict *dict,
                          const moh__tvalue *key, const moh__tvalue *value);
/* JSON as it comes from outside; its strings are content or not. */
moh_status moh__tvalue_from_json(moh__trun *run, const json_t *json,
                                 bool content, int depth, moh__tvalue *out);
bool moh__tvalue_truth(const moh__tvalue *v);
moh_status moh__tvalue_equal(moh__trun *run, const moh__tvalue *a,
                             const moh__tvalue *b, bool *equal);
/* What {{ v }} shows. */
moh_status moh__tvalue_show(moh__trun *run, const moh__tvalue *v,
                            moh__tvalue *out);
/* `x in v` */
moh_status moh__tvalue_contains(moh__trun *run, const moh__tvalue *v,
                                const moh__tvalue *x, bool *is);
/* The items of a list, the characters of a string, the keys of a
 * dictionary. */
moh_status moh__tvalue_items(moh__trun *run, const moh__tvalue *v,
                             moh__tvalue *list);
/* v[key] or v.key, undefined when there is none. */
moh_status moh__tvalue_get(moh__trun *run, const moh__tvalue *v,
                           const moh__tvalue *key, moh__tvalue *out);
/* Bytes of the character at a place of a string; what is not UTF-8 counts
 * byte by byte. */
size_t moh__tstring_step(const moh__tstring *string, size_t at);
/* Characters of a string, items of a list, pairs of a dictionary. */
moh_status moh__tvalue_length(moh__trun *run, const moh__tvalue *v,
                              int64_t *n);

/* ---- calls (template_calls.c) ----------------------------------------- */

typedef enum moh__tcall_kind {
  MOH__TCALL_FILTER,
  MOH__TCALL_TEST,
  MOH__TCALL_METHOD,
  MOH__TCALL_FUNCTION
} moh__tcall_kind;

enum { MOH__TCALL_ARGUMENTS = 8 };

/* Arguments of a call, by place and by name. */
typedef struct moh__targuments {
  int n, n_named;
  moh__tvalue items[MOH__TCALL_ARGUMENTS]; /* places, then names */
  moh__text names[MOH__TCALL_ARGUMENTS];   /* empty: by place */
} moh__targuments;

/* self: what stands before | or . or is; NULL for functions. */
typedef moh_status moh__tcall_fn(moh__trun *run, const moh__tvalue *self,
                                 const moh__targuments *a, moh__tvalue *out);

/* A line of the tables. */
typedef struct moh__tcall {
  const char *name;
  moh__tcall_fn *run;
  int least, most;      /* arguments; most < 0: any, by name only */
  const char *names[3]; /* of the arguments */
  bool of_string;       /* self must be a string */
} moh__tcall;

extern const moh__tcall moh__ttests[]; /* template_tests.c */

/* The index of a name in the table of its kind; -1: not known. */
int moh__tcall_find(moh__tcall_kind kind, moh__text name);
/* Arguments given by name are put in their places. */
moh_status moh__tcall_run(moh__trun *run, moh__tcall_kind kind, int index,
                          const moh__tvalue *self, moh__targuments *arguments,
                          moh__tvalue *out);

/* template_json.c: as Python's json.dumps writes it, with text as it is; in
 * lines when indent >= 0. */
moh_status moh__tvalue_json(moh__trun *run, const moh__tvalue *v,
                            int64_t indent, moh__tvalue *out);

#endif
