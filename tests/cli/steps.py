"""Tests of training runs that are out of the ordinary: outliers that are
skipped, gradients that are anomalies, tensors that are frozen, losses that are no numbers any more, the
forecast before a run and the evaluation behind it."""

import array
import json
import math
import os
import struct

from support import FACTS, TINY, Case, main, moh, seal


class Runs(Case):
    def train(self, data, out, *words):
        """Trains a tiny model; gives the result, stderr, lines of the log."""
        code, result, err = self.run_in(
            "train", "--data", data, "--out", out, "--json", *words, *TINY)
        self.assertEqual(code, 0, err)
        log = (self.folder / out / "log.jsonl").read_text().splitlines()
        return json.loads(result), err, [json.loads(line) for line in log]


class Outliers(Runs):
    """199 times the same sentence, and once another: freaks are skipped."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("freak.json", json.dumps(
            ["ice is cold </s>"] * 199 + ["cold the wet of a sea </s>"]))

    def test_skipping(self):
        result, err, log = self.train(
            "freak.json", "skipped", "--epochs", 3, "--batch", 1,
            "--skip-outliers", 6)
        skipped = [line for line in log if line.get("skipped")]
        self.assertIn(len(skipped), (2, 3))
        self.assertTrue(all(line["loss"] > 2 for line in skipped))
        self.assertEqual(result["skipped_steps"], len(skipped))
        self.assertIn(f"{len(skipped)} of 600 steps skipped as outliers\n",
                      err)
        self.assertTrue(all(line["skipped"] for line in skipped))
        record = json.loads(
            (self.folder / "skipped/run.json").read_text())
        self.assertEqual(record["training"]["skip_outliers"], 6)

    def test_default(self):
        result, err, log = self.train(
            "freak.json", "plain", "--epochs", 2, "--batch", 1)
        self.assertEqual(result["skipped_steps"], 0)
        self.assertNotIn("outliers", err)
        self.assertFalse(any("skipped" in line for line in log))


class GradientNorms(Runs):
    """The log has norms before and behind clipping."""

    def norms(self, out, *words):
        _, _, log = self.train("facts.json", out, "--steps", 4, *words)
        return [(line["grad_norm"], line["clipped_norm"])
                for line in log if "loss" in line]

    def test_clipping(self):
        for before, after in self.norms("off", "--clip", 0):
            self.assertEqual(before, after)
        for before, after in self.norms("whole", "--clip", 0.01):
            self.assertGreater(before, 0.1)
            self.assertAlmostEqual(after, 0.01)
        for before, after in self.norms("agc", "--clip", 0, "--agc", 0.001,
                                        "--centralize"):
            self.assertLess(after, before)
        record = json.loads((self.folder / "agc/run.json").read_text())
        self.assertEqual(record["training"]["agc"], 0.001)
        self.assertIs(record["training"]["centralize"], True)
        code, _, err = self.run_in("train", "--data", "facts.json", "--out",
                                   "never", "--agc", -1, *TINY)
        self.assertEqual(code, 2)
        self.assertIn("--agc", err)


class HeadsWarmup(Runs):
    """All heads first, and a word when that ends."""

    def test_warmup(self):
        _, err, log = self.train("facts.json", "warm", "--steps", 6,
                                 "--heads-warmup", 4)
        self.assertIn("step 4: the last with all heads; from now on heads "
                      "moh:", err)
        steps = [line for line in log if "loss" in line]
        self.assertEqual([line.get("every_head", False) for line in steps],
                         [True] * 4 + [False] * 2)
        for line in steps[:4]:
            self.assertEqual({load for layer in line["heads"]
                              for load in layer["load"]}, {1})
        self.assert_fails(
            "train --data facts.json --out never --preset nano --heads all "
            "--heads-warmup 3", 2,
            "moh train: --heads-warmup needs a model whose tokens choose "
            "heads (moh:S+K) (see 'moh train --help')")
        for option in "--expert-beta 0.1", "--expert-z-loss 0":
            self.assert_fails(
                f"train --data facts.json --out never --preset nano {option}",
                2, "moh train: --expert-beta and --expert-z-loss need experts "
                "(--experts S+K/E) (see 'moh train --help')")


class Groups(Runs):
    """Routing by KV group, from training to text."""

    def test_a_run(self):
        words = ["--n-heads", 6, "--kv-heads", 3, "--d-head", 4,
                 "--route-by", "group", "--heads", "moh:1+1"]
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--out", "run", "--steps", 4,
            *TINY, *words)
        self.assertEqual(code, 0, err)
        self.assertIn("heads moh:1+1 by KV group of 6\n", err)
        log = (self.folder / "run/log.jsonl").read_text().splitlines()
        for line in map(json.loads, log):
            for layer in line.get("heads", []):
                self.assertEqual(len(layer["load"]), 2)
                self.assertAlmostEqual(sum(layer["load"]), 1, places=5)
        code, out, _ = self.run_in("inspect", "--model", "run", "--json")
        model = json.loads(out)
        self.assertEqual((model["active_heads"], model["heads_each"]), (4, 2))
        code, _, err = self.run_in("generate", "--model", "run", "ice is",
                                   "--max-tokens", 3, "--stats")
        self.assertEqual(code, 0, err)
        self.assertIn("4.00 of 6", err)


class Adaptive(Runs):
    """Numbers of heads by token, from training to the report."""

    HEADS = ["--n-heads", 4, "--kv-heads", 2, "--d-head", 4, "--heads",
             "adaptive:1+1-3"]

    def start(self, out, *words):
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--out", out, "--steps", 30,
            *TINY, *self.HEADS, *words)
        self.assertEqual(code, 0, err)
        log = (self.folder / out / "log.jsonl").read_text().splitlines()
        return err, [line for line in map(json.loads, log) if "heads" in line]

    def test_a_target(self):
        err, log = self.start("held", "--target-heads", 3)
        self.assertIn("heads adaptive:1+1-3 of 4\n", err)
        self.assertRegex(err, r"step 30/30 .*  heads \d\.\d\d  ")
        for line in log:
            self.assertAlmostEqual(
                line["mean_heads"], line["heads"][0]["per_token"])
            self.assertAlmostEqual(line["heads"][0]["per_token"], 1 + sum(
                line["heads"][0]["load"]), places=5)
        self.assertEqual(round(log[0]["heads"][0]["mass"], 6), 0.7)
        self.assertNotEqual(log[-1]["heads"][0]["mass"], log[0]["heads"][0][
            "mass"])
        last = [line["mean_heads"] for line in log[-5:]]
        self.assertAlmostEqual(sum(last) / 5, 3, delta=0.2)
        code, out, _ = self.run_in("inspect", "--model", "held", "--json")
        model = json.loads(out)
        self.assertEqual((model["least_heads"], model["active_heads"]), (2, 4))
        self.assertAlmostEqual(model["mean_heads"], 3, delta=0.2)
        for row in model["multiply_adds"]:
            self.assertLess(row["active_least"], row["active_mean"])
            self.assertLess(row["active_mean"], row["active"])
        _, out, _ = self.run_in("inspect", "--model", "held")
        for words in ["1 shared + 1 to 3 of 3 by the router = 2 to 4",
                      "on average when it was trained", "on average"]:
            self.assertIn(words, out)
        code, out, _ = self.run_in("routes", "--model", "held", "--json",
                                   "facts.json")
        layer = json.loads(out)["layers"][0]
        self.assertTrue(2 < layer["heads_per_token"] < 4)
        code, out, err = self.run_in("report", "held")
        self.assertEqual(code, 0, err)
        page = (self.folder / "held/report.html").read_text()
        self.assertIn("Heads of a token, mean over layers", page)
        code, _, err = self.run_in(
            "tune", "--model", "held", "--data", "facts.json", "--out",
            "lower", "--steps", 9, "-t1", "--target-heads", 2.2)
        self.assertEqual(code, 0, err)
        _, out, _ = self.run_in("inspect", "--model", "lower", "--json")
        self.assertLess(json.loads(out)["mean_heads"], 2.5)

    def test_sparsity(self):
        _, log = self.start("even")
        _, sparse = self.start("sparse", "--sparsity", 1, "--lr", 0.02)
        self.assertLess(sparse[-1]["sparsity_loss"], log[-1]["sparsity_loss"])
        self.assertLess(sparse[-1]["mean_heads"], log[-1]["mean_heads"])
        for line in sparse[:3]:
            self.assertAlmostEqual(
                line["total_loss"], line["loss"] + line["sparsity_loss"] +
                0.01 * line["balance_loss"], places=5)

    def test_refused(self):
        tail = " (see 'moh train --help')"
        start = "train --data facts.json --out no "
        for words in ["--sparsity 0.1", "--target-heads 2"]:
            self.assert_fails(
                start + words, 2, "moh train: --sparsity and --target-heads "
                "need adaptive heads (adaptive:S+MIN-MAX)" + tail)
        for words, message in [
                ("--heads all --beta 0.1", "--beta needs heads that are "
                 "chosen by scores (--heads moh:S+K)"),
                ("--heads random:1+1 --beta 0", "--beta needs heads that are "
                 "chosen by scores (--heads moh:S+K)"),
                ("--heads all --z-loss 0.1",
                 "--z-loss needs a router (--heads moh:S+K)"),
                ("--heads all --router-lr 0.1", "--router-lr needs a router "
                 "(--heads moh:S+K, or --experts S+K/E)"),
                ("--heads all --gate-scale one",
                 "--gate-scale needs --heads moh:S+K"),
                ("--heads static:1 --route-by group", "--route-by needs "
                 "heads that tokens choose (--heads moh:S+K)")]:
            self.assert_fails(f"{start}--preset nano {words}", 2,
                              f"moh train: {message}{tail}")
        code, _, err = self.run_in(
            *start.split(), *TINY, *self.HEADS, "--target-heads", 5)
        self.assertEqual(code, 2)
        self.assertIn("--target-heads is 5, but tokens use 2 to 4 heads", err)
        code, _, err = self.run_in(
            *"bench --preset nano --heads adaptive:1+1-3".split())
        self.assertEqual(code, 2)
        self.assertIn("says nothing", err)


def collapse(folder):
    """A router whose third head is never the best: rows v, -v and 0."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8:8 + start])[
        "model.layers.0.self_attn.wg.weight"]
    width = entry["shape"][1]
    row = [float(i % 3 - 1) for i in range(width)]
    rows = row + [-x for x in row] + [0.0] * width
    at = 8 + start + entry["data_offsets"][0]
    data[at:at + 12 * width] = struct.pack(f"<{3 * width}f", *rows)
    path.write_bytes(data)
    seal(folder)


