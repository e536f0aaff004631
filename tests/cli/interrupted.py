"""Tests of runs that end before their time, in every phase: by a signal, by
the clock, by a full disk, by SIGKILL before the first checkpoint. Each goes
on to the result of the run that was left alone."""

import fcntl
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time
import unittest

from resume import Resumed
from support import MOH, TINY, main, moh

BOTH = (signal.SIGINT, signal.SIGTERM)


class Phases(Resumed):
    """Evaluations that take far longer than the steps between them."""

    @classmethod
    def words(cls, name):
        return ["train", "--data", cls.data, "--out", cls.folder / name,
                "--tokenizer", "chars", "--steps", 2, "--batch", 1,
                "--eval-every", 1, "--eval-tokens", 10**9, "--held-out", 0.9,
                "--context", 32, *TINY]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = cls.write("text.txt", "ice is cold, the sun is hot. "
                             * 12000)
        cls.whole = cls.train("long")

    def assert_same(self, run):
        super().assert_same(run)
        self.assertTrue((run / "result.json").exists())

    def open(self, *words, **more):
        process = subprocess.Popen([MOH, *map(str, words)],
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **more)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, process, condition):
        """Until it is true, or the process has ended."""
        while process.poll() is None and not condition():
            time.sleep(0.001)

    def interrupt(self, number, words, ready, wanted):
        """Starts runs until a signal, sent when ready(process, run) is back,
        hits the phase whose message is wanted; on a busy machine the first
        may be past it. Gives the run and its stderr."""
        for attempt in range(10):
            run = self.folder / f"{self.id()}-{int(number)}-{attempt}"
            process = self.open(*words, "--out", run)
            ready(process, run)
            process.send_signal(number)
            _, err = process.communicate()
            self.assertIn(process.returncode, (0, 130), err)
            if wanted in err:
                self.assertEqual(process.returncode, 130, err)
                return run, err
        self.fail(f"no signal hit the phase: {err}")

    def log_lines(self, run):
        path = run / "log.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def test_loading(self):
        """Nothing was done, so nothing is left."""
        text = self.write("much.txt", "".join(
            f"{i * 7919 % 100003} is {i} " for i in range(400000)))

        def mapped(process, _):
            maps = pathlib.Path(f"/proc/{process.pid}/maps")
            self.wait_for(process, lambda: "much.txt" in maps.read_text())

        message = ("moh: interrupted before the first step; nothing was "
                   "written\n")
        for number in BOTH:
            run, err = self.interrupt(
                number, ["train", "--data", text, "--tokenizer", "bpe",
                         "--steps", 1, *TINY], mapped, message)
            self.assertEqual(err, message)
            self.assertFalse(run.exists())

    def test_evaluation(self):
        """The step is kept, its evaluation is made when the run goes on."""

        def evaluating(process, run):
            self.wait_for(process, lambda: self.log_lines(run) > 0)
            time.sleep(0.05)

        for number in BOTH:
            run, err = self.interrupt(number, self.words(""), evaluating,
                                      "interrupted after step 1; nothing is "
                                      "lost")
            self.assertEqual(self.log_lines(run), 1)
            state = json.loads(
                (run / "checkpoints/step-000001/state.json").read_text())
            self.assertTrue(state["extra"]["eval_due"])
            # Killed behind that evaluation: its line must not be there twice.
            process = self.open("train", "--resume", run)
            self.wait_for(process, lambda: self.log_lines(run) > 1)
            process.kill()
            process.communicate()
            code, _, err = self.resume(run)
            self.assertEqual(code, 0, err)
            self.assert_same(run)

    def test_final_evaluation(self):

        def last_one(process, _):
            for line in process.stderr:
                if "and now evaluated" in line:
                    break

        for number in BOTH:
            run, err = self.interrupt(number, self.words(""), last_one,
                                      "interrupted after the last step")
            self.assertIn(f"the model is {run}/final, and 'moh train "
                          f"--resume {run}' evaluates it", err)
            self.assertFalse((run / "result.json").exists())
            code, out, err = self.resume(run)
            self.assertEqual(code, 0, err)
            self.assertIn("held-out data loss", out)
            self.assert_same(run)
            code, out, err = self.resume(run)
            self.assertEqual((code, out), (0, ""))
            self.assertIn("is finished", err)

    def test_time(self):
        """A minute is over within an evaluation as well as in a step."""
        run = self.folder / "timed"
        code, out, err = moh(*self.words("timed"), "--max-time", "0.05s",
                             "--json")
        self.assertEqual(code, 0, err)
        self.assertRegex(err, r"stopped after \d:\d\d, at step 1 of 2")
        self.assertFalse(json.loads(out)["finished"])
        self.assertEqual(self.log_lines(run), 1)
        self.assertEqual(self.resume(run)[0], 0)
        self.assert_same(run)

    def test_two_at_once(self):
        """The lock of the directory, held here in place of a first one."""
        run = self.folder / "one"
        self.assertEqual(moh(*self.words("one"), "--max-time", "0.001s")[0], 0)
        before = self.log_lines(run)
        holder = os.open(run, os.O_RDONLY)
        fcntl.flock(holder, fcntl.LOCK_EX)
        for words in (["train", "--resume", run],
                      [*self.words("one"), "--overwrite"]):
            code, out, err = moh(*words)
            self.assertEqual((code, out), (1, ""))
            self.assertEqual(err.splitlines()[-1], "moh train: another "
                             f"process is working in {run}; wait for its "
                             "end")
        self.assertEqual(self.log_lines(run), before)
        os.close(holder)
        self.assertEqual(self.resume(run)[0], 0)
        self.assert_same(run)


