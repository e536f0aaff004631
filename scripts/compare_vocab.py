#!/usr/bin/env python3
"""Token ids of an imported GGUF file against other programs.

    scripts/compare_vocab.py MOH MODEL.gguf [TEXT ...]

Imports the file with `moh import`, then encodes the texts of
scripts/golden_tokenizers.py and the first MB of each TEXT with

  - `moh tokenize`, the imported directory,
  - the Python library `tokenizers`, with the file's vocabulary and merges
    and the published steps of its pre-tokenizer (kinds smollm, gpt-2,
    llama-bpe, qwen2), and
  - llama.cpp, where the Python package `llama_cpp` is there.

Ids must be the same everywhere; where llama.cpp alone differs, from the
library, too, that is told and is no failure: it is not the reference.
The packages `tokenizers` and `gguf` are needed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import golden_bpe
import golden_tokenizers

LLAMA = {"type": "Split", "behavior": "Isolated", "invert": False}
BYTES = {"type": "ByteLevel", "add_prefix_space": False,
         "trim_offsets": True}


def steps(kind):
    if kind == "smollm":
        return [{"type": "Digits", "individual_digits": True},
                dict(BYTES, use_regex=True)]
    if kind == "gpt-2":
        return [dict(BYTES, use_regex=True)]
    pattern = {"llama-bpe": golden_bpe.LLAMA_PATTERN,
               "qwen2": golden_tokenizers.QWEN_PATTERN}[kind]
    return [dict(LLAMA, pattern={"Regex": pattern}),
            dict(BYTES, use_regex=False)]


def reference(lib, path):
    """The library's tokenizer of the file's arrays."""
    import gguf
    reader = gguf.GGUFReader(path)

    def field(name):
        return reader.fields["tokenizer.ggml." + name].contents()

    kind, tokens, types = field("pre"), field("tokens"), field("token_type")
    special = [i for i, t in enumerate(types) if t in (2, 3, 4)]
    document = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            golden_tokenizers.added(i, tokens[i], special=types[i] != 4)
            for i in special],
        "normalizer": {"type": "NFC"} if kind == "qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps(kind)},
        "post_processor": None, "decoder": dict(BYTES, use_regex=True),
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False,
                  "ignore_merges": kind == "llama-bpe",
                  "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": field("merges")}}
    return lib.Tokenizer.from_str(json.dumps(document))


def llama_cpp(path):
    try:
        import llama_cpp
    except ImportError:
        return None
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    return lambda text: model.tokenize(text.encode(), add_bos=False,
                                       special=True)


def moh_ids(moh, directory, text):
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(text.encode())
        file.flush()
        out = subprocess.run(
            [moh, "tokenize", "--model", directory, "--ids", "--bare",
             "--file", file.name], stdout=subprocess.PIPE, check=True).stdout
    return [int(word) for word in out.split()]


def front(path, most):
    """Whole characters of the first so many bytes."""
    return path.read_bytes()[:most].decode(errors="ignore")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("moh")
    parser.add_argument("model")
    parser.add_argument("texts", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    library = reference(golden_bpe.import_tokenizers(), args.model)
    other = llama_cpp(args.model)
    texts = [(f"text {i}", text)
             for i, text in enumerate(golden_tokenizers.texts())]
    texts += [(str(path), front(path, 1 << 20)) for path in args.texts]
    failed = n_tokens = 0
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder) / "model"
        subprocess.run([args.moh, "import", args.model, "--out", directory],
                       check=True, capture_output=True)
        for name, text in texts:
            want = library.encode(text, add_special_tokens=False).ids
            got = moh_ids(args.moh, directory, text)
            n_tokens += len(want)
            if got != want:
                print(f"{name}: other ids than the library's")
                failed += 1
            if other is not None and other(text) != want:
                print(f"{name}: llama.cpp has other ids than the library")
    print(f"{len(texts)} texts, {n_tokens} tokens, {failed} differ"
          + ("" if other else "; llama.cpp is not there"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
