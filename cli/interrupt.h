/* SIGINT and SIGTERM as a request to stop at the next good place. The
 * second one ends the program at once. */
#ifndef MOH_CLI_INTERRUPT_H
#define MOH_CLI_INTERRUPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/hash.h"

/* From now on signals are caught; system calls that wait return EINTR. */
void moh__interrupt_catch(void);

/* From now on, while nothing can be lost, a signal ends the program at once
 * with exit code 130, after a message (a whole line, which must last). */
void moh__interrupt_quit(const char *message);

/* True once a signal came. */
bool moh__interrupted(void);

/* True when it was SIGTERM, which asks for the end of the program. */
bool moh__terminated(void);

/* Writes n bytes at once; false when they could not be written. A signal that
 * came while nobody read them is no fault of the output. */
bool moh__write_now(FILE *out, const char *bytes, size_t n);

/* Stops what it watches once a signal came. */
extern const moh__watch moh__interrupt_watch;

/* Signals end the program again. */
void moh__interrupt_release(void);

/* Forgets a signal that has been answered, and catches the next one. */
void moh__interrupt_clear(void);

#endif
