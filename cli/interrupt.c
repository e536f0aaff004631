/* A handler sets a flag, or ends the program; nothing else. */
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_CODE = 130 };

static volatile sig_atomic_t interrupted;

static void on_signal(int number) { interrupted = number; }

static const char *quit_message;

/* Only calls that a handler may make. */
static void on_quit(int number) {
  (void)number;
  ssize_t written = write(STDERR_FILENO, quit_message, strlen(quit_message));
  (void)written;
  _exit(EXIT_CODE);
}

static void handle(void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler,
                             .sa_flags = (int)SA_RESETHAND};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

void moh__interrupt_catch(void) { handle(on_signal); }

void moh__interrupt_quit(const char *message) {
  quit_message = message;
  handle(on_quit);
}

void moh__interrupt_release(void) {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
}

bool moh__interrupted(void) { return interrupted != 0; }

static bool goes_on(void *context, size_t n_bytes) {
  (void)context, (void)n_bytes;
  return !moh__interrupted();
}

const moh__watch moh__interrupt_watch = {.tick = goes_on};

bool moh__terminated(void) { return interrupted == SIGTERM; }

void moh__interrupt_clear(void) {
  interrupted = 0;
  moh__interrupt_catch();
}

bool moh__write_now(FILE *out, const char *bytes, size_t n) {
  errno = 0;
  if (fwrite(bytes, 1, n, out) == n && fflush(out) == 0) return true;
  if (errno == EINTR) clearerr(out);
  return false;
}
