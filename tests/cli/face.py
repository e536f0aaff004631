"""Tests of what is made from the tables of options: help, man pages, and
completion for bash and zsh. Everything that --help shows must be there, and
the shells are asked as someone who presses TAB asks them.
"""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support import MOH, Case, main, moh

OPTION = re.compile(r"  (?:-(\w), |    )--([a-z0-9-]+)(.*)")
PRESETS = ["seed", "seed-train", "nano", "moh-xs", "moh-s", "moh-b"]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES",
            "EXIT STATUS", "ENVIRONMENT"]


def printed(*words):
    code, out, err = moh(*words)
    assert (code, err) == (0, ""), (words, code, err)
    return out


def command_names():
    text = printed("--help").split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in text.splitlines()]


def help_options(command):
    """(letter or None, name, the text after it, blanks made one)."""
    found = []
    for line in printed("help", command).splitlines():
        match = OPTION.match(line)
        if match:
            found.append(list(match.groups()))
        elif found and line.startswith(" " * 28):
            found[-1][2] += " " + line
    return [(letter, name, " ".join(text.split()))
            for letter, name, text in found]


def words_of(options):
    """-d and --data of all of them."""
    return {f"--{name}" for _, name, _ in options} | {
        f"-{letter}" for letter, _, _ in options if letter}


COMMANDS = command_names()


class Help(Case):
    def test_overview(self):
        code, out, err = moh("--help")
        self.assertEqual((code, err), (0, ""))
        self.assert_text("help.txt", out)
        self.assertEqual(moh("help"), (0, out, ""))
        self.assertEqual(moh("-h"), (0, out, ""))

    def test_commands(self):
        for name in COMMANDS:
            code, out, err = moh("help", name)
            self.assertEqual((code, err), (0, ""))
            self.assert_text(f"help-{name}.txt", out)
            self.assertEqual(moh(name, "--help"), (0, out, ""))
            self.assertEqual(moh(name, "-h"), (0, out, ""))
            longest = max(map(len, out.splitlines()))
            self.assertLessEqual(longest, 79, name)


class Names(unittest.TestCase):
    def test_found(self):
        """That the tests below have something to look for."""
        self.assertIn("completion", COMMANDS)
        self.assertGreaterEqual(len(COMMANDS), 11)
        self.assertEqual(len(COMMANDS), len(set(COMMANDS)), "listed twice")
        options = help_options("train")
        self.assertGreater(len(options), 50)
        self.assertEqual(options[-1], ("h", "help", "this text"))
        self.assertIn((None, "freeze"), [o[:2] for o in options])


