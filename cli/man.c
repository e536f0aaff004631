/*
 * Man pages: what --help says, as troff with the macros of man(7), and what
 * holds for all commands: exit codes, environment, files. The pages are
 * those of moh(1) and of moh-COMMAND(1); they bear no date, so that they
 * are the same whenever they are built.
 */
#include "man.h"

#include <ctype.h>
#include <string.h>

#include "commands.h"
#include "help.h"
#include "moh.h"

/* ---- text ---- */

/* What troff would take for something else: its escapes, and characters
 * that it prints as others. NULL: the character itself. */
static const char *escape_of(char c) {
  switch (c) {
    case '\\':
      return "\\e";
    case '-':
      return "\\-";
    case '\'':
      return "\\(aq";
    case '`':
      return "\\(ga";
    case '"':
      return "\\(dq";
    case '^':
      return "\\(ha";
    case '~':
      return "\\(ti";
    default:
      return NULL;
  }
}

/* A dot that begins a line would make it a request. */
static void put_text(FILE *out, const char *text) {
  bool line_begins = true;
  for (const char *c = text; *c != '\0'; c++) {
    const char *escape = escape_of(*c);
    if (line_begins && *c == '.') fputs("\\&", out);
    if (escape != NULL)
      fputs(escape, out);
    else
      fputc(*c, out);
    line_begins = *c == '\n';
  }
}

static void put_section(FILE *out, const char *title) {
  fprintf(out, ".SH \"%s\"\n", title);
}

static void put_subsection(FILE *out, const char *title) {
  fputs(".SS \"", out);
  put_text(out, title);
  fputs("\"\n", out);
}

/* A tagged paragraph: the tag in bold, then the text. */
static void put_item(FILE *out, const char *tag, const char *text) {
  fputs(".TP\n\\fB", out);
  put_text(out, tag);
  fputs("\\fR\n", out);
  put_text(out, text);
  fputc('\n', out);
}

/* ---- what pages share ---- */

/* The title, the name of the page and its line for whatis(1). */
static void put_head(FILE *out, const char *name, const char *summary) {
  fprintf(out,
          ".\\\" Made by 'moh help --man' from the tables of options.\n");
  fputs(".TH MOH", out);
  if (name != NULL) fputs("\\-", out);
  for (const char *c = name != NULL ? name : ""; *c != '\0'; c++)
    fputc(toupper((unsigned char)*c), out);
  fprintf(out, " 1 \"\" \"moh %s\" \"moh manual\"\n", moh_version());
  put_section(out, "NAME");
  fputs("moh", out);
  if (name != NULL) {
    fputs("\\-", out);
    put_text(out, name);
  }
  fputs(" \\- ", out);
  put_text(out, summary);
  fputc('\n', out);
}

static void put_exits(FILE *out) {
  char code[16];
  put_section(out, "EXIT STATUS");
  for (const moh__exit *e = moh__help_exits; e->meaning != NULL; e++) {
    snprintf(code, sizeof code, "%d", e->code);
    put_item(out, code, e->meaning);
  }
}

static void put_environment(FILE *out) {
  put_section(out, "ENVIRONMENT");
  put_item(out, "MOH_CPU",
           "the kernels to compute with: avx512bf16, avx512, avx2, base or "
           "reference; "
           "without it the best ones that the processor has");
  put_item(out, "NO_COLOR",
           "when it is set and not empty, no colours on a terminal");
}

static void put_files(FILE *out) {
  put_section(out, "FILES");
  fputs("A model is a directory:\n", out);
  put_item(out, "config.json", "sizes, layers, heads and their router");
  put_item(out, "model.safetensors", "the weights");
  put_item(out, "tokenizer.json", "the vocabulary");
  put_item(out, "manifest.json", "size and SHA-256 of each of these");
  fputs(".PP\nA run is one, too, and stands for its model in --model:\n",
        out);
  put_item(out, "run.json", "what was asked for");
  put_item(out, "log.jsonl", "a line for each step and each evaluation");
  put_item(out, "checkpoints/", "the whole state, for --resume");
  put_item(out, "best/", "the model that was best on held-out data");
  put_item(out, "final/", "the model at the end");
  put_item(out, "result.json", "what came out");
  fputs(".PP\nBesides:\n", out);
  put_item(
      out, "~/.local/state/moh/history",
      "lines typed in moh chat; in $XDG_STATE_HOME, where that is set");
}

