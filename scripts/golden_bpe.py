#!/usr/bin/env python3
"""Golden files of byte-level BPE, made by the Python library `tokenizers`.

Writes tests/golden/bpe/ from text that this script makes up:
  corpus.txt      what `trained` was trained on
  <name>.json     tokenizer files of the library, one for each shape that moh
                  reads
  expected.json   texts, and the ids that the library gives them with each
tests/unit/test_bpe_golden.c reads these files with moh, encodes the texts, and
trains on the corpus itself.

    scripts/golden_bpe.py            write all of them
    scripts/golden_bpe.py --check [PATH_OF_MOH [--text FILE]...]
        compute again, compare with what is there; with a program also the
        other way round: the library reads a file that moh has trained and
        must give the ids that moh gives; and both train on further texts

Installs the library into build/golden-venv (pip) when it is not there; the
tests do not need it.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "bpe"
VENV = ROOT / "build" / "golden-venv"
PACKAGE = "tokenizers==0.23.*"
N_VOCAB = 600
LLAMA_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def import_tokenizers():
    """The library; from a virtual environment when it is not installed."""
    try:
        import tokenizers
        return tokenizers
    except ImportError:
        pass
    python = VENV / "bin" / "python"
    if pathlib.Path(sys.prefix) == VENV:
        sys.exit(f"{VENV} has no package tokenizers; remove it, try again")
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE],
                       check=True)
    os.execv(python, [python, *sys.argv])


# ---- texts ---------------------------------------------------------------


class Random:
    """Park and Miller's generator: the same numbers everywhere."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = self.state * 48271 % 2147483647
        return self.state * n // 2147483647

    def choice(self, items):
        return items[self.below(len(items))]


def made_up_words(random, n):
    heads = ["st", "br", "m", "n", "gr", "l", "w", "f", "sh", "t", "k", "é"]
    cores = ["a", "e", "i", "o", "u", "ea", "oo", "ü"]
    tails = ["n", "r", "ll", "st", "ng", "", "", "m", "th", "ß"]
    return ["".join(random.choice(heads) + random.choice(cores) +
                    random.choice(tails)
                    for _ in range(1 + random.below(3))) for _ in range(n)]


def made_up_text(seed, n_sentences):
    """Sentences of words that occur about as 1, 1/2, 1/3, ..."""
    random = Random(seed)
    words = made_up_words(random, 160)
    endings = ["", "", "", "s", "ing", "ed", "'s", "'ll", "n't"]
    marks = [".", ".", ".", "!", "?", "...", ";", " –", ".\n", ".\n\n"]
    sentences = []
    for _ in range(n_sentences):
        sentence = []
        for _ in range(3 + random.below(9)):
            word = words[random.below(1 + random.below(len(words)))]
            sentence.append(word + random.choice(endings))
        if random.below(5) == 0:
            sentence.append(str(random.below(10 ** (1 + random.below(6)))))
        if random.below(9) == 0:
            sentence.append(random.choice(["日本語", "мир", "🙂", "½", "a_b"]))
        sentences.append(" ".join(sentence).capitalize() +
                         random.choice(marks))
    return " ".join(sentences) + "\n"


def texts():
    blanks = "a\t b\n\nc\r\n d \u00a0e\u2003f\u3000g\u0085h\u200bi\u180ej k"
    return [
        "", " ", "a", "  a  ", "</s>", "x</s></s> y", "<sep> a<sep>b <pad>",
        "It's we'LL I'D they've y'all 'tis don't 'S 's",
        blanks, "\n\n\n", "a\n", "tabs\t\t\tand   blanks   ",
        "12345 1 22,333.4444 ½ ² Ⅳ ٣٤ a1b2", "e\u0301 é ﬁ ǅ ª",
        "日本語のテキスト。 中文，标点！ 한국어", "Привет, мир! שלום عربى",
        "👩‍👩‍👧 🙂🙂🏽 🇫🇷", "\x00\x01\x7f\xad", "\ufeffmark",
        "!!!???...---___ (a) [b] {c} <d> \"e\" `f` $5 50% #x @y ^z ~w",
        "http://a.b/c?d=e&f#g h_i j-k", "a" * 300, "ab " * 50,
        "fancyword fancy word", "abcde abc ab de zz dead beef",
        made_up_text(7, 7), made_up_text(11, 5).upper(),
    ]


# ---- tokenizers ----------------------------------------------------------


def trained(lib, corpus, n_vocab=N_VOCAB):
    """As `moh train --tokenizer bpe` does it."""
    tokenizer = lib.Tokenizer(lib.models.BPE())
    tokenizer.pre_tokenizer = lib.pre_tokenizers.ByteLevel(
        add_prefix_space=False)
    tokenizer.decoder = lib.decoders.ByteLevel()
    trainer = lib.trainers.BpeTrainer(
        vocab_size=n_vocab, min_frequency=2, special_tokens=["</s>"],
        initial_alphabet=lib.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False)
    tokenizer.train_from_iterator([corpus], trainer)
    return tokenizer


def changed(lib, tokenizer, change):
    """Of the document that `change` has changed."""
    document = json.loads(tokenizer.to_str())
    change(document)
    return lib.Tokenizer.from_str(json.dumps(document))


