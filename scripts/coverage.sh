#!/usr/bin/env bash
# Which lines the tests reach: builds with gcov's counters in build/coverage,
# runs all tests, prints a line for each file and the total, and leaves pages
# in build/coverage/html. Needs gcovr (Debian: gcovr). The kernels that this
# processor does not have count as not reached.
#
#   scripts/coverage.sh
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

have gcovr || die "gcovr is missing; please run: apt-get install gcovr"
cd "$MOH_ROOT"
build=build/coverage
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_C_FLAGS='--coverage -O1 -fprofile-update=atomic' >/dev/null
cmake --build "$build" -j "$(n_processors)"
find "$build" -name '*.gcda' -delete
# the counters' library is neither installed nor ours to name
ctest --test-dir "$build" -j "$(n_processors)" --timeout 1200 \
  --output-on-failure -E '^library_(symbols|install)$'
mkdir -p "$build/html"
gcovr --root . --object-directory "$build" --filter src/ --filter cli/ \
  --exclude-unreachable-branches --exclude-throw-branches \
  --print-summary \
  --html-details "$build/html/index.html" --txt -j "$(n_processors)"
