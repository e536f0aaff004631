#!/usr/bin/env bash
# Times kernels on one thread against each other and against OpenBLAS and
# oneDNN, which it installs where they are missing (apt-get, as root).
#
#   bench/kernels/run.sh [--rounds N] [gemm|gathered|attention|cope|decoding]...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

missing=
for package in libopenblas0-serial libdnnl2; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=" $package"
done
if [[ -n $missing ]]; then
  say "installing$missing"
  # shellcheck disable=SC2086 # words
  apt-get install -y -qq $missing >/dev/null ||
    say "without them: the section gemm is left out"
fi
cmake --preset release >/dev/null
cmake --build --preset release --target bench_kernels >/dev/null
exec build/release/bench/kernels/bench_kernels "$@"
