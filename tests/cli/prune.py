"""Tests of moh prune: what is written, what it says, and that the result is a
model like any other.
"""

import hashlib
import json

from support import Case, main, moh

SIZES = ("--layers 2 --d-model 16 --d-ff 16 --n-heads 4 --kv-heads 4 "
         "--threads 1 --steps 6").split()


class Pruning(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", "to be or not to be, that is the question\n" * 30)
        for name, more in [("dense", ["--heads", "all"]),
                           ("moh", ["--heads", "moh:1+2"]),
                           ("gqa", ["--heads", "all", "--kv-heads", 2]),
                           ("random", ["--heads", "random:1+2"]),
                           ("mixer", ["--heads", "all", "--architecture",
                                      "hypermixer"])]:
            code, _, err = moh("train", "--data", "text.txt", "--out",
                                    name, *SIZES, *more, cwd=cls.folder)
            assert code == 0, err

    def prune(self, model, out, keep, *more):
        code, text, err = self.run_in(
            "prune", "--model", model, "--data", "text.txt", "--keep", keep,
            "--out", out, "--threads", 1, *more)
        self.assertEqual((code, err), (0, ""))
        return text

    def config(self, name):
        return json.loads((self.folder / name / "config.json").read_text())

    def test_dense(self):
        """A smaller LLaMA model that verifies, runs, and can be tuned."""
        text = self.prune("dense", "dense2", 2)
        self.assertRegex(text, r"^2 of 4 heads stay in each layer, by "
                               r"importance on [\d,]+ tokens\n")
        self.assertRegex(text, r"layer 1  removed \d \([\d.e-]+\) \d \(")
        config = self.config("dense2")
        self.assertEqual(config["model_type"], "llama")
        self.assertEqual(config["num_attention_heads"], 2)
        self.assertEqual(config["num_key_value_heads"], 2)
        self.assertEqual(config["head_dim"], 4)
        for words in ["verify dense2", "generate -m dense2 -n 3 to",
                      "inspect -m dense2",
                      "tune --model dense2 --data text.txt --out tuned "
                      "--steps 2 -t1"]:
            code, _, err = self.run_in(*words.split())
            self.assertEqual(code, 0, err)
        self.assertEqual(self.config("tuned/final")["num_attention_heads"], 2)

    def test_receipt(self):
        """Measured on what, how they rank, who stays; the losses are those
        that moh eval finds."""
        out = self.prune("dense", "receipt", 3, "--json", "--limit", 500)
        receipt = json.loads(out)
        manifest = json.loads(
            (self.folder / "receipt" / "manifest.json").read_text())
        self.assertEqual(manifest["pruning"], receipt)
        data = (self.folder / "text.txt").read_bytes()
        self.assertEqual(receipt["data"], [{
            "file": "text.txt", "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest()}])
        self.assertEqual((receipt["heads"], receipt["kept"], receipt["by"],
                          receipt["tokens"], receipt["strategy"]),
                         (4, 3, "importance", 500, "all"))
        self.assertEqual(len(receipt["layers"]), 2)
        for layer in receipt["layers"]:
            ranked = sorted(range(4), key=lambda h: -layer["scores"][h])
            self.assertEqual(layer["kept"], sorted(ranked[:3]))
        for model, when in [("dense", "before"), ("receipt", "after")]:
            _, out, _ = self.run_in("eval", "-m", model, "text.txt",
                                    "--limit", 500, "--json")
            self.assertAlmostEqual(json.loads(out)["total"]["nats_per_token"],
                                   receipt[f"nats_per_token_{when}"],
                                   places=12)

    def test_all_stay(self):
        """Nothing goes, nothing changes."""
        self.prune("moh", "whole", 4, "--by", "usage")
        for name in ["model.safetensors", "config.json"]:
            self.assertEqual(
                (self.folder / "whole" / name).read_bytes(),
                (self.folder / "moh" / "final" / name).read_bytes())

    def test_routers(self):
        """The router goes on among the heads that are left, and usage is what
        moh routes counts."""
        out = json.loads(self.prune("moh", "moh3", 3, "--by", "usage",
                                    "--json"))
        heads = self.config("moh3")["moh"]["heads"]
        self.assertEqual((heads["n_shared"], heads["k"]), (1, 2))
        _, text, _ = self.run_in("routes", "-m", "moh", "text.txt", "--json")
        for layer, seen in zip(out["layers"], json.loads(text)["layers"]):
            self.assertEqual(layer["scores"][0], 1)
            for mine, load in zip(layer["scores"], seen["load"]):
                self.assertAlmostEqual(mine, load, delta=0.01)
        self.prune("moh", "moh1", 1)
        self.assertEqual(self.config("moh1")["moh"]["heads"]["k"], 0)
        code, _, err = self.run_in("generate", "-m", "moh1", "-n", 3, "to")
        self.assertEqual(code, 0, err)

    def test_groups(self):
        self.prune("gqa", "even", 2)
        self.assertEqual(self.config("even")["num_key_value_heads"], 2)
        self.prune("gqa", "one", 2, "--groups")
        self.assertEqual(self.config("one")["num_key_value_heads"], 1)

    def test_all_heads_stay(self):
        code, out, err = self.run_in(
            *"prune --data text.txt --out same --model dense --keep 4".split())
        self.assertEqual(code, 0, err)
        self.assertIn("\nlayer 0  removed none\nlayer 1  removed none\n", out)
        files = [self.folder / name / "model.safetensors"
                 for name in ("dense/final", "same")]
        self.assertEqual(*[path.read_bytes() for path in files])

    def test_refused(self):
        tail = " (see 'moh prune --help')"
        start = "prune --data text.txt --out new --model "
        for words, message in [
                ("gqa --keep 3", "3 heads cannot be kept evenly for the 2 KV "
                 "heads: a multiple of these can, or whole KV heads "
                 "(--groups)"),
                ("gqa --keep 1 --groups", "1 heads are not a number of whole "
                 "KV heads, which have 2 query heads each"),
                ("dense --keep 5", "5 heads cannot be kept of 4 in a layer"),
                ("dense --keep 2 --by usage", "dense has no routers: every "
                 "token uses the same heads, so rank them --by importance"),
                ("random --keep 2", "heads are drawn by chance: without some "
                 "of them every draw is another"),
                ("mixer --keep 2", "without an output projection the heads "
                 "are the columns of the hidden states: none can be taken "
                 "out")]:
            self.assert_fails(start + words, 2,
                              "moh prune: " + message + tail)
        self.assert_fails(
            "prune --data text.txt --out dense --model dense --keep 2", 2,
            "moh prune: dense is not empty; name another --out" + tail)
        self.assertFalse((self.folder / "new").exists())

    def test_bad_files(self):
        self.write("bad.json", "[")
        start = "prune --keep 2 --out new --model "
        for words in ["dense --data bad.json", "dense --data none.txt",
                      "none --data text.txt"]:
            code, out, err = self.run_in(*(start + words).split())
            self.assertIn(code, (1, 3))
            self.assertRegex(err, r"^moh prune: .*\n$")
        self.write("one.txt", "t")
        self.assert_fails(start + "dense --data one.txt", 3, "moh prune: the "
                          "data have no text of 2 tokens or more")
        self.assertFalse((self.folder / "new").exists())


if __name__ == "__main__":
    main()
