/* Lines from an editor, a terminal or a pipe, and what Ctrl-C means. */
#include "line_input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "interrupt.h"
#include "line_editor.h"

struct moh__line_input {
  bool terminal;            /* stdin is one */
  FILE *prompts;            /* where they go: not into a pipe */
  moh__line_editor *editor; /* NULL: lines come as they are */
  char *line;               /* of getline */
  size_t capacity;
  char *text;     /* joined lines */
  bool cancelled; /* the line before was */
};

/* Makes the directory of a path. */
static bool has_directory(const char *path) {
  char *dir = strdup(path);
  if (dir == NULL) return false;
  *strrchr(dir, '/') = '\0';
  bool has = moh__make_dirs(dir, NULL) == MOH_OK;
  free(dir);
  return has;
}

char *moh__history_path(void) {
  const char *state = getenv("XDG_STATE_HOME");
  const char *home = getenv("HOME");
  char *path = NULL;
  int n = -1;
  if (state != NULL && state[0] == '/')
    n = asprintf(&path, "%s/moh/history", state);
  else if (home != NULL && home[0] == '/')
    n = asprintf(&path, "%s/.local/state/moh/history", home);
  return n < 0 ? NULL : path;
}

moh_status moh__line_input_open(moh__line_input **out, const char *history,
                                moh_error *err) {
  moh__line_input *input = calloc(1, sizeof *input);
  *out = input;
  if (input == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  bool shown = isatty(STDOUT_FILENO) == 1;
  input->terminal = isatty(STDIN_FILENO) == 1;
  input->prompts = shown ? stdout : stderr;
  if (!input->terminal || !shown) return MOH_OK;
  if (history != NULL && !has_directory(history)) history = NULL;
  input->editor = moh__line_editor_open(history);
  return MOH_OK;
}

void moh__line_input_close(moh__line_input *input) {
  if (input == NULL) return;
  moh__line_editor_close(input->editor);
  free(input->line);
  free(input->text);
  free(input);
}

bool moh__line_input_is_terminal(const moh__line_input *input) {
  return input->terminal;
}

/* One line as it comes, or NULL. */
static const char *read_plain(moh__line_input *input, const char *prompt) {
  if (input->terminal) fputs(prompt, input->prompts);
  fflush(input->prompts);
  if (moh__interrupted()) return NULL;
  ssize_t n = getline(&input->line, &input->capacity, stdin);
  if (n < 0) clearerr(stdin);
  return n < 0 ? NULL : input->line;
}

/* What the lack of a line means: its end, or Ctrl-C. */
static moh__line_kind no_line(moh__line_input *input, bool empty) {
  bool again = input->cancelled;
  if (input->terminal) fputc('\n', input->prompts);
  if (!moh__interrupted()) return MOH__LINE_END;
  if (moh__terminated() || !input->terminal) return MOH__LINE_QUIT;
  moh__interrupt_clear();
  input->cancelled = true;
  return empty || again ? MOH__LINE_QUIT : MOH__LINE_CANCELLED;
}

static moh__line_kind read_one(moh__line_input *input, const char *prompt,
                               const char **line) {
  bool empty = false;
  *line = input->editor != NULL
              ? moh__line_editor_read(input->editor, prompt, &empty)
              : read_plain(input, prompt);
  if (*line == NULL) return no_line(input, empty);
  input->cancelled = false;
  return MOH__LINE_TEXT;
}

/* Appends a line to the text, without its newline. True when it ends with a
 * backslash, which becomes a newline. */
static bool join(moh__line_input *input, size_t *n, const char *line,
                 moh__line_kind *kind) {
  size_t more = strcspn(line, "\n");
  char *grown = realloc(input->text, *n + more + 1);
  if (grown == NULL) {
    *kind = MOH__LINE_END;
    return false;
  }
  input->text = grown;
  memcpy(grown + *n, line, more);
  *n += more;
  bool joins = more > 0 && line[more - 1] == '\\';
  if (joins) grown[*n - 1] = '\n';
  grown[*n] = '\0';
  return joins;
}

moh__line_kind moh__line_read(moh__line_input *input, const char *prompt,
                              char **text) {
  size_t n = 0;
  const char *line;
  moh__line_kind kind = read_one(input, prompt, &line);
  while (kind == MOH__LINE_TEXT && join(input, &n, line, &kind)) {
    kind = read_one(input, "...   ", &line);
    if (kind == MOH__LINE_QUIT && !moh__interrupted())
      kind = MOH__LINE_CANCELLED;
    if (kind == MOH__LINE_END && n > 0) {
      kind = MOH__LINE_TEXT;
      break;
    }
  }
  *text = input->text;
  return kind;
}
