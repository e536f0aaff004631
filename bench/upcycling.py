#!/usr/bin/env python3
"""From a dense model to mixtures of heads: upcycles it by head and by KV group,
with heads chosen by the norms of queries and by a fitted router, tunes each,
and the dense model too, on the same tokens, and prints a table of perplexities.

    bench/upcycling.py --moh build/release/moh --model DENSE --data TRAIN.txt
        --test TEST.txt --work DIR [--by-head 4+3] [--by-group 1+1]
        [--choices dense,norm-head,moh-head,norm-group,moh-group]
        [--steps 400] [--context 512] [--batch 1] [--lr 3e-4]
        [--tune "--lora 8"] [--threads 2] [--table]

What has ended is in DIR: models, receipts, and a line in results.jsonl. The
command may be stopped at any time and goes on where it was, within a training
too. --table only prints what is there. docs/upcycling.md is the recipe.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

CHOICES = ["dense", "norm-head", "moh-head", "norm-group", "moh-group"]
LABELS = {"dense": "dense", "norm": "query norm", "moh": "learned router"}


class Work:
    """One dense model, one text, one budget."""

    def __init__(self, args):
        self.args = args
        self.folder = pathlib.Path(args.work)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.results = self.folder / "results.jsonl"

    def moh(self, *words):
        """What a command prints on stdout."""
        done = subprocess.run([self.args.moh, *map(str, words)],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"moh {' '.join(map(str, words))}: "
                     f"exit {done.returncode}")
        return done.stdout

    def known(self):
        """Lines of the results by (choice, stage)."""
        if not self.results.exists():
            return {}
        lines = map(json.loads, self.results.read_text().splitlines())
        return {(line["choice"], line["stage"]): line for line in lines}

    def note(self, **line):
        with self.results.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def perplexity(self, model):
        out = json.loads(self.moh(
            "eval", "-m", model, self.args.test, "--context",
            self.args.context, "--threads", self.args.threads, "--json"))
        return out["total"]["perplexity"]

    # ---- stages ----

    def heads(self, choice):
        """The options of moh upcycle."""
        router, by = choice.split("-")
        counts = self.args.by_head if by == "head" else self.args.by_group
        return ["--heads", f"{router}:{counts}", "--route-by", by]

    def start(self, choice):
        """The model that is tuned, and its receipt."""
        if choice == "dense":
            return self.args.model, None
        model = self.folder / choice
        manifest = model / "manifest.json"
        if not manifest.exists():
            shutil.rmtree(model, ignore_errors=True)
            self.moh("upcycle", "--model", self.args.model, "--data",
                     self.args.data, "--out", model, "--context",
                     self.args.context, "--threads", self.args.threads,
                     *self.heads(choice))
        return model, json.loads(manifest.read_text())["upcycling"]

    def tune(self, choice, model):
        """The tuned model, and the seconds that it took, as logged."""
        out = self.folder / f"{choice}-tuned"
        words = ["--model", model, "--data", self.args.data, "--out", out,
                 "--steps", self.args.steps, "--context", self.args.context,
                 "--batch", self.args.batch, "--lr", self.args.lr,
                 "--threads", self.args.threads, "--checkpoint-every",
                 max(self.args.steps // 20, 1), "--keep-checkpoints", 1,
                 "--held-out", 0, "--final-eval-tokens", 1000, *shlex.split(self.args.tune)]
        if not (out / "final" / "manifest.json").exists():
            if (out / "checkpoints").exists():
                words = ["--resume", out]
            else:
                shutil.rmtree(out, ignore_errors=True)
            self.moh("tune", *words)
        lines = [json.loads(line) for line in
                 (out / "log.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "tokens_per_second" in line]
        return out, {
            "tokens": sum(line["tokens"] for line in steps),
            "seconds": sum(line["tokens"] / line["tokens_per_second"]
                           for line in steps)}

    def run(self, choice):
        known = self.known()
        if (choice, "tuned") in known:
            return
        model, receipt = self.start(choice)
        if (choice, "start") not in known:
            self.note(choice=choice, stage="start",
                      perplexity=self.perplexity(model), receipt=receipt)
        out, spent = self.tune(choice, model)
        self.note(choice=choice, stage="tuned",
                  perplexity=self.perplexity(out), **spent)

    # ---- the table ----

    def table(self):
        known = self.known()
        print("| heads of a token | chosen by | agreement | perplexity "
              "| tuned | tokens | minutes |\n|---|---|---|---|---|---|---|")
        for choice in self.args.choices:
            start = known.get((choice, "start"))
            if start is not None:
                print(self.row(choice, start, known.get((choice, "tuned"))))

    def row(self, choice, start, tuned):
        receipt = start["receipt"]
        router = choice.split("-")[0]
        heads, agreement = "all", ""
        if receipt is not None:
            heads = receipt["heads"].split(":")[1].replace("+", " + ")
            if receipt["route_by"] == "group":
                heads += " KV heads"
            heads += f" ({receipt['active_heads']})"
        if receipt is not None and "router" in receipt:
            r = receipt["router"]
            agreement = (f"{100 * r['agreement']:.0f} % "
                         f"(chance {100 * r['by_chance']:.0f} %)")
        cells = [heads, LABELS[router], agreement,
                 f"{start['perplexity']:.2f}"]
        if tuned is None:
            cells += ["", "", ""]
        else:
            cells += [f"{tuned['perplexity']:.2f}", f"{tuned['tokens']:,}",
                      f"{tuned['seconds'] / 60:.1f}"]
        return "| " + " | ".join(cells) + " |"


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--moh", default="build/release/moh")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--by-head", default="4+3")
    parser.add_argument("--by-group", default="1+1")
    parser.add_argument("--choices", default=",".join(CHOICES))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--tune", default="")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    args.choices = args.choices.split(",")
    for choice in args.choices:
        if choice not in CHOICES:
            parser.error(f"no choice {choice}: {', '.join(CHOICES)}")
    return args


def main():
    work = Work(parse())
    if not work.args.table:
        for choice in work.args.choices:
            start = time.time()
            work.run(choice)
            print(f"{choice}: {time.time() - start:.0f} s", file=sys.stderr)
    work.table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
