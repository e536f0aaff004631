#!/usr/bin/env python3
"""Adaptive numbers of heads on a plain text: trains the preset nano with heads
that a token takes until their probabilities reach a mass, and prints what the
mean number of heads does to quality and time.

    bench/adaptive_heads.py --moh build/release/moh --data input.txt
        [--steps 300] [--sparsity 0,0.01,0.03,0.1] [--targets 2.5,3,3.5]
        [--check] [--json FILE]

Three tables: sparsity weights at a fixed mass; targets of the controller, with
how far the last quarter of the steps is from them; and beside the target of 3
the fixed choice moh:1+2, which has that mean. The loss is that of the held-out
tenth of the text, in nats a token; the time is processor time of `moh eval` on
one thread, the least of --rounds turns in which the models alternate, relative
to the model of the most heads; counted are the multiply-adds at the mean.

--check fails unless the mean falls as the weight rises, targets are held within
2 %, the loss at 3 heads is within 0.03 of moh:1+2, and the time falls.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SIZES = ["--preset", "nano", "--max-seq-len", "256"]
ADAPTIVE = "adaptive:1+1-3"
CONTEXT = 256


def call(command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def processor_time(command):
    pid = os.posix_spawn(command[0], list(map(str, command)), os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null",
                                        os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return usage.ru_utime + usage.ru_stime


class Model:
    """A run, and what is measured of it."""

    def __init__(self, name, folder, arguments, options):
        self.name, self.path = name, folder / name
        print(f"training {name}", file=sys.stderr)
        result = json.loads(call([
            arguments.moh, "train", "--data", arguments.data, "--out",
            self.path, *SIZES, "--context", CONTEXT, "--batch",
            arguments.batch, "--accumulate", 1, "--steps", arguments.steps,
            "--eval-every", arguments.steps, "--final-eval-tokens", 2048,
            "--seed", arguments.seed, "--threads", arguments.threads,
            "--json", *options]))
        self.loss = result["held_out"]["loss"]
        lines = [json.loads(line) for line in
                 (self.path / "log.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "mean_heads" in line]
        last = steps[-max(1, len(steps) // 4):]
        self.heads = sum(s["mean_heads"] for s in last) / len(last)
        inspected = json.loads(call([arguments.moh, "inspect", "--model",
                                     self.path, "--json"]))
        costs = inspected["multiply_adds"][-1]
        self.macs = costs.get("active_mean", costs["active"])
        self.seconds = float("inf")

    def time(self, arguments):
        self.seconds = min(self.seconds, processor_time([
            arguments.moh, "eval", "--model", self.path, "--threads", "1",
            "--limit", arguments.eval_tokens, arguments.data]))


def print_table(title, models, first, column):
    print(f"\n{title}\n{column:>12} {'heads':>7} {'loss':>8} {'time':>6} "
          f"{'counted':>8}")
    for value, model in models:
        print(f"{value:>12} {model.heads:7.3f} {model.loss:8.4f} "
              f"{model.seconds / first.seconds:6.3f} "
              f"{model.macs / first.macs:8.3f}")


def check(sparsity, targets, fixed):
    """What is not as promised, in words."""
    wrong = []
    heads = [model.heads for _, model in sparsity]
    if any(b >= a for a, b in zip(heads, heads[1:])):
        wrong.append(f"heads by weight: {heads}")
    for target, model in targets:
        if abs(model.heads / target - 1) > 0.02:
            wrong.append(f"target {target}: {model.heads}")
        if target == 3 and model.loss > fixed.loss + 0.03:
            wrong.append(f"loss {model.loss}, moh:1+2 {fixed.loss}")
    ranked = sorted((m for _, m in sparsity + targets), key=lambda m: m.heads)
    if ranked[0].seconds >= ranked[-1].seconds:
        wrong.append("the fewest heads take no less time")
    return wrong


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moh", required=True, type=os.path.abspath)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--eval-tokens", type=int, default=40000)
    parser.add_argument("--mass", type=float, default=0.8)
    parser.add_argument("--sparsity", default="0,0.01,0.03,0.1")
    parser.add_argument("--targets", default="2.5,3,3.5")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


def measure(arguments, folder):
    heads = ["--heads", ADAPTIVE, "--head-mass", arguments.mass]
    sparsity = [(float(w), Model(f"sparsity-{w}", folder, arguments,
                                 [*heads, "--sparsity", w]))
                for w in arguments.sparsity.split(",")]
    targets = [(float(t), Model(f"target-{t}", folder, arguments,
                                [*heads, "--target-heads", t]))
               for t in arguments.targets.split(",")]
    fixed = Model("fixed", folder, arguments, ["--heads", "moh:1+2"])
    models = [m for _, m in sparsity + targets] + [fixed]
    for _ in range(arguments.rounds):
        for model in models:
            model.time(arguments)
    return sparsity, targets, fixed


def main():
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        sparsity, targets, fixed = measure(arguments, pathlib.Path(folder))
    everyone = sparsity + targets + [("moh:1+2", fixed)]
    first = max((m for _, m in everyone), key=lambda m: m.heads)
    print_table(f"sparsity weight, mass {arguments.mass}", sparsity, first,
                "weight")
    print_table("target of the controller", targets + [("moh:1+2", fixed)],
                first, "target")
    if arguments.json:
        arguments.json.write_text(json.dumps(
            [{"choice": m.name, "heads": m.heads, "loss": m.loss,
              "seconds": m.seconds, "multiply_adds": m.macs}
             for _, m in everyone], indent=1))
    wrong = check(sparsity, targets, fixed)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if arguments.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
