/* The only thing a handler does is to set a flag. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number) { interrupted = number; }

void moh__interrupt_catch(void) {
  struct sigaction action = {.sa_handler = on_signal,
                             .sa_flags = (int)SA_RESETHAND};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

void moh__interrupt_release(void) {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
}

bool moh__interrupted(void) { return interrupted != 0; }

bool moh__terminated(void) { return interrupted == SIGTERM; }

void moh__interrupt_clear(void) {
  interrupted = 0;
  moh__interrupt_catch();
}