/* Pages of the commands, but for one of them. */
static void put_see_also(FILE *out, const moh__command *self) {
  put_section(out, "SEE ALSO");
  if (self != NULL) fputs("\\fBmoh\\fR(1),\n", out);
  bool first = true;
  for (int i = 0; moh__commands[i] != NULL; i++) {
    if (moh__commands[i] == self) continue;
    fprintf(out, "%s\\fBmoh\\-", first ? "" : ",\n");
    put_text(out, moh__commands[i]->name);
    fputs("\\fR(1)", out);
    first = false;
  }
  fputc('\n', out);
}

/* ---- a command's page ---- */

/* A usage has lines: the first lacks "moh NAME", others begin with it. */
static void put_usage(FILE *out, const moh__command *command) {
  const char *line = command->usage;
  size_t name = strlen("moh ") + strlen(command->name);
  put_section(out, "SYNOPSIS");
  fputs(".nf\n", out);
  for (bool first = true; *line != '\0'; first = false) {
    char text[MOH__HELP_TEXT_MAX];
    int n = (int)strcspn(line, "\n");
    snprintf(text, sizeof text, "%.*s", n, line);
    char *rest = first ? text : text + strspn(text, " ") + name + 1;
    fputs("\\fBmoh ", out);
    put_text(out, command->name);
    fputs("\\fR ", out);
    put_text(out, rest);
    fputc('\n', out);
    line += n + (line[n] == '\n');
  }
  fputs(".fi\n", out);
}

/* The name of the value: a metavar, or the words that it may be. */
static void put_value(FILE *out, const moh__option *option) {
  if (option->kind == MOH__OPTION_FLAG) return;
  fputc(' ', out);
  if (option->kind != MOH__OPTION_CHOICE) {
    fputs("\\fI", out);
    put_text(out, option->metavar);
    fputs("\\fR", out);
    return;
  }
  for (int i = 0; option->choices[i] != NULL; i++) {
    fputs(i == 0 ? "\\fB" : "\\fR|\\fB", out);
    put_text(out, option->choices[i]);
  }
  fputs("\\fR", out);
}

static void put_option(FILE *out, const moh__option *option) {
  char text[MOH__HELP_TEXT_MAX];
  fputs(".TP\n", out);
  if (option->letter != 0) fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
  fputs("\\fB\\-\\-", out);
  put_text(out, option->name);
  fputs("\\fR", out);
  put_value(out, option);
  fputc('\n', out);
  moh__help_option_text(option, text, sizeof text);
  put_text(out, text);
  fputc('\n', out);
}

static void put_options(FILE *out, const moh__command *command) {
  put_section(out, "OPTIONS");
  for (const moh__option_group *g = command->groups; g->options; g++) {
    put_subsection(out, g->title);
    for (const moh__option *o = g->options; o->name != NULL; o++)
      put_option(out, o);
  }
  put_subsection(out, "Help");
  put_item(out, "-h, --help", "the text of this page, without macros");
}

static void put_examples(FILE *out, const char *examples) {
  put_section(out, "EXAMPLES");
  fputs(".nf\n", out);
  put_text(out, examples);
  fputs(".fi\n", out);
}

void moh__man_command(FILE *out, const moh__command *command) {
  put_head(out, command->name, command->summary);
  put_usage(out, command);
  put_section(out, "DESCRIPTION");
  put_text(out, command->description);
  fputc('\n', out);
  put_options(out, command);
  if (command->examples != NULL) put_examples(out, command->examples);
  put_exits(out);
  put_environment(out);
  put_see_also(out, command);
}

/* ---- the overview ---- */

static void put_commands(FILE *out) {
  put_section(out, "COMMANDS");
  for (int i = 0; moh__commands[i] != NULL; i++)
    put_item(out, moh__commands[i]->name, moh__commands[i]->summary);
}

void moh__man_overview(FILE *out) {
  put_head(out, NULL,
           "transformer language models with Mixture-of-Heads attention");
  put_section(out, "SYNOPSIS");
  fputs("\\fBmoh\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]...\n", out);
  put_section(out, "DESCRIPTION");
  put_text(out, moh__help_description);
  fputs("\nEach command has a page of its own.\n", out);
  put_commands(out);
  put_section(out, "OPTIONS");
  put_item(out, "-h, --help", "the commands, in a few lines");
  put_item(out, "--version", "the version, and the kernels in use");
  put_examples(out,
               "  moh train --data facts.json --out run\n"
               "  moh generate --model run \"the sun\"\n"
               "  moh inspect --model run\n");
  put_exits(out);
  put_environment(out);
  put_files(out);
  put_see_also(out, NULL);
}