class DeadHeads(Runs):
    """Heads that nobody uses are told, logged and reported."""

    WORDS = ["--n-heads", 4, "--kv-heads", 2, "--d-head", 4]

    def test_a_collapse(self):
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--out", "base", "--steps", 1,
            *TINY, *self.WORDS)
        self.assertEqual(code, 0, err)
        collapse(self.folder / "base/final")
        code, _, err = self.run_in(
            "tune", "--model", "base", "--data", "facts.json", "--out",
            "dead", "--steps", 20, "--freeze", "router", "-t1")
        self.assertEqual(code, 0, err)
        for step in [10, 20]:
            self.assertIn(
                f"step {step}: no token of the last 10 steps used 1 of the "
                "routed heads (layer 0: 2); a larger --beta spreads the load",
                err)
        log = (self.folder / "dead/log.jsonl").read_text().splitlines()
        dead = [line["dead_heads"] for line in map(json.loads, log)
                if "dead_heads" in line]
        self.assertEqual(dead, [{"steps": 10, "layers": [[2]]}] * 2)
        self.assertEqual(self.run_in("report", "dead")[0], 0)
        page = (self.folder / "dead/report.html").read_text()
        self.assertIn("Heads that no token of the last 10 steps used: layer "
                      "0, routed head 2.", page)

    def test_none(self):
        """Neither where all are used, nor where none is to be."""
        for heads in ["moh:1+3", "moh:4+0", "moh:2+0", "all"]:
            out = heads.replace(":", "")
            code, _, err = self.run_in(
                "train", "--data", "facts.json", "--out", out, "--steps", 12,
                *TINY, *self.WORDS, "--heads", heads)
            self.assertEqual(code, 0, err)
            self.assertNotIn("no token", err)
            self.assertEqual(self.run_in("report", out)[0], 0)
            self.assertNotIn("that no token",
                             (self.folder / out / "report.html").read_text())


