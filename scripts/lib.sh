# shellcheck shell=bash
# Functions that the scripts of this directory share; sourced, not run.

MOH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }

# A heading that stands out between the output of commands.
heading() { printf '\n== %s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Processors this process may use.
n_processors() { nproc 2>/dev/null || echo 2; }

# configure_and_build PRESET [TARGET...]: in build/PRESET.
configure_and_build() {
  local preset=$1
  shift
  local targets=()
  if (($# > 0)); then targets=(--target "$@"); fi
  (cd "$MOH_ROOT" &&
    cmake --preset "$preset" &&
    cmake --build --preset "$preset" -j "$(n_processors)" "${targets[@]}")
}

# ---- packages ------------------------------------------------------------

# shellcheck disable=SC2034 # used by those who source this file
# What the build and the tests need, one a line: a test that succeeds when it
# is there, and the Debian packages that bring it, the first known one counts.
BUILD_NEEDS='have cmake|cmake
have ninja|ninja-build
have gcc|gcc
can_compile|libc6-dev
have pkg-config|pkg-config
has_library jansson|libjansson-dev
has_library libpcre2-8|libpcre2-dev
has_library libutf8proc|libutf8proc-dev
has_library libcrypto|libssl-dev
has_library libedit|libedit-dev
has_library cmocka|libcmocka-dev'
# shellcheck disable=SC2034
TEST_NEEDS='have python3|python3
have groff|groff-base
have c++|g++
have clang|clang
have clang-tidy|clang-tidy
has_arm_headers|libc6-dev-arm64-cross
can_fuzz|libclang-rt-dev libclang-rt-14-dev libclang-common-14-dev'

can_compile() {
  printf '#include <stdio.h>\n' | gcc -E -x c - >/dev/null 2>&1
}

has_arm_headers() { [[ -e /usr/aarch64-linux-gnu/include/string.h ]]; }

has_library() { have pkg-config && pkg-config --exists "$1"; }

# Whether clang can link its sanitizers and libFuzzer.
can_fuzz() {
  local program
  have clang || return 1
  program=$(mktemp) || return 1
  local status=0
  printf '%s\n' '#include <stddef.h>' \
    'int LLVMFuzzerTestOneInput(const unsigned char *b, size_t n);' \
    'int LLVMFuzzerTestOneInput(const unsigned char *b, size_t n)' \
    '{ return n > 0 && b[0] == 0; }' |
    clang -fsanitize=fuzzer,address -x c - -o "$program" >/dev/null 2>&1 ||
    status=1
  rm -f "$program"
  return "$status"
}

# missing_packages NEEDS: lines of alternatives for what is not there.
missing_packages() {
  local probe packages
  while IFS='|' read -r probe packages; do
    # shellcheck disable=SC2086 # a command with its argument
    $probe </dev/null || say "$packages"
  done <<<"$1"
}

apt_knows() {
  [[ $(apt-cache policy "$1" 2>/dev/null) == *'Candidate: '[0-9]* ]]
}

# The first package of a line of alternatives that apt knows; fails when it
# knows none.
known_package() {
  local package
  for package in $1; do
    if apt_knows "$package"; then
      say "$package"
      return 0
    fi
  done
  return 1
}

# pick_packages LINES: one known package for each line; fails when there is a
# line without one.
pick_packages() {
  local line
  while read -r line; do
    known_package "$line" || return 1
  done <<<"$1"
}
