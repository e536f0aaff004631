#!/usr/bin/env python3
"""Models between moh and the transformers package, both ways; to llama.cpp.

Random LLaMA, Qwen2 and Qwen3 models that transformers makes (scaled positions,
biases, norms of queries and keys; f32, f16, bf16; in one file and in several)
are imported by moh, and what moh exports of them is loaded by transformers:
all four give the same logits, and go on with the same tokens. So does a model
that moh trained; and stories260K where ../shared/data has it. These are read by
llama.cpp, too, as GGUF files, with one of each architecture: logits, text, and the
tokens of a text are the same.

    bench/peers/exports.py [MODEL...]    and model directories of moh, too

transformers and llama-cpp-python come from the Python registry (pinned, into
build/peers).
"""
import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile

from contest import ROOT, environment
from inference import GGUF, LLAMA
from training import TORCH

TRANSFORMERS = "transformers==5.24.0"
KINDS = ("llama", "llama-3.1", "qwen2", "qwen3")
ARCHITECTURES = {
    "llama": "--attention-bias all --mlp-bias --d-head 32 "
             "--rope-scaling llama3:8,1,4,8192",
    "linear": "--rope-scaling linear:2 --untied",
    "qwen2": "--attention-bias qkv",
    "qwen3": "--qk-norm --d-head 24"}
MOH = ROOT / "build/release/moh"
LIBRARY = ROOT / "build/release/src/libmoh.so"
STORIES = ROOT.parent / "shared/data/stories260K"
TEXT = "Once upon a time, there were 3 heads:  that's all.\nThe  end \u00e9"
N_GREEDY = 40
SAME, ROUNDED = 1e-4, 1e-5  # of logits, by the largest


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 512)]


class Model:
    """A model directory through libmoh."""

    def __init__(self, folder):
        self.lib = ctypes.CDLL(LIBRARY)
        self.err = Error()
        self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("moh_model_load", ctypes.byref(self.model),
                  str(folder).encode(), None)
        self.call("moh_session_new", ctypes.byref(self.session), self.model,
                  None)
        config = json.loads((folder / "config.json").read_text())
        self.n_vocab = config["vocab_size"]

    def call(self, name, *arguments):
        if getattr(self.lib, name)(*arguments, ctypes.byref(self.err)) != 0:
            sys.exit(f"{name}: {self.err.message.decode()}")

    def feed(self, token):
        logits = ctypes.POINTER(ctypes.c_float)()
        self.call("moh_session_feed", self.session,
                  ctypes.byref(ctypes.c_int32(token)), 1,
                  ctypes.byref(logits))
        return logits[:self.n_vocab]

    def read(self, ids, n):
        """Logits behind each id, and ids with the n that follow greedily."""
        logits = [self.feed(i) for i in ids]
        ids, last = list(ids), logits[-1]
        for _ in range(n):
            ids.append(max(range(self.n_vocab), key=last.__getitem__))
            last = self.feed(ids[-1])
        return {"logits": logits, "greedy": ids}


class Peer:
    def __init__(self, folder):
        self.python = environment("transformers", [TORCH, TRANSFORMERS])
        self.worker = pathlib.Path(__file__).with_name(
            "transformers_worker.py")
        self.answer = folder / "answer.json"

    def run(self, *words):
        subprocess.run([self.python, "-B", self.worker, *map(str, words)],
                       check=True, stderr=subprocess.DEVNULL)

    def make(self, kind, folder):
        self.run("make", kind, folder)

    def read(self, folder, ids, n):
        self.run("read", folder, ",".join(map(str, ids)), n, self.answer)
        return json.loads(self.answer.read_text())


class LlamaCpp:
    def __init__(self, folder):
        self.python = environment("llama", [LLAMA, GGUF, "numpy"])
        self.worker = pathlib.Path(__file__).with_name("llama_reader.py")
        self.answer = folder / "answer.json"

    def read(self, path, ids, n):
        subprocess.run([self.python, "-B", self.worker, path,
                        ",".join(map(str, ids)), str(n), TEXT, self.answer],
                       check=True)
        return json.loads(self.answer.read_text())


