#!/usr/bin/env python3
"""Memory and speed of `moh data` on a large generated text.

    bench/data_memory.py --moh build/release/moh [--bytes N] [--format F]
                         [-- OPTION...]

Writes a text of N bytes (10^9 by default) into a temporary folder, prepares
it, checks the shards, and prints the peak of the resident memory (what the
kernel counted for the process), the time and the sizes. Further options go
to moh data. The text is made of invented words whose frequencies fall as
Zipf's law says; the same number of bytes gives the same text.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import resource
import subprocess
import tempfile
import time

BLOCK_WORDS = 150000  # of about a megabyte
N_BLOCKS = 48


def vocabulary(rng):
    parts = [a + b for a in "b c d f g l m n p r s t v w st tr ch".split()
             for b in "a e i o u ai ea ou y".split()]
    return ["".join(rng.choices(parts, k=rng.randint(1, 4)))
            for _ in range(50000)]


def sentences(rng, words, weights):
    """Lines of one block."""
    drawn = rng.choices(words, cum_weights=weights, k=BLOCK_WORDS)
    at = 0
    while at < len(drawn):
        n = rng.randint(3, 30)
        yield " ".join(drawn[at:at + n]).capitalize() + "."
        at += n


def write_text(path, n_bytes, form):
    rng = random.Random(1)
    words = vocabulary(rng)
    weights = list(itertools.accumulate(
        1 / (rank + 3) for rank in range(len(words))))
    blocks = []
    for _ in range(N_BLOCKS):
        lines = sentences(rng, words, weights)
        if form == "jsonl":
            lines = (json.dumps({"text": line}) for line in lines)
        blocks.append(("\n".join(lines) + "\n").encode())
    with open(path, "wb") as file:
        while file.tell() < n_bytes:
            file.write(rng.choice(blocks))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--moh", required=True, type=os.path.abspath)
    parser.add_argument("--bytes", type=int, default=10 ** 9)
    parser.add_argument("--format", choices=["txt", "jsonl"], default="txt")
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moh-data-") as folder:
        path = pathlib.Path(folder, f"text.{args.format}")
        write_text(path, args.bytes, args.format)
        start = time.monotonic()
        subprocess.run([args.moh, "data", "--out", "shards", *args.options,
                        path.name], cwd=folder, check=True)
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        size = path.stat().st_size
        print(f"{size / 1e6:.0f} MB of text in {seconds:.1f} s, "
              f"{size / 1e6 / seconds:.1f} MB/s; peak {peak / 1e3:.1f} MB")
        subprocess.run([args.moh, "data", "--check", "shards"], cwd=folder,
                       check=True)


if __name__ == "__main__":
    main()
