"""Tests of moh import: models of other programs become ours, or are refused
with the file and the place.
"""

import json
import math
import pathlib
import random
import struct
import unittest

from support import HERE, Case, main, moh

DATA = HERE.parent.parent.parent / "shared" / "data" / "stories260K"
U32, F32, STRING, ARRAY, I32, BOOL = 4, 6, 8, 9, 5, 7
D, FF, HEADS, KV, LONGEST = 8, 12, 2, 1, 32
TOKENS = (["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] +
          ["▁", "a", "b", "ab"])


def string(text):
    """What is not UTF-8 stands as surrogates, "\\udcff" for the byte ff."""
    data = text.encode(errors="surrogateescape")
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, x):
    code = {U32: "I", F32: "f", BOOL: "?"}.get(kind)
    return (string(key) + struct.pack("<I", kind) +
            (string(x) if kind == STRING else struct.pack("<" + code, x)))


def array(key, kind, items):
    code = {F32: "f", I32: "i"}.get(kind)
    return (string(key) + struct.pack("<IIQ", ARRAY, kind, len(items)) +
            b"".join(string(x) if kind == STRING else
                     struct.pack("<" + code, x) for x in items))


def shapes(arch="llama", output=False):
    """Name and shape (outputs first) of the tensors of two layers."""
    kv = D // HEADS * KV
    yield "token_embd.weight", (len(TOKENS), D)
    for i in range(2):
        for name, shape in [
                ("attn_norm", (D,)), ("attn_q", (D, D)), ("attn_k", (kv, D)),
                ("attn_v", (kv, D)), ("attn_output", (D, D)),
                ("ffn_norm", (D,)), ("ffn_gate", (FF, D)),
                ("ffn_up", (FF, D)), ("ffn_down", (D, FF))]:
            yield f"blk.{i}.{name}.weight", shape
        if arch == "qwen2":
            for name, n in [("q", D), ("k", kv), ("v", kv)]:
                yield f"blk.{i}.attn_{name}.bias", (n,)
        if arch == "qwen3":
            for name in "qk":
                yield f"blk.{i}.attn_{name}_norm.weight", (D // HEADS,)
    yield "output_norm.weight", (D,)
    if output:
        yield "output.weight", (len(TOKENS), D)


def numbers(shape, seed):
    rng = random.Random(seed)
    n = 1
    for size in shape:
        n *= size
    return [rng.gauss(0, 0.5) for _ in range(n)]


def metadata(arch="llama", **changes):
    sizes = {"context_length": LONGEST, "embedding_length": D,
             "block_count": 2, "feed_forward_length": FF,
             "attention.head_count": HEADS, "attention.head_count_kv": KV}
    pairs = {"general.architecture": pair("general.architecture", STRING,
                                          arch)}
    for key, x in sizes.items():
        pairs[key] = pair(f"{arch}.{key}", U32, x)
    key = "attention.layer_norm_rms_epsilon"
    pairs[key] = pair(f"{arch}.{key}", F32, 1e-5)
    types = [2, 3, 3] + [6] * 256 + [1] * 4
    for key, made in [
            ("model", pair("tokenizer.ggml.model", STRING, "llama")),
            ("tokens", array("tokenizer.ggml.tokens", STRING, TOKENS)),
            ("scores", array("tokenizer.ggml.scores", F32,
                             [0.0] * 259 + [-1.0, -2.0, -3.0, -4.0])),
            ("types", array("tokenizer.ggml.token_type", I32, types)),
            ("bos", pair("tokenizer.ggml.bos_token_id", U32, 1)),
            ("eos", pair("tokenizer.ggml.eos_token_id", U32, 2)),
            ("template", pair("tokenizer.chat_template", STRING,
                              "{{ messages[0]['content'] }}"))]:
        pairs[key] = made
    pairs.update(changes)
    return [x for x in pairs.values() if x is not None]


def gguf(pairs, tensors):
    """F32 tensors; (name, shape, numbers), these possibly as bytes."""
    head, data = b"", b""
    for name, shape, values in tensors:
        head += (string(name) + struct.pack("<I", len(shape)) +
                 struct.pack(f"<{len(shape)}Q", *reversed(shape)) +
                 struct.pack("<IQ", 0, len(data)))
        data += (values if isinstance(values, bytes) else
                 struct.pack(f"<{len(values)}f", *values))
        data += b"\0" * (-len(data) % 32)
    head = (b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) +
            b"".join(pairs) + head)
    return head + b"\0" * (-len(head) % 32) + data


