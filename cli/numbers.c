/* Numbers as people read them: thousands, bytes, durations. */
#include "numbers.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *moh__number_grouped(moh__number *number, int64_t value) {
  char digits[24];
  int n = snprintf(digits, sizeof digits, "%" PRId64, value);
  char *out = number->text;
  for (int i = 0; i < n; i++) {
    int left = n - 1 - i;
    *out++ = digits[i];
    if (left > 0 && left % 3 == 0 && digits[i] != '-') *out++ = ',';
  }
  *out = '\0';
  return number->text;
}

const char *moh__number_bytes(moh__number *number, int64_t bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes;
  int unit = 0;
  while (value >= 999.5 && unit < 4) {
    value /= 1024;
    unit++;
  }
  int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  snprintf(number->text, sizeof number->text, "%.*f %s", decimals, value,
           units[unit]);
  return number->text;
}

const char *moh__number_duration(moh__number *number, double seconds) {
  int64_t s = seconds > 0 && seconds < 1e15 ? llround(seconds) : 0;
  int64_t hours = s / 3600;
  int minutes = (int)(s / 60 % 60);
  int rest = (int)(s % 60);
  if (hours > 0)
    snprintf(number->text, sizeof number->text, "%" PRId64 ":%02d:%02d",
             hours, minutes, rest);
  else
    snprintf(number->text, sizeof number->text, "%d:%02d", minutes, rest);
  return number->text;
}

bool moh__parse_duration(const char *text, double *seconds) {
  static const struct {
    const char *unit;
    double seconds;
  } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  char *end;
  double value = strtod(text, &end);
  if (end == text || !(value > 0) || value > 1e9) return false;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (strcmp(end, units[i].unit) != 0) continue;
    *seconds = value * units[i].seconds;
    return true;
  }
  return false;
}
