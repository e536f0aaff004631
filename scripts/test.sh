#!/usr/bin/env bash
# Everything that must hold before a change is merged: the tests in the
# release, address-sanitizer and thread-sanitizer builds, a build with clang,
# clang-tidy, the order of rooms, shellcheck where it is installed. Goes on
# after a failure and ends with the line "N passed, M failed": tests of all
# builds, and one for each other check.
#
#   scripts/test.sh           all of it
#   scripts/test.sh --quick   the tests in the release build only
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

quick=false
case ${1-} in
  '') ;;
  --quick) quick=true ;;
  *) die "unknown option $1; use --quick or nothing" ;;
esac

cd "$MOH_ROOT"
logs=build/test-logs
mkdir -p "$logs"
n_passed=0
n_failed=0

# count_result NAME STATUS: a check that is not one of ctest's.
count_result() {
  if (($2 == 0)); then
    n_passed=$((n_passed + 1))
    say "passed: $1"
  else
    n_failed=$((n_failed + 1))
    say "FAILED: $1"
  fi
}

# check NAME COMMAND...: its output is shown when it fails.
check() {
  local name=$1 status=0
  shift
  "$@" >"$logs/${name// /-}.log" 2>&1 || status=$?
  if ((status != 0)); then tail -n 60 "$logs/${name// /-}.log"; fi
  count_result "$name" "$status"
  return "$status"
}

# Linux may place memory where the thread sanitizer of older compilers does
# not expect it; without address randomisation they do not.
fixed_addresses() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then
    setarch "$(uname -m)" -R "$@"
  else
    "$@"
  fi
}

# count_tests LOG: adds the numbers of ctest's summary line, "97% tests passed,
# 1 tests failed out of 30".
count_tests() {
  local summary failed total
  summary=$(grep -E 'tests passed, [0-9]+ tests failed out of' "$1") || {
    count_result "$1" 1
    return 0
  }
  failed=$(sed -E 's/.*, ([0-9]+) tests failed.*/\1/' <<<"$summary")
  total=$(sed -E 's/.* out of ([0-9]+).*/\1/' <<<"$summary")
  n_passed=$((n_passed + total - failed))
  n_failed=$((n_failed + failed))
}

# build_and_test PRESET
build_and_test() {
  local log=$logs/ctest-$1.log
  heading "$1"
  check "build $1" configure_and_build "$1" || return 0
  fixed_addresses ctest --preset "$1" -j "$(n_processors)" --timeout 300 \
    >"$log" 2>&1 || true
  # The output of what failed, then the list of all tests.
  grep -vE '^ +Start +[0-9]+:' "$log" | tail -n 200
  count_tests "$log"
}

# The kernels of each instruction set through training and generation; the
# tests of the kernels themselves go over all of them anyway.
test_cpus() {
  local cpu
  heading "instruction sets"
  for cpu in reference base avx2 avx512 avx512bf16; do
    if MOH_CPU=$cpu build/release/moh --version >/dev/null 2>&1; then
      MOH_CPU=$cpu check "training and generation with $cpu" ctest --preset release \
        -R '^(trainer|transformer|cli_generate)$' || true
    else
      say "this processor has no $cpu: left out"
    fi
  done
}

run_checks() {
  heading "checks"
  check "build clang" configure_and_build clang || true
  check "clang-tidy" scripts/tidy.py build/release -j "$(n_processors)" ||
    true
  check "rooms self-test" scripts/check_rooms.py --self-test || true
  check "rooms" scripts/check_rooms.py || true
  check "promises" scripts/check_promises.py || true
  check "kernels for NEON" scripts/check_neon.sh || true
  if have shellcheck; then
    check "shellcheck" shellcheck -x scripts/*.sh bench/kernels/*.sh .ci/run || true
  fi
}

if $quick; then scripts/setup.sh; else scripts/setup.sh --checks; fi
build_and_test release
if ! $quick; then
  test_cpus
  build_and_test asan
  build_and_test tsan
  run_checks
fi

printf '\n%d passed, %d failed\n' "$n_passed" "$n_failed"
((n_failed == 0))