def tensors(path):
    """The bytes of each tensor of a safetensors file."""
    data = path.read_bytes()
    (start,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + start])
    header.pop("__metadata__", None)
    begin = 8 + start
    return {name: data[begin + entry["data_offsets"][0]:
                       begin + entry["data_offsets"][1]]
            for name, entry in header.items()}


class Freezing(Runs):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        code, _, err = moh("train", "--data", "facts.json", "--out", "base",
                           "--extra-vocab", "talk.json", "--epochs", 4,
                           *TINY, cwd=cls.folder)
        assert code == 0, err

    def test_tune(self):
        code, _, err = self.run_in(
            "tune", "--model", "base", "--data", "talk.json", "--out",
            "tuned", "--epochs", 4, "--freeze", "router,*norm.weight")
        self.assertEqual(code, 0, err)
        before = tensors(self.folder / "base/final/model.safetensors")
        after = tensors(self.folder / "tuned/final/model.safetensors")
        self.assertEqual(before.keys(), after.keys())
        self.assertIn("model.layers.0.self_attn.wg.weight", before)
        for name in before:
            frozen = ".wg" in name or "norm" in name
            self.assertEqual(before[name] == after[name], frozen, name)
        record = json.loads((self.folder / "tuned/run.json").read_text())
        self.assertEqual(record["training"]["freeze"], "router,*norm.weight")

    def test_wrong_names(self):
        self.assert_fails(
            "tune --model base --data talk.json --out no --freeze o_prj", 2,
            "moh tune: no tensor to freeze is called 'o_prj'; near it are "
            "model.layers.*.self_attn.o_proj.weight; words are embeddings, "
            "output, router, attention, feed-forward and norms (see 'moh "
            "tune --help')")
        self.assertFalse((self.folder / "no").exists())


