#!/usr/bin/env bash
# Compiles the kernels for 64-bit ARM and looks for fused vector
# multiply-adds in the result. Nothing is run.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$MOH_ROOT"

output=$(mktemp)
trap 'rm -f "$output"' EXIT
# simd_gemm.c only arranges tiles.
for kernel in tile bf16 attention attention_grad cope rows; do
  clang --target=aarch64-linux-gnu -std=gnu17 -O2 -Wall -Wextra -Werror \
    -isystem /usr/aarch64-linux-gnu/include -D_GNU_SOURCE -Iinclude -Isrc \
    -DMOH_SIMD_NAME=base -DMOH_SIMD_LANES=4 -S -o "$output" \
    "src/kernel/simd_$kernel.c"
  n=$(grep -c 'fmla' "$output") || die "simd_$kernel.c: no fmla for NEON"
  say "simd_$kernel.c: $n fmla"
done
