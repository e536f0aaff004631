/* Numbers as people read them: thousands, bytes, durations. */
#include <math.h>

#include "../cli/numbers.h"
#include "support/check.h"

static void thousands_are_grouped(void **state) {
  (void)state;
  moh__number n;
  assert_string_equal(moh__number_grouped(&n, 0), "0");
  assert_string_equal(moh__number_grouped(&n, 999), "999");
  assert_string_equal(moh__number_grouped(&n, 1000), "1,000");
  assert_string_equal(moh__number_grouped(&n, 577280), "577,280");
  assert_string_equal(moh__number_grouped(&n, -577280), "-577,280");
  assert_string_equal(moh__number_grouped(&n, INT64_MIN),
                      "-9,223,372,036,854,775,808");
}

static void bytes_have_three_digits(void **state) {
  (void)state;
  moh__number n;
  assert_string_equal(moh__number_bytes(&n, 0), "0 B");
  assert_string_equal(moh__number_bytes(&n, 999), "999 B");
  assert_string_equal(moh__number_bytes(&n, 1000), "0.98 KiB");
  assert_string_equal(moh__number_bytes(&n, 1536), "1.50 KiB");
  assert_string_equal(moh__number_bytes(&n, 10 << 20), "10.0 MiB");
  assert_string_equal(moh__number_bytes(&n, 100 << 20), "100 MiB");
  assert_string_equal(moh__number_bytes(&n, (int64_t)3 << 40), "3.00 TiB");
}

static void durations_are_rounded_seconds(void **state) {
  (void)state;
  moh__number n;
  assert_string_equal(moh__number_duration(&n, 0.4), "0:00");
  assert_string_equal(moh__number_duration(&n, 59.6), "1:00");
  assert_string_equal(moh__number_duration(&n, 725), "12:05");
  assert_string_equal(moh__number_duration(&n, 11279), "3:07:59");
  assert_string_equal(moh__number_duration(&n, -1), "0:00");
  assert_string_equal(moh__number_duration(&n, NAN), "0:00");
  assert_string_equal(moh__number_duration(&n, INFINITY), "0:00");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(thousands_are_grouped),
      cmocka_unit_test(bytes_have_three_digits),
      cmocka_unit_test(durations_are_rounded_seconds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
