/*
 * Completion for bash and zsh, from the tables of commands and options.
 * What may follow an option is known from its kind and its metavar: the
 * words of a choice, presets, files, directories; nothing is offered for
 * numbers.
 */
#include "completion.h"

#include <string.h>

#include "commands.h"
#include "model/config.h"
#include "moh.h"

/* What completes a value. */
typedef enum value_kind { NOTHING, FILES, DIRECTORIES, WORDS } value_kind;

typedef struct value {
  value_kind kind;
  const char *const *words; /* NULL-terminated, of WORDS */
  bool list;                /* several, with commas between */
} value;

static value value_named(const char *metavar) {
  if (metavar == NULL) return (value){.kind = NOTHING};
  if (strncmp(metavar, "FILE", 4) == 0 || strcmp(metavar, "PATH") == 0)
    return (value){.kind = FILES};
  if (strcmp(metavar, "DIR") == 0) return (value){.kind = DIRECTORIES};
  if (strcmp(metavar, "PRESET") == 0)
    return (value){.kind = WORDS, .words = moh__config_preset_names()};
  return (value){.kind = NOTHING};
}

static value value_of(const moh__option *option) {
  if (option->kind == MOH__OPTION_CHOICE)
    return (value){.kind = WORDS, .words = option->choices};
  value v = value_named(option->metavar);
  v.list = option->kind == MOH__OPTION_LIST;
  return v;
}

/* Names of all commands. */
static const char *const *command_names(void) {
  static const char *names[MOH__COMMANDS_MAX + 1];
  for (int i = 0; i < MOH__COMMANDS_MAX && moh__commands[i] != NULL; i++)
    names[i] = moh__commands[i]->name;
  return names;
}

/* What a command takes besides options. */
static value argument_of(const moh__command *command) {
  if (command->argument_words != NULL)
    return (value){.kind = WORDS, .words = command->argument_words};
  if (command->argument != NULL &&
      strcmp(command->argument, "COMMAND") == 0)
    return (value){.kind = WORDS, .words = command_names()};
  return value_named(command->argument);
}

/* "a b c" */
static void put_words(FILE *out, const char *const *words) {
  for (int i = 0; words[i] != NULL; i++)
    fprintf(out, "%s%s", i == 0 ? "" : " ", words[i]);
}

/* ---- bash ---- */

static void put_bash_options(FILE *out, const moh__command *command) {
  fprintf(out, "    %s) options='", command->name);
  for (const moh__option_group *g = command->groups; g->options; g++) {
    for (const moh__option *o = g->options; o->name != NULL; o++) {
      if (o->letter != 0) fprintf(out, "-%c ", o->letter);
      fprintf(out, "--%s ", o->name);
    }
  }
  fputs("-h --help' ;;\n", out);
}

static void put_bash_value(FILE *out, const value *v) {
  static const char *const names[] = {"none", "files", "dirs", "words "};
  fprintf(out, ") value='%s", names[v->kind]);
  if (v->kind == WORDS) put_words(out, v->words);
  fprintf(out, "'%s ;;\n", v->list ? " list=1" : "");
}

static void put_bash_values(FILE *out, const moh__command *command) {
  value v = argument_of(command);
  fprintf(out, "    %s.", command->name);
  put_bash_value(out, &v);
  for (const moh__option_group *g = command->groups; g->options; g++) {
    for (const moh__option *o = g->options; o->name != NULL; o++) {
      if (o->kind == MOH__OPTION_FLAG) continue;
      v = value_of(o);
      fprintf(out, "    %s.--%s", command->name, o->name);
      if (o->letter != 0) fprintf(out, "|%s.-%c", command->name, o->letter);
      put_bash_value(out, &v);
    }
  }
}

/* COMP_WORDS has "=" and ":" as words of their own, as long as these stand
 * in COMP_WORDBREAKS; a ":" never has something to complete behind it. */
