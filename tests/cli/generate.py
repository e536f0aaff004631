"""Tests of moh generate: prompts, limits, sampling, stop strings, JSON.

Usage: generate.py PATH_OF_MOH [TEST]...
"""

import array
import fcntl
import json
import pathlib
import re
import signal
import subprocess
import termios
import time

from support import MOH, TINY, Case, main, moh

TAIL = " (see 'moh generate --help')"


class Generate(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        code, _, err = moh(
            "train", "--data", "facts.json", "--extra-vocab=talk.json",
            "--out", "run", "--epochs", 60, "--batch", 3, *TINY,
            cwd=cls.folder)
        assert code == 0, err

    def generate(self, *words, stdin=""):
        code, out, err = self.run_in("generate", "-m", "run", *words,
                                     stdin=stdin)
        self.assertEqual(code, 0, err)
        return out, err

    def samples(self, *words):
        out, _ = self.generate("--json", *words)
        return json.loads(out)["samples"]

    def test_greedy(self):
        words = ["the sun", "-n", 4]
        out, err = self.generate(*words)
        self.assertEqual(err, "")
        self.assertTrue(out.endswith("\n"))
        for more in (["--threads=2"], ["-t1", "--seed", 9], ["--verify"]):
            self.assertEqual(self.generate(*words, *more), (out, ""))
        self.assertEqual(self.generate("-n4", "--echo", "the sun"),
                         (f"the sun {out}", ""))

    def test_json(self):
        text, _ = self.generate("the sun", "-n2")
        out, _ = self.generate("the sun", "-n2", "--json")
        result = json.loads(out)
        self.assertEqual(result["prompt"], "the sun")
        self.assertEqual(result["prompt_tokens"], 2)
        [sample] = result["samples"]
        self.assertEqual(sample["text"] + "\n", text)
        self.assertEqual(sample["generated_tokens"], 2)
        self.assertEqual(sample["finish"], "length")
        self.assertEqual((sample["stop"], sample["seed"]), (None, None))
        self.assertEqual(sample["dropped_tokens"], 0)
        self.assertGreater(sample["tokens_per_second"], 0)
        self.assertGreater(sample["prompt_seconds"], 0)

    def test_finishes(self):
        [sample] = self.samples("the sun")
        self.assertEqual(sample["finish"], "end")
        self.assertEqual(sample["text"], "is hot")
        # is, hot, </s>
        self.assertEqual(sample["generated_tokens"], 3)
        [sample] = self.samples("the sun", "--stop=cold", "--stop", "t")
        self.assertEqual((sample["finish"], sample["stop"]), ("stop", "t"))
        self.assertEqual(sample["text"], "is ho")

    def test_prompts(self):
        out, _ = self.generate("the sun")
        self.write("prompt.txt", "the sun\n")
        self.assertEqual(self.generate("-f", "prompt.txt")[0], out)
        self.assertEqual(self.generate("-", stdin="the sun\n")[0], out)
        self.assertEqual(self.generate(stdin="the sun\n")[0], out)
        self.assertEqual(self.generate(stdin="the sun")[0], out)
        self.assertEqual(self.generate("--", "the sun")[0], out)

    def test_bad_prompts(self):
        start = ["generate", "--model", "run"]
        for words, code, message in [
            ([""], 2, "the prompt is empty; give at least one word" + TAIL),
            (["the " * 80], 2, "the prompt has 80 tokens, the model holds "
             "80 with the answer; shorten it, or let its beginning go "
             "(overflow: slide)" + TAIL),
            (["a", "--file", "b"], 2,
             "PROMPT and --file exclude each other" + TAIL),
            (["--file", "none"], 1,
             "cannot open 'none': No such file or directory"),
            (["--file", "."], 1, "cannot read ."),
            (["the", "--stop", ""], 2,
             "--stop has an empty item in its list" + TAIL),
            (["the", "--top-p", "1.5"], 2,
             "--top-p must lie between 0 and 1, not '1.5'" + TAIL),
            (["the", "--overflow=slide", "--keep=79"], 2,
             "79 tokens cannot be kept of a context of 80" + TAIL),
        ]:
            self.assert_fails(start + words, code,
                              f"moh generate: {message}")
        self.assert_fails(start, 2, "moh generate: the prompt is empty; give "
                          "at least one word" + TAIL)
        out, err = self.generate("the xyz")
        self.assertEqual(err, "(1 of 2 tokens is not in the vocabulary)\n")

    def test_seeds(self):
        words = ["-T", 2, "the"]
        texts = {self.generate(*words, "-s", seed)[0] for seed in range(8)}
        self.assertGreater(len(texts), 1)
        self.assertEqual(self.generate(*words, "-s5"),
                         self.generate(*words, "-s5", "-t2"))
        out, err = self.generate(*words, "-n20")
        self.assertRegex(err, r"^\(seed \d+\)\n$")
        seed = err.split()[1].rstrip(")")
        self.assertEqual(self.generate(*words, "-n20", "-s", seed),
                         (out, ""))
        self.assertEqual(self.samples(*words, "-s", seed)[0]["seed"],
                         int(seed))

    def test_samples(self):
        words = ["-T", 2, "-n6", "the"]
        many = self.samples(*words, "-s3", "-N3")
        self.assertEqual([sample["seed"] for sample in many], [3, 4, 5])
        for sample in many:
            [alone] = self.samples(*words, "-s", sample["seed"])
            self.assertEqual(alone["text"], sample["text"])
        out, _ = self.generate(*words, "-s3", "-N3")
        self.assertEqual(out,
                         "\n\n".join(s["text"] for s in many) + "\n")

    def test_rules(self):
        # Whatever the temperature, one token is left to choose from.
        greedy = self.samples("the sun")[0]["text"]
        for rule in (["-k1"], ["-p0"], ["--min-p=1"]):
            [sample] = self.samples("the sun", "-T9", "-s1", *rule)
            self.assertEqual(sample["text"], greedy)
        # What came before can be made impossible.
        [sample] = self.samples("the", "-n9", "--repeat-penalty", 100)
        words = ["the", *sample["text"].split()]
        self.assertEqual(len(words), len(set(words)))

    def test_overflow(self):
        words = ["-T1", "-s1", "-k", 20, "--repeat-penalty", 0.5]
        [sample] = self.samples("the " * 79, *words)
        self.assertEqual(sample["generated_tokens"], 1)
        self.assertEqual(sample["finish"], "context")
        _, err = self.generate("the " * 79, *words)
        self.assertEqual(err, "(ended: the model holds no more than 80 "
                         "tokens; --overflow slide goes on)\n")
        slide = ["--overflow=slide", "--keep", 2, "-n1"]
        _, err = self.generate("the " * 99, *words, *slide)
        self.assertEqual(err, "(the model is full: the oldest 58 tokens "
                         "were dropped, and so on)\n")
        [sample] = self.samples("the " * 99, *words, *slide)
        self.assertEqual(sample["dropped_tokens"], 99 - 2 - 39)

    def test_stats(self):
        _, err = self.generate("the sun", "--stats")
        self.assertRegex(err, r"^\(prompt 2 tokens, \d+/s; text 3 tokens, "
                         r"\d+\.\d/s; ended by end\)\n"
                         r"\(heads used 2\.00 of 2, by layer\)\n$")

    def test_beams(self):
        greedy, _ = self.generate("the sun", "--seed", 1)
        self.assertEqual(self.generate("the sun", "--beam", 1), (greedy, ""))
        for width in (2, 4, 30):
            words = ["the", "--beam", width]
            out, err = self.generate(*words, "--json")
            self.assertEqual(err, "")
            result = json.loads(out)
            [best] = result["samples"]
            self.assertEqual(best["finish"], "end")
            self.assertAlmostEqual(
                best["score"],
                best["log_probability"] / best["generated_tokens"])
            text = best["text"] + "\n"
            for more in ([], ["-t2"], ["-n60"], ["-n70"]):
                self.assertEqual(self.generate(*words, *more), (text, ""))
            self.assertEqual(self.generate(*words, "--echo")[0],
                             "the " + text)
            search = result["search"]
            self.assertLessEqual(search["mean_beams"], width)
            self.assertEqual(search["tokens_read"] + 1, round(
                search["mean_beams"] * search["steps"]))
        # A wide beam is never worse than greedy.
        [one] = json.loads(self.generate("the", "--beam=1", "--json")[0])[
            "samples"]
        self.assertGreaterEqual(best["score"], one["score"])
        # More heat, less certain of what it has found.
        [warm] = json.loads(self.generate(*words, "-T2", "--json")[0])[
            "samples"]
        self.assertLess(warm["score"], best["score"])

    def test_best_texts(self):
        words = ["the", "--beam=4", "--n-best=3"]
        out, _ = self.generate(*words, "--json")
        texts = json.loads(out)["samples"]
        self.assertEqual(len({t["text"] for t in texts}), 3)
        scores = [t["score"] for t in texts]
        self.assertEqual(scores, sorted(scores, reverse=True))
        lines = [f"[{i + 1}] score {t['score']:.4f}, ln p "
                 f"{t['log_probability']:.4f}, {t['generated_tokens']} "
                 f"tokens, ended by {t['finish']}\n{t['text']}\n"
                 for i, t in enumerate(texts)]
        self.assertEqual(self.generate(*words)[0], "\n".join(lines))
        # What is not complete when nothing can win any more.
        texts = self.samples(*words, "--length-penalty=0")
        self.assertEqual([t["finish"] for t in texts],
                         ["end", "search", "search"])
        # The end token lies behind "hot"; the text is cut before "ot".
        [best] = self.samples("the sun", "--beam=2", "--stop=ot")
        self.assertEqual((best["text"], best["finish"], best["stop"]),
                         ("is h", "stop", "ot"))

    def test_beam_stats(self):
        _, err = self.generate("the", "--beam=4", "--beam-min=2",
                               "--beam-max=6", "--beam-threshold=0.3",
                               "--stats")
        self.assertRegex(
            err, r"^\(prompt 1 tokens, \d+/s; text 4 tokens, \d+\.\d/s; "
            r"ended by end\)\n\(beams \d\.\d\d on average, \d+ tokens "
            r"read, \d+ pages at most; ln p -\d+\.\d{4}, score "
            r"-\d\.\d{4}\)\n\(heads used 2\.00 of 2, by layer\)\n$")

    def test_bad_beams(self):
        beam = ["--beam", 4]
        for words, message in [
            *((beam + option.split(), f"--beam and {name} exclude each "
               "other") for option, name in [
                ("--top-k 3", "--top-k"), ("--top-p 0.9", "--top-p"),
                ("--min-p 0.1", "--min-p"), ("--keep 3", "--keep"),
                ("--repeat-penalty 2", "--repeat-penalty"),
                ("--repeat-last 3", "--repeat-last"),
                ("--seed 3", "--seed"), ("--samples 1", "--samples"),
                ("--overflow slide", "--overflow slide"),
                ("--temperature 0", "--temperature 0")]),
            *(([option, 2], f"{option} needs --beam") for option in (
                "--beam-min", "--beam-max", "--length-penalty", "--n-best")),
            (["--beam-threshold=0.3"], "--beam-threshold needs --beam"),
            (["--beam-exact"], "--beam-exact needs --beam"),
            (beam + ["--beam-threshold=0.3"],
             "--beam-threshold needs --beam-min or --beam-max"),
            (beam + ["--beam-min=5"], "--beam 4 does not lie between "
             "--beam-min 5 and --beam-max 8"),
            (beam + ["--beam-max=3"], "--beam 4 does not lie between "
             "--beam-min 1 and --beam-max 3"),
            (["--beam=1025"],
             "--beam must lie between 0 and 1024, not '1025'"),
            (beam + ["the " * 80], "the prompt has 81 tokens, the model "
             "holds 80 with the answer; shorten it"),
        ]:
            prompt = [] if "the" in str(words[-1]) else ["the"]
            if not prompt:
                words = [*words[:-1], words[-1] + "the"]
            self.assert_fails(["generate", "-m", "run", *words, *prompt], 2,
                              f"moh generate: {message}" + TAIL)


class Bytes(Case):
    """A model of bytes that has learned nothing draws what is no UTF-8."""

    def test_text_is_always_utf8(self):
        self.write("text.txt", "\u00e9t\u00e9 \u20ac \U0001F600\n" * 90)
        code, _, err = self.run_in(
            "train", "--data", "text.txt", "--out", "run", "--tokenizer",
            "bpe", "--vocab-size", 260, "--steps", 1, "--context", 16,
            *TINY)
        self.assertEqual(code, 0, err)
        words = ["generate", "-m", "run", "\u00e9t", "-T3", "-s2", "-n60"]
        done = subprocess.run(
            [MOH, *words], cwd=self.folder, capture_output=True)
        text = done.stdout.decode("utf-8", "strict")
        self.assertIn("\ufffd", text)
        _, out, _ = self.run_in(*words, "--json")
        [sample] = json.loads(out)["samples"]
        self.assertEqual(sample["text"] + "\n", text)
        self.assertGreater(sample["generated_tokens"], 9)
        # Bytes of the original text, but for the first token's.
        _, out, _ = self.run_in("eval", "-m", "run", "text.txt", "--json")
        total = json.loads(out)["total"]
        n_bytes = (self.folder / "text.txt").stat().st_size
        self.assertIn(n_bytes - total["bytes"], range(1, 20))
        _, out, _ = self.run_in("eval", "-m", "run", "text.txt", "--json",
                                "--limit", total["predicted_tokens"] - 1)
        less = json.loads(out)["total"]
        self.assertIn(total["bytes"] - less["bytes"], range(1, 20))


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    mask = int(re.search(r"(?m)^SigCgt:\s*(\w+)", status)[1], 16)
    return mask >> number - 1 & 1


def waits_for_reader(run):
    """Whether a process of one thread sleeps, and its pipe is full."""
    n = array.array("i", [0])
    fcntl.ioctl(run.stdout, termios.FIONREAD, n)
    stat = pathlib.Path(f"/proc/{run.pid}/stat").read_text()
    return n[0] > 4000 and stat.rpartition(")")[2].split()[0] == "S"


class Interrupt(Case):
    """Ctrl-C in the middle of a text that would have no end."""

    def test_interrupt(self):
        self.write("text.txt", "to be or not to be\n" * 40)
        code, _, err = self.run_in(
            "train", "--data", "text.txt", "--out", "text", "--steps", 1,
            "--context", 16, *TINY)
        self.assertEqual(code, 0, err)
        words = [MOH, "generate", "-m", "text", "to", "--overflow=slide"]
        for more in ([], ["--json"]):
            run = subprocess.Popen(
                words + more, cwd=self.folder, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            self.addCleanup(run.kill)
            # The first slide is said when the loop is under way.
            self.assertIn(b"dropped", run.stderr.readline())
            run.send_signal(signal.SIGINT)
            out, _ = run.communicate(timeout=60)
            self.assertEqual(run.returncode, 130)
            self.assertTrue(out.endswith(b"\n"))
            if more:
                [sample] = json.loads(out)["samples"]
                self.assertEqual(sample["finish"], "interrupted")
                self.assertGreater(sample["generated_tokens"], 60)

    def test_interrupt_of_a_write(self):
        """Nobody reads, so it is a write that the signal interrupts."""
        self.write("text.txt", "to be or not to be\n" * 40)
        code, _, err = self.run_in(
            "train", "--data", "text.txt", "--out", "deaf", "--steps", 1,
            "--context", 16, *TINY)
        self.assertEqual(code, 0, err)
        run = subprocess.Popen(
            [MOH, "generate", "-m", "deaf", "to", "--overflow=slide",
             "-t1"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(run.kill)
        fcntl.fcntl(run.stdout, fcntl.F_SETPIPE_SZ, 4096)
        while not waits_for_reader(run):
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 130)
        self.assertRegex(err, rb"^\(the model is full: .*\)\n$")
        self.assertGreater(len(out), 4000)

    def test_interrupt_of_a_search(self):
        """The best text so far."""
        self.write("text.txt", "to be or not to be\n" * 40)
        code, _, err = self.run_in(
            "train", "--data", "text.txt", "--out", "long", "--steps", 1,
            "--context", 16, "--max-seq-len", 20000, *TINY)
        self.assertEqual(code, 0, err)
        run = subprocess.Popen(
            [MOH, "generate", "-m", "long", "to", "--beam=90", "--json"],
            cwd=self.folder, stdout=subprocess.PIPE)
        self.addCleanup(run.kill)
        while not catches(run.pid, signal.SIGINT):
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 130)
        [sample] = json.loads(out)["samples"]
        self.assertEqual(sample["finish"], "interrupted")
        self.assertGreater(sample["generated_tokens"], 0)


if __name__ == "__main__":
    main()
