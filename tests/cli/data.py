"""Tests of the data side of the program: formats of texts, long examples,
packing, and token shards."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import time

from support import FACTS, MOH, TINY, Case, main, moh


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


def files_of(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class Shards(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("facts.jsonl", "".join(json.dumps(text) + "\n"
                                         for text in FACTS))
        cls.made = moh("data", "--out", "shards", "--tokenizer", "words",
                       "--shard-tokens", 9, "--json", "facts.jsonl",
                       cwd=cls.folder)

    def test_data(self):
        code, out, err = self.made
        self.assertEqual(code, 0, err)
        numbers = json.loads(out)
        del numbers["seconds"]
        self.assertEqual(numbers, {
            "directory": "shards", "shards": 2, "tokens": 14, "examples": 3,
            "one_per_example": True, "vocabulary": 10, "unknown_tokens": 0,
            "open_examples": 0, "short_texts": 0,
            "text_bytes": sum(map(len, FACTS))})
        self.assertEqual(sorted(os.listdir(self.folder / "shards")), [
            "manifest.json", "shard-000000.bin", "shard-000001.bin",
            "tokenizer.json"])
        self.assertIn("vocabulary  words: 10 tokens\n", err)
        self.assertRegex(err, r"(?m)^data  \d+ B of \d+ B  [\d,]+ tokens/s"
                         r"  3\.\d\d bytes/token  0:\d\d$")
        code, out, err = self.run_in("data", "--check", "shards")
        self.assertEqual((code, err), (0, "every token, count and hash is "
                                       "as it should be\n"))
        self.assertEqual(out, "shards      2 in shards\n"
                         "tokens      14 in 3 examples, 3.86 bytes each\n"
                         "texts       54 B\nvocabulary  10\n")

    def test_train(self):
        """Shards give the model that the file itself gives."""
        weights = []
        for data, out in (("facts.jsonl", "a"), ("shards", "b")):
            code, _, err = self.run_in(
                "train", "--data", data, "--out", out, "--steps", 4,
                "--held-out", 0.34, "--context", 3, "--long", "split", *TINY)
            self.assertEqual(code, 0, err)
            self.assertIn(f"data      {data}: 5 examples, 16 tokens, 2 long "
                          "examples split at the context\n", err)
            path = self.folder / out / "final/model.safetensors"
            weights.append(path.read_bytes())
        self.assertEqual(weights[0], weights[1])
        code, _, err = self.run_in("train", "--data", "shards", "--out", "c",
                                   "--pack", "--context", 5, "--steps", 2,
                                   "--held-out", 0, *TINY)
        self.assertEqual(code, 0, err)
        self.assertIn("data      shards: 14 tokens\n", err)

    def test_tune(self):
        for out, words in (("model", []), ("stranger", ["--extra-vocab",
                                                        "talk.json"])):
            code, _, err = self.run_in("train", "--data", "facts.jsonl",
                                       "--out", out, "--steps", 1, *words,
                                       *TINY)
            self.assertEqual(code, 0, err)
        words = ["--data", "shards", "--mix", "shards:0.5", "--steps", "1",
                 "--out", "tuned", "-t1"]
        code, _, err = self.run_in("tune", "--model", "model", *words)
        self.assertEqual(code, 0, err)
        self.assert_fails(
            ["tune", "--model", "stranger", "--overwrite", *words], 2,
            "moh tune: shards: made with another tokenizer than the "
            "model's; prepare the texts again with 'moh data --tokenizer' "
            "and the model's tokenizer.json (see 'moh tune --help')")

    def test_usage(self):
        tail = " (see 'moh data --help')"
        for words, message in [
            ("", "--out DIR is missing"),
            ("--out x", "a file of texts is missing: moh data --out DIR "
             "FILE..."),
            ("--out x --tokenizer words --vocab-size 300 facts.json",
             "--vocab-size is for --tokenizer bpe"),
            ("--out x --pack --tokenizer chars facts.json",
             "the tokenizer has no end token </s> to put between packed "
             "texts"),
            ("--out shards --tokenizer words facts.jsonl", "shards holds "
             "shards of other data or arguments; name another directory, "
             "or replace it with --overwrite"),
        ]:
            self.assert_fails(f"data {words}", 2,
                              f"moh data: {message}{tail}")
        for words, message in [
            ("train --data shards --out y --tokenizer words", "shards has a "
             "tokenizer; --tokenizer and --extra-vocab are for files of "
             "texts"),
            ("train --data facts.json --out y --extra-vocab shards",
             "--extra-vocab takes files of texts, and shards is a "
             "directory"),
        ]:
            self.assert_fails(words, 2, f"moh train: {message} (see 'moh "
                              "train --help')")

    def test_replacing(self):
        """What cannot be done leaves the directory as it was."""
        shutil.copytree(self.folder / "shards", self.folder / "kept")
        before = files_of(self.folder / "kept")
        self.write("broken.jsonl", '"a b"\n{"text": 3}\n')
        self.write("short.json", '["a"]')
        words = ["data", "--out", "kept", "--overwrite", "--tokenizer"]
        self.assert_fails(
            [*words, "words", "broken.jsonl"], 3, "moh data: broken.jsonl: "
            "line 2 has no string in that field; every element must be a "
            'string, or an object whose field "text" is one')
        self.assert_fails(
            [*words, "kept/tokenizer.json", "facts.jsonl"], 2, "moh data: "
            "kept/tokenizer.json lies in kept, which --overwrite replaces; "
            "move it or name another directory (see 'moh data --help')")
        self.assertEqual(files_of(self.folder / "kept"), before)
        code, _, err = self.run_in("data", "--out", "short", "--tokenizer",
                                   "words", "short.json")
        self.assertEqual(code, 3)
        self.assertIn("moh data: short.json: no text of 2 tokens or more to "
                      "learn from\n", err)

    def test_lock(self):
        (self.folder / "locked").mkdir()
        fd = os.open(self.folder / "locked", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.assert_fails(
            "data --out locked facts.jsonl", 1, "moh data: another process "
            "is working in locked; wait for its end")

    def test_damage(self):
        code, _, err = self.run_in("data", "--out", "bad", "--tokenizer",
                                   "words", "facts.jsonl")
        self.assertEqual(code, 0, err)
        shard = self.folder / "bad/shard-000000.bin"
        content = bytearray(shard.read_bytes())
        content[64 + 2 * 4] = 10
        shard.write_bytes(content)
        message = ("bad/shard-000000.bin: token 4 is 10, outside the "
                   "vocabulary of 10")
        self.assert_fails("data --check bad", 3, f"moh data: {message}; "
                          "check it with 'moh data --check'")
        code, _, err = self.run_in("train", "--data", "bad", "--out", "z",
                                   "--epochs", 1, *TINY)
        self.assertEqual(code, 3)
        self.assertIn(message, err)
        shard.write_bytes(content[:-8])
        self.assert_fails(
            ["train", "--data", "bad", "--out", "z2", *TINY], 3,
            f"moh train: bad/shard-000000.bin: has {len(content) - 8} "
            f"bytes, but the manifest says {len(content)}: it was cut, "
            "changed or not fully copied")
        (self.folder / "bad/manifest.json").unlink()
        self.assert_fails(
            "data --check bad", 3, "moh data: bad: no manifest.json; not "
            "made by 'moh data', or not finished: run that again with the "
            "same arguments")


class Restart(Case):
    """Killed at random moments, the work ends in the same bytes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        rng = random.Random(7)
        words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 9)))
                 for _ in range(3000)]
        cls.write("big.jsonl", "".join(
            json.dumps({"text": " ".join(rng.choices(words, k=12))}) + "\n"
            for _ in range(20000)))
        cls.words = ["--tokenizer", "words", "--shard-tokens", "20000",
                     "-t2", "big.jsonl"]

    def test_kill(self):
        start = time.monotonic()
        code, _, err = self.run_in("data", "--out", "whole", *self.words)
        seconds = time.monotonic() - start
        self.assertEqual(code, 0, err)
        whole = files_of(self.folder / "whole")
        self.assertEqual(len(whole), 13 + 2)
        rng = random.Random(1)
        kills = 0
        for attempt in range(1, 200):
            run = subprocess.Popen([MOH, "data", "--out", "parts",
                                    *self.words], cwd=self.folder,
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
            time.sleep(rng.uniform(0, 0.1 * attempt * seconds))
            run.kill()
            run.communicate()
            kills += run.returncode == -signal.SIGKILL
            if not (self.folder / "parts/manifest.json").exists():
                continue
            if kills > 0:
                break
            # It was faster than the first one: from the beginning.
            shutil.rmtree(self.folder / "parts")
            seconds /= 2
        code, _, err = self.run_in("data", "--out", "parts", *self.words)
        self.assertEqual(code, 0, err)
        self.assertGreater(kills, 0)
        self.assertEqual(files_of(self.folder / "parts"), whole)

    def test_killed_behind_the_manifest(self):
        """The progress that is left then goes at the next start."""
        code, _, err = self.run_in("data", "--out", "ended", *self.words)
        self.assertEqual(code, 0, err)
        whole = files_of(self.folder / "ended")
        (self.folder / "ended/progress.json").write_text("{}")
        code, _, err = self.run_in("data", "--out", "ended", *self.words)
        self.assertEqual(code, 0, err)
        self.assertEqual(files_of(self.folder / "ended"), whole)

    def test_interrupt(self):
        run = subprocess.Popen([MOH, "data", "--out", "stopped",
                                *self.words, "--shard-tokens", "500"],
                               cwd=self.folder, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        progress = self.folder / "stopped/progress.json"
        deadline = time.monotonic() + 60
        while not progress.exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)
        run.send_signal(signal.SIGTERM)
        stdout, stderr = run.communicate(timeout=60)
        self.assertEqual((run.returncode, stdout), (130, b""))
        self.assertTrue(stderr.decode().endswith(
            "moh data: interrupted; the same command goes on behind the "
            "last whole shard in stopped\n"), stderr)


if __name__ == "__main__":
    main()
