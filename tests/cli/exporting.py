"""Tests of moh export: what is written, and what is refused."""

import array
import json
import re
import shutil
import struct

from support import Case, main, moh, patch

SIZES = ("--layers 2 --d-model 16 --d-ff 16 --n-heads 4 --kv-heads 2 "
         "--preset nano --threads 1 --steps 3").split()
KINDS = {
    "llama": ["--heads", "all", "--attention-bias", "all", "--mlp-bias",
              "--rope-scaling", "llama3:8,1,4,32"],
    "qwen2": ["--heads", "all", "--attention-bias", "qkv", "--untied"],
    "qwen3": ["--heads", "all", "--qk-norm", "--d-head", "8"],
}
GGUF = {
    "llama": ["--heads", "all", "--attention-bias", "all", "--mlp-bias",
              "--d-head", "16", "--rope-scaling", "llama3:8,1,4,8192"],
    "short": ["--heads", "all", "--d-head", "16", "--rope-scaling",
              "llama3:8,1,4,32"],
    "linear": ["--heads", "all", "--d-head", "8", "--untied",
               "--rope-scaling", "linear:2"],
    "qwen2": ["--heads", "all", "--attention-bias", "qkv"],
    "qwen3": ["--heads", "all", "--qk-norm", "--d-head", "8"],
}
# One matrix has rows of 48, no whole blocks.
WIDE = "--d-model 32 --d-ff 48 --layers 1 --heads all".split()
BPE = "--tokenizer bpe --vocab-size 280".split()
TEXTS = ["to be, or  not", "that's 12 é\n", "</s> question"]
OTHERS = {
    "moh": (["--heads", "moh:1+2"], "heads that not every token uses"),
    "cope": (["--heads", "all", "--position", "cope"],
             "no rotary positions"),
    "mixed": (["--heads", "all", "--attention-bias", "qkv", "--qk-norm"],
              "biases and norms that none of them has together"),
    "more": (["--heads", "all", "--mlp-bias", "--qk-norm"],
             "biases and norms that none of them has together"),
    "bare": (["--heads", "all", "--final-norm", "off"],
             "norms in other places"),
    "sliding": (["--heads", "all", "--window", "8", "--attention-bias",
                 "qkv"], "a window"),
}


