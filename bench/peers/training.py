#!/usr/bin/env python3
"""Whole training steps, and forward passes alone, of ours and of PyTorch's, in
turns.

    bench/peers/training.py [--rounds 7] [--threads 1,2] [--json]

Six layers, six heads of 64, width 384, vocabulary 4096 tied, RMSNorm, RoPE,
SwiGLU 1024; four sequences of 256 tokens a step, AdamW; f32, and bf16 against
torch.autocast. PyTorch comes from the Python registry (pinned, into
build/peers) and, where it is installed, from Debian (python3-torch with
libopenblas0-openmp); the faster of the two is the peer. With one thread the
processor time counts, with more the clock. About eight minutes after the
installation.
"""
import argparse
import json
import pathlib
import subprocess

from contest import (WORKER, Contender, build, environment, median, ratio,
                     take_turns)

TORCH = "torch==2.15.0"
CONFIG = {"num_hidden_layers": 6, "hidden_size": 384,
          "num_attention_heads": 6, "num_key_value_heads": 6,
          "head_dim": 64, "intermediate_size": 1024, "vocab_size": 4096,
          "max_position_embeddings": 4096, "tie_word_embeddings": True}
CONTEXT, BATCH = 256, 4
WORK = {"step": ("step", 1), "forward": ("forward", 1)}


def ours(precision, threads):
    return Contender("moh", [WORKER, "train", json.dumps(CONFIG), "all",
                             precision, threads, CONTEXT, BATCH], threads)


def torches():
    """(name, Python) of every PyTorch that can be had."""
    found = [(TORCH, environment("torch", [TORCH, "numpy"]))]
    debian = pathlib.Path("/usr/bin/python3")
    probe = "import torch; print(torch.__version__)"
    if debian.exists():
        version = subprocess.run([debian, "-c", probe], text=True,
                                 capture_output=True, check=False)
        if version.returncode == 0:
            found.append((f"Debian's torch {version.stdout.strip()}", debian))
    return found


def contest(precision, threads, rounds):
    child = pathlib.Path(__file__).with_name("torch_worker.py")
    contenders = [ours(precision, threads)]
    for name, python in torches():
        contenders.append(Contender(
            name, [python, child, precision, threads, CONTEXT, BATCH],
            threads))
    for work in WORK.values():
        take_turns(contenders, work, rounds, warm_up=2)
    for contender in contenders:
        contender.close()
    return contenders


def report(contenders, precision, threads):
    rows = []
    for name, work in WORK.items():
        for c in contenders:
            middle, low, high = ratio(c, contenders[0], work)
            seconds = median(c, work)
            rows.append({"work": name, "contender": c.name,
                         "precision": precision, "threads": threads,
                         "seconds": seconds,
                         "tokens_per_second": CONTEXT * BATCH / seconds,
                         "ratio": middle, "quartiles": [low, high]})
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--precision", default="f32,bf16")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("-v", action="store_true",
                        help="what contenders say on stderr")
    options = parser.parse_args()
    build()
    rows = []
    for threads in map(int, options.threads.split(",")):
        for precision in options.precision.split(","):
            rows += report(contest(precision, threads, options.rounds),
                           precision, threads)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for r in rows:
        print(f"{r['work']:8} {r['precision']:5} {r['threads']} thread(s)  "
              f"{r['contender']:24} {1e3 * r['seconds']:8.1f} ms  "
              f"{r['tokens_per_second']:7.0f} tokens/s  time / ours "
              f"{r['ratio']:.2f} ({r['quartiles'][0]:.2f}-"
              f"{r['quartiles'][1]:.2f})")


if __name__ == "__main__":
    main()
