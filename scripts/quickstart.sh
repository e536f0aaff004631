#!/usr/bin/env bash
# From a fresh clone to a small model that answers: builds moh, trains a model
# with Mixture-of-Heads attention on data/facts.json, tunes it on
# data/dialogue.json and asks it. Takes one to three minutes on two processors.
# Everything it makes lies in build/.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$MOH_ROOT"

moh=build/release/moh
out=build/quickstart
facts=data/facts.json
dialogue=data/dialogue.json

# Shows a command as one would type it, then runs it.
show() {
  local word line='$'
  for word in "$@"; do
    if [[ $word == *[!A-Za-z0-9_./:=+-]* ]]; then word="\"$word\""; fi
    line+=" $word"
  done
  printf '\n%s\n' "$line"
  "$@"
}

ask() { show "$moh" generate --model "$out/tuned" "User: $1 Assistant:"; }

heading "1. Setting up and building"
scripts/setup.sh
mkdir -p build
log=build/quickstart-build.log
configure_and_build release moh_cli >"$log" 2>&1 || {
  tail -n 40 "$log"
  die "the build failed; all of its output is in $log"
}
say "built $moh ($("$moh" --version))"

heading "2. Learning facts: 2 heads always on, 4 of the other 6 by the router"
# The words of the dialogues join the vocabulary, for the tuning later on.
show "$moh" train --preset seed-train --data "$facts" \
  --extra-vocab "$dialogue" --epochs 60 --out "$out/facts" --overwrite

heading "3. What the model is"
show "$moh" inspect --model "$out/facts"

heading "4. Completing a fact"
show "$moh" generate --model "$out/facts" --echo "Saturn is known for"

heading "5. Learning to answer, with a share of the facts against forgetting"
show "$moh" tune --model "$out/facts" --data "$dialogue" \
  --mix "$facts:0.3" --out "$out/tuned" --overwrite

heading "6. Asking"
ask "What causes rain?"
ask "How do mountains form?"
ask "What is gravity?"
say
say "A fact that was learned before is still there:"
show "$moh" generate --model "$out/tuned" --echo "Saturn is known for"

heading "What next"
cat <<TEXT
Talk to it:                 $moh chat --model $out/tuned
The same with all heads:    $moh train --preset seed-train --heads all \\
                              --data $facts --out $out/dense
A larger model, in numbers: $moh inspect --preset moh-s
Your own text:              $moh train --data FILE.txt --out DIR
Every command and option:   $moh --help, $moh help train
TEXT
