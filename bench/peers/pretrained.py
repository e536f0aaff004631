#!/usr/bin/env python3
"""A pretrained model's own file: ours and llama.cpp's, then mixtures of it.

    bench/peers/pretrained.py FILE.gguf --data TEXT [--weights own,q8_0,f16]
        [--heads norm:4+3,moh:4+3,moh:1+1/group] [--rounds 5] [--threads 1,2]
        [--precision q8_0] [--json]

The file is imported by moh, and written again as GGUF for llama.cpp and as a
directory for us in each of the formats; with "own" llama.cpp reads the file as
it is, and we what moh import makes of it in --precision. Mixtures of heads come
of moh upcycle on the text; "/group" routes whole KV heads. All take turns at
what inference.py asks: a prompt of 512 tokens, one token behind 32 and behind
2048 others. Times are those of ours with all heads, ratios to it: llama.cpp at
its better setting of flash attention is marked. The logits must agree first.
"""
import pathlib
import subprocess
import sys

from contest import MOH, ROOT, build, environment
from inference import (GGUF, LLAMA, check, contest, llama, ours, parser_of,
                       tell)

FOLDER = ROOT / "build/peers/pretrained"


def moh(*words):
    subprocess.run([MOH, *map(str, words)], check=True, stdout=sys.stderr)


class Files:
    """What is made of the file, once."""

    def __init__(self, options):
        self.options = options
        self.folder = FOLDER / options.file.stem
        self.folder.mkdir(parents=True, exist_ok=True)
        self.dense = self.directory("dense", "import", options.file,
                                    "--weights", "f32")

    def directory(self, name, command, *words):
        folder = self.folder / name
        if not (folder / "manifest.json").exists():
            moh(command, *words, "--out", folder)
        return folder

    def precision(self, weights):
        """What we compute with where llama.cpp has these weights."""
        return self.options.precision if weights == "own" else weights

    def gguf(self, weights):
        if weights == "own":
            return self.options.file
        file = self.folder / f"{weights}.gguf"
        if not file.exists():
            moh("export", self.dense, "--format", "gguf", "--weights",
                weights, "--out", file)
        return file

    def mixture(self, heads):
        strategy, _, by = heads.partition("/")
        return self.directory(
            heads.replace("/", "-"), "upcycle", "--model", self.dense,
            "--heads", strategy, "--route-by", by or "head", "--data",
            self.options.data, "--calibration-tokens", 2048)

    def stored(self, model, precision):
        return self.directory(f"{model.name}-{precision}", "quantize", model,
                              "--weights", precision)


def contenders(files, python, weights, threads):
    """Ours with all heads, llama.cpp twice, our mixtures."""
    precision = files.precision(weights)
    models = [("moh", files.dense)]
    models += [(f"moh {h}", files.mixture(h)) for h in files.options.heads]
    us = [ours(files.stored(model, precision), precision, threads, name)
          for name, model in models]
    rivals = [llama(python, files.gguf(weights), threads, on)
              for on in (True, False)]
    return [us[0], *rivals, *us[1:]], rivals


def parse():
    parser = parser_of(__doc__, "own,q8_0,f16", 5)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--precision", default="q8_0")
    parser.add_argument("--heads", default="norm:4+3,moh:4+3,moh:1+1/group")
    options = parser.parse_args()
    options.heads = [h for h in options.heads.split(",") if h]
    return options


def main():
    options = parse()
    build()
    python = environment("llama", [LLAMA, GGUF, "numpy"])
    files = Files(options)
    rows = []
    for weights in options.weights.split(","):
        precision = files.precision(weights)
        check(python, files.stored(files.dense, precision),
              files.gguf(weights), precision)
        for threads in map(int, options.threads.split(",")):
            rows += contest(*contenders(files, python, weights, threads),
                            weights, options.rounds)
    tell(rows, options.json)


if __name__ == "__main__":
    main()
