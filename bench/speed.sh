#!/usr/bin/env bash
# Makes the measurements of docs/speed.md that need no other program, on a
# machine that should have nothing else to do: about twelve minutes.
#
#   bench/speed.sh [OUT] [PART]...     parts: kernels layer step decoding
#                                      prefill seed charts; all when none
#
# OUT (build/speed) gets a file for each part: text for kernels, the JSON of
# moh bench else; bench/speed_table.py turns that into tables.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

out=${1:-build/speed}
shift $(($# > 0 ? 1 : 0))
parts=${*:-kernels layer step decoding prefill seed charts}
moh=build/release/moh
mkdir -p "$out"

# bench NAME OPTION...: into OUT/NAME.json
bench() {
  say "$1: moh bench ${*:2}"
  "$moh" bench "${@:2}" --json >"$out/$1.json"
}

# Sizes of the models that are measured.
layer=(--preset nano --d-model 512 --n-heads 8 --kv-heads 8 --d-head 64)
step=(--preset nano --layers 6 --d-model 384 --n-heads 6 --kv-heads 6
  --d-head 64 --d-ff 1024 --vocab 4096 --tied)
llama=(--preset nano --layers 16 --d-model 1024 --n-heads 16 --kv-heads 4
  --d-head 64 --d-ff 2816 --vocab 32000 --untied)
smollm=(--preset nano --layers 30 --d-model 576 --n-heads 9 --kv-heads 3
  --d-head 64 --d-ff 1536 --vocab 49152 --tied)

run_part() {
  case $1 in
    kernels) bench/kernels/run.sh --rounds 15 >"$out/kernels.txt" ;;
    layer)
      bench layer "${layer[@]}" --work attention,router \
        --contexts 512,1024,2048,4096 --rounds 9
      ;;
    step)
      bench step "${step[@]}" --work training --contexts 1024 \
        --contenders none --heads moh:2+2 --precision f32,bf16 --rounds 11
      bench step-threads "${step[@]}" --work training --contexts 256 \
        --batch 4 --contenders none --threads 1,2 --precision f32,bf16 \
        --rounds 11
      ;;
    decoding)
      bench decoding-moh-s --preset moh-s --vocab 65536 --work decoding \
        --contexts 2048 --contenders 75,50 --precision f32,bf16 --rounds 11
      bench decoding-group "${smollm[@]}" --work decoding --contexts 2048 \
        --contenders none --route-by group --heads moh:1+1,moh:1+0 --rounds 11
      bench decoding-head "${smollm[@]}" --work decoding --contexts 2048 \
        --contenders none --heads moh:4+3 --rounds 11
      ;;
    prefill)
      bench prefill "${llama[@]}" --work prefill --contexts 512 \
        --contenders none --threads 1,2 --precision bf16 --rounds 7
      ;;
    seed)
      bench seed --preset seed --contexts 80,256,512,1024 \
        --work training,prefill,decoding --contenders none --heads moh:2+4
      bench seed-rope --preset seed --position rope --work \
        training,prefill,decoding --contexts 80,256,512,1024,2048 \
        --contenders none --heads moh:2+4
      ;;
    charts)
      bench model "${layer[@]}" --layers 4 --d-ff 1408 --vocab 4096 \
        --work training,prefill,decoding --contexts 128,256,512,1024,2048 \
        --rounds 3
      bench/speed_charts.py "$out/layer.json" --out docs/images --name layer \
        --title "8 heads of 64, width 512"
      bench/speed_charts.py "$out/model.json" --out docs/images --name model \
        --title "4 layers, 8 heads of 64, width 512"
      ;;
    *) die "unknown part $1" ;;
  esac
}

cmake --preset release >/dev/null
cmake --build --preset release >/dev/null
for part in $parts; do run_part "$part"; done