class Divergence(Runs):
    """A learning rate of 10 ends in numbers that are none. What was saved
    before is whole and finite."""

    WILD = ("--lr 10 --weight-decay 1 --warmup 0 --clip 0 --batch 3 "
            "--epochs 600").split()
    NOT_FINITE = (r"(step \d+: the gradient of model\.\S+|the loss of step "
                  r"\d+|the loss of evaluated data after step \d+) is not "
                  r"finite")

    def diverge(self, out, *words, message=NOT_FINITE):
        code, text, err = self.run_in("train", "--data", "facts.json",
                                      "--out", out, *self.WILD, *words, *TINY)
        self.assertEqual((code, text), (1, ""), err)
        self.assertRegex(err.splitlines()[-1], r"^moh train: " + message)
        self.assertNotIn("final", os.listdir(self.folder / out))
        log = (self.folder / out / "log.jsonl").read_text()
        self.assertNotIn("nan", log.lower())
        self.assertNotIn("inf", log.lower())
        return [json.loads(line) for line in log.splitlines()]

    def assert_sound(self, name):
        """It loads, speaks, and all its numbers are finite."""
        code, _, err = self.run_in("inspect", "--model", name, "--verify")
        self.assertEqual(code, 0, err)
        for data in tensors(self.folder / name /
                            "model.safetensors").values():
            self.assertTrue(all(map(math.isfinite, array.array("f", data))))

    def test_checkpoints(self):
        log = self.diverge("wild", "--checkpoint-every", 4, "--anomaly", 0)
        steps = len(log)
        self.assertGreater(steps, 8)
        saved = sorted(os.listdir(self.folder / "wild/checkpoints"))
        last = steps // 4 * 4
        self.assertEqual(saved, [f"step-{step:06}"
                                 for step in (last - 4, last)])
        for name in saved:
            self.assert_sound(f"wild/checkpoints/{name}")

    def test_anomaly(self):
        """A huge gradient ends it earlier, and the run can be looked at."""
        log = self.diverge(
            "huge", "--checkpoint-every", 1,
            message=r"step \d+: the gradient of model\.\S+ has an element of "
            r"\d+\.?\d*, and more than 1000 is taken for an anomaly; no "
            r"weight was changed\.")
        steps = log[-1]["step"]
        self.assert_sound(f"huge/checkpoints/step-{steps:06}")
        record = json.loads((self.folder / "huge/run.json").read_text())
        self.assertEqual(record["training"]["anomaly"], 1000)
        code, _, err = self.run_in("verify", "huge")
        self.assertEqual(code, 0, err)
        code, _, again = self.run_in("train", "--resume", "huge")
        self.assertEqual(code, 1, again)
        self.assertIn(f"step {steps + 1}: the gradient of ", again)

    def test_best(self):
        """The best model is one whose loss was measured."""
        log = self.diverge("best", "--held-out", 0.4, "--eval-every", 1,
                           "--anomaly", 0)
        losses = [line["eval"]["loss"] for line in log if "eval" in line]
        self.assertGreater(len(losses), 8)
        self.assert_sound("best/best")
        code, text, err = self.run_in("generate", "--model", "best/best",
                                      "ice")
        self.assertEqual(code, 0, err)


