"""Tests of moh quantize: what is written, what it says, and that the result is
a model like any other.
"""

import json
import math
import re
import shutil
import struct

from support import Case, main, moh, patch

SIZES = ("--layers 2 --d-model 32 --d-ff 48 --n-heads 4 --kv-heads 2 --d-head "
         "32 --heads moh:1+2 --threads 1 --steps 8").split()
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}


def numbers(x):
    """As %.7g shows what is left of it in f32."""
    return "%.7g" % struct.unpack("<f", struct.pack("<f", x))[0]


class Quantizing(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", "to be or not to be, that is the question\n" * 30)
        code, _, err = moh("train", "--data", "text.txt", "--out", "run",
                           *SIZES, cwd=cls.folder)
        assert code == 0, err

    def ok(self, *words):
        code, text, err = self.run_in(*words)
        self.assertEqual((code, err), (0, ""))
        return text

    def loss(self, model, *more):
        return json.loads(self.ok("eval", "-m", model, "--threads", 1,
                                  "--json", *more, "text.txt"))["total"]["nats_per_token"]

    def test_formats(self):
        exact = self.loss("run")
        for name, size in BYTES.items():
            out = f"as-{name}"
            figures = json.loads(self.ok("quantize", "run", "--out", out,
                                         "--weights", name, "--json"))
            self.assertEqual(figures["weights"], name)
            self.assertLess(figures["bytes"],
                            (size + .8) / 4 * figures["bytes_in_f32"])
            # the matrix behind 48 hidden units has no whole blocks
            self.assertEqual(figures["matrices_in_f32"],
                             2 if name.startswith("q") else 0)
            self.assertAlmostEqual(self.loss(out), exact, delta=.05)
            self.assertIn("all 5 files are good", self.ok("verify", out))
            before, after = (json.loads(
                (self.folder / folder / "manifest.json").read_text())
                for folder in ("run/final", out))
            self.assertEqual(before["steps"], after["steps"])

    def bytes_of(self, model, *more):
        return json.loads(self.ok("inspect", "-m", model, "--batch", 3,
                                  "--context", 40, "--json", *more))["bytes"]

    def tuned(self, model, *more):
        """What moh tune says it takes: bytes of weights, of gradients and
        moments, of activations; each is shown with three digits."""
        _, _, err = self.run_in(
            "tune", "--model", model, "--data", "text.txt", "--out",
            f"tuned-{model}", "--overwrite", "--batch", 3, "--context", 40,
            "--steps", 1, "-t1", *more)
        line = re.search(r"(?m)^memory    (.*)$", err)[1]
        units = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
        return [float(x) * units[unit]
                for x, unit in re.findall(r"([\d.]+) (\w+) [wga]", line)]

    def test_memory_of_training(self):
        """That of moh tune, which decodes what is stored: in f32, or in what
        both are told."""
        for name in BYTES:
            self.ok("quantize", "run", "--out", f"m-{name}", "-w", name)
            for more in [], ["--precision", "bf16"]:
                b = self.bytes_of(f"m-{name}", *more)
                said = [b["training_weights"], b["gradients"] + b["moments"],
                        b["activations"]]
                theirs = self.tuned(f"m-{name}", *more)
                self.assertEqual(len(theirs), len(said))
                for ours, theirs in zip(said, theirs):
                    self.assertAlmostEqual(ours / theirs, 1, delta=.005)
                self.assertEqual(sum(said), b["training_total"])
        self.assertNotIn("training_total",
                         self.bytes_of("m-f32", "--precision", "q8_0"))

    def test_text(self):
        text = self.ok("quantize", "run", "-o", "small", "-w", "q4_0")
        self.assertRegex(text, r"^weights     q4_0, [\d.]+ KiB of the [\d.]+ "
                               r"KiB of f32\nin f32      2 matrices whose rows "
                               r"are no blocks of 32\nmodel       small\n$")

    def test_too_large(self):
        """What a format would make infinite is refused with the model, the
        tensor and the weight, before there is anything; f32 keeps it."""
        name = "model.layers.0.self_attn.q_proj.weight"
        for x, formats in [(1e5, ["f16"]), (1e7, ["f16", "q8_0", "q4_0"]),
                           (3.4e38, ["bf16", "q8_0"])]:
            large = self.patched("large", name, x)
            for kind in formats:
                self.assert_fails(
                    f"quantize large --out bad -w {kind}", 3,
                    f"moh quantize: large: {name} has a weight of size "
                    f"{numbers(x)}, which does not fit {kind}")
                self.assertFalse((self.folder / "bad").exists())
            self.ok("quantize", "large", "--out", "kept", "-w", "f32")
            shutil.rmtree(self.folder / "kept")
            shutil.rmtree(large)
        self.patched("large", name, math.inf)
        self.assert_fails("quantize large --out bad -w q8_0", 3,
                          f"moh quantize: large: {name} has a weight that is "
                          "not finite")

    def patched(self, to, name, x):
        """A copy of the model with another first element of a tensor."""
        folder = self.folder / to
        shutil.copytree(self.folder / "run/final", folder)
        patch(folder, name, x)
        return folder

    def test_goes_on(self):
        """Another format, and training, from a model in blocks."""
        self.ok("quantize", "run", "--out", "eight", "--weights", "q8_0")
        self.ok("quantize", "eight", "--out", "whole", "--weights", "f32")
        self.ok("quantize", "eight", "--out", "again", "--weights", "q8_0")
        files = [(self.folder / name / "model.safetensors").read_bytes()
                 for name in ("eight", "again")]
        self.assertEqual(*files)
        self.assertEqual(self.loss("whole", "--precision", "f32"),
                         self.loss("eight", "--precision", "f32"))
        for words in ["tune --model eight --data text.txt --out tuned "
                      "--steps 2 -t1",
                      "prune --model eight --data text.txt --out pruned "
                      "--keep 2 -t1", "generate -m eight -n 3 to"]:
            code, _, err = self.run_in(*words.split())
            self.assertEqual(code, 0, err)

    def test_refused(self):
        (self.folder / "full").mkdir()
        self.write("full/file", "here")
        for words, said in [
                ("quantize run --out x --weights q5_1", "q8_0"),
                ("quantize run --out x", "--weights"),
                ("quantize run --weights f16", "--out"),
                ("quantize --out x --weights f16", "name one model's"),
                ("quantize run --out full --weights f16", "not empty"),
                ("tune --model run --data text.txt --out x --precision q8_0",
                 "q8_0")]:
            code, _, err = self.run_in(*words.split())
            self.assertEqual(code, 2, words)
            self.assertIn(said, err)
        code, _, err = self.run_in(*"quantize no --out x -w f16".split())
        self.assertEqual(code, 1)
        self.assertTrue(re.search(r"\bno\b", err), err)


if __name__ == "__main__":
    main()