def tensors(arch="llama", output=False):
    return [(name, shape, numbers(shape, name))
            for name, shape in shapes(arch, output)]


def checkpoint(output=False):
    """The same weights as llama2.c has them."""
    by_name = {name: x for name, _, x in tensors(output=output)}
    parts = list(by_name["token_embd.weight"])
    for kind in ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output",
                 "ffn_norm", "ffn_gate", "ffn_down", "ffn_up"]:
        for i in range(2):
            parts += by_name[f"blk.{i}.{kind}.weight"]
    parts += by_name["output_norm.weight"]
    parts += [0.0] * (2 * LONGEST * (D // HEADS // 2))
    parts += by_name.get("output.weight", [])
    vocab = -len(TOKENS) if output else len(TOKENS)
    return (struct.pack("<7i", D, FF, 2, HEADS, KV, vocab, LONGEST) +
            struct.pack(f"<{len(parts)}f", *parts))


class Gguf(Case):
    def imported(self, name, content):
        path = self.write(f"{name}.gguf", content)
        code, text, err = self.run_in("import", path, "--out", name)
        self.assertEqual((code, err), (0, ""))
        return text

    def config(self, name):
        return json.loads((self.folder / name / "config.json").read_text())

    def test_llama(self):
        """Read, saved, verified, run; the receipt names the file."""
        text = self.imported("l", gguf(metadata(), tensors()))
        self.assertRegex(text, r"(?m)^read        .*l.gguf: GGUF$")
        self.assertRegex(text, r"(?m)^parameters  [\d,]+, in f32$")
        self.assertRegex(text, r"(?m)^tokenizer   263 tokens$")
        self.assertRegex(text, r"(?m)^template    the file's own$")
        config = self.config("l")
        self.assertEqual(config["model_type"], "llama")
        self.assertTrue(config["tie_word_embeddings"])
        self.assertEqual(config["num_key_value_heads"], 1)
        self.assertEqual(config["rms_norm_eps"], 1e-5)
        manifest = json.loads((self.folder / "l/manifest.json").read_text())
        self.assertEqual(manifest["import"]["weights"], "f32")
        self.assertIn("l.gguf", manifest["import"]["files"][0]["file"])
        chat = json.loads(
            (self.folder / "l/tokenizer_config.json").read_text())
        self.assertEqual(chat["chat_template"],
                         "{{ messages[0]['content'] }}")
        for words in ["verify l", "generate -m l -n 3 ab", "inspect -m l"]:
            code, _, err = self.run_in(*words.split())
            self.assertEqual(code, 0, err)

    def test_template_stays(self):
        """A model that is trained on keeps the template of its files."""
        self.imported("t", gguf(metadata(), tensors()))
        self.write("ab.txt", "ab ab ab ab\n" * 30)
        code, _, err = self.run_in(
            *"tune --model t --data ab.txt --out t2 --steps 2 -t1".split())
        self.assertEqual(code, 0, err)
        chat = json.loads(
            (self.folder / "t2/final/tokenizer_config.json").read_text())
        self.assertEqual(chat["chat_template"],
                         "{{ messages[0]['content'] }}")

    def test_chat_begins(self):
        """A model without a template reads its begin token first, as it does
        in generate."""
        self.imported("b", gguf(metadata(template=None), tensors()))
        for words in [["chat"], ["generate", "ab"]]:
            code, _, err = self.run_in(*words, "-m", "b", "-n", 1,
                                       "--show-prompt", stdin="ab\n")
            self.assertEqual(code, 0, err)
            first = [line for line in err.splitlines() if "\t" in line][0]
            self.assertEqual(first.strip().split("\t"),
                             ["1", '"<s>"', "special"])

    def test_begin_token(self):
        """moh upcycle reads texts behind it, too: the perplexities of its
        receipt are those of moh eval."""
        self.imported("begun", gguf(metadata(), tensors()))
        self.write("ab.jsonl", '"ab ab"\n"b a abba"\n')
        code, out, err = self.run_in(
            *"upcycle -m begun --data ab.jsonl --heads norm:0+1 --out up "
            "-t1 --json".split())
        self.assertEqual((code, err), (0, ""))
        chosen = json.loads(out)["chosen"]
        for model, key in [("begun", "dense_perplexity"),
                           ("up", "perplexity")]:
            code, out, err = self.run_in("eval", "-m", model, "ab.jsonl",
                                         "--json")
            self.assertEqual((code, err), (0, ""))
            whole = json.loads(out)["total"]["perplexity"]
            self.assertAlmostEqual(chosen[key] / whole, 1, 5)

    def test_rows_of_a_head(self):
        """In LLaMA files the pairs of rotary positions are neighbours; in
        Qwen files they are as ours."""
        for arch in ["llama", "qwen2", "qwen3"]:
            self.imported(arch, gguf(metadata(arch), tensors(arch)))
            q = numbers((D, D), "blk.0.attn_q.weight")
            rows = [q[D * i:D * i + D] for i in range(D)]
            order = ([0, 2, 1, 3, 4, 6, 5, 7] if arch == "llama"
                     else range(D))
            want = struct.pack(f"<{D * D}f", *sum((rows[i] for i in order),
                                                  []))
            weights = (self.folder / arch / "model.safetensors").read_bytes()
            self.assertIn(want, weights)
            self.assertEqual(self.config(arch)["model_type"], arch)

    def test_weights(self):
        path = self.write("w.gguf", gguf(metadata(), tensors()))
        code, text, err = self.run_in("import", path, "--out", "w",
                                      "--weights", "bf16")
        self.assertEqual((code, err), (0, ""))
        self.assertIn(", in bf16\n", text)
        self.assertIn(b'"BF16"',
                      (self.folder / "w/model.safetensors").read_bytes())

    def test_output(self):
        self.imported("o", gguf(metadata(), tensors(output=True)))
        self.assertFalse(self.config("o")["tie_word_embeddings"])

    def test_without_tokenizer(self):
        none = dict.fromkeys(["model", "tokens", "scores", "types", "bos",
                              "eos", "template"])
        text = self.imported("n", gguf(metadata(**none), tensors()))
        self.assertIn("tokenizer   none: ids only\n", text)
        self.assertIn("template    none came with it", text)

    def assert_refused(self, content, part):
        path = self.write("bad.gguf", content)
        code, out, err = self.run_in("import", path, "--out", "bad")
        self.assertEqual((code, out), (3, ""), err)
        self.assertIn(part, err)
        self.assertIn("bad.gguf", err)
        self.assertFalse((self.folder / "bad").exists())

    def test_metadata_that_lie(self):
        for key, change, part in [
                ("general.architecture",
                 pair("general.architecture", STRING, "mamba"),
                 "'mamba' is not known here; known are llama"),
                ("general.architecture",
                 pair("general.architecture", STRING, "\x1b[31m\nma\udcff"),
                 "'?[31m ma' is not known here; known are llama"),
                ("model", pair("tokenizer.ggml.model", STRING, "\x1b[31m"),
                 "the tokenizer \"?[31m\" is not known here"),
                ("embedding_length", None, "llama.embedding_length"),
                ("embedding_length", pair("llama.embedding_length", U32, 16),
                 "token_embd.weight' has 8 in dimension 0"),
                ("block_count", pair("llama.block_count", U32, 3),
                 "blk.2."),
                ("block_count", pair("llama.block_count", U32, 1),
                 "'blk.1.attn_norm.weight' has no place"),
                ("block_count", pair("llama.block_count", STRING, "2"),
                 "is of the kind string, not a whole number"),
                ("attention.head_count",
                 pair("llama.attention.head_count", U32, 0), "head"),
                ("attention.head_count_kv",
                 pair("llama.attention.head_count_kv", U32, 2),
                 "blk.0.attn_k.weight"),
                ("x", pair("llama.rope.dimension_count", U32, 2),
                 "rope.dimension_count"),
                ("x", pair("llama.rope.scaling.type", STRING, "yarn"),
                 "rope.scaling.type"),
                ("x", pair("llama.expert_count", U32, 8), "expert_count"),
                ("x", pair("llama.attention.sliding_window", U32, 8),
                 "sliding_window"),
                ("x", pair("llama.vocab_size", U32, 262),
                 "llama.vocab_size is 262, but the tensor 'token_embd.weight' "
                 "has 263 rows"),
                ("x", pair("llama.rope.freq_base", F32, 0.0), "rope_theta"),
                ("x", pair("llama.rope.freq_base", F32, math.nan),
                 "rope_theta"),
                ("x", pair("llama.rope.scaling.factor", F32, -1.0), "factor"),
                ("bos", pair("tokenizer.ggml.bos_token_id", U32, 263),
                 "bos_token_id is 263"),
                ("scores", array("tokenizer.ggml.scores", F32, [0.0]),
                 "has 1 elements for 263 tokens"),
                ("types", array("tokenizer.ggml.token_type", F32, [0.0]),
                 "token_type' is an array of f32"),
                ("x", array("tokenizer.ggml.merges", STRING,
                            ["\udcff \udcfe"]),
                 "element 0 of tokenizer.ggml.merges is not UTF-8"),
                ("tokens", array("tokenizer.ggml.tokens", STRING,
                                 TOKENS + ["more"]),
                 "has 264 tokens, but the embedding 263")]:
            with self.subTest(part):
                drop = ({"scores": None, "types": None} if key == "tokens"
                        else {})
                self.assert_refused(
                    gguf(metadata(**{**drop, key: change}), tensors()), part)

    FACTORS = {"attention.scale": (D // HEADS) ** -0.5, "logit_scale": 1,
               "residual_scale": 1, "embedding_scale": 1,
               "attn_logit_softcapping": 0, "final_logit_softcapping": 0,
               "attention.clamp_kqv": 0, "attention.max_alibi_bias": 0,
               "rope.scaling.attn_factor": 1}

    def test_other_arithmetic(self):
        """Keys of models that compute something else; values that mean
        nothing are passed over."""
        for key, nothing in self.FACTORS.items():
            zero = [0.0] if key.startswith("rope.") else []
            for x in [0.3, -1.0, math.nan, *zero]:
                with self.subTest(key, x=x):
                    self.assert_refused(gguf(metadata(
                        x=pair("llama." + key, F32, x)), tensors()),
                        f"llama.{key} would change the arithmetic")
            fine = [nothing] + ([] if zero else [0])
            for i, x in enumerate(fine):
                self.imported(f"{key}-{i}", gguf(metadata(
                    x=pair("llama." + key, F32, x)), tensors()))
        for causal in [True, False]:
            made = gguf(metadata(x=pair("llama.attention.causal", BOOL,
                                        causal)), tensors())
            if causal:
                self.imported("causal", made)
            else:
                self.assert_refused(made, "llama.attention.causal is false")

    def test_chat_templates(self):
        """Only a text that can be a template gets into a model."""
        for text, part in [("ab\udcff", "not UTF-8 at byte 2"),
                           ("a\0b", "a NUL at byte 1"),
                           ("x" * (1 << 20) + "x", "at most 1048576")]:
            pairs = metadata(template=pair("tokenizer.chat_template", STRING,
                                           text))
            with self.subTest(part):
                self.assert_refused(gguf(pairs, tensors()), part)
                self.assert_refused(gguf(pairs, tensors()),
                                    "bad.gguf: tokenizer.chat_template: ")

    def test_tensors_that_lie(self):
        made = tensors()
        self.assert_refused(gguf(metadata(), made[1:]), "token_embd.weight")
        self.assert_refused(gguf(metadata(), made[:3] + made[4:]),
                            "'blk.0.attn_k.weight' is missing")
        self.assert_refused(gguf(metadata(), made + [("x", (4,), [0] * 4)]),
                            "'x' has no place in a llama model")
        self.assert_refused(
            gguf(metadata(), made + [("rope_freqs.weight", (2,), [3., 1.])]),
            "not those of LLaMA 3")
        twice = [pair("llama.rope.scaling.type", STRING, "linear"),
                 pair("llama.rope.scaling.factor", F32, 4.0)]
        for factors in [[1., 1.], [1., 8.]]:
            self.assert_refused(
                gguf(metadata(a=twice[0], b=twice[1]), made +
                     [("rope_freqs.weight", (2,), factors)]),
                "positions are scaled twice")

    def test_not_finite(self):
        broken = [(n, s, [math.nan] + x[1:]) for n, s, x in tensors()]
        self.assert_refused(gguf(metadata(), broken), "bad.gguf: model.embed_"
                            "tokens.weight has a weight that is not finite")

    def test_usage(self):
        path = self.write("u.gguf", gguf(metadata(), tensors()))
        for words, part in [
                (["import", "--out", "x"], "which file"),
                (["import", path], "--out"),
                (["import", path, "--out", "x", "--tokenizer", "y"],
                 "brings its own tokenizer"),
                (["import", path, "--out", "."], "not empty")]:
            code, _, err = self.run_in(*words)
            self.assertEqual(code, 2, err)
            self.assertIn(part, err)
        code, _, err = self.run_in("import", "none.gguf", "--out", "x")
        self.assertEqual(code, 1, err)
        self.assertIn("none.gguf", err)

    def test_json(self):
        path = self.write("j.gguf", gguf(metadata(), tensors()))
        code, text, _ = self.run_in("import", path, "--out", "j", "--json")
        self.assertEqual(code, 0)
        receipt = json.loads(text)
        self.assertEqual(receipt["format"], "GGUF")
        self.assertTrue(receipt["tokenizer"])


class Foreign(Case):
    """What moh import takes, given to the commands that run models."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("l.gguf", gguf(metadata(), tensors()))
        cls.write("l.bin", checkpoint())
        for words in ["import l.gguf --out ours", "export ours --out theirs",
                      "import l.gguf --out cut",
                      "import l.gguf --out moh --heads norm:1+1"]:
            code, _, err = moh(*words.split(), cwd=cls.folder)
            assert code == 0, err
        (cls.folder / "cut/.saving").mkdir()
        for name in ["cut", "moh"]:
            (cls.folder / name / "manifest.json").unlink()

    def test_refused(self):
        """With the way to a model of ours."""
        self.write("text.txt", "ab ab")
        for path, why in [
                ("l.gguf", "'l.gguf' is a GGUF file: moh import l.gguf --out "
                 "DIR makes a model of it"),
                ("theirs", "'theirs' has a config.json but no manifest.json, "
                 "as directories of other programs do: moh import theirs "
                 "--out DIR makes a model of it"),
                ("l.bin", "'l.bin' is a file, not a model directory; moh "
                 "import makes one of a GGUF file or a checkpoint of "
                 "llama2.c")]:
            for words in ["generate -m {} ab", "chat -m {}", "inspect -m {}",
                          "eval -m {} text.txt", "export {} --out x",
                          "quantize {} --out x -w f16",
                          "tune -m {} -d text.txt -o x",
                          "tokenize -m {} ab"]:
                words = words.format(path).split()
                if (words[0], path) != ("tokenize", "theirs"):
                    self.assert_fails(words, 3, f"moh {words[0]}: {why}")
        self.assertEqual(self.run_in("tokenize", "-m", "theirs", "ab")[0], 0)

    def test_without_tokenizer(self):
        """What is missing, and what is there in its place."""
        (self.folder / "theirs/tokenizer.json").rename(
            self.folder / "theirs/tokenizer.model")
        self.addCleanup(
            (self.folder / "theirs/tokenizer.model").rename,
            self.folder / "theirs/tokenizer.json")
        for path, why in [("theirs", "its tokenizer.model (SentencePiece) is "
                           "not read, a tokenizer.json is needed"),
                          ("l.bin", "--tokenizer FILE brings the "
                           "checkpoint's own")]:
            code, text, err = self.run_in("import", path, "--out",
                                          f"ids-{path}")
            self.assertEqual((code, err), (0, ""))
            self.assertIn(f"\ntokenizer   none: ids only; {why}\n", text)

    def test_own(self):
        """One of ours whose saving was cut short is no other program's, nor
        is one of a kind that others do not have."""
        for name in ["cut", "moh"]:
            code, _, err = self.run_in("inspect", "-m", name)
            self.assertEqual(code, 1)
            self.assertIn("never finished", err)


class Llama2c(Case):
    def test_same_as_gguf(self):
        """The same weights by both ways are the same model, to the byte."""
        for output in [False, True]:
            name = f"o{output:d}"
            a = self.write(name + ".bin", checkpoint(output))
            b = self.write(name + ".gguf",
                           gguf(metadata(), tensors(output=output)))
            for path, out in [(a, name + "c"), (b, name + "g")]:
                code, _, err = self.run_in("import", path, "--out", out)
                self.assertEqual((code, err), (0, ""))
            for file in ["model.safetensors"]:
                self.assertEqual((self.folder / (name + "c") / file)
                                 .read_bytes(),
                                 (self.folder / (name + "g") / file)
                                 .read_bytes())

    def test_refused(self):
        whole = checkpoint()
        for content, part in [(whole[:-4], "it is not whole, or no"),
                              (b"\0" * 100, "number 0 of the head is 0"),
                              (b"", "0 bytes"),
                              (whole[:28] + struct.pack("<f", math.inf) +
                               whole[32:], "bad.bin: model.embed_tokens."),
                              (struct.pack("<7i", 0x616b3432, 1, *[1] * 5),
                               "version 1")]:
            path = self.write("bad.bin", content)
            code, _, err = self.run_in("import", path, "--out", "bad")
            self.assertEqual(code, 3, err)
            self.assertIn(part, err)
        path = self.write("good.bin", whole)
        self.write("tok.bin", b"\1\0")
        code, _, err = self.run_in("import", path, "--tokenizer", "tok.bin",
                                   "--out", "bad")
        self.assertEqual(code, 3, err)
        self.assertIn("tok.bin", err)


class Spelling(Case):
    """Vocabularies of a GGUF file, which spells "▁a" what a llama2.c one
    spells " a"."""

    def compare(self, last):
        """With a llama2.c file whose last token is another."""
        other = ([b"<unk>", b"\n<s>\n", b"\n</s>\n"] +
                 [t.encode() for t in TOKENS[3:259]] + [b" ", b"a", b"b"])
        self.write("a.bin", checkpoint())
        self.write("tok.bin", struct.pack("<i", 7) + b"".join(
            struct.pack("<fi", -i, len(t)) + t
            for i, t in enumerate(other + [last])))
        self.write("a.gguf", gguf(metadata(tokens=array(
            "tokenizer.ggml.tokens", STRING, TOKENS[:-1] + ["▁a"])),
            tensors()))
        for words in ["a.gguf", "a.bin --tokenizer tok.bin"]:
            code, _, err = self.run_in("import", *words.split(), "--out",
                                       f"{words[2]}{len(last)}")
            self.assertEqual((code, err), (0, ""))
        self.write("text.txt", "a b a")
        return self.run_in("eval", "-m", f"g{len(last)}", "--compare",
                           f"b{len(last)}", "--json", "text.txt")

    def test_same(self):
        code, out, err = self.compare(b" a")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(json.loads(out)["largest_logit_difference"], 0)

    def test_other(self):
        code, out, err = self.compare(b" ab")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("the vocabularies differ, first in token 262", err)


@unittest.skipUnless(DATA.exists(), f"{DATA} is not there")
class Stories(Case):
    """A trained model, and the text that llama2.c makes with it."""

    def test_greedy(self):
        code, _, err = self.run_in(
            "import", DATA / "stories260K.bin", "--tokenizer",
            DATA / "tok512.bin", "--out", "stories")
        self.assertEqual((code, err), (0, ""))
        for prompt, n, name in [("", 200, "empty_prompt"),
                                ("Once upon a time", 196,
                                 "once_upon_a_time")]:
            want = (DATA / f"greedy_{name}.txt").read_text()
            code, text, err = self.run_in(
                "generate", "-m", "stories", "-n", n, "--temperature", 0,
                "--echo", "-f", self.write("prompt", prompt))
            self.assertEqual(code, 0, err)
            self.assertEqual(text.strip(), want.strip())

    def test_spelling(self):
        """A GGUF file spells "▁t" what llama2.c spells " t": it is one
        vocabulary, and the models can be compared."""
        for words in [("import", DATA / "stories260K.bin", "--tokenizer",
                       DATA / "tok512.bin", "--out", "first"),
                      ("export", "first", "--format", "gguf", "--out",
                       "first.gguf"),
                      ("import", "first.gguf", "--out", "again")]:
            code, _, err = self.run_in(*words)
            self.assertEqual((code, err), (0, ""))
        code, out, err = self.run_in(
            "eval", "-m", "again", "--compare", "first", "--json",
            DATA / "greedy_empty_prompt.txt")
        self.assertEqual((code, err), (0, ""))
        got = json.loads(out)
        self.assertEqual((got["largest_logit_difference"],
                          got["same_choice"]), (0, 1))

    def test_directory(self):
        """Through a directory of the LLaMA family and back: the same
        weights, and so the same logits."""
        for words in [("import", DATA / "stories260K.bin", "--tokenizer",
                       DATA / "tok512.bin", "--out", "a"),
                      ("export", "a", "--out", "b"),
                      ("import", "b", "--out", "c")]:
            code, _, err = self.run_in(*words)
            self.assertEqual((code, err), (0, ""))
        for file in ["model.safetensors", "tokenizer.json"]:
            self.assertEqual((self.folder / "a" / file).read_bytes(),
                             (self.folder / "c" / file).read_bytes())


if __name__ == "__main__":
    main()