class Forecast(Runs):
    def test_forecast(self):
        """Memory and time before the first step; epochs are steps, too."""
        for words, steps in (("--steps 2000 --batch 2", "2,000"),
                             ("--epochs 4 --batch 2", "6")):
            _, err, _ = self.train("facts.json", "forecast", "--overwrite",
                                   *words.split())
            self.assertRegex(
                err, r"\nmemory    \S+ KiB weights, .*\ntraining  .*\n"
                rf"time      about \d+:\d\d for {steps} steps "
                r"\([\d,]+ tokens/s\)\nstep ")


class FinalEvaluation(Runs):
    """Of what was trained on, the first tokens are evaluated."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("long.txt", "ice is cold. " * 400)
        cls.short = ["--steps", 2, "--batch", 1, "--context", 16,
                     "--tokenizer", "chars"]

    def test_streams(self):
        result, err, _ = self.train("long.txt", "first", *self.short,
                                    "--final-eval-tokens", 1000)
        self.assertEqual(result["train"]["tokens"], 999)
        self.assertEqual(result["held_out"]["tokens"], 519)
        self.assertIn("evaluated; training data: first 1,000 of 4,680 "
                      "tokens\n", err)

    def test_one(self):
        """Said before the training, not behind it."""
        code, _, err = self.run_in(
            "train", "--data", "long.txt", "--out", "one", *TINY, *self.short,
            "--final-eval-tokens", 1)
        self.assertEqual(code, 2)
        self.assertIn("--final-eval-tokens must be 0 (all of them) or at "
                      "least 2", err)
        self.assertFalse((self.folder / "one/log.jsonl").exists())

    def test_all(self):
        result, err, _ = self.train("long.txt", "all", *self.short,
                                    "--final-eval-tokens", 0)
        self.assertEqual(result["train"]["tokens"], 4679)
        self.assertIn("evaluated; training data: 4,680 tokens\n", err)

    def test_default(self):
        self.write("longer.txt", "ice is cold. " * 20000)
        result, err, _ = self.train("longer.txt", "cut", *self.short)
        self.assertEqual(result["train"]["tokens"], 199999)
        self.assertIn("first 200,000 of 234,000 tokens\n", err)

    def test_examples(self):
        """Whole ones, and one at least."""
        for most, tokens in ((10, 4 + 3), (9, 4 + 3), (8, 4), (1, 4)):
            result, _, _ = self.train(
                "facts.json", "examples", "--overwrite", "--epochs", 1,
                "--final-eval-tokens", most)
            self.assertEqual(result["train"]["tokens"], tokens, FACTS)


if __name__ == "__main__":
    main()