static const char bash_functions[] =
    "# What can be KIND and begins with WORD, behind LEAD.\n"
    "_moh_reply() { # KIND LEAD WORD\n"
    "  local reply how\n"
    "  case $1 in\n"
    "    files) how=-f ;;\n"
    "    dirs) how=-d ;;\n"
    "    words*)\n"
    "      while IFS= read -r reply; do\n"
    "        COMPREPLY+=(\"$2$reply\")\n"
    "      done < <(compgen -W \"${1#words}\" -- \"$3\")\n"
    "      return ;;\n"
    "    *) return ;;\n"
    "  esac\n"
    "  compopt -o filenames 2>/dev/null\n"
    "  while IFS= read -r reply; do\n"
    "    COMPREPLY+=(\"$2$reply\")\n"
    "  done < <(compgen \"$how\" -- \"$3\")\n"
    "}\n"
    "\n"
    "_moh() {\n"
    "  local word=${COMP_WORDS[COMP_CWORD]} before=$((COMP_CWORD - 1))\n"
    "  local command=${COMP_WORDS[1]} option\n"
    "  local lead='' options='' value='' list=''\n"
    "  COMPREPLY=()\n"
    "  if [ \"$COMP_CWORD\" -le 1 ]; then\n"
    "    _moh_reply \"words $_moh_commands -h --help --version\" '' "
    "\"$word\"\n"
    "    return\n"
    "  fi\n"
    "  option=${COMP_WORDS[before]}\n"
    "  case $word in\n"
    "    =) word='' ;;\n"
    "    :) return ;;\n"
    "    --*=*) option=${word%%=*} lead=$option= word=${word#*=} ;;\n"
    "    *) case $option in\n"
    "         =) option=${COMP_WORDS[before - 1]} ;;\n"
    "         :) return ;;\n"
    "       esac ;;\n"
    "  esac\n"
    "  word=${word#[\\\"\\']}\n"
    "  word=${word//\\\\/}\n"
    "  case $option in -*) _moh_value \"$command.$option\" ;; esac\n"
    "  if [ -z \"$value\" ]; then\n"
    "    case $word in\n"
    "      -*) _moh_options \"$command\"; value=\"words $options\" ;;\n"
    "      *) _moh_value \"$command.\" ;;\n"
    "    esac\n"
    "  fi\n"
    "  case $list$word in\n"
    "    1*,*) lead=$lead${word%,*}, word=${word##*,} ;;\n"
    "  esac\n"
    "  _moh_reply \"$value\" \"$lead\" \"$word\"\n"
    "}\n"
    "\n"
    "complete -F _moh moh\n";

void moh__completion_bash(FILE *out) {
  fprintf(out,
          "# bash completion for moh %s, made by 'moh completion bash'.\n\n"
          "_moh_commands='",
          moh_version());
  put_words(out, command_names());
  fputs("'\n\n_moh_options() { # COMMAND\n  case $1 in\n", out);
  for (int i = 0; moh__commands[i] != NULL; i++)
    put_bash_options(out, moh__commands[i]);
  fputs(
      "  esac\n}\n\n"
      "# What may follow an option, or stand alone, behind the dot; "
      "nothing\n"
      "# for options without a value.\n"
      "_moh_value() { # COMMAND.OPTION\n  case $1 in\n",
      out);
  for (int i = 0; moh__commands[i] != NULL; i++)
    put_bash_values(out, moh__commands[i]);
  fprintf(out, "  esac\n}\n\n%s", bash_functions);
}

/* ---- zsh ---- */

/* Text inside of single quotes, where a backslash keeps the signs that
 * _arguments knows. */
static void put_zsh_text(FILE *out, const char *text) {
  for (const char *c = text; *c != '\0'; c++) {
    if (*c == '\'') {
      fputs("'\\''", out);
      continue;
    }
    if (strchr("[]:\\", *c) != NULL) fputc('\\', out);
    fputc(*c, out);
  }
}

