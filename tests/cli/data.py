"""Tests of the data side of the program: formats of texts, long examples,
packing, and token shards."""

import json
import unittest

from support import FACTS, TALK, TINY, Case, main


class Formats(Case):
    """The same three examples in each format make the same model."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("facts.jsonl", "".join(
            json.dumps({"id": i, "text": text}) + "\r\n\n"
            for i, text in enumerate(FACTS)))
        cls.write("facts.csv", "".join(f'"{text}"\n' for text in FACTS))
        cls.write("table.csv", "n,fact\n" + "".join(
            f"{len(text)},{text}\n" for text in FACTS))
        cls.write("facts.data", "\n".join(map(json.dumps, FACTS)))

    def weights(self, name, *words):
        out = name.replace(".", "-") + "-run"
        code, _, err = self.run_in("train", "--data", name, "--out", out,
                                   "--overwrite", "--steps", 2, *words, *TINY)
        self.assertEqual(code, 0, err)
        self.assertIn(f"{name}: 3 examples, 14 tokens\n", err)
        path = self.folder / out / "final/model.safetensors"
        return path.read_bytes()

    def test_formats(self):
        wanted = self.weights("facts.json")
        self.assertEqual(self.weights("facts.jsonl"), wanted)
        self.assertEqual(self.weights("facts.csv"), wanted)
        for words in (["--field", "fact"], ["--field=2", "--header"]):
            self.assertEqual(self.weights("table.csv", *words), wanted)
        self.assertEqual(self.weights("facts.data", "--format", "jsonl"),
                         wanted)

    def test_bad_files(self):
        for name, content, message in [
            ("bad.jsonl", '"a"\n{"text": 1}\n',
             "bad.jsonl: line 2 has no string in that field; every element "
             'must be a string, or an object whose field "text" is one'),
            ("bad.csv", 'a,b\nc,"d',
             "bad.csv, line 2, column 3: this quote is never closed"),
            ("bad.json", '["a",\n"b" "c"]',
             "bad.json, line 2, column 5: not valid JSON: a comma or ']' "
             "must stand here"),
            ("bad.txt", b"a\n\xff", "bad.txt, line 2, byte 2 of the file: "
             "not UTF-8; convert the file, for example with iconv"),
        ]:
            self.write(name, content)
            self.assert_fails(["train", "--data", name, "--out", "bad"], 3,
                              f"moh train: {message}")
            self.assertFalse((self.folder / "bad").exists())


class Sequences(Case):
    """facts.json has examples of 5, 4 and 5 tokens."""

    def trained(self, *words):
        code, out, err = self.run_in(
            "train", "--data", "facts.json", "--out", "run", "--overwrite",
            "--steps", 2, "--json", *words, *TINY)
        self.assertEqual(code, 0, err)
        return json.loads(out), err

    def test_long(self):
        for rule, n_long, tokens, text in [
            ("cut", 2, 9, "2 long examples cut at the context"),
            ("split", 2, 11, "2 long examples split at the context"),
            ("drop", 2, 3, "2 long examples dropped"),
        ]:
            result, err = self.trained("--context", 3, "--long", rule)
            self.assertEqual(result["long_examples"], n_long)
            self.assertEqual(result["train"]["tokens"], tokens)
            self.assertIn(text, err)
        self.assertEqual(self.trained("--context", 3)[0]["train"]["tokens"],
                         9)
        self.assert_fails(
            ["train", "--data", "facts.json", "--out", "new", "--context",
             "3", "--long", "refuse", *TINY], 3,
            "moh train: facts.json: text 0 (counted from 0) has 5 tokens, "
            "the context takes 4; shorten it, or have long texts cut, split "
            "or dropped")

    def test_pack(self):
        result, err = self.trained("--pack", "--context", 4, "--batch", 3,
                                   "--held-out", 0)
        self.assertIn("facts.json: 14 tokens\n", err)
        self.assertEqual(result["train"]["tokens"], 13)
        self.write("open.json", json.dumps([text.replace(" </s>", "")
                                            for text in FACTS]))
        code, _, err = self.run_in(
            "tune", "--model", "run", "--data", "open.json", "--pack",
            "--out", "tuned", "--steps", 1, "--held-out", 0, "-t1")
        self.assertEqual(code, 0, err)
        self.assertIn("open.json: 14 tokens\n", err)
        self.assert_fails(
            ["train", "--data", "facts.json", "--out", "new", "--pack",
             "--tokenizer", "chars", *TINY], 2,
            "moh train: facts.json: the tokenizer has no end token </s> to "
            "put between packed texts (see 'moh train --help')")


if __name__ == "__main__":
    main()