class Files(Resumed):
    def stopped(self, name, *more):
        """A run that has done a step or a few."""
        code, _, err = moh(*self.words(name), "--max-time", "0.001s", *more)
        self.assertEqual(code, 0, err)
        return self.folder / name

    def test_leftovers(self):
        """Half of a file goes when the run goes on; what is not ours
        stays."""
        run = self.stopped("left")
        ours = ["best.part/model.safetensors", "final.part/config.json",
                "log.jsonl.17-3.tmp", "run.json.4-0.tmp",
                "checkpoints/step-000009.part/state.json"]
        others = ["run.json.bak", "best.tmp", "log.jsonl.part.gz",
                  "checkpoints/notes.part"]
        for name in ours + others:
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).write_text("x")
        self.assertEqual(self.resume(run)[0], 0)
        for name in ours:
            self.assertFalse((run / name).exists(), name)
        for name in others:
            self.assertTrue((run / name).exists(), name)
        self.assert_same(run)

    def test_damaged_later_one(self):
        """It does not count as the one checkpoint that is kept."""
        run = self.stopped("later")
        self.assertEqual(self.resume(run, "--max-time", "0.001s")[0], 0)
        self.assertEqual(len(os.listdir(run / "checkpoints")), 2)
        newest = sorted((run / "checkpoints").iterdir())[-1]
        (newest / "state.json").write_text("{")
        code, _, err = self.resume(run, "--keep-checkpoints", 1,
                                   "--max-time", "0.001s",
                                   "--checkpoint-every", 1)
        self.assertEqual(code, 0, err)
        self.assertIn(f"left out  {newest}: ", err)
        code, _, err = self.resume(run)
        self.assertEqual(code, 0, err)
        self.assert_same(run)

    def test_no_checkpoint(self):
        """As if killed before the first one: the same call once more."""
        run = self.folder / "early"
        words = [w if w != self.data else self.data.name
                 for w in self.words("early")]
        words[words.index(run)] = run.name
        code, _, err = moh(*words, "--max-time", "0.001s", cwd=self.folder)
        self.assertEqual(code, 0, err)
        shutil.rmtree(run / "checkpoints")
        code, _, err = self.resume(run)
        self.assertEqual(code, 0, err)
        self.assertIn("has no checkpoint yet and begins once more\n", err)
        self.assert_same(run)

    def assert_kept(self, run, before):
        """The checkpoints of before, and no half of another."""
        self.assertEqual(sorted(os.listdir(run / "checkpoints")), before)
        code, _, err = self.resume(run)
        self.assertEqual(code, 0, err)
        self.assert_same(run)

    def test_file_limit(self):
        """What a full disk does, for all: files may not grow any more."""
        run = self.stopped("limited")
        before = sorted(os.listdir(run / "checkpoints"))
        largest = max(p.stat().st_size
                      for p in (run / "checkpoints").glob("*/*"))
        limit = largest - 1000
        code, out, err = moh(
            "train", "--resume", run, preexec_fn=lambda:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual((code, out), (1, ""), err)
        self.assertRegex(err.splitlines()[-1], "^moh train: cannot write "
                         r"'.*\.safetensors': File too large$")
        self.assert_kept(run, before)

    def test_full_disk(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk],
            capture_output=True)
        if mount.returncode != 0:
            self.skipTest("no file system may be mounted here")
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        run = self.stopped("disk/run")
        before = sorted(os.listdir(run / "checkpoints"))
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        code, out, err = self.resume(run)
        self.assertEqual((code, out), (1, ""), err)
        self.assertRegex(err.splitlines()[-1],
                         "^moh train: .*: No space left on device$")
        filler.unlink()
        self.assert_kept(run, before)

    def test_unwritable(self):
        for out, reason in ((self.facts / "run", "Not a directory"),
                            ("/proc/run", "No such file or directory")):
            code, text, err = moh(*["train", "--data", self.data, "--out",
                                    out, "--steps", 1, *TINY])
            self.assertEqual((code, text), (1, ""))
            self.assertIn(reason, err.splitlines()[-1])

    def test_diverged(self):
        """It diverges again, and the last checkpoint stays."""
        run = self.folder / "wild"
        words = ["train", "--data", self.facts, "--out", run, "--lr", 10,
                 "--weight-decay", 1, "--warmup", 0, "--clip", 0, "--epochs",
                 600, "--checkpoint-every", 4, "--anomaly", 0, *TINY]
        code, _, first = moh(*words)
        self.assertEqual(code, 1)
        before = sorted(os.listdir(run / "checkpoints"))
        code, _, second = self.resume(run)
        self.assertEqual(code, 1)
        self.assertEqual(first.splitlines()[-1], second.splitlines()[-1])
        self.assertEqual(sorted(os.listdir(run / "checkpoints")), before)


if __name__ == "__main__":
    main()