/* ":message:action" */
static void put_zsh_value(FILE *out, const char *message, const value *v) {
  fputc(':', out);
  put_zsh_text(out, message);
  fputs(v->list ? ":_sequence " : ":", out);
  if (v->kind == NOTHING) fputc(' ', out);
  if (v->kind == FILES) fputs("_files", out);
  if (v->kind == DIRECTORIES) fputs("_files -/", out);
  if (v->kind != WORDS) return;
  fputc('(', out);
  put_words(out, v->words);
  fputc(')', out);
}

/* Lists may be given more than once, other options exclude themselves:
 * '(-d --data)'{-d+,--data=}'[help]:FILE:_files' */
static void put_zsh_option(FILE *out, const moh__option *option) {
  bool flag = option->kind == MOH__OPTION_FLAG;
  bool repeats =
      option->kind == MOH__OPTION_LIST || option->kind == MOH__OPTION_TEXTS;
  fputs("        ", out);
  if (repeats) fputs("'*'", out);
  if (option->letter != 0) {
    if (!repeats)
      fprintf(out, "'(-%c --%s)'", option->letter, option->name);
    fprintf(out, "{-%c%s,--%s%s}", option->letter, flag ? "" : "+",
            option->name, flag ? "" : "=");
  } else {
    fprintf(out, "--%s%s", option->name, flag ? "" : "=");
  }
  fputs("'[", out);
  put_zsh_text(out, option->help);
  fputc(']', out);
  if (!flag) {
    value v = value_of(option);
    put_zsh_value(
        out, option->metavar != NULL ? option->metavar : option->name, &v);
  }
  fputs("' \\\n", out);
}

static void put_zsh_command(FILE *out, const moh__command *command) {
  fprintf(out, "    %s)\n      _arguments -S \\\n", command->name);
  for (const moh__option_group *g = command->groups; g->options; g++)
    for (const moh__option *o = g->options; o->name != NULL; o++)
      put_zsh_option(out, o);
  if (command->max_arguments > 0) {
    value v = argument_of(command);
    fprintf(out, "        '%c", command->max_arguments > 1 ? '*' : '1');
    if (command->max_arguments == 1) fputc(':', out);
    put_zsh_value(
        out, command->argument != NULL ? command->argument : "TEXT", &v);
    fputs("' \\\n", out);
  }
  fputs("        '(- *)'{-h,--help}'[all options]' ;;\n", out);
}

static const char zsh_begin[] =
    "#compdef moh\n"
    "# zsh completion for moh, made by 'moh completion zsh'.\n"
    "\n"
    "_moh_commands() {\n"
    "  local -a commands=(\n";

static const char zsh_middle[] =
    "  )\n"
    "  _describe -t commands command commands\n"
    "}\n"
    "\n"
    "_moh() {\n"
    "  local curcontext=$curcontext state line\n"
    "  local -A opt_args\n"
    "  _arguments -C \\\n"
    "    '(- *)'{-h,--help}'[the commands]' \\\n"
    "    '(- *)--version[the version]' \\\n"
    "    '1:COMMAND:_moh_commands' \\\n"
    "    '*::word:->words' && return\n"
    "  case $words[1] in\n";

/* Run as a function of fpath, or sourced. */
static const char zsh_end[] =
    "  esac\n"
    "}\n"
    "\n"
    "if [[ $funcstack[1] == _moh ]]; then\n"
    "  _moh \"$@\"\n"
    "else\n"
    "  compdef _moh moh\n"
    "fi\n";

void moh__completion_zsh(FILE *out) {
  fputs(zsh_begin, out);
  for (int i = 0; moh__commands[i] != NULL; i++) {
    fprintf(out, "    '%s:", moh__commands[i]->name);
    put_zsh_text(out, moh__commands[i]->summary);
    fputs("'\n", out);
  }
  fputs(zsh_middle, out);
  for (int i = 0; moh__commands[i] != NULL; i++)
    put_zsh_command(out, moh__commands[i]);
  fputs(zsh_end, out);
}