def tensors(path):
    """{name: (type, shape, bytes)} of a safetensors file."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__")
    return {name: (entry["dtype"], entry["shape"],
                   raw[8 + size:][slice(*entry["data_offsets"])])
            for name, entry in header.items()}


class Exporting(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", "to be or not to be, that is the question\n" * 30)
        words = [(name, more) for name, more in KINDS.items()]
        words += [(name, more) for name, (more, _) in OTHERS.items()]
        for name, more in words:
            code, _, err = moh("train", "--data", "text.txt", "--out", name,
                               *SIZES, *more, cwd=cls.folder)
            assert code == 0, err

    def export(self, model, out, *more):
        code, text, err = self.run_in("export", model, "--out", out, *more)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(text, rf"^parameters  [\d,]+, in \w+\nllama       "
                               rf"{out}\n$")
        return self.folder / out

    def test_family(self):
        """config.json has the type that the model is, the weights their bits,
        and the tokenizer's files are the model's."""
        classes = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM",
                   "qwen3": "Qwen3ForCausalLM"}
        for kind, name in classes.items():
            out = self.export(kind, kind + "-out")
            source = self.folder / kind / "final"
            config = json.loads((out / "config.json").read_text())
            self.assertEqual((config["model_type"], config["architectures"]),
                             (kind, [name]))
            self.assertEqual(config["torch_dtype"], "float32")
            self.assertEqual(
                config, json.loads((source / "config.json").read_text()))
            self.assertEqual(tensors(out / "model.safetensors"),
                             tensors(source / "model.safetensors"))
            for file in ["tokenizer.json", "tokenizer_config.json"]:
                self.assertEqual((out / file).read_bytes(),
                                 (source / file).read_bytes())
            self.assertFalse((out / "manifest.json").exists())

    def test_half(self):
        """16 bits a weight, the nearest ones."""
        source = tensors(self.folder / "qwen2/final/model.safetensors")
        for weights, dtype, step in [("f16", "F16", 2 ** -11),
                                     ("bf16", "BF16", 2 ** -8)]:
            out = self.export("qwen2", weights, "--weights", weights)
            config = json.loads((out / "config.json").read_text())
            self.assertEqual(config["torch_dtype"],
                             {"f16": "float16", "bf16": "bfloat16"}[weights])
            found = tensors(out / "model.safetensors")
            self.assertEqual(found.keys(), source.keys())
            for name, (kind, shape, data) in found.items():
                self.assertEqual((kind, shape), (dtype, source[name][1]))
                self.check_close(data, source[name][2], weights, step)

    def check_close(self, halves, whole, weights, step):
        n = len(halves) // 2
        if weights == "f16":
            values = struct.unpack(f"<{n}e", halves)
        else:
            words = struct.unpack(f"<{n}H", halves)
            values = struct.unpack(
                f"<{n}f", struct.pack(f"<{n}I", *(w << 16 for w in words)))
        for a, b in zip(values, array.array("f", whole)):
            self.assertLessEqual(abs(a - b), step * abs(b) + 2 ** -25)

    def test_others(self):
        """What no program for these can run is refused with what it has."""
        for name, (_, has) in OTHERS.items():
            code, out, err = self.run_in("export", name, "--out", "x")
            self.assertEqual((code, out), (2, ""))
            self.assertEqual(err, "moh export: this is no LLaMA, Qwen2 or "
                             "Qwen3 model, so their programs cannot run it: "
                             f"it has {has} (see 'moh export --help')\n")
            self.assertFalse((self.folder / "x").exists())

    def test_inspected(self):
        """moh inspect names a family alone where moh export writes it."""
        names = {"llama": "LLaMA 2 70B, LLaMA 3", "qwen2": "Qwen2",
                 "qwen3": "Qwen3", "bare": "custom", "mixed": "custom",
                 "more": "custom", "sliding": "Qwen2, with a sliding window",
                 "cope": "custom, with contextual positions",
                 "moh": "LLaMA 2 70B, LLaMA 3, with Mixture-of-Heads"}
        for model in [*KINDS, *OTHERS]:
            _, text, _ = self.run_in("inspect", "-m", model)
            family = re.search(r"(?m)^\| family +(.*?) +\|$", text)[1]
            self.assertEqual(family, names[model])

    def test_back(self):
        """A directory without a manifest comes in again with its bits, and
        with heads by the norms of queries where that is asked for."""
        for kind in KINDS:
            out = self.export(kind, kind + "-plain")
            for more, name in [([], "back"), (["--heads", "norm:1+2"], "moh")]:
                back = f"{kind}-{name}"
                code, _, err = self.run_in("import", out, "--out", back, *more)
                self.assertEqual((code, err), (0, ""))
                self.assertEqual(
                    tensors(self.folder / back / "model.safetensors"),
                    tensors(out / "model.safetensors"))
                config = json.loads(
                    (self.folder / back / "config.json").read_text())
                self.assertEqual(config["model_type"], "moh" if more else kind)
                code, _, err = self.run_in("generate", "-m", back, "-n", 3,
                                           "to")
                self.assertEqual(code, 0, err)
            heads = config["moh"]["heads"]
            self.assertEqual((heads["strategy"], heads["n_shared"],
                              heads["k"]), ("norm", 1, 2))
        code, _, err = self.run_in("import", out, "--out", "z", "--heads",
                                   "moh:1+2")
        self.assertEqual(code, 2)
        self.assertIn("--heads is for norm:S+K", err)

    def test_too_large(self):
        """A weight that its format cannot hold is the model's fault, and
        nothing is written; GGUF has norms in f32 always."""
        for name, gguf_too in [("model.layers.1.mlp.up_proj.weight", True),
                               ("model.norm.weight", False)]:
            shutil.copytree(self.folder / "llama/final", self.folder / "large")
            patch(self.folder / "large", name, -1e5)
            for words in ["--weights f16"] + gguf_too * [
                    "--weights f16 --format gguf"]:
                self.assert_fails(
                    f"export large --out x {words}", 3,
                    f"moh export: large: {name} has a weight of size 100000, "
                    "which does not fit f16")
                self.assertFalse((self.folder / "x").exists())
            self.export("large", "fits", "--weights", "bf16")
            for folder in ["large", "fits"]:
                shutil.rmtree(self.folder / folder)

    def test_mistakes(self):
        for words, code, part in [
                ("qwen2 --out qwen2", 2, "qwen2 is not empty"),
                ("none --out y", 1, "none"),
                ("--out y", 2, "which model directory"),
                ("qwen2 --out y --weights q3", 2, "--weights must be one of"),
                ("qwen2 --out y --format onnx", 2, "--format must be one of"),
                ("qwen2 qwen3 --out y", 2, "one word too many")]:
            found, out, err = self.run_in("export", *words.split())
            self.assertEqual((found, out), (code, ""), words)
            self.assertIn(part, err)
            self.assertFalse((self.folder / "y").exists())


class Gguf(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", "to be or not to be, that is the question\n" * 30)
        models = [(name, more + BPE) for name, more in GGUF.items()]
        models += [("letters", GGUF["qwen2"]),
                   ("moh", OTHERS["moh"][0] + BPE),
                   ("biases", GGUF["qwen3"] + ["--attention-bias", "all"]
                    + BPE),
                   ("wide", WIDE + BPE),
                   ("slow", GGUF["qwen2"] + BPE +
                    ["--rope-scaling", "llama3:8,1,4,8192"])]
        for name, more in models:
            code, _, err = moh("train", "--data", "text.txt", "--out", name,
                               *SIZES, *more, cwd=cls.folder)
            assert code == 0, err

    def export(self, model, *more):
        code, text, err = self.run_in("export", model, "--format", "gguf",
                                      *more)
        self.assertEqual((code, err), (0, ""))
        return text

    def import_back(self, path, out):
        code, _, err = self.run_in("import", path, "--out", out)
        self.assertEqual((code, err), (0, ""))
        return self.folder / out

    def test_there_and_back(self):
        """The same weights, sizes and ids come back."""
        for name in GGUF:
            text = self.export(name, "--out", name + ".gguf")
            self.assertRegex(text, rf"^parameters  [\d,]+, in f32\n"
                                   rf"gguf        {name}.gguf\n$")
            back = self.import_back(name + ".gguf", name + "-back")
            final = self.folder / name / "final"
            self.assertEqual(tensors(back / "model.safetensors"),
                             tensors(final / "model.safetensors"))
            configs = [json.loads((folder / "config.json").read_text())
                       for folder in (back, final)]
            for config in configs:
                config.pop("initializer_range")
            self.assertEqual(*configs)
            for text in TEXTS:
                ids = [self.run_in("tokenize", "--ids", "-m", model, text)
                       for model in (name, name + "-back")]
                self.assertEqual(ids[0][0], 0)
                self.assertEqual(*ids)

    def test_pruned(self):
        """A model with fewer heads than its width has room for."""
        code, _, err = self.run_in(
            *"prune --model llama --keep 2 --data text.txt --out pruned "
             "--threads 1".split())
        self.assertEqual(code, 0, err)
        self.export("pruned", "--out", "pruned.gguf")
        back = self.import_back("pruned.gguf", "pruned-back")
        self.assertEqual(tensors(back / "model.safetensors"),
                         tensors(self.folder / "pruned/model.safetensors"))

    def test_types(self):
        """Matrices in the wanted type where their rows are whole blocks (16
        numbers are none), norms and biases in f32 always."""
        for weights, number in [("f32", 0), ("f16", 1), ("bf16", 30),
                                ("q8_0", 8), ("q4_0", 2)]:
            path = f"wide-{weights}.gguf"
            self.export("wide", "--out", path, "--weights", weights)
            found = self.types_of(self.folder / path)
            self.assertEqual(found["blk.0.attn_q.weight"], number)
            self.assertEqual(found["token_embd.weight"], number)
            self.assertEqual(found["output_norm.weight"], 0)
            # 48 to 32
            self.assertEqual(found["blk.0.ffn_down.weight"],
                             0 if weights[0] == "q" else number)
            back = self.import_back(path, f"wide-{weights}")
            code, _, err = self.run_in("generate", "-m", back, "-n", 3, "to")
            self.assertEqual(code, 0, err)

    def test_told(self):
        """Matrices that stay f32, in the words of moh quantize."""
        words = ["--format", "gguf", "-w", "q8_0"]
        code, text, err = self.run_in("export", "wide", "-o", "told.gguf",
                                      *words)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(text, r"^parameters  [\d,]+, in q8_0\n"
                               r"in f32      1 matrix whose rows are no "
                               r"blocks of 32\ngguf        told.gguf\n$")
        line = text.splitlines()[1] + "\n"
        self.assertIn(line, self.run_in("quantize", "wide", "-o", "told",
                                        "-w", "q8_0")[1])
        self.assertIn(line, self.run_in("import", "told.gguf", "-o",
                                        "told-back", "-w", "q4_0")[1])
        text = self.run_in("export", "wide", "-o", "json.gguf", "--json",
                           *words)[1]
        receipt = json.loads(text)
        self.assertGreater(receipt.pop("parameters"), 0)
        self.assertEqual(receipt, {
            "format": "gguf", "out": "json.gguf", "weights": "q8_0",
            "matrices_in_f32": 1})

    def test_blocks_come_back(self):
        """A file in blocks is read as it is, though a matrix is in f32."""
        for weights in ["q8_0", "q4_0"]:
            path = f"blocks-{weights}.gguf"
            self.export("wide", "--out", path, "-w", weights)
            back = self.import_back(path, f"blocks-{weights}")
            code, _, err = self.run_in("quantize", "wide", "-o",
                                       f"own-{weights}", "-w", weights)
            self.assertEqual((code, err), (0, ""))
            own = tensors(self.folder / f"own-{weights}/model.safetensors")
            # Not assertEqual, which compares long bytes for minutes.
            self.assertTrue(tensors(back / "model.safetensors") == own)
            types = {kind for kind, _, _ in own.values()}
            self.assertEqual(types, {"U8", "F32"})

    def types_of(self, path):
        """{name: type} of the tensors, found by their names."""
        raw = path.read_bytes()
        found = {}
        for name in ["blk.0.attn_q.weight", "token_embd.weight",
                     "output_norm.weight", "blk.0.ffn_down.weight"]:
            key = struct.pack("<Q", len(name)) + name.encode()
            at = raw.index(key) + len(key)
            n_dims = struct.unpack_from("<I", raw, at)[0]
            found[name] = struct.unpack_from("<I", raw, at + 4 + 8 * n_dims)[0]
        return found

    def test_refused(self):
        self.export("qwen2", "--out", "there.gguf")
        for words, code, part in [
                ("moh --out x", 2, "heads that not every token uses"),
                ("biases --out x", 2, "qwen3 has no place for biases"),
                ("slow --out x", 2, 'qwen2 has no place for the scaling'),
                ("letters --out x", 3, "its model is WordLevel"),
                ("qwen2 --out there.gguf", 2, "there.gguf is there already"),
                ("qwen2 --out none/x", 1, "none/x")]:
            found, out, err = self.run_in("export", "--format", "gguf",
                                          *words.split())
            self.assertEqual((found, out), (code, ""), err)
            self.assertIn(part, err)
            self.assertFalse((self.folder / "x").exists())
        code, _, err = self.run_in("export", "qwen2", "--out", "x",
                                   "--weights", "q8_0")
        self.assertEqual(code, 2)
        self.assertIn("--weights q8_0 is for --format gguf", err)


if __name__ == "__main__":
    main()
