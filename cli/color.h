/* Whether colours are wanted. */
#ifndef MOH_CLI_COLOR_H
#define MOH_CLI_COLOR_H

#include <stdbool.h>

/* The descriptor is a terminal that has colours, and NO_COLOR
 * (https://no-color.org) is not set. */
bool moh__wants_color(int descriptor);

#endif
