/* cmocka.h, and before it what it needs but does not include. */
#ifndef MOH_TESTS_CHECK_H
#define MOH_TESTS_CHECK_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
