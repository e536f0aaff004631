"""Tests of moh verify: what it says of each file, as text and as JSON, and
its exit codes. What counts as a fault is tested in tests/unit/test_verify.c.
"""

import hashlib
import json
import os
import shutil
import unittest

from support import TINY, Case, main, moh, sealed

MODEL = ["manifest.json", "config.json", "model.safetensors",
         "tokenizer.json", "tokenizer_config.json"]
CHECKPOINT = MODEL + ["optimizer.safetensors", "state.json"]


class Verify(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        moh("train", "--data", "facts.json", "--out", "run", "--steps", 4,
            "--checkpoint-every", 2, *TINY, cwd=cls.folder)

    def spoiled(self):
        """A copy of the run with a fault in two files."""
        path = self.folder / "bad"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / "run", path)
        with open(path / "final/model.safetensors", "ab") as weights:
            weights.write(b"x")
        (path / "checkpoints/step-000002/state.json").unlink()
        (path / "note.txt").write_text("mine")
        return path

    def test_good(self):
        code, out, err = self.run_in("verify", "run")
        self.assertEqual((code, err), (0, ""))
        *lines, last = out.splitlines()
        paths = [f"run/checkpoints/step-00000{step}/{name}"
                 for step in (2, 4) for name in CHECKPOINT]
        paths += [f"run/final/{name}" for name in MODEL]
        paths += [f"run/{name}" for name in
                  ("log.jsonl", "result.json", "run.json")]
        self.assertEqual([line.split()[:2] for line in lines],
                         [["good", path] for path in paths])
        self.assertEqual(last, f"all {len(paths)} files are good")
        size = (self.folder / "run/final/config.json").stat().st_size
        self.assertIn(f"good      run/final/config.json ({size} B)\n", out)
        self.assertEqual(self.run_in("verify", "--quiet", "run"),
                         (0, "", ""))

    def test_bad(self):
        self.spoiled()
        size = (self.folder / "run/final/model.safetensors").stat().st_size
        bad = ("BAD       bad/checkpoints/step-000002/state.json: is "
               "missing, but the manifest lists it\n"
               "BAD       bad/final/model.safetensors: has "
               f"{size + 1} bytes, but the manifest says {size}: it was "
               "cut, changed or not fully copied\n")
        err = "moh verify: 2 of 22 files are bad\n"
        self.assertEqual(self.run_in("verify", "-q", "bad"), (3, bad, err))
        code, out, got = self.run_in("verify", "bad", "run/final")
        self.assertEqual((code, got), (3, err.replace("22", "27")))
        for line in bad.splitlines():
            self.assertIn(line + "\n", out)
        self.assertIn("unlisted  bad/note.txt: is no part of a run\n", out)
        self.assertIn("good      run/final/manifest.json\n", out)

    def test_json(self):
        code, out, err = self.run_in("verify", "--json", "run/final")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual([file["path"] for file in json.loads(out)["files"]],
                         [f"run/final/{name}" for name in MODEL])
        self.spoiled()
        code, out, err = self.run_in("verify", "--json", "bad")
        self.assertEqual((code, err),
                         (3, "moh verify: 2 of 22 files are bad\n"))
        result = json.loads(out)
        self.assertEqual(
            (result["ok"], result["good"], result["bad"],
             result["unlisted"]), (False, 20, 2, 1))
        reasons = {file["path"]: file["reason"] for file in result["files"]
                   if file["verdict"] == "bad"}
        self.assertEqual(
            reasons["bad/checkpoints/step-000002/state.json"],
            "is missing, but the manifest lists it")

    def test_nothing_to_check(self):
        self.assert_fails(
            "verify", 2, "moh verify: name what to check: a model's or "
            "run's directory, or a file (see 'moh verify --help')")
        os.makedirs(self.folder / "empty", exist_ok=True)
        code, out, err = self.run_in("verify", "empty", "none")
        self.assertEqual((code, err),
                         (3, "moh verify: 2 of 2 files are bad\n"))
        self.assertIn("BAD       empty: holds no manifest.json", out)
        self.assertIn("BAD       none: cannot open 'none': No such file",
                      out)

    def test_odd_names(self):
        """A name that is no UTF-8 does not spoil the JSON."""
        name = os.fsencode(self.folder) + b"/\xff.json"
        try:
            with open(name, "wb") as file:
                file.write(b"{")
        except OSError:
            self.skipTest("no such names on this file system")
        code, out, _ = self.run_in("verify", "--json",
                                   os.fsdecode(b"\xff.json"))
        self.assertEqual((code, json.loads(out)["bad"]), (3, 1))

    def test_progress(self):
        """Files of many megabytes show how far they are read."""
        folder = self.folder / "large"
        folder.mkdir(exist_ok=True)
        size = 48 << 20
        with open(folder / "zeros", "wb") as file:
            file.truncate(size)
        digest = hashlib.sha256(bytes(size)).hexdigest()
        self.write("large/manifest.json", sealed(
            {"zeros": {"size": size, "sha256": digest}}))
        code, out, err = self.run_in("verify", "large")
        self.assertEqual(code, 3)  # it holds no model
        self.assertIn("good      large/zeros (48.0 MiB)\n", out)
        self.assertRegex(err, r"(?m)^reading  .* of 48.0 MiB of large/zeros$")


if __name__ == "__main__":
    main()
