"""Tests of moh bench: what is counted, which contenders take part, and what is
refused. How long anything takes is never asserted."""

import json
import unittest

from support import Case, main, moh

SMALL = ["--rounds", 2, "--layers", 1, "--d-model", 16, "--d-ff", 24,
         "--n-heads", 4, "--kv-heads", 2, "--position", "rope", "--vocab", 50]
D, FF, HEADS, KV, VOCAB = 16, 24, 4, 2, 50
HEAD = 4  # d_head of the preset's rule d_model / n_heads


def matrices(heads, router):
    """Multiply-adds of a token that do not depend on its context."""
    return (2 * heads * HEAD * D + 2 * KV * HEAD * D + 3 * D * FF
            + router * D + VOCAB * D)


def prefill(tokens, heads, router):
    pairs = tokens * (tokens + 1) // 2
    return (tokens * (matrices(heads, router) - VOCAB * D) + VOCAB * D
            + pairs * 2 * heads * HEAD)


def training(tokens, heads, router):
    pairs = tokens * (tokens + 1) // 2
    return (3 * tokens * matrices(heads, router)
            + 3.5 * pairs * 2 * heads * HEAD)


def decoding(tokens, heads, router):
    return matrices(heads, router) + tokens * 2 * heads * HEAD


class Bench(Case):
    def bench(self, *words):
        code, out, err = moh("bench", *SMALL, "--d-head", HEAD, *words)
        self.assertEqual((code, err), (0, ""))
        return out

    def test_counts(self):
        tables = json.loads(self.bench("--contexts", "5,9", "--json"))
        self.assertEqual(
            [(t["work"], t["tokens"]) for t in tables],
            [(w, n) for w in ("training", "prefill", "decoding")
             for n in (5, 9)])
        for table in tables:
            count = {"training": training, "prefill": prefill,
                     "decoding": decoding}[table["work"]]
            n = table["tokens"]
            self.assert_ratios(table, n, count)

    def assert_ratios(self, table, n, count):
        # 1 shared head has no score of its own: 3 routed and 2 of the mix
        expected = {"all heads": (4, 0), "75 %, masked": (4, 5),
                    "75 %, skipped": (3, 5), "50 %, skipped": (2, 5),
                    "75 %, pruned": (3, 0)}
        if table["work"] == "decoding":
            del expected["75 %, masked"]
        rows = {row["heads"]: row for row in table["contenders"]}
        self.assertEqual(list(rows), list(expected))
        for name, (heads, router) in expected.items():
            row = rows[name]
            self.assertAlmostEqual(
                row["counted_ratio"],
                count(n, heads, router) / count(n, HEADS, 0), places=9)
            self.assertGreater(row["bytes"], 0)
            self.assertEqual("kept_saving" in row,
                             row["counted_ratio"] < 0.9999)

    def test_table(self):
        out = self.bench("--contexts", "8", "--work", "decoding")
        lines = out.splitlines()
        self.assertRegex(lines[1], r"^decoding, 8 tokens, 1 thread, \w+ "
                         r"kernels, 2 rounds$")
        self.assertEqual(len(lines), 7)
        out = self.bench("--contexts", "8", "--work", "decoding",
                         "--heads", "static:1")
        self.assertRegex(out.splitlines()[-1], "^  static:1 ")

    def test_usage(self):
        for words, message in [
                ("--work sleeping", "--work knows training, prefill and"),
                ("--contexts 0", "a length in --contexts must be"),
                ("--contexts 8x", "a length in --contexts must be"),
                ("--contexts 8 --heads moh:9+9", "n_shared"),
                ("--n-heads 6 --d-model 12", "must be a multiple of 4")]:
            code, out, err = moh("bench", *words.split())
            self.assertEqual((code, out), (2, ""))
            self.assertIn(message, err)


if __name__ == "__main__":
    main()
