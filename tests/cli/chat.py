"""Tests of moh chat: as a script uses it, and as a person at a terminal.

Usage: chat.py PATH_OF_MOH [--update] [TEST]...
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import termios
import time
import unittest

from support import MOH, TINY, Case, main, moh, seal

PROMPT = b"User: "


def has_editing():
    listing = subprocess.run(["ldd", MOH], capture_output=True).stdout
    return b"libedit" in listing


class Chat(Case):
    """A tuned model that knows two answers."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for words in [
            ["train", "--data", "facts.json", "--extra-vocab=talk.json",
             "--out", "run", "--epochs", 60, "--batch", 3, *TINY],
            ["tune", "--model", "run", "--data", "talk.json", "--out",
             "tuned", "--epochs", 150, "--lr", "0.01"],
        ]:
            code, _, err = moh(*words, cwd=cls.folder)
            assert code == 0, err

    def chat(self, *words, stdin, code=0):
        got, out, err = self.run_in("chat", "-m", "tuned", *words,
                                    stdin=stdin)
        self.assertEqual(got, code, err)
        return out, err


class Script(Chat):
    def test_answers(self):
        self.assertEqual(self.chat(stdin=""), ("", ""))
        for end in ("exit", "EXIT", "eXit ", "/exit", "/quit"):
            self.assertEqual(self.chat(stdin=f"{end}\nis ice hot?\n"),
                             ("", ""))
        asked = "is ice hot?\n\n  is the sea wet?\n"
        answers = "ice is cold\nthe sea is wet\n"
        self.assertEqual(self.chat(stdin=asked), (answers, ""))
        # The last line may lack its newline.
        self.assertEqual(self.chat(stdin=asked[:-1] + "\n/exit"),
                         (answers, ""))
        self.assertEqual(self.chat(stdin="is ice \\\nhot?\n")[0],
                         "ice is cold\n")
        self.assertEqual(self.chat(stdin="is ice hot?\\")[0],
                         "ice is cold\n")

    def test_special_text_is_text(self):
        """What is typed never becomes an end token."""
        out, err = self.chat("-n1", stdin="</s> is ice hot?\n")
        self.assertRegex(err, r"^\(\d of \d+ tokens (is|are) not in the "
                         r"vocabulary\)\n$")

    def test_too_long(self):
        out, err = self.chat("-n3", stdin="ice " * 90 + "\nis ice hot?\n")
        self.assertEqual(err, "(too long: 94 tokens, the model holds 80)\n")
        self.assertEqual(out, "ice is cold\n")
        _, err = self.chat("-n3", "--overflow=slide", stdin="ice " * 90)
        self.assertEqual(err, "(the model is full: the oldest 54 tokens were "
                         "dropped, and so on)\n")

    def test_commands(self):
        out, err = self.chat(stdin="/help\n")
        self.assertEqual(err, "")
        for name in ("reset", "retry", "set", "save", "load", "stats"):
            self.assertRegex(out, rf"(?m)^  /{name}\b.*  [a-z]")
        for line, message in [
            ("/what", "there is no command /what; /help lists them"),
            ("/", "there is no command /; /help lists them"),
            ("/reset all", "nothing follows /reset"),
            ("/save", "/save needs FILE"),
            ("/set", "/set needs NAME VALUE"),
            ("/set top 3", "there is no setting 'top'"),
            ("/set model x", "there is no setting 'model'"),
            ("/set stop x", "there is no setting 'stop'"),
            ("/set top-p 2", "--top-p must lie between 0 and 1, not '2'"),
            ("/set top-p", "--top-p needs a number, not ''"),
            ("/retry", "nothing was asked yet"),
            ("/load none", "cannot open 'none': No such file or directory"),
        ]:
            self.assertEqual(self.chat(stdin=f"{line}\n"),
                             ("", f"({message})\n"))

    def test_settings(self):
        out, err = self.chat(
            "--system", "the sea", "-k3",
            stdin="/set temperature 0.5\n/set turns=2\n/set seed 7\n"
            "/set overflow slide\n/settings\n")
        for line in ("temperature     0.5", "turns           2",
                     "top-k           3", "top-p           (1, all)",
                     "seed            7", "overflow        slide",
                     "/system the sea"):
            self.assertIn(line + "\n", out)
        self.assertRegex(err, r"^\(seed \d+\)\n$")

    def test_seeds(self):
        words = ["-T3", "-n8", "-s5"]
        asked = "is ice hot?\n/retry\n/retry\n/retry\n"
        out, err = self.chat(*words, stdin=asked)
        self.assertEqual(err, "")
        self.assertGreater(len(set(out.splitlines())), 1)
        self.assertEqual(self.chat(*words, "-t2", stdin=asked)[0], out)
        again = "is ice hot?\n/set seed 5\n/retry\n"
        lines = self.chat(*words, stdin=again)[0].splitlines()
        self.assertEqual(lines[0], lines[1])
        out, err = self.chat("-T3", "-n8", stdin=asked)
        seed = re.fullmatch(r"\(seed (\d+)\)\n", err)[1]
        self.assertEqual(self.chat("-T3", "-n8", "-s", seed,
                                   stdin=asked)[0], out)

    def test_beams(self):
        asked = "is ice hot?\nis the sea wet?\n"
        answers = "ice is cold\nthe sea is wet\n"
        self.assertEqual(self.chat("--beam=3", stdin=asked), (answers, ""))
        self.assertEqual(self.chat("--beam=1", "--turns=2", stdin=asked)[0],
                         self.chat("--turns=2", stdin=asked)[0])
        out, err = self.chat(stdin="/set beam 2\n/set beam-max 4\n" + asked +
                             "/set top-k 3\n/set beam 5\n/set beam 0\n"
                             "/set top-k 3\n/set top-k 0\n/set beam 4\n"
                             "is ice hot?\n")
        self.assertEqual(out, answers + "ice is cold\n")
        self.assertEqual(
            err, "(--beam and --top-k exclude each other)\n"
            "(--beam 5 does not lie between --beam-min 1 and --beam-max 4)\n")
        self.assert_fails(["chat", "-m", "tuned", "--beam=2", "--seed=1"], 2,
                          "moh chat: --beam and --seed exclude each other "
                          "(see 'moh chat --help')")

    def test_save_and_load(self):
        self.chat(stdin="is ice hot?\n/save talk1.json\nis the sea wet?\n"
                  "/system hot\n/save talk2.json\n/reset\n"
                  "/save talk3.json\n")
        user = {"role": "user", "content": "is ice hot?"}
        answer = {"role": "assistant", "content": "ice is cold"}
        saved = [json.loads((self.folder / f"talk{i}.json").read_text())
                 for i in (1, 2, 3)]
        self.assertEqual(saved[0], {"messages": [user, answer]})
        self.assertEqual([m["role"] for m in saved[1]["messages"]],
                         ["system"] + 2 * ["user", "assistant"])
        self.assertEqual(len(saved[2]["messages"]), 1)
        out, err = self.chat(stdin="/load talk2.json\n/save talk4.json\n"
                             "/settings\n/retry\n")
        self.assertEqual(err, "")
        self.assertIn("2 questions and answers\n", out)
        self.assertIn("/system hot\n", out)
        self.assertEqual(json.loads((self.folder / "talk4.json")
                                    .read_text()), saved[1])
        for content, message in [
            ("[]", 'there is no array "messages"'),
            ('{"messages": 3}', 'there is no array "messages"'),
            ('{"messages": [{"role": "user", "content": "a"}]}',
             "message 1: "),
            ('{"messages": [{"role": "assistant", "content": "a"}]}',
             'message 0: the role is not "user"'),
            ('{"messages": [{"role": "user", "content": 3}]}',
             "message 0: "),
            ('{"messages": ', "line 1, column 13: not valid JSON"),
        ]:
            self.write("bad.json", content)
            _, err = self.chat(stdin="is ice hot?\n/load bad.json\n"
                               "/save same.json\n")
            self.assertTrue(err.startswith("(bad.json"), err)
            self.assertIn(message, err)
            same = json.loads((self.folder / "same.json").read_text())
            self.assertEqual(same, saved[0])

    def test_save_keeps_others(self):
        self.write("mine.txt", "mine")
        for _ in range(2):
            _, err = self.chat(stdin="is ice hot?\n/save mine.txt\n"
                               "/save twice.json\n")
            self.assertIn("(mine.txt is there already, ", err)
            self.assertNotIn("twice", err)
        self.assertEqual((self.folder / "mine.txt").read_text(), "mine")

    def test_turns(self):
        """With --turns the model reads what was said, and no word of it
        twice."""
        asked = "is ice hot?\n/stats\nis ice hot?\n/stats\n"
        for turns, held in ((0, 7), (1, 7 + 4 + 7)):
            out, _ = self.chat("--turns", turns, "-n4", stdin=asked)
            read, context = (re.findall(rf"(?m)^{word} +(\d+) ", out)
                             for word in ("read", "context"))
            # User : is ice hot ? Assistant : ice is cold </s>
            self.assertEqual(int(read[0]), 8)
            if turns == 0:
                self.assertEqual(int(read[1]), 8 + 1)
            else:
                # The answer stands already but for its end token.
                self.assertEqual(int(read[1]), 8 + 1 + 8)
        _, err = self.chat("--turns", 9, "-n4", stdin="is ice hot?\n" * 9)
        self.assertIn("(the model is full: it sees 4 of the last 5 turns)\n",
                      err)

    def test_terminated(self):
        run = subprocess.Popen([MOH, "chat", "-m", "tuned"],
                               cwd=self.folder, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        self.addCleanup(run.kill)
        run.stdin.write(b"is ice hot?\n")
        run.stdin.flush()
        self.assertEqual(run.stdout.readline(), b"ice is cold\n")
        run.send_signal(signal.SIGTERM)
        out, err = run.communicate(timeout=60)
        self.assertEqual((run.returncode, out, err), (130, b"", b""))


TEMPLATE = """{%- for m in messages %}
{%- if m.role == 'system' and m.content == 'no' %}
    {{- raise_exception('no system here') }}
{%- endif %}
{{- m.role | capitalize + ': ' + m.content -}}
{{ eos_token if m.role == 'assistant' else '' }} {% endfor -%}
{% if add_generation_prompt %}Assistant:{% endif %}"""


class Template(Chat):
    """A model with a chat template of its own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make("own", TEMPLATE)

    @classmethod
    def make(cls, name, template):
        source = cls.folder / "tuned/final"
        if not source.exists():
            source = cls.folder / "tuned"
        shutil.copytree(source, cls.folder / name)
        path = cls.folder / name / "tokenizer_config.json"
        config = json.loads(path.read_text())
        config["chat_template"] = template
        path.write_text(json.dumps(config))
        seal(cls.folder / name)

    def ask(self, *words, stdin, model="own"):
        return self.run_in("chat", "-m", model, *words, stdin=stdin)

    def read(self, err):
        """The ids that --show-prompt shows, and the special tokens."""
        lines = [line.split("\t") for line in err.splitlines()
                 if "\t" in line]
        return ([int(line[0]) for line in lines],
                [line[1] for line in lines if len(line) == 3])

    def test_conversation(self):
        asked = "is ice hot?\nis the sea wet?\n"
        code, out, err = self.ask("--show-prompt", stdin=asked)
        self.assertEqual((code, out.splitlines()[0]), (0, "ice is cold"))
        first, second = err.split("(the prompt, ")[1:]
        self.assertEqual(first.split()[0], "8")
        ids, special = self.read(first)
        self.assertEqual((len(ids), special), (8, []))
        more, special = self.read(second)
        # What was said comes before, each answer with its end.
        self.assertEqual(special, ['"</s>"'])
        self.assertEqual(more[:8], ids)
        self.assertEqual(second.split()[0], str(8 + 3 + 1 + 9))
        # One question by itself; and no word is read twice.
        code, out, err = self.ask("--turns=0", "--show-prompt", stdin=asked)
        self.assertEqual((code, out), (0, "ice is cold\nthe sea is wet\n"))
        _, out, _ = self.ask(stdin="is ice hot?\nis ice hot?\n/stats\n")
        self.assertIn(f"read       {8 + 1 + 8} tokens", out)

    def test_content_is_no_special_token(self):
        words = ("-n1", "--show-prompt", "--system", "</s> ice")
        code, _, err = self.ask(*words, stdin="</s> is ice hot?\n")
        self.assertEqual(code, 0, err)
        self.assertNotIn('"</s>"', self.read(err)[1])
        self.assertIn("not in the vocabulary", err)

    def test_generate(self):
        code, out, err = self.run_in("generate", "-m", "own", "--chat",
                                     "--show-prompt", "is ice hot?")
        self.assertEqual((code, out.strip()), (0, "ice is cold"))
        self.assertEqual(len(self.read(err)[0]), 8)
        self.assert_fails(["generate", "-m", "tuned", "--chat", "ice"], 2,
                          "moh generate: --chat: the model has no chat "
                          "template of its own; moh chat has a form for such "
                          "models (see 'moh generate --help')")
        self.assert_fails(["generate", "-m", "own", "--system=x", "ice"], 2,
                          "moh generate: --system needs --chat "
                          "(see 'moh generate --help')")

    def test_refusals(self):
        code, out, err = self.ask("--system=no", stdin="is ice hot?\n")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("the chat template says: no system here", err)
        for name, template, message in [
            ("macro", "a\n{% macro x() %}", "line 2, column 4: the block "
             "'macro' is not known here"),
            ("endless", "{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}"
             "{% endfor %}{% endfor %}", "takes more than"),
            ("silent", "{# nothing #}", "writes nothing"),
        ]:
            self.make(name, template)
            code, out, err = self.ask(stdin="is ice hot?\n", model=name)
            self.assertEqual((code, out), (3, ""), err)
            self.assertIn("the model's chat template", err)
            self.assertIn(message, err)

    def test_is_kept(self):
        code, _, err = self.run_in("tune", "-m", "own", "--data",
                                   "talk.json", "--out", "again", "--steps",
                                   1)
        self.assertEqual(code, 0, err)
        [path] = (self.folder / "again/final").glob("tokenizer_config.json")
        self.assertEqual(json.loads(path.read_text())["chat_template"],
                         TEMPLATE)


class Terminal(Chat):
    def open(self, *words, model="tuned", **env):
        """moh chat on a new terminal, up to its first prompt."""
        env = {"PATH": os.environ["PATH"], "TERM": "xterm",
               "LC_ALL": "C.UTF-8", "HOME": str(self.folder), **env}
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execve(MOH, [MOH, "chat", "-m", model, *words], env)
        self.pid = pid
        self.seen = b""
        self.addCleanup(self.close, pid, self.fd)
        self.read_prompt()

    def close(self, pid, fd):
        os.close(fd)
        if self.pid == pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def read_more(self, deadline, longest=60):
        left = deadline - time.monotonic()
        self.assertGreater(left, 0, f"nothing came after {self.seen}")
        if select.select([self.fd], [], [], min(left, longest))[0]:
            try:
                return os.read(self.fd, 4096)
            except OSError:  # the other end is closed
                return b""
        return None

    def read_to(self, text):
        """What comes up to a text, and the text."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            more = self.read_more(deadline)
            self.assertNotEqual(more, b"", f"it ended after {self.seen}")
            self.seen += more or b""
        end = self.seen.index(text) + len(text)
        before, self.seen = self.seen[:end], self.seen[end:]
        return before

    def read_prompt(self):
        """Up to the prompt, and until keys come through one by one."""
        self.read_to(PROMPT)
        deadline = time.monotonic() + 60
        while has_editing() and termios.tcgetattr(self.fd)[3] & \
                termios.ICANON:
            more = self.read_more(deadline, 0.005)
            self.assertNotEqual(more, b"", f"it ended after {self.seen}")
            self.seen += more or b""

    def type(self, text):
        os.write(self.fd, text)

    def ended(self):
        """The exit code, and what came last."""
        deadline = time.monotonic() + 60
        while (more := self.read_more(deadline)) != b"":
            self.seen += more or b""
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        return os.waitstatus_to_exitcode(status), self.seen

    def test_answer_and_end(self):
        self.open()
        self.type(b"is ice hot?\n")
        self.read_to(b"ice is cold\r\n")
        self.read_prompt()
        self.type(b"\x04")
        code, last = self.ended()
        self.assertEqual((code, last[-2:]), (0, b"\r\n"))

    def test_exit(self):
        self.open()
        self.type(b"Exit\n")
        self.assertEqual(self.ended()[0], 0)

    def test_interrupt_at_the_prompt(self):
        self.open()
        self.type(b"is the sea wet? no")
        self.read_to(b"no")
        self.type(b"\x03")
        self.read_prompt()
        self.type(b"is ice hot?\n")
        self.read_to(b"ice is cold\r\n")
        self.read_prompt()
        self.type(b"\x03")
        if not has_editing():
            self.read_prompt()
            self.type(b"\x03")
        self.assertEqual(self.ended()[0], 130)

    def test_interrupt_of_an_answer(self):
        # A model that knows no end; the first slide is said when it runs.
        self.write("text.txt", "to be or not to be\n" * 40)
        code, _, err = self.run_in(
            "train", "--data", "text.txt", "--out", "endless", "--steps", 1,
            "--context", 16, *TINY)
        self.assertEqual(code, 0, err)
        self.open("--overflow=slide", model="endless")
        self.type(b"to be\n")
        self.read_to(b"dropped, and so on)\r\n")
        self.type(b"\x03")
        self.read_to(b"\r\n")
        self.read_prompt()
        self.type(b"/stats\n")
        self.read_to(b"written")
        self.read_prompt()
        self.type(b"exit\n")
        self.assertEqual(self.ended()[0], 0)

    def test_terminated_at_the_prompt(self):
        self.open()
        os.kill(self.pid, signal.SIGTERM)
        self.assertEqual(self.ended()[0], 130)

    @unittest.skipUnless(has_editing(), "built without libedit")
    def test_editing(self):
        self.open()
        # Two to the left, a letter; to the beginning, a word; UTF-8 gone
        # again with one backspace.
        self.type(b"ice ht?\x1b[D\x1b[Do\x01is \x05\xc3\xa9\x7f\n")
        self.read_to(b"ice is cold\r\n")
        self.read_to(PROMPT)
        # The line before, from the history.
        self.type(b"\x1b[A\n")
        self.read_to(b"ice is cold\r\n")

    @unittest.skipUnless(has_editing(), "built without libedit")
    def test_history(self):
        state = self.folder / "state"
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        for last in (b"is ice hot?\n", b"\x1b[A\n"):
            self.open(XDG_STATE_HOME=str(state))
            self.type(last)
            self.read_to(b"ice is cold\r\n")
            self.read_prompt()
            self.type(b"\x04")
            self.assertEqual(self.ended()[0], 0)
            mode = (state / "moh/history").stat().st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o600)
        (state / "moh/history").unlink()
        self.open("--no-history", XDG_STATE_HOME=str(state))
        self.type(b"is ice hot?\n")
        self.read_to(b"ice is cold\r\n")
        self.read_prompt()
        self.type(b"exit\n")
        self.assertEqual(self.ended()[0], 0)
        self.assertFalse((state / "moh/history").exists())
        self.open()
        self.type(b"exit\n")
        self.assertEqual(self.ended()[0], 0)
        self.assertTrue((self.folder / ".local/state/moh/history").exists())


if __name__ == "__main__":
    main()
