#!/usr/bin/env python3
"""Golden ids of tokenizers as others publish them, made by the Python library
`tokenizers`.

Writes tests/golden/tokenizers/ from text that this script makes up:
  <name>.json     small tokenizer files with the steps of SmolLM2, GPT-2,
                  LLaMA 3, Qwen2, and LLaMA 2 (with normalizers, and with
                  Metaspace)
  expected.json   texts, the ids that the library gives them with each, and
                  the text that it makes of the ids; and the same for single
                  steps that are put into the LLaMA 2 file ("variants")
tests/unit/test_tokenizer_golden.c reads them with moh.

    scripts/golden_tokenizers.py           write all of them
    scripts/golden_tokenizers.py --check   compute again and compare

The library comes as in scripts/golden_bpe.py; the tests do not need it.
"""

import argparse
import collections
import json
import pathlib
import sys

import golden_bpe

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "tokenizers"
QWEN_PATTERN = golden_bpe.LLAMA_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
BLANK = "\u2581"


# ---- texts ---------------------------------------------------------------


def scripts():
    """Words of many scripts; what they say does not matter."""
    return [
        "The quick brown fox", "Ĳsselmeer Œuvre ßtraße Ǆ ﬀ ﬃ",
        "Ελληνικά ΣΊΣΥΦΟΣ", "Кириллица ёж Ѳита", "Հայերեն", "עברית שָׁלוֹם",
        "العربية مُحَمَّد لا", "ܣܘܪܝܝܐ", "ދިވެހި", "हिन्दी क्षत्रिय",
        "বাংলা", "ਪੰਜਾਬੀ", "ગુજરાતી", "தமிழ்", "తెలుగు", "ಕನ್ನಡ", "മലയാളം",
        "සිංහල", "ไทยภาษาไทย", "ລາວ", "བོད་སྐད", "မြန်မာ", "ქართული", "አማርኛ",
        "ᏣᎳᎩ", "ᚠᚢᚦ", "ភាសាខ្មែរ", "ᠮᠣᠩᠭᠣᠯ", "日本語 カタカナ ﾊﾝｶｸ",
        "中文字符，。！", "한국어 각 ㄱㅏ", "𐌰𐌱𐌲 𝕬𝖇 𝟙𝟚 𠀀𠀁", "ꙮ",
    ]


def marks():
    """Combining marks in orders that normal forms change."""
    return [
        "e\u0301 é", "a\u0323\u0301 a\u0301\u0323 ạ́", "\u1e9b\u0323",
        "q\u0307\u0323 q\u0323\u0307", "\u0301 alone", "A\u030a Å \u212b",
        "\u1100\u1161\u11a8 \uac00\u11a8 각", "ﬁ ½ ① ㎏ ﷺ ｱ", "İ ı ſ K Ω",
        "o" + "\u0301\u0316" * 9, "\u0344\u0958\u2adc\U0001d15e",
    ]


def texts():
    blanks = ("a\t b\n\nc\r\n d \u00a0e\u2003f\u3000g\u0085h\u200bi\u180ej"
              "\u180e! k\u2028l\u2029m\u202fn\u205fo\ufeffp")
    numbers = "1 12 123 1234 12345678 ٣٤٥٦ १२३ 三十 ½ ² ⅣⅧ ①② 1.234,56 0x1F 3e-9"
    apostrophes = ("it's IT'S it’s IT’S 'ſ 'ſt we'LL we’ll I'D y'all'd've "
                   "'tis rock 'n' roll don't' 'RE'VE ‘x’ ʼn `s ＇s")
    emoji = "👩‍👩‍👧‍👦 👍🏽 🇫🇷🇩🇪 ☺️ ☺ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ 🙂🙂🙂 ❤️‍🔥"
    controls = "".join(chr(c) for c in range(32)) + "\x7f\x80\x9f\xad\u061c"
    marksup = "<s> </s> <|im_start|>user\nhi<|im_end|>\n<0x41> <0x0A> <unk>"
    code = "if (a[i] != '\\0') {\n\t\treturn x->y **= 2; // \"q\"\n    }\n"
    return [
        "", " ", "  ", "\n", "\r\n\r\n", "a", " a", "a ", "  a  b  ", BLANK,
        f"{BLANK}a {BLANK} b{BLANK}", blanks, numbers, apostrophes, emoji,
        controls, marksup, code, " " * 40 + "x" + " " * 17, "\n" * 13 + " \n",
        "\t" * 9 + "a\n \n  \n   b", " \n a\n\n  b \r\n\r\n\tc",
        "[mask]x [mask] [mask]. x[mask]  [mask]  y", "<pad>a <pad> b",
        "...!?---___@@@ «q» “r” ¿s? ¡t! …  $5 +6 =7 ~8 ^9 |10",
        "http://a.b/c?d=e&f#g h_i j-k user@host.example", "a" * 70, "ab" * 40,
        "The the THE tHe", "\U0010ffff\ue000\ufffd\ufffe",
        "\u0378 unassigned \U000e0001", " ".join(scripts()),
        " ".join(marks()), *marks(), *scripts()[1:12],
        golden_bpe.made_up_text(5, 4), golden_bpe.made_up_text(9, 3).upper(),
    ]


