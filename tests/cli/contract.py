"""Tests of what every command promises: --json is one document on stdout,
exit codes mean what the manual says, colours only on a terminal.
"""

import json
import os
import pty
import re
import subprocess
import unittest

from support import MOH, TINY, Case, main, moh


def commands():
    return re.findall(r"(?m)^  ([a-z]+)  *\S",
                      moh("help")[1].split("\n\n")[2])


class Made(Case):
    """A small run and shards to work on."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", "to be or not to be\n" * 40)
        code, _, err = cls.start(
            "train --data facts.json --out run --steps 2 " + " ".join(TINY))
        assert code == 0, err
        code, _, err = cls.start("train --preset nano --data facts.json --out dense "
                                 "--steps 1 " + " ".join(TINY) +
                                 " --heads all")
        assert code == 0, err
        code, _, err = cls.start("export dense --out plain")
        assert code == 0, err

    @classmethod
    def start(cls, words, **more):
        return moh(*words.split(), cwd=cls.folder, **more)


class Json(Made):
    WORK = {
        "train": "--data facts.json --out new --steps 1 " + " ".join(TINY),
        "tune": "--model run --data facts.json --out tuned --steps 1 -t1",
        "eval": "--model run facts.json",
        "generate": "--model run -n 3 the",
        "inspect": "--model run",
        "prune": "--model run --keep 1 --data facts.json --out pruned",
        "import": "plain --out imported",
        "export": "dense --out exported",
        "upcycle": "--model dense --heads norm:1+1 --data facts.json "
                   "--out upcycled",
        "quantize": "run --out eight --weights q8_0",
        "routes": "--model run facts.json",
        "verify": "run",
        "tokenize": "--model run the",
        "data": "--out shards facts.json",
        "bench": "--preset nano --vocab 50 --layers 1 --d-model 16 --d-ff 16 "
                 "--contexts 4 --rounds 1",
    }
    MORE = ["inspect --preset seed", "generate --model run -N 2 -n 3 the",
            "tokenize --model run --count the",
            "tokenize --model run --ids the",
            "tokenize --train text.txt --kind chars --out chars.json",
            "data --check shards", "verify run facts.json none"]

    def assert_document(self, words):
        _, out, err = self.start(words + " --json")
        try:
            self.assertIsInstance(json.loads(out), (dict, list))
        except json.JSONDecodeError:
            self.fail(f"{words}: {out}{err}")
        self.assertTrue(out.endswith("\n"))

    def test_every_command(self):
        able = {name for name in commands()
                if "--json " in moh("help", name)[1]}
        self.assertEqual(able, set(self.WORK))
        for name, words in self.WORK.items():
            self.assert_document(f"{name} {words}")
        for words in self.MORE:
            self.assert_document(words)


class ExitCodes(Made):
    def assert_code(self, code, words):
        got, _, err = self.start(words)
        self.assertEqual(got, code, f"{words}: {err}")
        if code != 0:  # one line that says who speaks
            self.assertRegex(err.splitlines()[-1],
                             rf"^moh {words.split()[0]}: .*\w")
            self.assertNotIn("(null)", err)

    def test_usage(self):
        """Unknown options and too many words, in every command."""
        for name in commands():
            self.assert_code(2, f"{name} --no-such-option")
            self.assert_code(2, f"{name} -Z")
            self.assert_code(0, f"{name} --help")
        for words in ["train", "tune --model run", "eval --model run",
                      "eval facts.json", "generate the", "chat", "inspect",
                      "verify", "tokenize the", "data --out shards",
                      "bench --preset none", "help none", "completion csh",
                      "completion", "inspect --preset seed more"]:
            self.assert_code(2, words)

    def test_nearest(self):
        """A slip of the finger is told what was probably meant."""
        for name in commands():
            longest = max(re.findall(r"--([\w-]+)", moh("help", name)[1]),
                          key=len)
            _, _, err = self.start(f"{name} --{longest[:-2]}{longest[-1]}")
            self.assertIn(f"did you mean '--{longest}'?", err)
            _, _, err = self.start(name[:-1] + "x")
            self.assertRegex(err, "did you mean '[a-z-]+'")

    def test_bad_files(self):
        self.write("bad.json", "[")
        self.write("bad.bin", b"\xff")
        for words in ["train --data bad.json --out x",
                      "train --data facts.json --out x --tokenizer bad.json",
                      "tune --model run --data bad.bin --out x",
                      "eval --model run bad.bin", "verify bad.json",
                      "tokenize --tokenizer bad.json the",
                      "data --out y bad.json", "data --check run/final"]:
            self.assert_code(3, words)

    def test_missing_files(self):
        for words in ["train --data none --out x",
                      "tune --model none --data facts.json --out x",
                      "eval --model run none", "eval --model none facts.json",
                      "generate --model none the", "chat --model none",
                      "inspect --model none",
                      "tokenize --tokenizer none the",
                      "data --out y none"]:
            self.assert_code(1, words)
        self.assert_code(3, "verify none")

    def test_unwritable(self):
        self.write("file", "x")
        for words in ["train --data facts.json --out file/x --steps 1 " +
                      " ".join(TINY),
                      "data --out file/x facts.json",
                      "tokenize --train text.txt --out file/x"]:
            self.assert_code(1, words)


class Colors(Made):
    def shown(self, *words, **env):
        """What a terminal gets from stdout and stderr."""
        ours, theirs = pty.openpty()
        keep = {name: value for name, value in os.environ.items()
                if name not in ("NO_COLOR", "TERM")}
        run = subprocess.Popen([MOH, *words], cwd=self.folder, stdin=theirs,
                               stdout=theirs, stderr=theirs,
                               env={**keep, **env})
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the end, on Linux
                break
            if not part:
                break
            text += part
        run.wait(60)
        os.close(ours)
        return text.decode(errors="replace")

    def test_terminal(self):
        color = re.compile("\033\\[[0-9;]*m")
        for words in (["verify", "run"],
                      ["tokenize", "--model", "run", "the sun"],
                      ["train", "--data", "facts.json", "--out", "colored",
                       "--overwrite", "--steps", "3", *TINY]):
            self.assertRegex(self.shown(*words, TERM="xterm"), color)
            for env in ({"TERM": "xterm", "NO_COLOR": "1"},
                        {"TERM": "dumb"}, {}):
                self.assertNotRegex(self.shown(*words, **env), color)

    def test_pipe(self):
        for words in ("verify run", "tokenize --model run the", "help",
                      "inspect --model run", "bench --help"):
            code, out, err = self.start(words, env={"TERM": "xterm"})
            self.assertEqual(code, 0)
            self.assertNotIn("\033", out + err)


if __name__ == "__main__":
    main()
