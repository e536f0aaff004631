/* Time as durations need it. */
#ifndef MOH_BASE_CLOCK_H
#define MOH_BASE_CLOCK_H

/* Seconds from a clock that never goes back. */
double moh__now(void);
/* Seconds that the calling thread has computed: a busy machine, on which
 * threads wait for each other, changes them little. */
double moh__thread_seconds(void);

#endif