def corpus():
    lines = scripts() * 3 + [golden_bpe.made_up_text(3, 90)]
    lines += ["1 22 333 4444 55555", "it's we'll don't I'd they've", "   x\n",
              "    y\n\n", "\tz"] * 6
    return "\n".join(lines)


# ---- tokenizers ----------------------------------------------------------


def train_bytes(lib, name, steps, normalizer=None, n_vocab=470):
    """Byte-level BPE with these pre-tokenizers in front of ByteLevel."""
    levels, splits, digits = (lib.pre_tokenizers.ByteLevel,
                              lib.pre_tokenizers.Split,
                              lib.pre_tokenizers.Digits)
    tokenizer = lib.Tokenizer(lib.models.BPE())
    made = {
        "digits": lambda: digits(individual_digits=True),
        "words": lambda: levels(add_prefix_space=False, use_regex=True),
        "bytes": lambda: levels(add_prefix_space=False, use_regex=False),
        "llama": lambda: splits(lib.Regex(golden_bpe.LLAMA_PATTERN),
                                "isolated"),
        "qwen": lambda: splits(lib.Regex(QWEN_PATTERN), "isolated"),
    }
    parts = [made[step]() for step in steps]
    tokenizer.pre_tokenizer = (lib.pre_tokenizers.Sequence(parts)
                               if len(parts) > 1 else parts[0])
    tokenizer.decoder = lib.decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    specials = {"llama3": ["<|begin_of_text|>", "<|end_of_text|>"],
                "smollm2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]}
    trainer = lib.trainers.BpeTrainer(
        vocab_size=n_vocab, min_frequency=2, show_progress=False,
        special_tokens=specials.get(name, ["<|endoftext|>"]),
        initial_alphabet=levels.alphabet())
    tokenizer.train_from_iterator([corpus()], trainer)
    return tokenizer


def most_frequent(text, n):
    """Characters; the library would choose among equals by chance."""
    counts = collections.Counter(text.replace(" ", BLANK))
    return sorted(counts, key=lambda c: (-counts[c], c))[:n]


def train_llama2(lib):
    """BPE of characters with byte fallback, as SentencePiece's are."""
    tokenizer = lib.Tokenizer(lib.models.BPE(
        unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = lib.normalizers.Sequence([
        lib.normalizers.Prepend(BLANK), lib.normalizers.Replace(" ", BLANK)])
    tokenizer.pre_tokenizer = lib.pre_tokenizers.Split(
        BLANK, "merged_with_next")  # for training only
    tokenizer.decoder = lib.decoders.Sequence([
        lib.decoders.Replace(BLANK, " "), lib.decoders.ByteFallback(),
        lib.decoders.Fuse(), lib.decoders.Strip(" ", 1, 0)])
    alphabet = most_frequent(corpus().replace("\n", " "), 110)
    trainer = lib.trainers.BpeTrainer(
        vocab_size=640, min_frequency=2, show_progress=False,
        initial_alphabet=alphabet, limit_alphabet=len(alphabet),
        special_tokens=["<unk>", "<s>", "</s>"] +
        [f"<0x{byte:02X}>" for byte in range(256)])
    tokenizer.train_from_iterator([corpus().replace("\n", " ")], trainer)
    document = json.loads(tokenizer.to_str())
    document["pre_tokenizer"] = None
    document["added_tokens"] = document["added_tokens"][:3]
    document["post_processor"] = template("<s>", 1)
    return document


def template(token, number):
    return {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": token, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}], "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [number],
                                   "tokens": [token]}}}


def metaspace(scheme, split):
    return {"type": "Metaspace", "replacement": BLANK,
            "prepend_scheme": scheme, "split": split}


def documents(lib):
    made = {
        "smollm2": train_bytes(lib, "smollm2", ["digits", "words"]),
        "gpt2": train_bytes(lib, "gpt2", ["words"]),
        "llama3": train_bytes(lib, "llama3", ["llama", "bytes"]),
        "qwen2": train_bytes(lib, "qwen2", ["qwen", "bytes"],
                             lib.normalizers.NFC()),
    }
    made = {name: json.loads(t.to_str()) for name, t in made.items()}
    made["llama3"]["model"]["ignore_merges"] = True
    made["llama3"]["post_processor"] = {
        "type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True,
             "trim_offsets": False, "use_regex": True},
            template("<|begin_of_text|>", 0)]}
    made["llama2"] = train_llama2(lib)
    return made


# ---- single steps --------------------------------------------------------


