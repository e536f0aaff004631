/* libedit, told to stop reading when a signal comes. */
#include "line_editor.h"

#ifdef MOH_HAVE_EDITLINE

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "interrupt.h"

enum { HISTORY_SIZE = 1000 };

struct moh__line_editor {
  EditLine *line;
  History *history;
  const char *path; /* NULL: the history is not kept */
  const char *prompt;
  bool empty;
};

static moh__line_editor *editor_of(EditLine *line) {
  void *editor = NULL;
  el_get(line, EL_CLIENTDATA, &editor);
  return editor;
}

static char *prompt_of(EditLine *line) {
  return (char *)editor_of(line)->prompt;
}

/* One byte; -1 when a signal came. */
static int read_byte(unsigned char *byte) {
  ssize_t n = 0;
  do {
    if (moh__interrupted()) return -1;
    n = read(STDIN_FILENO, byte, 1);
  } while (n < 0 && errno == EINTR);
  return (int)n;
}

/* One character in the encoding of the locale. Bytes that are none come
 * through as they are. */
static int read_char(EditLine *line, wchar_t *c) {
  mbstate_t state = {0};
  unsigned char byte;
  for (int i = 0; i < 8; i++) {
    int n = read_byte(&byte);
    if (n < 1) {
      const LineInfo *info = el_line(line);
      editor_of(line)->empty = info->lastchar == info->buffer;
      return n;
    }
    size_t used = mbrtowc(c, (const char *)&byte, 1, &state);
    if (used != (size_t)-2 && used != (size_t)-1) return 1;
    if (used == (size_t)-1) break;
  }
  *c = byte;
  return 1;
}

static void load_history(moh__line_editor *e) {
  HistEvent event;
  history(e->history, &event, H_SETSIZE, HISTORY_SIZE);
  history(e->history, &event, H_SETUNIQUE, 1);
  if (e->path != NULL) history(e->history, &event, H_LOAD, e->path);
  el_set(e->line, EL_HIST, history, e->history);
}

moh__line_editor *moh__line_editor_open(const char *history_path) {
  moh__line_editor *e = calloc(1, sizeof *e);
  setlocale(LC_CTYPE, "");
  if (e == NULL) return NULL;
  e->path = history_path;
  e->line = el_init("moh", stdin, stdout, stderr);
  e->history = history_init();
  if (e->line == NULL || e->history == NULL) {
    moh__line_editor_close(e);
    return NULL;
  }
  el_set(e->line, EL_CLIENTDATA, e);
  el_set(e->line, EL_PROMPT, prompt_of);
  el_set(e->line, EL_EDITOR, "emacs");
  el_set(e->line, EL_SIGNAL, 0);
  el_wset(e->line, EL_GETCFN, read_char);
  load_history(e);
  return e;
}

static void save_history(const moh__line_editor *e) {
  HistEvent event;
  if (e->path == NULL || e->history == NULL) return;
  mode_t before = umask(077);
  history(e->history, &event, H_SAVE, e->path);
  umask(before);
}

void moh__line_editor_close(moh__line_editor *e) {
  if (e == NULL) return;
  save_history(e);
  if (e->history != NULL) history_end(e->history);
  if (e->line != NULL) el_end(e->line);
  free(e);
}

const char *moh__line_editor_read(moh__line_editor *e, const char *prompt,
                                  bool *empty) {
  int n = 0;
  HistEvent event;
  e->prompt = prompt;
  e->empty = true;
  const char *line = el_gets(e->line, &n);
  *empty = e->empty;
  if (line == NULL || n <= 0) return NULL;
  if (strspn(line, " \t\r\n") < (size_t)n)
    history(e->history, &event, H_ENTER, line);
  return line;
}

#else

#include <stddef.h>

moh__line_editor *moh__line_editor_open(const char *history_path) {
  (void)history_path;
  return NULL;
}

void moh__line_editor_close(moh__line_editor *editor) { (void)editor; }

const char *moh__line_editor_read(moh__line_editor *editor,
                                  const char *prompt, bool *empty) {
  (void)editor, (void)prompt, (void)empty;
  return NULL;
}

#endif
