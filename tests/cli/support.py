"""What the tests of the program share: running it, and a folder with data.

Each file of tests is a program: FILE PATH_OF_MOH [--update] [TEST]...;
--update rewrites expected/*.txt. Needs nothing but the standard library.
"""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
if len(sys.argv) < 2:
    sys.exit(f"usage: {sys.argv[0]} PATH_OF_MOH [--update] [TEST]...")
MOH = os.path.abspath(sys.argv.pop(1))
UPDATE = "--update" in sys.argv
if UPDATE:
    sys.argv.remove("--update")
TINY = (
    "--layers 1 --d-model 16 --d-ff 16 --n-heads 2 --kv-heads 1 "
    "--heads moh:1+1 --threads 1"
).split()
FACTS = ["the sun is hot </s>", "ice is cold </s>", "the sea is wet </s>"]
TALK = ["User: is ice hot? Assistant: ice is cold </s>",
        "User: is the sea wet? Assistant: the sea is wet </s>"]


def moh(*words, stdin="", **more):
    """Runs moh; gives (exit code, stdout, stderr)."""
    env = {**os.environ, "LC_ALL": "C", **more.pop("env", {})}
    done = subprocess.run([MOH, *map(str, words)], input=stdin.encode(),
                          capture_output=True, env=env, timeout=300, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def sealed(files, version=1):
    """A manifest's text with its own hash in it."""
    text = ('{\n  "format_version": %s,\n  "files": %s,\n'
            '  "manifest_sha256": "%s"\n}\n')
    if not isinstance(files, str):
        files = json.dumps(files)
    zeros = (text % (version, files, "0" * 64)).encode()
    return text % (version, files, hashlib.sha256(zeros).hexdigest())


def seal(folder):
    """A true manifest over what is in a folder now."""
    files = {path.name: {
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir()) if path.name != "manifest.json"}
    (folder / "manifest.json").write_text(sealed(files))


def patch(folder, name, x):
    """Another first number of a tensor of a model, in f32."""
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    size = struct.unpack_from("<Q", raw)[0]
    at = json.loads(raw[8:8 + size])[name]["data_offsets"][0]
    struct.pack_into("<f", raw, 8 + size + at, x)
    path.write_bytes(raw)
    seal(folder)


class Case(unittest.TestCase):
    """A temporary folder with data, shared by the tests of a class."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="moh-cli-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.facts = cls.write("facts.json", json.dumps(FACTS))
        cls.talk = cls.write("talk.json", json.dumps(TALK))

    @classmethod
    def write(cls, name, content):
        path = cls.folder / name
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    def run_in(self, *words, **more):
        return moh(*words, cwd=self.folder, **more)

    def assert_fails(self, words, code, message):
        """The exit code, the whole of stderr, and nothing on stdout."""
        words = words.split() if isinstance(words, str) else words
        got, out, err = self.run_in(*words)
        self.assertEqual((got, out, err), (code, "", message + "\n"))

    def assert_text(self, name, text):
        path = HERE / "expected" / name
        if UPDATE:
            path.write_text(text)
        self.assertEqual(path.read_text(), text)


main = unittest.main
