/* Numbers as people read them. Each function writes into the caller's text
 * and gives it back, for use within a printf. */
#ifndef MOH_CLI_NUMBERS_H
#define MOH_CLI_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

typedef struct moh__number {
  char text[32];
} moh__number;

/* 577280 -> "577,280" */
const char *moh__number_grouped(moh__number *number, int64_t value);

/* Bytes -> "512 B", "1.5 KiB", "3.21 MiB", three digits. */
const char *moh__number_bytes(moh__number *number, int64_t bytes);

/* Seconds -> "0:42", "12:05", "3:07:59". */
const char *moh__number_duration(moh__number *number, double seconds);

/* "90", "90s", "30m", "2h" or "1d" in seconds; false when it is none of
 * them, or not positive. */
bool moh__parse_duration(const char *text, double *seconds);

#endif
