"""Tests of moh eval: its numbers against each other and against training.

Usage: eval.py PATH_OF_MOH [--update] [TEST]...
"""

import json
import math
import os
import pty
import subprocess

from support import MOH, TINY, Case, main, moh

TEXT = "to be or not to be, that is the question\n" * 30


class Eval(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", TEXT)
        cls.trained = []
        for data, out, more in [
                ("facts.json", "words", ["--epochs", 20]),
                ("text.txt", "chars", ["--steps", 20, "--context", 16,
                                       "--held-out", 0.2])]:
            code, result, err = moh(
                "train", "--data", data, "--out", out, "--json", *TINY,
                *more, cwd=cls.folder)
            assert code == 0, err
            cls.trained.append(json.loads(result))

    def eval(self, *words):
        code, out, err = self.run_in("eval", "--json", *words)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def test_equals_training(self):
        got = self.eval("-m", "words", "facts.json")["total"]
        self.assertAlmostEqual(got["nats_per_token"],
                               self.trained[0]["train"]["loss"], 12)
        # The part that was held out is the text's last fifth.
        n = len(TEXT) // 5
        self.write("tail.txt", TEXT[-n:])
        got = self.eval("-m", "chars", "-c16", "tail.txt")["total"]
        self.assertAlmostEqual(got["nats_per_token"],
                               self.trained[1]["held_out"]["loss"], 12)

    def test_numbers(self):
        got = self.eval("-m", "chars", "text.txt", "--stride", 8)
        [file] = got["files"]
        self.assertEqual(file.pop("file"), "text.txt")
        self.assertEqual(file, got["total"])
        self.assertEqual((file["tokens"], file["bytes"]),
                         (len(TEXT), len(TEXT) - 1))
        self.assertEqual(file["predicted_tokens"], len(TEXT) - 1)
        self.assertEqual((file["texts"], file["unknown_tokens"]), (1, 0))
        nats = file["nats"]
        self.assertAlmostEqual(file["nats_per_token"],
                               nats / (len(TEXT) - 1))
        self.assertAlmostEqual(file["perplexity"],
                               math.exp(file["nats_per_token"]))
        self.assertAlmostEqual(file["bits_per_byte"],
                               nats / math.log(2) / (len(TEXT) - 1))
        self.assertEqual((got["context"], got["stride"]), (64, 8))

    def test_bytes(self):
        # Without the first word of each text: " sun is hot </s>", and so on.
        got = self.eval("-m", "words", "facts.json")["total"]
        self.assertEqual(got["bytes"], 16 + 13 + 16)
        self.assertEqual((got["tokens"], got["predicted_tokens"]), (14, 11))
        self.assertEqual(got["texts"], 3)
        # Characters of two bytes; the limit cuts the text.
        self.write("two.txt", "\u00e9\u00e8" * 50)
        code, _, err = self.run_in("train", "--data", "two.txt", "--out",
                                   "two", "--steps", 1, "--held-out", 0,
                                   "--context", 8, *TINY)
        self.assertEqual(code, 0, err)
        got = self.eval("-m", "two", "two.txt")["total"]
        self.assertEqual(got["bytes"], 198)
        got = self.eval("-m", "two", "two.txt", "--limit", 7)["total"]
        self.assertEqual((got["bytes"], got["predicted_tokens"]), (14, 7))

    def test_files(self):
        self.write("one.jsonl", '"the sun is cold"\n{"text": "ice is"}\n')
        got = self.eval("-m", "words", "facts.json", "one.jsonl")
        names = [file["file"] for file in got["files"]]
        self.assertEqual(names, ["facts.json", "one.jsonl"])
        for key in ("texts", "tokens", "predicted_tokens", "bytes", "nats"):
            self.assertAlmostEqual(
                got["total"][key], sum(f[key] for f in got["files"]))
        self.assertEqual(got["total"]["predicted_tokens"], 11 + 4)
        got = self.eval("-m", "words", "facts.json", "one.jsonl", "--limit",
                        12)
        self.assertEqual([f["predicted_tokens"] for f in got["files"]],
                         [11, 1])
        code, out, err = self.run_in("eval", "-m", "words", "facts.json",
                                     "one.jsonl")
        self.assertEqual((code, err), (0, ""))
        number = r"\d+\.\d+"
        lines = out.splitlines()
        self.assertEqual([line.split()[0] for line in lines],
                         ["facts.json", "one.jsonl", "together"])
        self.assertRegex(lines[0], rf" 11 tokens, 45 bytes: {number} nats a "
                         rf"token, perplexity {number}, {number} bits a "
                         r"byte$")

    def test_threads(self):
        results = []
        for threads in (1, 2, 3):
            got = self.eval("-m", "chars", "text.txt", "-t", threads,
                            "--stride", 20)
            del got["seconds"]
            results.append(got)
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])

    def test_decode(self):
        """Token by token: the same predictions but for rounding."""
        for words in ([], ["-c", 9], ["-c", 16, "--stride", 5],
                      ["--limit", 33]):
            words = ["-m", "chars", "text.txt", *words]
            got = self.eval(*words, "--decode")["total"]
            other = self.eval(*words)["total"]
            for key in ("tokens", "predicted_tokens", "bytes"):
                self.assertEqual(got[key], other[key])
            self.assertAlmostEqual(got["nats"] / other["nats"], 1, 5)
        one, two = (self.eval("-m", "chars", "text.txt", "--decode", "-t", t)
                    for t in (1, 2))
        self.assertEqual(one["total"], two["total"])

    def test_unknown(self):
        self.write("new.txt", "the moon is hot")
        code, out, err = self.run_in("eval", "-m", "words", "new.txt")
        self.assertEqual(code, 0)
        self.assertEqual(err, "(1 unknown among the predicted tokens: what "
                         "they stand for was not predicted, so bits a byte "
                         "cannot be compared with those of other "
                         "vocabularies)\n")

    def nats(self, text):
        self.write("one.txt", text)
        code, out, err = self.run_in("eval", "-m", "words", "--json",
                                     "one.txt")
        self.assertEqual(code, 0, err)
        return json.loads(out)["total"]["nats"]

    def test_choices(self):
        questions = [
            {"question": "the sun is", "choices": ["cold", "hot", "wet"],
             "answer": 1},
            {"context": "ice is ", "choices": {"text": ["cold", "the sea is"],
                                               "label": ["x", "y"]},
             "answerKey": "x"},
            {"ctx": "the sea", "endings": [" is wet", "is hot"],
             "label": "0"},
            {"query": "the sea is", "choices": ["wet", "hot"], "gold": "B"},
        ]
        text = "\n\n".join(json.dumps(q) for q in questions)
        self.write("questions.jsonl", text)
        words = ["-m", "words", "--choices", "questions.jsonl"]
        got = self.eval(*words, "--each")
        [file] = got["files"]
        answers = file["answers"]
        self.assertEqual([a["line"] for a in answers], [1, 3, 5, 7])
        self.assertEqual([a["answer"] for a in answers], [1, 0, 0, 1])
        for answer, (before, choices) in zip(answers, [
                ("the sun is", ["cold", "hot", "wet"]),
                ("ice is", ["cold", "the sea is"]),
                ("the sea", ["is wet", "is hot"]),
                ("the sea is", ["wet", "hot"])]):
            # By the perplexity of whole texts.
            scores = [self.nats(before) - self.nats(f"{before} {c}")
                      for c in choices]
            for score, log_p in zip(scores, answer["log_p"]):
                self.assertAlmostEqual(score, log_p, 4)
            best = max(range(len(scores)), key=scores.__getitem__)
            self.assertEqual(answer["acc"], best)
            best = max(range(len(scores)), key=lambda i: scores[i] / len(
                choices[i] if before != "the sea" else [" is wet",
                                                        "is hot"][i]))
            self.assertEqual(answer["acc_norm"], best)
            best = max(range(len(scores)), key=lambda i: scores[i] / len(
                choices[i].split()))
            self.assertEqual(answer["acc_norm_token"], best)
        for name in ("acc", "acc_norm", "acc_norm_token"):
            right = sum(a[name] == a["answer"] for a in answers) / 4
            self.assertEqual(file[name], right)
            self.assertAlmostEqual(file[name + "_stderr"], math.sqrt(
                right * (1 - right) / 3))
        self.assertEqual(self.eval(*words, "--each", "-t2"), got)
        code, out, err = self.run_in("eval", *words, "--each")
        self.assertEqual((code, err, len(out.splitlines())), (0, "", 5))
        self.assertRegex(out, r"(?m)^line 3: answer 0, chosen 0, \d by byte, "
                         r"\d by token; ln p -\d+\.\d+ -\d+\.\d+$")
        self.assertRegex(out, r"(?m)^questions\.jsonl +4 questions: acc "
                         r"\d\.\d+ \+- \d\.\d+, acc_norm ")

    def log_p(self, *questions, more=()):
        self.write("asked.jsonl", "\n".join(
            json.dumps({"answer": 0, **q}) for q in questions))
        got = self.eval("-m", "chars", "--choices", "--each", "asked.jsonl",
                        *more)
        return [a["log_p"] for a in got["files"][0]["answers"]]

    def test_contexts(self):
        """A context stands before the question."""
        choices = {"choices": ["be", "not"]}
        want, one, *got = self.log_p(*(
            {**choices, **texts} for texts in [
                {"question": "to be\nor not to"}, {"question": "or not to"},
                {"question": "or not to", "context": "to be"},
                {"query": "or not to", "context": "to be"},
                {"question": "or not to", "context": "to be\n"},
                {"question": "\nor not to", "context": "to be"},
                {"context": "to be\nor not to", "ctx": "to", "query": None},
                {"ctx": "to be\nor not to"}]))
        self.assertNotEqual(want, one)
        self.assertEqual(got, [want] * 6)
        self.assertEqual(
            [one] * 3, self.log_p(*(
                {**choices, **texts} for texts in [
                    {"question": "or not to", "context": None},
                    {"question": "or not to", "context": ""},
                    {"query": "or not to", "ctx": "to be"}])))

    def test_no_blank(self):
        """Answers that go on within a word; all of them are scored from the
        first token on that one of them changes."""
        letters = {"question": "to b", "choices": ["e", "e or"]}
        [[be, _]] = self.log_p(letters, more=["--no-blank"])
        [[blank, _]] = self.log_p({**letters, "choices": [" e", "x"]})
        self.assertNotEqual(be, blank)
        self.assertEqual(self.log_p(letters)[0][0], blank)
        self.assertEqual(be, self.log_p(
            {"question": "to b", "choices": ["e", "x"]},
            more=["--no-blank"])[0][0])
        self.write("asked.jsonl", json.dumps(
            {"question": "the sea is h", "choices": ["ot", " wet"],
             "answer": 0}))
        got = self.eval("-m", "words", "--choices", "--each", "--no-blank",
                        "asked.jsonl")
        [log_p] = [a["log_p"] for a in got["files"][0]["answers"]]
        for got, text in zip(log_p, ["hot", "h wet"]):
            want = self.nats("the sea is") - self.nats("the sea is " + text)
            self.assertAlmostEqual(got, want, 4)

    def test_limited_questions(self):
        line = json.dumps({"question": "ice is", "choices": ["hot", "cold"],
                           "answer": 1})
        self.write("four.jsonl", "\n".join([line] * 3 + ["no question"]))
        self.write("one-question.jsonl", line)
        words = ["-m", "words", "--choices", "four.jsonl",
                 "one-question.jsonl", "--limit"]
        for limit, asked in [(1, [1, 1]), (3, [3, 1])]:
            got = self.eval(*words, limit)
            self.assertEqual([f["questions"] for f in got["files"]], asked)
        code, _, err = self.run_in("eval", *words, 4)
        self.assertEqual(code, 3)
        self.assertIn("four.jsonl: line 4: ", err)

    def test_long_questions(self):
        long = {"question": "the sea is " * 40, "choices": ["wet", "hot"],
                "answer": 0}
        self.write("long.jsonl", json.dumps(long))
        code, out, err = self.run_in("eval", "-m", "words", "--choices",
                                     "long.jsonl")
        self.assertEqual((code, err), (0, "(1 questions are too long for the "
                                       "model and lost their beginning)\n"))

    def test_compare(self):
        words = ["-m", "chars", "text.txt", "-c", 32]
        same = self.eval(*words, "--compare", "chars")
        for key in ("mean_divergence", "largest_divergence",
                    "largest_logit_difference"):
            self.assertEqual(same[key], 0)
        self.assertEqual((same["same_choice"], same["context"]), (1, 32))
        n = len(TEXT)
        self.assertEqual((same["tokens"], same["predicted_tokens"]),
                         (n, n - 1))
        self.assertEqual(same["perplexity"], same["other_perplexity"])
        code, _, err = self.run_in("tune", "-m", "chars", "--data",
                                   "text.txt", "--out", "more", "--steps", 5,
                                   "--context", 16)
        self.assertEqual(code, 0, err)
        got = self.eval(*words, "--compare", "more")
        self.assertEqual(got["perplexity"], same["perplexity"])
        self.assertGreater(got["mean_divergence"], 0)
        self.assertGreater(got["largest_divergence"], got["mean_divergence"])
        self.assertLess(got["other_perplexity"], got["perplexity"])
        back = self.eval("-m", "more", "text.txt", "-c", 32, "--compare",
                         "chars")
        self.assertEqual(back["other_perplexity"], got["perplexity"])
        self.assertEqual(back["largest_logit_difference"],
                         got["largest_logit_difference"])
        few = self.eval(*words, "--compare", "more", "--limit", 9)
        self.assertEqual((few["tokens"], few["predicted_tokens"]), (10, 9))
        whole = self.eval("-m", "chars", "text.txt", "--limit", 9)["total"]
        self.assertAlmostEqual(few["perplexity"], whole["perplexity"], 4)
        code, out, err = self.run_in("eval", *words, "--compare", "more")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"tokens: perplexity \d+\.\d+ of chars, "
                         r"\d+\.\d+ of more\nKL divergence ")
        code, out, err = self.run_in("eval", *words, "--compare", "words")
        self.assertEqual((code, out), (2, ""))
        self.assertRegex(err, r"^moh eval: --compare: vocabularies of \d+ "
                         r"and \d+ tokens")
        self.assert_fails("eval -m chars --compare chars --stride 3 text.txt",
                          2, "moh eval: --compare goes with neither --choices "
                          "nor --decode nor --stride (see 'moh eval --help')")

    def test_compare_equals_eval(self):
        """The same tokens predicted, so the same perplexities: windows of
        any length, also one that the text fills but for a token; several
        texts and files; a limit."""
        self.write("64.txt", TEXT[:64])
        self.write("65.txt", TEXT[:65])
        self.write("two.jsonl", "\n".join(json.dumps(t) for t in
                                          [TEXT[:70], "t", TEXT[5:40]]))
        code, _, err = self.run_in("tune", "-m", "chars", "--data",
                                   "text.txt", "--out", "later", "--steps",
                                   3, "--context", 16)
        self.assertEqual(code, 0, err)
        for words in (["text.txt"], ["text.txt", "-c", 1],
                      ["text.txt", "-c", 7], ["64.txt", "-c", 32],
                      ["65.txt", "-c", 32], ["two.jsonl", "64.txt", "-c", 9],
                      ["two.jsonl", "64.txt", "-c", 9, "--limit", 90]):
            got = self.eval("-m", "chars", *words, "--compare", "later")
            for model, key in [("chars", "perplexity"),
                               ("later", "other_perplexity")]:
                alone = self.eval("-m", model, *words)["total"]
                self.assertEqual(got["predicted_tokens"],
                                 alone["predicted_tokens"])
                self.assertAlmostEqual(got[key] / alone["perplexity"], 1, 5)

    def test_heads(self):
        """Another choice of heads, against models that were made so."""
        words = ["-m", "chars", "text.txt", "-c", 16]
        own = self.eval(*words)["total"]["nats"]
        self.assertEqual(self.eval(*words, "--heads", "moh:1+1")["total"]
                         ["nats"], own)
        every = self.eval(*words, "--heads", "all")["total"]["nats"]
        first = self.eval(*words, "--heads", "static:1")["total"]["nats"]
        self.assertEqual(len({every, first}), 2)
        code, _, err = self.run_in(
            "train", "--data", "text.txt", "--out", "dense", "--steps", 9,
            "--context", 16, *TINY[:-4], "--heads", "all")
        self.assertEqual(code, 0, err)
        code, _, err = self.run_in(
            "upcycle", "-m", "dense", "--heads", "norm:0+1", "--out", "up",
            "--data", "text.txt")
        self.assertEqual(code, 0, err)
        dense = ["-m", "dense", "text.txt", "-c", 16]
        self.assertEqual(
            self.eval(*dense, "--heads", "norm:0+1")["total"]["nats"],
            self.eval("-m", "up", "text.txt", "-c", 16)["total"]["nats"])
        self.assertEqual(
            self.eval("-m", "up", "text.txt", "-c", 16, "--heads", "all")
            ["total"]["nats"], self.eval(*dense)["total"]["nats"])
        code, out, err = self.run_in("eval", *dense, "--heads", "moh:1+1")
        self.assertEqual((code, out), (2, ""))
        self.assertRegex(err, r"^moh eval: heads moh:1\+1 need a tensor "
                         r"'model\.layers\.0\.[a-z_.0-9]+' that the model "
                         r"does not have")
        self.assert_fails(
            ["eval", *words, "--heads", "moh:0+1"], 2, "moh eval: heads "
            "moh:0+1: the number of shared heads must stay as the routers "
            "were trained, 1; only K of S+K can change (see 'moh eval "
            "--help')")
        code, _, err = self.run_in("eval", *dense, "--heads", "half")
        self.assertEqual(code, 2, err)

    def test_bad_questions(self):
        good = '{"question": "ice is", "choices": ["a", "b"], "answer": 0}'
        for line, message in [
            ('{"question": ', "the line, line 1, column 13: not valid JSON"),
            ("[3]", "a question must be an object"),
            ("{}", 'there is no text "question" or "context"'),
            ('{"question": 3}', 'there is no text "question" or "context"'),
            ('{"question": "a", "context": 3}',
             'there is no text "question" or "context"'),
            ('{"question": "a", "choices": ["a"], "answer": 0}',
             '"choices" must be a list of 2 to 64 texts'),
            ('{"question": "a", "choices": ["a", 3], "answer": 0}',
             "a choice must be a text that is not empty"),
            ('{"question": "a", "choices": ["a", ""], "answer": 0}',
             "a choice must be a text that is not empty"),
            ('{"question": "a", "choices": ["a", "b"], "answer": 2}',
             '"answer" must be the index or the label of a choice'),
            ('{"question": "a", "choices": ["a", "b"], "answer": -1}',
             '"answer" must be the index or the label of a choice'),
            ('{"question": "a", "choices": ["a", "b"]}',
             '"answer" must be the index or the label of a choice'),
            ('{"question": "a", "choices": ["a", "b"], "answer": "C"}',
             '"answer" names none of the choices'),
            ('{"question": "", "choices": ["a", "b"], "answer": 0}',
             "a question without a text before its answers, for a tokenizer "
             "that puts no token in front"),
            ('{"question": "a", "choices": ["%s", "b"], "answer": 0}'
             % ("ice " * 90), "an answer that is too long for the model"),
        ]:
            self.write("bad.jsonl", f"{good}\n\n{line}\n")
            got, out, err = self.run_in("eval", "-m", "words", "--choices",
                                        "bad.jsonl")
            self.assertEqual((got, out), (3, ""), err)
            self.assertIn(f"moh eval: bad.jsonl: line 3: {message}", err)
        self.write("bad.jsonl", "\n")
        self.assert_fails("eval -m words --choices bad.jsonl", 3,
                          "moh eval: bad.jsonl: no question in it")
        tail = " (see 'moh eval --help')"
        self.assert_fails("eval -m words --each text.txt", 2,
                          "moh eval: --each needs --choices" + tail)
        self.assert_fails("eval -m words --no-blank text.txt", 2,
                          "moh eval: --no-blank needs --choices" + tail)
        self.assert_fails("eval -m words --choices -c8 text.txt", 2,
                          "moh eval: --choices and options of windows "
                          "exclude each other" + tail)

    def test_usage(self):
        self.write("short.txt", "the")
        tail = " (see 'moh eval --help')"
        for words, code, message in [
            ("", 2, "a FILE is missing" + tail),
            ("none.txt", 1, "cannot open 'none.txt': No such file or "
             "directory"),
            ("short.txt", 3, "short.txt: no text of 2 tokens or more"),
            ("text.txt --context 81", 2, "a context of 81 tokens; "
             "the model reads 1 to 80" + tail),
            ("text.txt -c8 --stride 9", 2, "a stride of 9 tokens; "
             "it must lie between 1 and the context, 8" + tail),
        ]:
            self.assert_fails(f"eval -m words {words}", code,
                              f"moh eval: {message}")

    def test_progress(self):
        """On a terminal, and nothing of it stays."""
        main_end, terminal = pty.openpty()
        run = subprocess.Popen(
            [MOH, "eval", "-m", "chars", "text.txt", "--stride", "1"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=terminal)
        out, _ = run.communicate(timeout=60)
        os.close(terminal)
        shown = b""
        try:
            while True:
                more = os.read(main_end, 4096)
                if not more:
                    break
                shown += more
        except OSError:
            pass  # the end, on Linux
        os.close(main_end)
        self.assertEqual(run.returncode, 0)
        self.assertIn(b" of 1,229 tokens, ", shown)
        self.assertTrue(shown.endswith(b"\r\033[K"))
        self.assertIn(b"1,229 tokens, 1,229 bytes: ", out)


if __name__ == "__main__":
    main()