def moh(*words):
    done = subprocess.run([MOH, *map(str, words)], capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def difference(a, b):
    most = max(abs(x) for row in b["logits"] for x in row)
    return max(abs(x - y) for one, two in zip(a["logits"], b["logits"])
               for x, y in zip(one, two)) / most


def verdict(what, off, limit, same_text):
    good = off <= limit and same_text
    print(f"{what:44} logits within {off:.1e}, text "
          f"{'the same' if same_text else 'ANOTHER'}"
          f"{'' if good else '  FAILED'}")
    return good


def compare(what, a, b, limit):
    return verdict(what, difference(a, b), limit, a["greedy"] == b["greedy"])


def check_export(peer, model, folder, ids, n=N_GREEDY):
    """Exported and read by transformers, against the model itself."""
    ours = Model(model).read(ids, n)
    good = True
    moh("export", model, "--out", folder)
    theirs = peer.read(folder, ids, n)
    good &= compare(f"{model.name}: our export, {theirs['class']}", theirs,
                    ours, ROUNDED)
    return good


def check_gguf(llama_cpp, model, path, ids, n=N_GREEDY):
    """The same by llama.cpp."""
    moh("export", model, "--out", path, "--format", "gguf")
    theirs = llama_cpp.read(path, ids, n)
    good = compare(f"{path.stem}: our export, llama.cpp", theirs,
                   Model(model).read(ids, n), SAME)
    ours = [int(i) for i in moh("tokenize", "--ids", "-m", model,
                                TEXT).split()]
    if theirs["tokens"] != ours:
        print(f"{path.stem}: other tokens  FAILED")
    return good and theirs["tokens"] == ours


def check_architectures(llama_cpp, folder):
    good = True
    text = folder / "readme.txt"
    text.write_text((ROOT / "README.md").read_text())
    for name, words in ARCHITECTURES.items():
        run = folder / "trained" / name
        moh("train", "--preset", "nano", "--heads", "all", "--kv-heads", 2,
            *words.split(), "--tokenizer", "bpe", "--vocab-size", 400,
            "--data", text, "--out", run, "--steps", 60, "--threads", 1)
        good &= check_gguf(llama_cpp, run / "final", folder / f"{name}.gguf",
                           [1, 20, 3, 5, 80, 13], 30)
    return good


def check_kind(peer, kind, folder):
    """Made by transformers, imported, exported; in f32, as bf16 weights would
    be computed with in bf16."""
    ids = [(i * 37 + 5) % 211 for i in range(90)]
    source, ours = folder / kind / "theirs", folder / kind / kind
    peer.make(kind, source)
    moh("import", source, "--out", ours, "--weights", "f32")
    good = compare(f"{kind}: our import", Model(ours).read(ids, N_GREEDY),
                   peer.read(source, ids, N_GREEDY), SAME)
    return check_export(peer, ours, folder / kind / "out", ids) and good


def check_trained(peer, folder):
    text = folder / "text.txt"
    text.write_text((ROOT / "README.md").read_text())
    moh("train", "--preset", "nano", "--heads", "all", "--kv-heads", 2,
        "--data", text, "--out", folder / "run", "--steps", 60, "--threads",
        1)
    return check_export(peer, folder / "run/final", folder / "plain",
                        [1, 2, 3, 5, 8, 13], 30)


def check_stories(peer, llama_cpp, folder):
    """The text that llama2.c tells of no prompt."""
    ours = folder / "stories260K"
    moh("import", STORIES / "stories260K.bin", "--tokenizer",
        STORIES / "tok512.bin", "--out", ours)
    good = check_export(peer, ours, folder / "stories", [1], 200)
    return check_gguf(llama_cpp, ours, folder / "stories260K.gguf", [1],
                      200) and good


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        peer, llama_cpp = Peer(folder), LlamaCpp(folder)
        good = all([check_kind(peer, kind, folder) for kind in KINDS])
        good &= check_trained(peer, folder)
        good &= check_architectures(llama_cpp, folder)
        if STORIES.exists():
            good &= check_stories(peer, llama_cpp, folder)
        for i, model in enumerate(sys.argv[1:]):
            good &= check_export(peer, pathlib.Path(model),
                                 folder / f"out{i}", [1, 2, 3])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
