#!/usr/bin/env python3
"""Counting: how many x have come since the last marker? Small models learn it
on texts of 64 tokens, with contextual (CoPE) and with rotary positions, and are
asked in texts of up to 256.

    bench/counting.py --moh build/release/moh [--results docs/counting.jsonl]
        [--seeds 5] [--steps 2000] [--prompts 300] [--jobs 1] [--table]

A text is a row of segments. A segment has x and three other letters in any
order, at most nine x, and ends with the marker, =, and the number of its x: that
is what is asked for, of the last one. All lengths of the last segment are
equally likely, so in longer texts the last marker lies up to 253 tokens back,
where training never reached. Every text is seen once. Accuracy is the share of
prompts, ending with =, behind which the likeliest token is right (moh generate).

A run that has ended is a line in the file of results and is not run again: the
command may be stopped at any time and goes on where it was. --table only prints
what is there. A training takes about a core-minute.
"""
import argparse
import concurrent.futures
import json
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

MOST, OTHERS, LEARNED = 9, ".,;", 64
LENGTHS = (64, 128, 256)
BATCH = 32
MODEL = ["--preset", "nano", "--heads", "all", "--layers", "2", "--d-model",
         "64", "--n-heads", "4", "--d-ff", "256", "--tokenizer", "chars",
         "--context", str(LEARNED), "--max-seq-len", str(max(LENGTHS)),
         "--batch", str(BATCH), "--lr", "2e-3", "--threads", "1",
         "--final-eval-tokens", "20000"]
POSITIONS = {
    "cope": ("CoPE", ["--position", "cope", "--cope-positions", "16"]),
    "rope": ("RoPE", ["--position", "rope"]),
}


def segment(rng, length):
    """Letters of a segment, and how many of them are x."""
    n = rng.randint(0, min(MOST, length))
    letters = ["x"] * n + rng.choices(OTHERS, k=length - n)
    rng.shuffle(letters)
    return "".join(letters), n


def example(rng, length):
    """A text of so many tokens, without its last one, and that one."""
    left = length - 3  # the first marker, the last one and its number
    last = rng.randint(0, left)
    lengths = [last]
    left -= last
    while left >= 2:
        inner = min(left - 2, int(2 ** rng.uniform(0, 6)) - 1)
        inner += left - 2 - inner == 1  # no single token may be left
        lengths.append(inner)
        left -= inner + 2
    parts = [segment(rng, inner) for inner in reversed(lengths)]
    text = "=" + "".join(f"{letters}={n}" for letters, n in parts)
    return text[:-1], text[-1]


def write_examples(path, seed, n):
    rng = random.Random(seed)
    with open(path, "w", encoding="ascii") as out:
        for _ in range(n):
            json.dump({"text": "".join(example(rng, LEARNED))}, out)
            out.write("\n")


def run(command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def accuracy(moh, model, length, n_prompts):
    rng = random.Random(f"asked at {length}")
    right = 0
    for _ in range(n_prompts):
        prompt, number = example(rng, length)
        text = run([moh, "generate", "--model", model, "--threads", "1", "-n",
                    "1", "--json", prompt])
        right += json.loads(text)["samples"][0]["text"][:1] == number
    return right / n_prompts


class Results:
    """The file of results, a line for each run."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.path = arguments.results
        self.all = []
        if self.path.exists():
            self.all = list(map(json.loads, self.path.read_text().split("\n")
                                [:-1]))

    def key(self, position, seed):
        """What a result depends on."""
        return {"position": position, "seed": seed,
                "options": MODEL + POSITIONS[position][1],
                "steps": self.arguments.steps,
                "prompts": self.arguments.prompts}

    def find(self, position, seed):
        key = self.key(position, seed)
        for result in self.all:
            if key.items() <= result.items():
                return result
        return None

    def one(self, position, seed):
        """Trains and asks one model, unless its result is there."""
        if self.find(position, seed):
            return
        key = self.key(position, seed)
        moh = self.arguments.moh
        with tempfile.TemporaryDirectory() as folder:
            data = pathlib.Path(folder) / "texts.jsonl"
            model = pathlib.Path(folder) / "run"
            write_examples(data, seed, key["steps"] * BATCH)
            began = time.monotonic()
            run([moh, "train", "--data", data, "--out", model, "--steps",
                 key["steps"], "--seed", seed, *key["options"]])
            seconds = time.monotonic() - began
            shares = {str(length): accuracy(moh, model, length,
                                            key["prompts"])
                      for length in LENGTHS}
        result = {**key, "accuracy": shares, "seconds": round(seconds, 1)}
        self.all.append(result)
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
        print(position, seed, shares, flush=True)

    def shares(self, position, length):
        """Accuracies of all seeds, in percent."""
        found = [self.find(position, seed)
                 for seed in range(1, self.arguments.seeds + 1)]
        return [100 * r["accuracy"][str(length)] for r in found if r]


def table(results):
    print("| positions | seeds | " +
          " | ".join(f"{n} tokens" for n in LENGTHS) + " |")
    print("|---" * (2 + len(LENGTHS)) + "|")
    for position, (name, _) in POSITIONS.items():
        rows = [results.shares(position, n) for n in LENGTHS]
        if rows[0]:
            print(f"| {name} | {len(rows[0])} | " +
                  " | ".join(f"{statistics.mean(r):.1f} % ({min(r):.1f} to "
                             f"{max(r):.1f})" for r in rows) + " |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moh", required=True)
    parser.add_argument("--results", type=pathlib.Path,
                        default=pathlib.Path("docs/counting.jsonl"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    results = Results(arguments)
    if not arguments.table:
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(lambda work: results.one(*work),
                          [(position, seed)
                           for seed in range(1, arguments.seeds + 1)
                           for position in POSITIONS]))
    table(results)


if __name__ == "__main__":
    main()
