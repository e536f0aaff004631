"""Tests of moh tokenize, and of models with byte-level BPE.

Usage: tokenizing.py PATH_OF_MOH [TEST]...
"""

import json
import os
import pathlib
import pty
import subprocess

from support import MOH, TINY, Case, main, moh

LLAMA = str(pathlib.Path(__file__).parents[1] / "golden" / "tokenizers" /
            "llama2.json")
TAIL = " (see 'moh tokenize --help')"
STORY = "the cat sat on the mat. the cats sat on the hats.\n" * 3
ANY = bytes(range(256)) + b"\xe2\x82</s>\xff the cat"


class Tokenize(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.story = cls.write("story.txt", STORY)
        cls.any = cls.write("any.bin", ANY)
        code, out, err = moh(
            "tokenize", "--train", "story.txt", "--vocab-size=270", "-o",
            "t.json", cwd=cls.folder)
        assert (code, out) == (0, "t.json: 270 tokens, bpe\n"), err

    def tokenize(self, *words, stdin=""):
        code, out, err = self.run_in("tokenize", *words, stdin=stdin)
        self.assertEqual(code, 0, err)
        return out, err

    def raw(self, *words, stdin=b""):
        """Bytes in, bytes out."""
        done = subprocess.run([MOH, "tokenize", *words], input=stdin,
                              capture_output=True, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_list(self):
        out, err = self.tokenize("--tokenizer=t.json",
                                 "the cat\n\\\"q\"é\x07</s>")
        self.assertEqual(err, "")
        lines = [line.split("\t") for line in out.splitlines()]
        self.assertEqual(
            [piece for _, piece in lines],
            ['"the"', '" cat"', '"\\n"', '"\\\\"', '"\\""', '"q"', '"\\""',
             '"\\xC3"', '"\\xA9"', '"\\x07"', '"</s>"'])
        self.assertEqual(lines[-1][0], "0")
        self.assertEqual(
            self.tokenize("--tokenizer=t.json", "é\u200b")[0].count("\\x"), 5)

    def test_inputs_agree(self):
        out, _ = self.tokenize("--tokenizer=t.json", "--ids", STORY)
        for words, stdin in [(["--file", "story.txt"], ""), (["-"], STORY),
                             ([], STORY)]:
            self.assertEqual(
                self.tokenize("--tokenizer=t.json", "--ids", *words,
                              stdin=stdin)[0], out)

    def test_decode_gives_any_bytes(self):
        ids = self.raw("--tokenizer=t.json", "--ids", "-f", "any.bin")
        self.assertEqual(
            self.raw("--tokenizer=t.json", "--decode", stdin=ids), ANY)
        self.assertIn(b" 0 ", ids)
        plain = self.raw("--tokenizer=t.json", "--ids", "--plain", "-f",
                         "any.bin")
        self.assertNotIn(b" 0 ", plain)
        self.assertEqual(
            self.raw("--tokenizer=t.json", "--decode", plain.decode()), ANY)

    def test_tokens_in_front_of_a_text(self):
        def ids(*words):
            return self.tokenize("--tokenizer", LLAMA, "--ids",
                                 *words)[0].split()
        bare = ids("--bare", "a test")
        self.assertEqual(ids("a test"), ["1", *bare])
        self.assertEqual(ids(""), ["1"])
        self.assertEqual(ids("--bare", "<s>a"), ["1", *ids("--bare", "a")])
        self.assertEqual(self.raw("--tokenizer", LLAMA, "--decode",
                                  " ".join(bare).encode()), b"a test")

    def test_json(self):
        out, _ = self.tokenize("--tokenizer=t.json", "--json", "the é")
        ids = [int(i) for i in self.tokenize(
            "--tokenizer=t.json", "--ids", "the é")[0].split()]
        self.assertEqual(json.loads(out), {
            "n_bytes": 6, "n_tokens": 4, "ids": ids,
            "pieces": ["the", " ", [0xC3], [0xA9]]})
        self.assertEqual(
            self.raw("--tokenizer=t.json", "--decode",
                     json.dumps(json.loads(out)["ids"])), "the é".encode())

    def test_count(self):
        n = len(self.tokenize("--tokenizer=t.json", "--ids",
                              STORY)[0].split())
        out, err = self.tokenize("--tokenizer=t.json", "--count", STORY)
        share = len(STORY) / n
        self.assertEqual(out, f"{n} tokens, {len(STORY)} bytes, "
                         f"{share:.3f} bytes per token\n")
        self.assertRegex(err, r"^[\d.]+ MB/s of one processor\n$")
        out, err = self.tokenize("--tokenizer=t.json", "--count", "--json",
                                 STORY)
        counts = json.loads(out)
        self.assertEqual((counts["n_bytes"], counts["n_tokens"], err),
                         (len(STORY), n, ""))

    def test_terminal(self):
        """Colours there, and nowhere else."""
        leader, follower = pty.openpty()
        subprocess.run([MOH, "tokenize", "--tokenizer=t.json", "the cat"],
                       stdout=follower, check=True, cwd=self.folder)
        os.close(follower)
        out = os.read(leader, 4096).decode()
        os.close(leader)
        self.assertRegex(out, "^\033\\[30;48;5;153mthe\033\\[0m"
                         "\033\\[30;48;5;157m cat\033\\[0m\r\n$")

    def test_training(self):
        for kind, n in [("bpe", 273), ("words", 10), ("chars", 13)]:
            out, err = self.tokenize(
                "--train", "story.txt", "--kind", kind, "--overwrite", "-o",
                "k.json", "--json")
            result = json.loads(out)
            self.assertEqual(
                (result["out"], result["kind"], result["n_bytes"]),
                ("k.json", kind, len(STORY)))
            self.assertEqual(err, f"story.txt: {len(STORY)} bytes\n")
            self.assertEqual(result["n_tokens"], n)
        self.tokenize("--train", "story.txt,facts.json", "-o", "two.json")
        self.tokenize("--train=story.txt", "--train=facts.json", "-o",
                      "same.json")
        self.assertEqual((self.folder / "two.json").read_bytes(),
                         (self.folder / "same.json").read_bytes())

    def test_usage(self):
        for words, message in [
            ("x", "either --tokenizer FILE or --model DIR is needed"),
            ("--tokenizer t.json --model run x",
             "either --tokenizer FILE or --model DIR is needed"),
            ("--tokenizer t.json --ids --count x",
             "--ids, --count and --decode exclude each other"),
            ("--tokenizer t.json --file story.txt x",
             "TEXT and --file exclude each other"),
            ("--tokenizer t.json --decode 1;2",
             "byte 1 of the ids begins no id"),
            ("--tokenizer t.json --decode 270", "token 270 at place 0 is "
             "outside the vocabulary of 270 tokens"),
            ("--tokenizer t.json --decode 99999999999",
             "byte 0 of the ids begins no id"),
            ("--train story.txt", "--out FILE is missing"),
            ("--train story.txt -o t.json", "t.json is there already; name "
             "another --out, or replace it with --overwrite"),
            ("--train story.txt -o x.json --kind words --vocab-size 300",
             "--vocab-size is for --kind bpe"),
            ("--train story.txt -o x.json text", "--train makes a "
             "tokenizer and takes none, and no TEXT"),
            ("--train story.txt -o x.json --vocab-size 256",
             "--vocab-size must lie between 257 and 1048576, not '256'"),
        ]:
            self.assert_fails("tokenize " + words, 2,
                              "moh tokenize: " + message + TAIL)

    def test_bad_files(self):
        self.write("bad.json", '{"model": 3}')
        code, out, err = self.run_in("tokenize", "--tokenizer", "bad.json",
                                     "x")
        self.assertEqual((code, out), (3, ""))
        self.assertIn("moh tokenize: bad.json: ", err)
        code, _, err = self.run_in("tokenize", "--tokenizer", "none", "x")
        self.assertEqual(code, 1)
        self.assertIn("none", err)
        self.write("latin.txt", b"caf\xe9")
        code, _, err = self.run_in("tokenize", "--train", "latin.txt", "-o",
                                   "x.json")
        self.assertEqual(code, 3)
        self.assertIn("latin.txt", err)
        self.assertFalse((self.folder / "x.json").exists())


class Model(Case):
    """A model with subwords: trained, asked, its tokenizer shown."""

    def test_train(self):
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--tokenizer=bpe",
            "--vocab-size=260", "--out", "run", "--epochs", 40, "--batch",
            3, *TINY)
        self.assertEqual(code, 0, err)
        code, out, err = self.run_in("generate", "-m", "run",
                                     "the sun is", "-n", 8)
        self.assertEqual((code, err), (0, ""))
        code, out, err = self.run_in("tokenize", "-m", "run", "--json",
                                     "the </s>")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["pieces"][-1], "</s>")
        code, out, err = self.run_in("inspect", "-m", "run", "--json")
        self.assertEqual(json.loads(out)["config"]["vocab_size"], 260)

    def test_usage(self):
        self.assert_fails(
            "train --data facts.json --out x --vocab-size 300", 2,
            "moh train: --vocab-size is for --tokenizer bpe (see "
            "'moh train --help')")


if __name__ == "__main__":
    main()
