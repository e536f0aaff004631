/*
 * --help of a command, from its table: usage, description, options by group
 * with their defaults, examples. Lines keep within 79 columns.
 */
#include "help.h"

#include <string.h>

#include "commands.h"

enum { WIDTH = 79, HELP_COLUMN = 28 };

/* Writes the words of a text, wrapped, continuing at `indent`; `column` is
 * where the cursor stands. */
static void write_wrapped(FILE *out, const char *text, int indent,
                          int column) {
  while (*text != '\0') {
    int n = (int)strcspn(text, " ");
    if (column > indent && column + 1 + n > WIDTH) {
      fprintf(out, "\n%*s", indent, "");
      column = indent;
    } else if (column > indent) {
      fputc(' ', out);
      column++;
    }
    fwrite(text, 1, (size_t)n, out);
    column += n;
    text += n;
    text += strspn(text, " ");
  }
  fputc('\n', out);
}

/* "a|b|c" */
static int write_choices(FILE *out, const char *const *choices) {
  int n = 0;
  for (int i = 0; choices[i] != NULL; i++)
    n += fprintf(out, "%s%s", i == 0 ? "" : "|", choices[i]);
  return n;
}

/* "  -d, --data FILE"; the columns it took. */
static int write_names(FILE *out, const moh__option *option) {
  int n = option->letter != 0 ? fprintf(out, "  -%c, ", option->letter)
                              : fprintf(out, "      ");
  n += fprintf(out, "--%s", option->name);
  if (option->kind == MOH__OPTION_FLAG) return n;
  n += fprintf(out, " ");
  if (option->kind == MOH__OPTION_CHOICE)
    return n + write_choices(out, option->choices);
  return n + fprintf(out, "%s", option->metavar);
}

void moh__help_option_text(const moh__option *option, char *text,
                           size_t size) {
  if (option->required)
    snprintf(text, size, "%s (required)", option->help);
  else if (option->fallback != NULL)
    snprintf(text, size, "%s (default: %s)", option->help,
             option->fallback);
  else
    snprintf(text, size, "%s", option->help);
}

static void write_option(FILE *out, const moh__option *option) {
  char text[MOH__HELP_TEXT_MAX];
  int column = write_names(out, option);
  if (column + 2 > HELP_COLUMN) {
    fputc('\n', out);
    column = 0;
  }
  fprintf(out, "%*s", HELP_COLUMN - column, "");
  moh__help_option_text(option, text, sizeof text);
  write_wrapped(out, text, HELP_COLUMN, HELP_COLUMN);
}

void moh__help_command(FILE *out, const moh__command *command) {
  fprintf(out, "Usage: moh %s %s\n\n", command->name, command->usage);
  write_wrapped(out, command->description, 0, 0);
  for (const moh__option_group *g = command->groups; g->options; g++) {
    fprintf(out, "\n%s:\n", g->title);
    for (const moh__option *o = g->options; o->name != NULL; o++)
      write_option(out, o);
  }
  fprintf(out, "\nHelp:\n  -h, --help%*sthis text\n", HELP_COLUMN - 12, "");
  if (command->examples != NULL)
    fprintf(out, "\nExamples:\n%s", command->examples);
}

const char *const moh__help_description =
    "Trains, runs and shows transformer language models with "
    "Mixture-of-Heads attention, on plain CPUs.";

const moh__exit moh__help_exits[] = {
    {0, "done"},           {1, "failed"},        {2, "wrong usage"},
    {3, "bad input file"}, {130, "interrupted"}, {0, NULL},
};

static void write_exits(FILE *out) {
  char text[MOH__HELP_TEXT_MAX] = "Exit codes:";
  size_t n = strlen(text);
  for (const moh__exit *e = moh__help_exits; e->meaning != NULL; e++)
    n += (size_t)snprintf(text + n, sizeof text - n, " %d %s%s", e->code,
                          e->meaning, e[1].meaning != NULL ? "," : ".");
  write_wrapped(out, text, 0, 0);
}

void moh__help_overview(FILE *out) {
  fputs("Usage: moh COMMAND [OPTION]...\n\n", out);
  write_wrapped(out, moh__help_description, 0, 0);
  fputs("\nCommands:\n", out);
  for (int i = 0; moh__commands[i] != NULL; i++)
    fprintf(out, "  %-10s %s\n", moh__commands[i]->name,
            moh__commands[i]->summary);
  fputs(
      "\nOptions:\n"
      "  -h, --help     this text; 'moh help COMMAND' for a command's\n"
      "      --version  the version\n\n",
      out);
  write_exits(out);
}
