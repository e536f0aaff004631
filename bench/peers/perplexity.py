#!/usr/bin/env python3
"""Perplexity of a GGUF file: ours and llama.cpp's, on the same tokens.

    bench/peers/perplexity.py FILE.gguf TEXT [--tokens 20000] [--context 512]
        [--precision f32] [--threads 2] [--decode 1000]

The file is imported by moh; both must cut the text into the same tokens. Windows
lie side by side, and every token but the text's first is predicted once. With
--decode, that many tokens are also predicted one by one through our cache, to be
compared with our own prefill. llama-cpp-python comes from the Python registry
(pinned, into build/peers; its installation compiles for minutes).
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

from contest import MOH, build, environment
from inference import GGUF, LLAMA

WORKER = pathlib.Path(__file__).resolve().parent / "perplexity_worker.py"


def moh(*arguments):
    return subprocess.run([MOH, *map(str, arguments)], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def ours(model, arguments, tokens, *more):
    """Nats of so many predictions."""
    result = json.loads(moh(
        "eval", "--model", model, "--context", arguments.context, "--limit",
        tokens - 1, "--threads", arguments.threads, "--precision",
        arguments.precision, "--json", *more, arguments.text))["files"][0]
    if result["predicted_tokens"] != tokens - 1:
        sys.exit(f"{arguments.text} has fewer than {tokens} tokens")
    return result["nats"]


def show(name, nats, tokens, base):
    value = math.exp(nats / (tokens - 1))
    against = math.exp((nats - base) / (tokens - 1)) - 1
    print(f"{name:28} {tokens:6} tokens  perplexity {value:8.4f}  "
          f"{100 * against:+.3f} %", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=20000)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decode", type=int, default=1000)
    arguments = parser.parse_args()
    build()
    python = environment("llama", [LLAMA, GGUF, "numpy"])
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "model"
        moh("import", arguments.file, "--out", model)
        ids = moh("tokenize", "--model", model, "--ids", "--file",
                  arguments.text).split()
        peer = json.loads(subprocess.run(
            [python, WORKER, arguments.file, arguments.text,
             str(arguments.tokens), str(arguments.context),
             str(arguments.threads)], check=True, text=True,
            stdout=subprocess.PIPE).stdout.splitlines()[-1])
        if list(map(int, ids[:len(peer["ids"])])) != peer["ids"]:
            sys.exit("the two cut the text differently: nothing is compared")
        show("llama.cpp", peer["nats"], arguments.tokens, peer["nats"])
        show(f"moh, {arguments.precision}",
             ours(model, arguments, arguments.tokens), arguments.tokens,
             peer["nats"])
        if arguments.decode > 1:
            base = ours(model, arguments, arguments.decode)
            show("moh, prefill", base, arguments.decode, base)
            show("moh, token by token",
                 ours(model, arguments, arguments.decode, "--decode"),
                 arguments.decode, base)


if __name__ == "__main__":
    main()
