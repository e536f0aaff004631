/* The system's clocks, in seconds. */
#include "base/clock.h"

#include <time.h>

static double seconds_of(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

double moh__now(void) { return seconds_of(CLOCK_MONOTONIC); }

double moh__thread_seconds(void) {
  return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}
