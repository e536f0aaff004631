/* The rule for colours, in one place. */
#include "color.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool moh__wants_color(int descriptor) {
  const char *no_color = getenv("NO_COLOR");
  const char *term = getenv("TERM");
  if (no_color != NULL && no_color[0] != '\0') return false;
  if (term == NULL || strcmp(term, "dumb") == 0) return false;
  return isatty(descriptor) == 1;
}