def split(behavior, pattern=None, invert=False):
    return {"type": "Split", "pattern": pattern or {"Regex": "[aeiou]+|\\s"},
            "behavior": behavior, "invert": invert}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def added(number, content, **flags):
    token = {"id": number, "content": content, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False,
             "special": False}
    token.update(flags)
    return token


def variants():
    """Parts of the file llama2 that are changed."""
    plain = {"normalizer": None}
    behaviors = ["Isolated", "Removed", "MergedWithPrevious",
                 "MergedWithNext", "Contiguous"]
    changes = {}
    for behavior in behaviors:
        for invert in [False, True]:
            name = behavior + ("-inverted" if invert else "")
            changes[name] = dict(
                plain, pre_tokenizer=split(behavior, invert=invert))
        changes["Literal-" + behavior] = dict(
            plain, pre_tokenizer=split(behavior, {"String": "a"}))
        changes["Punctuation-" + behavior] = dict(plain, pre_tokenizer={
            "type": "Punctuation", "behavior": behavior})
    for kind in ["Whitespace", "WhitespaceSplit"]:
        changes[kind] = dict(plain, pre_tokenizer={"type": kind})
    for single in [False, True]:
        changes[f"Digits-{single}"] = dict(plain, pre_tokenizer={
            "type": "Digits", "individual_digits": single})
    for scheme in ["always", "first", "never"]:
        for cut in [False, True]:
            changes[f"Metaspace-{scheme}-{cut}"] = dict(
                plain, pre_tokenizer=metaspace(scheme, cut),
                decoder=sequence("decoders", metaspace(scheme, cut),
                                 {"type": "ByteFallback"},
                                 {"type": "Fuse"}))
    for kind in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]:
        changes[kind] = {"normalizer": {"type": kind}}
    for left in [False, True]:
        changes[f"Strip-{left}"] = {"normalizer": {
            "type": "Strip", "strip_left": left, "strip_right": not left}}
    changes["Replace"] = {"normalizer": sequence(
        "normalizers", {"type": "NFKC"},
        {"type": "Replace", "pattern": {"Regex": " {2,}|\\n+"},
         "content": "<>"}, {"type": "Lowercase"},
        {"type": "Prepend", "prepend": "a "})}
    changes["Sequence"] = dict(plain, pre_tokenizer=sequence(
        "pretokenizers", {"type": "WhitespaceSplit"},
        {"type": "Punctuation", "behavior": "Contiguous"},
        metaspace("first", True)))
    for start in [0, 1]:  # both at once breaks the library for "a"
        changes[f"Strip-tokens-{start}"] = {"decoder": sequence(
            "decoders", {"type": "Strip", "content": "a", "start": start,
                         "stop": 1 - start},
            {"type": "Replace", "pattern": {"Regex": "[est]"},
             "content": "<>"})}
    changes["Nothing"] = {"decoder": None}
    return changes


def with_variant(document, change, number):
    document = json.loads(json.dumps(document))
    document.update(change)
    document["added_tokens"] += [
        added(number, "[mask]", lstrip=True, special=True),
        added(number + 1, "<pad>", rstrip=True, normalized=True),
        added(number + 2, "the", single_word=True),
        added(number + 3, "The quick")]
    return document


# ---- files ---------------------------------------------------------------


def results(lib, document, all_texts):
    """Decoded without the normalizer: else the library would write what it
    makes of an added token, and not that token."""
    tokenizer = lib.Tokenizer.from_str(json.dumps(document))
    decoding = lib.Tokenizer.from_str(json.dumps(
        dict(document, normalizer=None)))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids
           for text in all_texts]
    front = tokenizer.encode("", add_special_tokens=True).ids
    return {"front": front, "ids": ids, "decoded": [
        decoding.decode(some, skip_special_tokens=True) for some in ids]}


def make_files(lib):
    made = documents(lib)
    all_texts = texts()
    number = len(made["llama2"]["model"]["vocab"])
    expected = {"texts": all_texts, "files": {}, "variants": {}}
    for name, document in made.items():
        expected["files"][name] = results(lib, document, all_texts)
    for name, change in variants().items():
        document = with_variant(made["llama2"], change, number)
        expected["variants"][name] = results(lib, document, all_texts)
        expected["variants"][name]["change"] = change
        if "decoder" not in change:
            del expected["variants"][name]["decoded"]
    last = with_variant(made["llama2"], {}, number)
    expected["added_tokens"] = last["added_tokens"]
    files = {f"{name}.json": json.dumps(document, ensure_ascii=False,
                                        separators=(",", ":")) + "\n"
             for name, document in made.items()}
    files["expected.json"] = json.dumps(
        expected, separators=(",", ":"), ensure_ascii=False) + "\n"
    return files


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    files = make_files(golden_bpe.import_tokenizers())
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = GOLDEN / name
        if not args.check:
            path.write_text(text)
        elif path.read_text() != text:
            sys.exit(f"{path} is not what the library gives")
    print(f"{len(files)} files in {GOLDEN}")


if __name__ == "__main__":
    main()