class ManPages(unittest.TestCase):
    def test_sections(self):
        for name in COMMANDS:
            page = printed("help", "--man", name)
            self.assertEqual(re.findall(r'(?m)^\.SH "(.*)"$', page),
                             SECTIONS + ["SEE ALSO"])
            self.assertIn(f"\n.TH MOH\\-{name.upper()} 1 ", page)
            self.assertIn("\\fBmoh\\fR(1)", page)
            self.assertNotIn(f"\\fBmoh\\-{name}\\fR(1)", page)
            self.assert_exits(page)
        page = printed("help", "--man")
        self.assertEqual(re.findall(r'(?m)^\.SH "(.*)"$', page), [
            "NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS",
            "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"])
        self.assert_exits(page)

    def assert_exits(self, page):
        codes = page.split('.SH "EXIT STATUS"')[1].split(".SH")[0]
        self.assertEqual(re.findall(r"\\fB(\d+)\\fR", codes),
                         ["0", "1", "2", "3", "130"])
        for word in ("MOH_CPU", "NO_COLOR"):
            self.assertIn(f"\\fB{word}\\fR", page)

    def test_everything_is_there(self):
        overview = printed("help", "--man")
        for name in COMMANDS:
            self.assertIn(f"\n.TP\n\\fB{name}\\fR\n", overview)
            self.assertIn(f"\\fBmoh\\-{name}\\fR(1)", overview)
            page = printed("help", "--man", name)
            for letter, option, _ in help_options(name):
                if option == "help":
                    self.assertIn("\\fB\\-h, \\-\\-help\\fR\n", page)
                    continue
                tag = "\\fB\\-\\-" + option.replace("-", "\\-") + "\\fR"
                if letter:
                    tag = f"\\fB\\-{letter}\\fR, {tag}"
                self.assertRegex(page, f"(?m)^{re.escape(tag)}( |$)")

    def test_lines_are_no_requests(self):
        known = r"\.(TH|SH|SS|TP|PP|nf|fi|\\\")"
        for name in [None, *COMMANDS]:
            page = printed("help", "--man", *([name] if name else []))
            for line in page.splitlines():
                if line[:1] in (".", "'"):
                    self.assertRegex(line, f"^{known}")

    @unittest.skipUnless(shutil.which("groff"), "groff is not there")
    def test_shown(self):
        """Set by groff without a warning, the text is that of --help."""
        for name in COMMANDS:
            text = self.typeset(printed("help", "--man", name))
            for _, option, words in help_options(name):
                if option != "help":
                    self.assertIn(f"--{option} {words} ", text)
            plain = printed("help", name)
            self.assertIn(" ".join(plain.split("\n\n")[1].split()), text)
            self.assertIn(" ".join(plain.split("Examples:")[1].split()),
                          text)
        self.assertIn("final/ the model at the end",
                      self.typeset(printed("help", "--man")))

    def typeset(self, page):
        """The words of a page; groff may begin no new line within one."""
        done = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww", "-P-cbu", "-rHY=0",
             "-rLL=2000n"],
            input=page.encode(), capture_output=True, check=True)
        self.assertEqual(done.stderr.decode(), "")
        return " ".join(done.stdout.decode().split()) + " "

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not there")
    def test_mandoc(self):
        for name in [None, *COMMANDS]:
            page = printed("help", "--man", *([name] if name else []))
            done = subprocess.run(
                ["mandoc", "-Tlint", "-Wwarning"], input=page.encode(),
                capture_output=True, check=False)
            # Pages without a date are the same whenever they are built.
            found = [line for line in done.stdout.decode().splitlines()
                     if "missing date" not in line]
            self.assertEqual(found, [])

    def test_unknown(self):
        self.assertEqual(moh("help", "--man", "trian"), (
            2, "", "moh help: there is no command 'trian'; did you mean "
            "'train'? (see 'moh help --help')\n"))

    def test_built(self):
        """The build has written the pages of all commands."""
        folder = pathlib.Path(MOH).parent / "man" / "man1"
        if not (folder / "moh.1").is_file():
            self.skipTest("no pages were built beside the program")
        self.assertEqual((folder / "moh.1").read_text(),
                         printed("help", "--man"))
        for name in COMMANDS:
            self.assertEqual((folder / f"moh-{name}.1").read_text(),
                             printed("help", "--man", name))


