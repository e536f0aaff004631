/* Messages: whatever they quote, they are one line without control
 * characters. */
#include <string.h>

#include "base/status.h"
#include "support/check.h"

static void assert_said(const char *text, const char *expected) {
  moh_error err;
  assert_int_equal(moh__fail(&err, MOH_ERR_FORMAT, "<%s>", text),
                   MOH_ERR_FORMAT);
  assert_string_equal(err.message, expected);
}

static void messages_have_no_control_characters(void **state) {
  (void)state;
  assert_said("\x1b[31mred\a", "<?[31mred?>");
  assert_said("two\r\nlines\tand more", "<two  lines and more>");
  assert_said("\x7f.\xC2\x9B.", "<?.?" "?.>");
  assert_said("\u00e4\u00a0\u2581\xff", "<\u00e4\u00a0\u2581\xff>");
  assert_said("\xC2", "<\xC2>");
}

static void so_has_what_is_put_in_front(void **state) {
  moh_error err;
  (void)state;
  moh__fail(&err, MOH_ERR_FORMAT, "inner");
  moh__fail_in(&err, MOH_ERR_IO, "a\nb\x1b");
  assert_string_equal(err.message, "a b?: inner");
  assert_int_equal(err.status, MOH_ERR_IO);
}

/* A cut message ends within its room. */
static void long_messages_are_cut(void **state) {
  moh_error err;
  char text[2 * sizeof(err.message)];
  (void)state;
  memset(text, '\n', sizeof(text));
  text[sizeof(text) - 1] = '\0';
  moh__fail(&err, MOH_ERR_FORMAT, "%s", text);
  assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
  assert_null(strchr(err.message, '\n'));
  moh__fail_in(&err, MOH_ERR_FORMAT, "%s", text);
  assert_null(strchr(err.message, '\n'));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages_have_no_control_characters),
      cmocka_unit_test(so_has_what_is_put_in_front),
      cmocka_unit_test(long_messages_are_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