def split_document(document):
    """The shape of Llama 3: another pattern, whole words at once."""
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LLAMA_PATTERN},
         "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False,
         "trim_offsets": True, "use_regex": False}]}
    document["post_processor"] = {
        "type": "ByteLevel", "add_prefix_space": True,
        "trim_offsets": False, "use_regex": True}
    vocab = document["model"]["vocab"]
    for word in ["Ġfancyword", "Ġdead"]:
        vocab[word] = len(vocab)
    document["model"]["ignore_merges"] = True


def digits_document(document):
    """Single digits, and a pattern that names what stays; few tokens."""
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "Split", "pattern": {"Regex": r"\s?\S+|\s"},
         "behavior": "Removed", "invert": True},
        {"type": "ByteLevel", "add_prefix_space": False,
         "trim_offsets": True, "use_regex": False}]}
    model = document["model"]
    model["vocab"] = {token: i for token, i in model["vocab"].items()
                      if i < 300}
    model["merges"] = model["merges"][:300 - 257]


def prefix_document(document):
    """A blank in front, merges as strings, and added tokens."""
    document["pre_tokenizer"]["add_prefix_space"] = True
    model = document["model"]
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    vocab = model["vocab"]
    for content, special in [("<sep>", False), ("<pad>", True),
                             ("   ", False)]:
        document["added_tokens"].append({
            "id": len(vocab) - 1 + len(document["added_tokens"]),
            "content": content, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": not special, "special": special})
    document["decoder"] = {"type": "Sequence", "decoders": [
        document["decoder"], {"type": "Fuse"}]}


def small_document(document):
    """Few letters, so that most bytes are unknown."""
    letters = ["</s>", "<unk>", "a", "b", "c", "d", "e", "Ġ"]
    merges = ["a b", "d e", "ab c", "Ġ de", "abc de", "d ab"]
    tokens = letters + [merge.replace(" ", "") for merge in merges]
    document["model"].update(
        vocab={token: i for i, token in enumerate(tokens)}, merges=merges,
        unk_token="<unk>", fuse_unk=True)


def make_files(lib):
    """Contents by file name."""
    corpus = made_up_text(1, 320)
    first = trained(lib, corpus)
    tokenizers = {"trained": first}
    for name, change in [("split", split_document),
                         ("digits", digits_document),
                         ("prefix", prefix_document),
                         ("small", small_document)]:
        tokenizers[name] = changed(lib, first, change)
    expected = {"n_vocab": N_VOCAB, "texts": texts(), "ids": {}}
    files = {"corpus.txt": corpus}
    for name, tokenizer in tokenizers.items():
        files[f"{name}.json"] = tokenizer.to_str(pretty=False) + "\n"
        expected["ids"][name] = [
            tokenizer.encode(text, add_special_tokens=False).ids
            for text in expected["texts"]]
    files["expected.json"] = json.dumps(expected, ensure_ascii=False,
                                         separators=(",", ":")) + "\n"
    return files


# ---- checks --------------------------------------------------------------


def moh_ids(moh, path, text):
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(text.encode())
        file.flush()
        out = subprocess.run([moh, "tokenize", "--tokenizer", path, "--ids",
                              "--file", file.name],
                             capture_output=True, check=True).stdout
    return [int(word) for word in out.split()]


def check_program(lib, moh):
    """What moh trains and writes, read by the library."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "moh.json"
        subprocess.run([moh, "tokenize", "--train", GOLDEN / "corpus.txt",
                        "--kind", "bpe", "--vocab-size", str(N_VOCAB),
                        "--out", path], check=True, capture_output=True)
        theirs = lib.Tokenizer.from_file(str(path))
        for text in texts():
            ids = theirs.encode(text, add_special_tokens=False).ids
            if ids != moh_ids(moh, path, text):
                sys.exit(f"other ids from moh for {text!r}")
    print("the library reads a file of moh's, with the same ids")


def check_text(lib, moh, path, n_vocab):
    """Both train on a text: the same merges, and the same ids of it."""
    text = path.read_bytes().decode()
    theirs = trained(lib, text, n_vocab)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "moh.json"
        subprocess.run([moh, "tokenize", "--train", path, "--vocab-size",
                        str(n_vocab), "--out", file], check=True,
                       capture_output=True)
        ours = lib.Tokenizer.from_file(str(file))
        models = [json.loads(t.to_str())["model"] for t in (ours, theirs)]
        if models[0] != models[1]:
            sys.exit(f"{path}: other merges from moh")
        if theirs.encode(text).ids != moh_ids(moh, file, text):
            sys.exit(f"{path}: other ids from moh")
    print(f"{path}: {len(models[0]['merges'])} merges, the same; "
          "and the same ids")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("moh", nargs="?", help="program, for --check")
    parser.add_argument("--text", type=pathlib.Path, action="append",
                        default=[], help="with it, train on this, too")
    parser.add_argument("--vocab-size", type=int, default=8192)
    args = parser.parse_args()
    lib = import_tokenizers()
    files = make_files(lib)
    if not args.check:
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (GOLDEN / name).write_bytes(content.encode())
        print(f"{sum(len(c.encode()) for c in files.values())} bytes "
              f"written to {GOLDEN}")
        return
    for name, content in files.items():
        if (GOLDEN / name).read_bytes() != content.encode():
            sys.exit(f"{GOLDEN / name} is not what tokenizers "
                     f"{lib.__version__} gives")
    print(f"{len(files)} files as tokenizers {lib.__version__} gives them")
    if args.moh:
        check_program(lib, args.moh)
        for path in args.text:
            check_text(lib, args.moh, path, args.vocab_size)


if __name__ == "__main__":
    main()