class Completion(Case):
    """A folder with files and directories to be completed."""

    shell = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not shutil.which(cls.shell):
            raise unittest.SkipTest(f"{cls.shell} is not there")
        cls.script = cls.write("script", printed("completion", cls.shell))
        (cls.folder / "runs").mkdir()
        cls.write("runs/one.txt", "")
        cls.write("two words.txt", "")
        cls.files = ["facts.json", "runs", "script", "talk.json",
                     "two words.txt"]

    def run_shell(self, *words):
        done = subprocess.run(
            [self.shell, *words], cwd=self.folder, timeout=60,
            capture_output=True, check=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C"})
        self.assertEqual(done.stderr.decode(), "")
        return done.stdout.decode()


class Bash(Completion):
    shell = "bash"

    def ask(self, *words):
        """What TAB offers behind these words; the last may be empty."""
        out = self.run_shell(
            "--norc", "-c",
            'source ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            '_moh; printf "%s\\n" "${COMPREPLY[@]}"', "bash", "moh", *words)
        return sorted(line for line in out.splitlines() if line)

    def test_commands(self):
        self.assertEqual(self.ask(""), sorted(
            [*COMMANDS, "-h", "--help", "--version"]))
        self.assertEqual(self.ask("t"), ["tokenize", "train", "tune"])
        self.assertEqual(self.ask("help", ""), sorted(COMMANDS))
        self.assertEqual(self.ask("help", "--man", "tr"), ["train"])
        self.assertEqual(self.ask("nonsense", ""), [])
        self.assertEqual(self.ask("completion", ""), ["bash", "zsh"])

    def test_options(self):
        for name in COMMANDS:
            options = words_of(help_options(name))
            self.assertEqual(self.ask(name, "-"), sorted(options))
        self.assertEqual(self.ask("train", "--data", "x", "--ch"),
                         ["--checkpoint-every"])

    def test_choices(self):
        choices = ["cope", "learned", "none", "rope"]
        self.assertEqual(self.ask("train", "--position", ""), choices)
        self.assertEqual(self.ask("train", "--position", "r"), ["rope"])
        self.assertEqual(self.ask("train", "--position", "="), choices)
        self.assertEqual(self.ask("train", "--position", "=", "l"),
                         ["learned"])
        self.assertEqual(self.ask("train", "--position=n"),
                         ["--position=none"])
        for name in COMMANDS:
            for letter, option, text in help_options(name):
                match = re.match(r"[a-z]+(\|[a-z]+)+ ", text)
                if match:
                    self.assertEqual(
                        self.ask(name, f"--{option}", ""),
                        sorted(match[0].strip().split("|")))

    def test_presets(self):
        for name in ("train", "inspect", "bench"):
            for option in ("-p", "--preset"):
                self.assertEqual(self.ask(name, option, ""),
                                 sorted(PRESETS))

    def test_files(self):
        for words in [("train", "-d"), ("train", "--data"),
                      ("tune", "--mix"), ("data",), ("eval",),
                      ("tokenize", "--train")]:
            self.assertEqual(self.ask(*words, ""), self.files)
        self.assertEqual(self.ask("train", "-d", "f"), ["facts.json"])
        self.assertEqual(self.ask("train", "-d", "runs/"), ["runs/one.txt"])
        for word in ("'two w", '"two w', "two\\ w"):
            self.assertEqual(self.ask("train", "-d", word),
                             ["two words.txt"])
        for words in [("train", "--out"), ("generate", "-m"),
                      ("data", "--check")]:
            self.assertEqual(self.ask(*words, ""), ["runs"])
        self.assertEqual(self.ask("train", "--extra-vocab", "a,ta"),
                         ["a,talk.json"])
        self.assertEqual(self.ask("tune", "--mix", "facts.json", ":", ""),
                         [])

    def test_nothing_for_numbers(self):
        for option in ("--epochs", "--lr", "-s", "--heads"):
            self.assertEqual(self.ask("train", option, ""), [])
        self.assertEqual(self.ask("train", ""), [])
        self.assertEqual(self.ask("generate", "--verify", ""), [])

    def test_without_a_choice(self):
        self.assertIn("complete -F _moh moh",
                      self.run_shell("--norc", "-c",
                                     "source ./script; complete -p moh"))


# Types each line, TAB, and a key that prints a mark and takes the line away;
# gives what came until then.
ASK_ZSH = r"""
zmodload zsh/zpty
zpty z 'zsh -f -i'
zpty -w z 'PS1= PS2= RPS1=; stty cols 200; autoload -U compinit;' \
  'compinit -u -D; source ./script; LISTMAX=10000;' \
  'zstyle ":completion:*" list-grouped no;' \
  'zstyle ":completion:*" verbose no; bindkey "^I" list-choices;' \
  'mark() { BUFFER=; zle -Rc; zle -I; print -r - "<"END">" };' \
  'zle -N mark; bindkey "^G" mark; print -r - "<"READY">"'
zpty -r z text '*<READY>*'
for line; do
  zpty -w -n z "$line"$'\t\a'
  zpty -r z text '*<END>*'
  print -r -- "$text"
done
zpty -d z
"""


class Zsh(Completion):
    shell = "zsh"

    def ask(self, *lines):
        """What TAB lists below each line, before the cursor goes up again;
        blanks in names as _."""
        out = self.run_shell("-f", "-c", ASK_ZSH, "zsh", *lines)
        answers = []
        for part in out.split("<END>")[:-1]:
            lists = re.findall(
                r"\x1b\[J\s*([^\x1b\s][^\x1b]*)\x1b\[\d*A", part)
            self.assertLessEqual(len(lists), 1, part)
            answers.append(sorted(
                "".join(lists).replace("\\ ", "_").split()))
        return answers

    def test_syntax(self):
        self.run_shell("-n", "./script")

    def test_asked(self):
        files = ["facts.json", "runs/", "script", "talk.json",
                 "two_words.txt"]
        positions = ["cope", "learned", "none", "rope"]
        expected = {
            "moh ": sorted(COMMANDS),
            "moh help ": sorted(COMMANDS),
            "moh completion ": ["bash", "zsh"],
            "moh train --position ": positions,
            "moh train --position=": positions,
            "moh inspect -p ": sorted(PRESETS),
            "moh train -d ": files,
            "moh train --extra-vocab a,": files,
            "moh data --out shards ": files,
            "moh data --out ": ["runs/"],
            "moh train --epochs ": [],
            "moh eval --s": ["--stride"],
        }
        self.assertEqual(dict(zip(expected, self.ask(*expected))), expected)

    def test_everything_is_there(self):
        script = self.script.read_text()
        option = re.compile(
            r"(?m)^        (?:'\*'|'\([^)]*\)')?(?:\{-(\w)\+?,)?"
            r"--([a-z0-9-]+)")
        for name in COMMANDS:
            self.assertIn(f"    '{name}:", script)
            part = script.split(f"\n    {name})\n")[1].split(";;\n")[0]
            self.assertEqual(
                [(a or None, b) for a, b in option.findall(part)],
                [(a, b) for a, b, _ in help_options(name)])


if __name__ == "__main__":
    main()
