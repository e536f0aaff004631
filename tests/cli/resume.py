"""Tests of runs that are stopped and go on: by a signal, by SIGKILL while a
checkpoint is written, by --max-time; what may change and what is refused.

    resume.py PATH_OF_MOH              in the tests: few kills
    MOH_KILLS=50 resume.py PATH_OF_MOH Killed
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

from support import MOH, TINY, Case, main, moh

N_KILLS = int(os.environ.get("MOH_KILLS", "6"))
TIMED = ["tokens_per_second", "seconds"]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def log_of(run):
    """The lines of a log without what the clock says."""
    lines = []
    for text in (run / "log.jsonl").read_text().splitlines():
        line = json.loads(text)
        for key in TIMED:
            line.pop(key, None)
        lines.append(line)
    return lines


class Resumed(Case):
    """A run without a break, to compare with."""

    OPTIONS = ["--steps", 40, "--checkpoint-every", 4, "--eval-every", 10,
               "--held-out", 0.2, "--preset", "seed-train"]
    MORE = []

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        texts = [f"fact {i} of {i % 7} is {i * i % 11} </s>"
                 for i in range(60)]
        cls.data = cls.write("texts.json", json.dumps(texts))
        cls.whole = cls.train("whole")

    @classmethod
    def words(cls, name):
        return ["train", "--data", cls.data, "--out", cls.folder / name,
                *cls.OPTIONS, *cls.MORE, *TINY]

    @classmethod
    def train(cls, name, *more):
        code, _, err = moh(*cls.words(name), *more)
        assert code == 0, err
        return cls.folder / name

    def assert_same(self, run):
        for part in ("final", "best"):
            self.assertEqual(digest(run / part / "model.safetensors"),
                             digest(self.whole / part / "model.safetensors"))
        self.assertEqual(log_of(run), log_of(self.whole))

    def start(self, name, *more):
        return subprocess.Popen(
            [MOH, *map(str, self.words(name)), *map(str, more)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop_at(self, name, step, *more):
        """A run that was interrupted at about that step."""
        run = self.folder / name
        process = self.start(name, *more)
        log = run / "log.jsonl"
        while process.poll() is None:
            if log.exists() and log.read_text().count("\n") >= step:
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.002)
        process.wait()
        return run, process.returncode

    def resume(self, run, *more):
        return moh("train", "--resume", run, *more)


class GoesOn(Resumed):
    MORE = ["--steps", 400, "--eval-every", 100, "--checkpoint-every", 40]

    def test_interrupted(self):
        for number, threads in enumerate((1, 2)):
            run, code = self.stop_at(f"stopped{number}", 50)
            self.assertEqual(code, 130)
            self.assertFalse((run / "final").exists())
            code, _, err = moh("generate", "--model", run, "x")
            self.assertEqual(code, 2)
            self.assertIn("is not finished: go on with it", err)
            code, out, err = self.resume(run, "--threads", threads)
            self.assertEqual(code, 0, err)
            self.assertRegex(err, r"going on  from step \d+ of 400 ")
            self.assertRegex(err, r"step \d+: loss [\d.]+, before it")
            self.assert_same(run)

    def test_terminated(self):
        run = self.folder / "terminated"
        process = self.start("terminated")
        while not (run / "checkpoints").exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(), 130)
        self.assertEqual(self.resume(run)[0], 0)
        self.assert_same(run)

    def test_finished(self):
        before = digest(self.whole / "log.jsonl")
        code, out, err = self.resume(self.whole)
        self.assertEqual((code, out), (0, ""))
        self.assertIn("is finished", err)
        code, out, _ = self.resume(self.whole, "--json")
        self.assertEqual((code, json.loads(out)["finished"]), (0, True))
        self.assertEqual(digest(self.whole / "log.jsonl"), before)

    def test_max_time(self):
        run = self.folder / "timed"
        code, out, err = moh(*self.words("timed"), "--max-time", "0.001s",
                             "--json")
        self.assertEqual(code, 0, err)
        result = json.loads(out)
        self.assertEqual((result["finished"], result["steps"]), (False, 400))
        self.assertIn("go on with 'moh train --resume", err)
        self.assertEqual(self.resume(run, "--json")[0], 0)
        self.assert_same(run)

    def test_refused(self):
        run, _ = self.stop_at("refused", 30)
        for words, message in [
                (["--lr", 1], "--lr cannot change when a run goes on"),
                (["--data", "x"], "--data cannot change"),
                (["--max-time", "soon"], "--max-time must be a time")]:
            code, out, err = self.resume(run, *words)
            self.assertEqual((code, out), (2, ""))
            self.assertIn(message, err)
        code, _, err = moh("tune", "--resume", run)
        self.assertEqual(code, 2)
        self.assertIn("was started by moh train", err)
        code, _, err = self.resume(self.folder / "nowhere")
        self.assertEqual(code, 2)
        self.assertIn("holds no run", err)
        self.assertEqual(self.resume(run)[0], 0)
        self.assert_same(run)

    def test_other_data(self):
        mine = self.write("mine.json", self.data.read_bytes())
        run = self.folder / "other"
        words = [w if w != self.data else mine for w in self.words("other")]
        moh(*words, "--max-time", "0.001s")
        mine.write_text(self.data.read_text().replace("fact 7", "fact 8"))
        code, _, err = self.resume(run)
        self.assertEqual(code, 2)
        self.assertIn("the data are not those", err)

    def test_damaged(self):
        """The newest checkpoint that is whole is taken."""
        run, _ = self.stop_at("damaged", 130)
        newest = sorted((run / "checkpoints").iterdir())[-1]
        moments = newest / "optimizer.safetensors"
        damaged = bytearray(moments.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        moments.write_bytes(damaged)
        code, _, err = self.resume(run)
        self.assertEqual(code, 0)
        self.assertIn(f"left out  {newest}: ", err)
        self.assertIn("optimizer.safetensors: its SHA-256", err)
        self.assert_same(run)

    def test_none_whole(self):
        run, _ = self.stop_at("none", 30)
        for checkpoint in (run / "checkpoints").iterdir():
            (checkpoint / "state.json").unlink()
        code, _, err = self.resume(run)
        self.assertEqual(code, 3)
        self.assertIn("holds no whole checkpoint", err)

    def test_edited_record(self):
        """Whatever run.json says, the answer names it, with exit code 3."""
        run, _ = self.stop_at("edited", 60)
        path = run / "run.json"
        good = json.loads(path.read_text())
        options = good["options"]
        edits = [{"options": {}}, {"options": {"threads": 1}},
                 {"options": []}, {"options": {"help": True, **options}},
                 {"options": {**options, "nonsense": True}},
                 {"options": {**options, "threads": -1}},
                 {"options": {**options, "": True}},
                 {"options": {**options, "data=": "x"}},
                 {"options": {**options, "mix": 5}},
                 {"options": {**options, "data": []}},
                 {"origin": 5}, {"command": None}]
        for edit in edits:
            path.write_text(json.dumps({**good, **edit}))
            code, out, err = self.resume(run)
            self.assertEqual((code, out), (3, ""), (edit, err))
            self.assertIn("run.json", err)
        path.write_text(json.dumps(good))
        self.assertEqual(self.resume(run)[0], 0)
        self.assert_same(run)

    def test_inside(self):
        """What is read must not lie where the run would replace it."""
        run, _ = self.stop_at("inside", 30)
        mine = run / "best" / "mine.json"
        mine.parent.mkdir(exist_ok=True)
        mine.write_bytes(self.data.read_bytes())
        words = [w if w != self.data else mine for w in self.words("inside")]
        code, _, err = moh(*words, "--overwrite")
        self.assertEqual(code, 2)
        self.assertIn("which would be replaced", err)
        self.assertTrue(mine.exists())

    def test_directory(self):
        """A relative path is from where the run was started."""
        words = [w if w != self.data else self.data.name
                 for w in self.words("moved")]
        moh(*words, "--max-time", "0.001s", cwd=self.folder)
        run = self.folder / "moved"
        self.assertEqual(self.resume(run)[0], 0)
        self.assert_same(run)


class Tuned(Resumed):
    """moh tune with a second file, and every option of the optimizer."""

    @classmethod
    def words(cls, name):
        return ["tune", "--model", cls.folder / "base", "--data", cls.data,
                "--mix", f"{cls.facts}:0.4", "--out", cls.folder / name,
                "--steps", 60, "--batch", 2, "--accumulate", 2,
                "--held-out", 0.2, "--amsgrad", "--adam-l2",
                "--router-lr", 0.5, "--clip", 0.1, "--pack", "--threads", 1]

    @classmethod
    def setUpClass(cls):
        Case.setUpClass.__func__(cls)
        code, _, err = moh("train", "--data", cls.facts, "--out",
                           cls.folder / "base", "--steps", 2, *TINY)
        assert code == 0, err
        cls.data = cls.facts
        cls.whole = cls.train("whole")

    def test_goes_on(self):
        run = self.folder / "stopped"
        code, _, err = moh(*self.words("stopped"), "--max-time", "0.001s")
        self.assertEqual(code, 0, err)
        code, _, err = moh("tune", "--resume", run, "--threads", 2)
        self.assertEqual(code, 0, err)
        self.assert_same(run)


class Killed(Resumed):
    """SIGKILL at random moments, most while a checkpoint is written."""

    OPTIONS = ["--steps", 60 + 3 * N_KILLS, "--checkpoint-every", 1,
               "--eval-every", 10, "--held-out", 0.2, "--preset",
               "seed-train"]

    def wait_for_write(self, run, process, chance):
        """Until the first to third directory from now is being written, and
        a moment longer."""
        def names():
            return {name for folder in (run, run / "checkpoints")
                    if folder.exists() for name in os.listdir(folder)}

        seen = names()
        left = chance.randint(1, 3)
        while process.poll() is None and left > 0:
            now = names()
            left -= sum(n.endswith(".part") for n in now - seen)
            seen |= now
            time.sleep(0.0002)
        time.sleep(chance.choice([0, 0.001, 0.003, 0.01, 0.05])
                   * chance.random())

    def test_kills(self):
        chance = random.Random(1)
        run = self.folder / "killed"
        words = list(map(str, self.words("killed")))
        resumed = 0
        for _ in range(N_KILLS):
            process = subprocess.Popen([MOH, *words],
                                       stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE)
            self.wait_for_write(run, process, chance)
            process.kill()
            err = process.communicate()[1].decode()
            self.assertNotIn("left out", err)  # all that have a name are whole
            if (run / "checkpoints").exists() and any(
                    not n.endswith(".part")
                    for n in os.listdir(run / "checkpoints")):
                words = ["train", "--resume", str(run)]
                resumed += 1
            elif run.exists():
                shutil.rmtree(run)  # before the first one
        self.assertGreater(resumed, N_KILLS // 2)
        code, _, err = self.resume(run)
        self.assertEqual(code, 0, err)
        self.assert_same(run)


if __name__ == "__main__":
    main()
