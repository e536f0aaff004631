#!/usr/bin/env python3
"""Trains models of the same size, for the same number of steps, that differ in
the heads that a token uses, and prints a table: validation loss, time of
training, time of decoding with 256 tokens in the context.

    bench/equal_budget.py --moh build/release/moh --data input.txt
        [--results docs/equal_budget.jsonl] [--sizes nano,large]
        [--choices dense,moh75,moh0+6] [--seeds 3] [--steps 2000] [--jobs 1] [--table]

Eight query heads share four key and value heads. A run that has ended is a line
in the file of results and is not run again: the command may be stopped at any
time and goes on where it was, on another machine too. --table only prints what
is there. --choices takes the ablations, too: moh0+6, moh1+5, moh4+2, moh0+4,
moh1+1, moh2+5. Times are processor times of one thread, as ratios to all heads:
training against the run with the same seed; decoding of models that were
trained for some steps, all choices of a size in turns (--decode measures that
anew). About four core-hours in all.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading

# the prompt and the tokens after it, so that the mean context is 256
PROMPT, GENERATED, ROUNDS, DECODER_STEPS = 192, 128, 15, 200
COMMON = ["--preset", "nano", "--n-heads", "8", "--kv-heads", "4",
          "--max-seq-len", "512", "--threads", "1"]
SIZES = {"nano": [], "large": ["--d-model", "256", "--d-ff", "688"]}
CHOICES = {
    "dense": ("all 8", ["--heads", "all"]),
    "moh75": ("MoH 2 + 4", ["--heads", "moh:2+4"]),
    "moh50": ("MoH 2 + 2", ["--heads", "moh:2+2"]),
    "pruned75": ("the first 6", ["--heads", "static:6"]),
    "random75": ("random, 2 + 4", ["--heads", "random:2+4"]),
    "group75": ("MoH by group, 1 + 2 of 4",
                ["--heads", "moh:1+2", "--route-by", "group"]),
    "adaptive75": ("adaptive, 6 on average",
                   ["--heads", "adaptive:2+1-6", "--target-heads", "6"]),
}
# what becomes of the shared heads, of their number and that of all in use
ABLATIONS = {
    f"moh{s}+{k}": (f"MoH {s} + {k}", ["--heads", f"moh:{s}+{k}"])
    for s, k in ((0, 6), (1, 5), (4, 2), (0, 4), (1, 1), (2, 5))
}
KNOWN = {**CHOICES, **ABLATIONS}


def run(command):
    """What a command prints, and its processor time in seconds."""
    with tempfile.TemporaryFile("w+") as messages:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              stderr=messages) as child:
            text = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            messages.seek(0)
            raise RuntimeError(f"{' '.join(map(str, command))}\n"
                               f"{messages.read()}")
    return text, usage.ru_utime + usage.ru_stime


class Budget:
    """What all runs share, and the file of results."""

    def __init__(self, arguments):
        self.moh = arguments.moh
        self.data = arguments.data
        self.steps = arguments.steps
        self.path = arguments.results
        self.lock = threading.Lock()
        self.results = []
        if self.path.exists():
            self.results = list(map(json.loads,
                                    self.path.read_text().splitlines()))

    def key(self, size, choice, seed):
        """What a result depends on."""
        return {"size": size, "choice": choice, "seed": seed,
                "options": COMMON + SIZES[size] + KNOWN[choice][1],
                "steps": self.steps}

    def find(self, size, choice, seed):
        key = self.key(size, choice, seed)
        for result in reversed(self.results):
            if key.items() <= result.items():
                return result
        return None

    def add(self, result):
        with self.lock:
            self.results.append(result)
            with open(self.path, "a", encoding="utf-8") as out:
                out.write(json.dumps(result) + "\n")

    def train(self, options, steps, seed, out):
        """The final held-out loss, active heads, and processor time."""
        _, seconds = run([self.moh, "train", "--data", self.data, "--out",
                          out, "--steps", str(steps), "--seed", str(seed),
                          "--eval-every", str(steps),
                          "--final-eval-tokens", "20000",
                          *options])
        loss = None
        for line in (out / "log.jsonl").read_text().splitlines():
            entry = json.loads(line).get("eval", {})
            if entry.get("data") == "held_out":
                loss = entry["loss"]
        return loss, seconds

    def one(self, size, choice, seed):
        """Trains and measures one model, unless its result is there."""
        if self.find(size, choice, seed):
            return
        key = self.key(size, choice, seed)
        with tempfile.TemporaryDirectory() as folder:
            loss, seconds = self.train(key["options"], self.steps, seed,
                                       pathlib.Path(folder) / "run")
        self.add({**key, "loss": loss, "seconds": seconds})
        print(f"{size:6} {choice:12} seed {seed}  loss {loss:.4f}  training "
              f"{seconds:.0f} s", file=sys.stderr, flush=True)

    def speed(self, model):
        """Tokens per second behind a prompt."""
        prompt = self.data.read_bytes()[:PROMPT].decode()
        text, _ = run([self.moh, "generate", "--model", model, "--threads",
                       "1", "-n", str(GENERATED), "--json", prompt])
        return json.loads(text)["samples"][0]["tokens_per_second"]

    def decode(self, size, choices):
        """Times of a token as ratios to the first choice, in turns."""
        speeds = {choice: [] for choice in choices}
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for choice in choices:
                self.train(self.key(size, choice, 1)["options"],
                           DECODER_STEPS, 1, folder / choice)
            for _ in range(ROUNDS):
                for choice in choices:
                    speeds[choice].append(self.speed(folder / choice))
        for choice in choices:
            ratio = statistics.median(
                a / b for a, b in zip(speeds[choices[0]], speeds[choice]))
            self.add({**self.key(size, choice, 0), "decoding_ratio": ratio})


def spread(values):
    return (f"{min(values):.3f} {statistics.mean(values):.3f} "
            f"{max(values):.3f}")


def row(budget, size, choice, seeds):
    found = [(budget.find(size, choice, s), budget.find(size, "dense", s))
             for s in range(1, seeds + 1)]
    found = [pair for pair in found if pair[0]]
    if not found:
        return None
    losses = [own["loss"] for own, _ in found]
    paired = [own["seconds"] / dense["seconds"]
              for own, dense in found if dense]
    training = f"{statistics.median(paired):.2f}" if paired else "-"
    timed = budget.find(size, choice, 0)
    decoding = f"{timed['decoding_ratio']:.2f}" if timed else "-"
    return (f"| {size} | {KNOWN[choice][0]} | {len(found)} | "
            f"{spread(losses)} | {training} | {decoding} |")


def table(budget, sizes, choices, seeds):
    print("| size | heads of a token | seeds | held-out loss: least, mean, "
          "most | training | decoding |\n|---|---|---|---|---|---|")
    for size in sizes:
        for choice in choices:
            line = row(budget, size, choice, seeds)
            if line:
                print(line)


def names(text, known):
    found = text.split(",")
    for name in found:
        if name not in known:
            raise SystemExit(f"there is no {name}: {', '.join(known)}")
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moh", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path,
                        default=pathlib.Path("docs/equal_budget.jsonl"))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--choices", default=",".join(CHOICES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--decode", action="store_true")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    sizes = names(arguments.sizes, SIZES)
    choices = names(arguments.choices, KNOWN)
    budget = Budget(arguments)
    if not arguments.table:
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(lambda work: budget.one(*work),
                          [(size, choice, seed) for size in sizes
                           for seed in range(1, arguments.seeds + 1)
                           for choice in choices]))
        for size in sizes:
            if arguments.decode or not all(budget.find(size, choice, 0)
                                           for choice in choices):
                budget.decode(size, choices)
    table(budget, sizes, choices, arguments.seeds)


if __name__ == "__main__":
    main()
