"""Tests of training runs that are out of the ordinary: outliers that are
skipped, and the evaluation at the end."""

import json

from support import FACTS, TINY, Case, main


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
