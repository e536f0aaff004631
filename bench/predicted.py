#!/usr/bin/env python3
"""What the founding report of this project predicted of Mixture-of-Heads at its
own size, and what is measured: parameters, speed, memory, cost of the router,
quality.

    bench/predicted.py --moh build/release/moh [--data DIR] [--rounds 31]
        [--contexts 80,256,512,1024] [--write docs/results.md]

The model is the preset seed with 2 + 4 of 8 heads against all heads, one
thread; contenders take turns (see moh bench). DIR holds pretraining_data.json
and chat_training_data.json: with it, seed-train is trained with both head
settings (four core-minutes) and the losses stand in the table. --write replaces
the section of that name in a document; else it is printed.
"""
import argparse
import json
import pathlib
import re
import subprocess

import seed_quality

TITLE = "## Predicted against measured"
HEADS = "moh:2+4"


def read(command):
    done = subprocess.run([str(word) for word in command], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


def parameters(moh):
    """Parameters with all heads and with routers, at vocabulary 605."""
    return [read([moh, "inspect", "--preset", "seed", "--heads", heads,
                  "--json"])["parameters"]["total"]
            for heads in ("all", HEADS)]


def bench(arguments):
    """{(work, tokens): {name: contender}} of the preset seed."""
    groups = read([arguments.moh, "bench", "--preset", "seed", "--heads",
                   HEADS, "--contenders", "none", "--max-seq-len",
                   max(map(int, arguments.contexts.split(","))), "--contexts",
                   arguments.contexts, "--rounds", arguments.rounds,
                   "--json"])
    return {(g["work"], g["tokens"]): g["contenders"] for g in groups}


def faster(ratio):
    """A time ratio as a speed-up in percent."""
    return f"{100 * (1 / ratio - 1):+.1f} %"


def quality(arguments):
    """Final losses of both head settings, or nothing."""
    if arguments.data is None:
        return []
    settings = argparse.Namespace(moh=arguments.moh, data=arguments.data,
                                  architecture="transformer", mix=0.3)
    dense, moh = (seed_quality.one_run(settings, heads, 1)
                  for heads in ("all", HEADS))
    return [["loss on the facts, then on the dialogue", "0 to 2 % better",
             f"{moh['facts']:.4f} and {moh['dialogue']:.4f}, all heads "
             f"{dense['facts']:.4f} and {dense['dialogue']:.4f}", ""]]


def speed_rows(groups, tokens):
    names = {"prefill": ("prefill", "5 to 8 %"),
             "decoding": ("decoding", "5 to 8 %"),
             "training": ("a training step", "3 to 5 %")}
    rows = []
    for work, (name, predicted) in names.items():
        c = groups[work, tokens][-1]
        counted = c["counted_ratio"]
        rows.append([f"speed-up of {name}, {tokens} tokens", predicted,
                     f"{faster(c['ratio'])} ({faster(c['ratio_high'])} to "
                     f"{faster(c['ratio_low'])})", faster(counted)])
    return rows


def cost_rows(groups, tokens):
    training = groups["training", tokens][-1]["bytes_ratio"]
    decoding = groups["decoding", tokens][-1]["bytes_ratio"]
    attention = groups["attention", tokens][-1]
    router = groups["router", tokens][-1]
    return [
        ["memory, training and decoding", "less than 1 % more",
         f"{100 * (training - 1):+.1f} % and {100 * (decoding - 1):+.1f} %",
         ""],
        ["time saved in a layer's attention", "25 %",
         f"{100 * (1 - attention['ratio']):.1f} %",
         f"{100 * (1 - attention['counted_ratio']):.1f} %"],
        ["the router's share of that attention", "1 to 2 %",
         f"{100 * router['ratio']:.1f} %", ""],
    ]


def all_rows(arguments):
    dense, moh = parameters(arguments.moh)
    groups = bench(arguments)
    contexts = [int(word) for word in arguments.contexts.split(",")]
    rows = [["parameters at a vocabulary of 605", "573,440 + 3,840 = 577,280",
             f"{dense:,} + {moh - dense:,} = {moh:,}", ""]]
    rows += speed_rows(groups, contexts[0])
    rows += cost_rows(groups, contexts[0])
    for tokens in contexts[1:]:
        rows += speed_rows(groups, tokens)
    return rows + quality(arguments)


def section(rows, command):
    lines = [TITLE, "",
             "The report that this project began with promised these figures "
             "for its own model (preset\n`seed`: 3 layers, 8 heads of 16, "
             "width 128), 2 + 4 of 8 heads against all. 'Counted' is\nwhat "
             "the multiply-adds allow; more than that comes from what is not "
             "counted (soft-max,\ncontextual positions, copies).", "",
             f"    {command}", "",
             "| | predicted | measured (quartiles) | counted |",
             "|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def write(path, text):
    """The section in place of an older one, or behind everything."""
    old = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(TITLE) + r"\n.*?(?=\n## |\Z)", re.S)
    if pattern.search(old):
        new = pattern.sub(lambda _: text + "\n", old)
    else:
        new = old.rstrip("\n") + "\n\n" + text + "\n"
    path.write_text(new, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moh", required=True)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--contexts", default="80,256,512,1024")
    parser.add_argument("--write", type=pathlib.Path)
    arguments = parser.parse_args()
    command = "bench/predicted.py --moh build/release/moh"
    if arguments.data:
        command += " --data DIR"
    text = section(all_rows(arguments), command)
    if arguments.write:
        write(arguments.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
