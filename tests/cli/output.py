"""Tests of output that nobody takes: closed pipes, full disks and closed
streams, for every command.

Usage: output.py PATH_OF_MOH [--update] [TEST]...
"""

import os
import re
import signal
import subprocess
import unittest

from support import MOH, TINY, Case, main, moh

FULL = (b"moh: the output could not be written; is the disk full?\n")
NO_STATE = {"HOME": "/nonexistent"}


class Output(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", "to be or not to be\n" * 40)
        # A model that knows no end.
        code, _, err = moh(
            "train", "--data", "text.txt", "--out", "run", "--steps", 1,
            "--context", 16, *TINY, cwd=cls.folder)
        assert code == 0, err
        _, text, _ = moh("--help")
        cls.commands = re.findall(r"(?m)^  ([a-z]+)  +\S", text)
        # What each command prints when it does its work.
        cls.work = [
            "--help", "--version", "help train",
            "train --data text.txt --out new --overwrite --steps 1 "
            "--context 16 " + " ".join(TINY),
            "tune --model run --data text.txt --out new --overwrite "
            "--steps 1 --context 16",
            "eval -m run text.txt",
            "generate -m run to -n5", "generate -m run to -n5 --json",
            "chat -m run -n5", "inspect -m run", "inspect --preset seed "
            "--json", "tokenize -m run to",
        ]

    def run_to(self, words, stdout, **more):
        done = subprocess.run(
            [MOH, *words], stdout=stdout, stderr=subprocess.PIPE,
            cwd=self.folder, input=b"to\n", timeout=300,
            env={**os.environ, **NO_STATE}, **more)
        return done.returncode, done.stderr

    def every_call(self):
        self.assertGreater(len(self.commands), 7)
        return ([[name, "--help"] for name in self.commands] +
                [words.split() for words in self.work])

    def test_closed_pipe(self):
        """Ends as SIGPIPE does, without a word about it."""
        read, write = os.pipe()
        os.close(read)
        for words in self.every_call():
            code, err = self.run_to(words, write)
            self.assertEqual(code, -signal.SIGPIPE, words)
            self.assertNotIn(b"moh", err.replace(b"moh:1+1", b""), words)
        os.close(write)

    def test_pipe_signal_ignored(self):
        """Whatever the parent process has done about it."""
        read, write = os.pipe()
        os.close(read)

        def block():
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])

        done = subprocess.run([MOH, "--help"], stdout=write,
                              stderr=subprocess.PIPE, preexec_fn=block,
                              restore_signals=False)
        os.close(write)
        self.assertEqual((done.returncode, done.stderr),
                         (-signal.SIGPIPE, b""))

    def test_head(self):
        """The reader goes in the middle of a text without an end."""
        run = subprocess.Popen(
            [MOH, "generate", "-m", "run", "to be", "--overflow=slide"],
            cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.addCleanup(run.kill)
        self.assertEqual(len(run.stdout.read(100)), 100)
        run.stdout.close()
        err = run.stderr.read()
        run.stderr.close()
        self.assertEqual(run.wait(timeout=60), -signal.SIGPIPE)
        self.assertIn(err, (b"", b"(the model is full: the oldest 32 tokens "
                            b"were dropped, and so on)\n"))

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full_disk(self):
        for words in self.every_call():
            with open("/dev/full", "wb") as full:
                code, err = self.run_to(words, full)
            self.assertEqual(code, 1, words)
            self.assertTrue(err.endswith(FULL), (words, err))
        # An endless text ends, too.
        with open("/dev/full", "wb") as full:
            code, err = self.run_to(
                ["generate", "-m", "run", "to", "--overflow=slide"], full)
        self.assertEqual((code, err), (1, FULL))

    def test_closed_streams(self):
        """No file takes the place of a stream that is closed."""
        for fds, words, code in [
                ((1,), "--version", 1), ((2,), "--version", 0),
                ((0, 1, 2), "--version", 1), ((0,), "generate -m run -", 1),
                ((1, 2), "train --data text.txt --out new --overwrite "
                 "--steps 1 --context 16 " + " ".join(TINY), 1)]:
            def close(fds=fds):
                for fd in fds:
                    os.close(fd)
            done = subprocess.run([MOH, *words.split()], cwd=self.folder,
                                  stderr=subprocess.PIPE, preexec_fn=close,
                                  stdout=subprocess.PIPE)
            self.assertEqual(done.returncode, code, (fds, words))
        log = (self.folder / "new/log.jsonl").read_text()
        for line in log.splitlines():
            self.assertTrue(line.startswith("{"), line)


if __name__ == "__main__":
    main()
