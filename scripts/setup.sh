#!/usr/bin/env bash
# Installs what the build and the tests need and what is not there yet, with
# apt, as root or through sudo where that asks no password. Does nothing when
# all is there.
#
#   scripts/setup.sh            for the build and its tests
#   scripts/setup.sh --checks   also for sanitizers, fuzzing and clang-tidy
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

needs=$BUILD_NEEDS
case ${1-} in
  '') ;;
  --checks) needs+=$'\n'$TEST_NEEDS ;;
  *) die "unknown option $1; use --checks or nothing" ;;
esac

# Runs a command as root; fails where that is not possible.
as_root() {
  if (($(id -u) == 0)); then
    "$@"
  else
    sudo -n "$@"
  fi
}

can_be_root() {
  (($(id -u) == 0)) || { have sudo && sudo -n true 2>/dev/null; }
}

# What the user can do when we cannot: the exact line.
give_up() {
  say "missing packages; please run:" >&2
  say "  $1" >&2
  exit 1
}

missing=$(missing_packages "$needs")
if [[ -z $missing ]]; then
  say "setup: everything is there"
  exit 0
fi
# The preferred package of each line, for messages.
preferred=$(while read -r first _; do printf '%s ' "$first"; done \
  <<<"$missing")

have apt-get ||
  die "this system has no apt-get; install the equivalents of: $preferred"
can_be_root ||
  give_up "sudo apt-get update && sudo apt-get install -y ${preferred% }"

if ! packages=$(pick_packages "$missing"); then
  say "setup: updating the package lists"
  as_root apt-get update -qq
  packages=$(pick_packages "$missing") ||
    die "apt does not know some of: $preferred"
fi
mapfile -t packages <<<"$packages"
say "setup: installing ${packages[*]}"
install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq
  --no-install-recommends "${packages[@]}")
# Lists that are too old name files that are gone: once more with new ones.
as_root "${install[@]}" || {
  as_root apt-get update -qq
  as_root "${install[@]}"
}

missing=$(missing_packages "$needs")
[[ -z $missing ]] || die "still missing after the installation: $missing"
say "setup: done"
