/* Time as durations need it. */
#ifndef MOH_BASE_CLOCK_H
#define MOH_BASE_CLOCK_H

/* Seconds from a clock that never goes back. */
double moh__now(void);

#endif
