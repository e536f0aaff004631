"""Tests of hostile input: cut, flipped, oversized and nonsensical files, with
true hashes, so that the sums do not stop them. Each must be refused with its
file and exit code 3, soon, in little memory, and nothing may be written.
"""

import hashlib
import json
import os
import resource
import shutil
import struct
import subprocess
import unittest

from support import MOH, TINY, Case, main, moh, seal, sealed

MEMORY = 1 << 30  # bytes of address space; a model here has 20 kB
HUGE = [-1, 0, 2 ** 31, 2 ** 40, 2 ** 62, 2 ** 63 - 1, 2 ** 63, 10 ** 40]
NO_NUMBER = ["x", None, [], {}, 1.5, True]


def has_sanitizer():
    with open(MOH, "rb") as program:
        return b"__asan_init" in program.read()


SANITIZER = has_sanitizer()


def limit():
    """An address sanitizer needs terabytes of addresses; it has a limit of
    its own."""
    if not SANITIZER:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Hostile(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        code, _, err = moh("train", "--data", "facts.json", "--out", "run",
                           "--steps", 1, *TINY, cwd=cls.folder)
        assert code == 0, err
        cls.good = cls.folder / "run/final"

    def setUp(self):
        self.bad = self.folder / "bad"
        shutil.rmtree(self.bad, ignore_errors=True)
        shutil.copytree(self.good, self.bad)

    def run_limited(self, words):
        env = {**os.environ, "ASAN_OPTIONS": "max_allocation_size_mb=256:"
               "allocator_may_return_null=1:" +
               os.environ.get("ASAN_OPTIONS", "")}
        done = subprocess.run([MOH, *words], cwd=self.folder, timeout=60,
                              capture_output=True, env=env,
                              stdin=subprocess.DEVNULL, preexec_fn=limit)
        return (done.returncode, done.stdout.decode(),
                done.stderr.decode(errors="replace"))

    def refused(self, words, where, what=""):
        """Exit code 3, one line that names the place, nothing written."""
        words = words.split() if isinstance(words, str) else words
        code, out, err = self.run_limited(words)
        self.assertEqual((code, out), (3, ""), f"{what}: {err}")
        self.assertRegex(err, rf"(?m)^moh {words[0]}: [^\n]*\n\Z", what)
        self.assertIn(where, err, what)
        self.assertFalse((self.folder / "out").exists(), what)

    def model_refused(self, where, what=""):
        """By one that only looks, and by one that would write."""
        self.refused("inspect --model bad", where, what)
        self.refused("tune --model bad --data facts.json --out out "
                     "--steps 1 -t1", where, what)


class Configs(Hostile):
    SIZES = ["vocab_size", "hidden_size", "intermediate_size",
             "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "head_dim", "max_position_embeddings"]
    REALS = ["rms_norm_eps", "initializer_range"]

    def change(self, key, value, *path):
        config = json.loads((self.good / "config.json").read_text())
        place = config
        for name in path:
            place = place[name]
        place[key] = value
        (self.bad / "config.json").write_text(json.dumps(config))
        seal(self.bad)

    def test_sizes(self):
        for key in self.SIZES:
            for value in HUGE + NO_NUMBER:
                self.change(key, value)
                self.refused("inspect --model bad", "bad/config.json",
                             f"{key} {value}")

    def test_limits(self):
        """The largest values that are valid alone do not fit the tensors,
        which is seen before memory is taken for them."""
        for key, value in [("vocab_size", 1 << 24),
                           ("hidden_size", 1 << 20),
                           ("intermediate_size", 1 << 22),
                           ("num_hidden_layers", 1 << 10)]:
            self.change(key, value)
            self.model_refused("bad/model.safetensors: the tensor", key)

    def test_heads(self):
        for key in ("n_shared", "k"):
            for value in HUGE[:1] + HUGE[2:] + NO_NUMBER:
                self.change(key, value, "moh", "heads")
                self.refused("inspect --model bad", "bad/config.json",
                             f"{key} {value}")
        for value in HUGE + NO_NUMBER:
            self.change("cope_positions", value, "moh")
            self.refused("inspect --model bad", "bad/config.json",
                         f"cope_positions {value}")
        self.change("cope_positions", 1 << 13, "moh")
        self.model_refused("bad/model.safetensors: the tensor")

    def test_reals(self):
        for key in self.REALS:
            for value in [-1, 0, 1e308, "x", None, True]:
                self.change(key, value)
                self.refused("inspect --model bad", "bad/config.json",
                             f"{key} {value}")
            for text in ("NaN", "Infinity", "-Infinity", "1e999"):
                self.change(key, 777)
                path = self.bad / "config.json"
                path.write_text(path.read_text().replace("777", text))
                seal(self.bad)
                self.refused("inspect --model bad", "bad/config.json", text)

    def test_cut(self):
        text = (self.good / "config.json").read_bytes()
        for n in range(len(text) - 2):
            if n < 8 or n % 41 == 0 or text[n:n + 1] in b"{}":
                (self.bad / "config.json").write_bytes(text[:n])
                seal(self.bad)
                self.refused("inspect --model bad", "bad/config.json", n)

    def test_nested(self):
        for text in ("[" * 100000, '{"a":' * 100000, '{"model_type":"moh"' +
                     ',"a":1' * 2 + "}", "\0" * 99, "\ufeff{}"):
            (self.bad / "config.json").write_text(text)
            seal(self.bad)
            self.refused("inspect --model bad", "bad/config.json",
                         text[:9])


class Weights(Hostile):
    def setUp(self):
        super().setUp()
        self.path = self.bad / "model.safetensors"
        data = self.path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        self.header = json.loads(data[8:8 + length])
        self.data = data[8 + length:]

    def put(self, header=None, data=None, length=None):
        text = json.dumps(header or self.header).encode()
        self.path.write_bytes(
            struct.pack("<Q", len(text) if length is None else length) +
            text + (self.data if data is None else data))
        seal(self.bad)

    def test_same(self):
        """What the tests below change is right otherwise."""
        self.put()
        code, _, err = self.run_limited(["inspect", "--model", "bad"])
        self.assertEqual(code, 0, err)

    def test_header_length(self):
        size = len(json.dumps(self.header)) + len(self.data)
        for length in [0, 1, 7, size + 1, 10 ** 8, 10 ** 8 + 1, 2 ** 31,
                       2 ** 62, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1]:
            self.put(length=length)
            self.model_refused("bad/model.safetensors: ", length)

    def test_shapes(self):
        name = next(key for key in self.header if key != "__metadata__")
        for shape in [[], [0], [-1, 5], [2 ** 62], [2 ** 63 - 1], [2 ** 31] * 2,
                      [2 ** 32, 2 ** 32], [2 ** 42, 2 ** 42], [1] * 5,
                      [2 ** 61], "x", [1.5], [True], {}, None]:
            self.header[name]["shape"] = shape
            self.put()
            self.refused("inspect --model bad", f"'{name}'", shape)

    def test_offsets(self):
        name = next(key for key in self.header if key != "__metadata__")
        begin, end = self.header[name]["data_offsets"]
        for offsets in [[end, begin], [begin, end + 4], [begin + 4, end],
                        [-4, end], [begin, 2 ** 62], [2 ** 62, 2 ** 62 + 4],
                        [2 ** 63 - 5, 2 ** 63 - 1], [begin], [], "x", None]:
            self.header[name]["data_offsets"] = offsets
            self.put()
            self.refused("inspect --model bad", f"'{name}'", offsets)

    def test_types(self):
        name = next(key for key in self.header if key != "__metadata__")
        for dtype in ["F8_E4M3", "I64", "I32", "U8", "f32", "", 4, None]:
            self.header[name]["dtype"] = dtype
            self.put()
            self.refused("inspect --model bad", f"'{name}'", dtype)

    def test_cut_and_longer(self):
        """At the border of each part, and one byte to its sides."""
        whole = (self.good / "model.safetensors").read_bytes()
        start = len(whole) - len(self.data)
        borders = {0, 1, 7, 8, 9, start} | {
            start + entry["data_offsets"][0]
            for name, entry in self.header.items() if name != "__metadata__"}
        for border in sorted(borders):
            for n in {max(border - 1, 0), border, border + 1}:
                self.path.write_bytes(whole[:n])
                seal(self.bad)
                self.refused("inspect --model bad",
                             "bad/model.safetensors: ", n)
        self.path.write_bytes(whole + b"\0")
        seal(self.bad)
        self.model_refused("1 bytes at the end belong to no tensor")

    def test_flipped_header(self):
        """Each byte of the header: refused, or never more than a name in
        the metadata."""
        whole = bytearray((self.good / "model.safetensors").read_bytes())
        start = len(whole) - len(self.data)
        for i in range(0, start, 7):
            whole[i] ^= 0x41
            self.path.write_bytes(whole)
            seal(self.bad)
            whole[i] ^= 0x41
            code, _, err = self.run_limited(["inspect", "--model", "bad"])
            if code != 0:
                self.assertEqual(code, 3, err)
                self.assertIn("bad/model.safetensors: ", err)


class Tokenizers(Hostile):
    def setUp(self):
        super().setUp()
        self.path = self.bad / "tokenizer.json"
        self.tokenizer = json.loads(self.path.read_text())

    def all_refused(self, what):
        seal(self.bad)
        self.refused(["generate", "--model", "bad", "the"],
                     "bad/tokenizer.json", what)
        self.refused(["tokenize", "--tokenizer", "bad/tokenizer.json", "a"],
                     "bad/tokenizer.json", what)

    def test_ids(self):
        vocab = self.tokenizer["model"]["vocab"]
        word = next(iter(vocab))
        for value in HUGE[:1] + HUGE[2:] + NO_NUMBER:
            vocab[word] = value
            self.path.write_text(json.dumps(self.tokenizer))
            self.all_refused(value)

    def test_cut(self):
        text = (self.good / "tokenizer.json").read_bytes()
        for n in range(0, len(text) - 2, 53):
            self.path.write_bytes(text[:n])
            self.all_refused(n)

    def test_parts(self):
        for key in ("model", "pre_tokenizer", "decoder", "added_tokens",
                    "normalizer", "post_processor"):
            for value in [3, "x", True, [[]], {"type": "Unknown"},
                          {"type": 3}]:
                tokenizer = {**self.tokenizer, key: value}
                self.path.write_text(json.dumps(tokenizer))
                self.all_refused(f"{key} {value}")

    def test_patterns(self):
        for pattern in ["(", "[a", "(?<", "a{99999999}", "\\", "(" * 5000,
                        "(?:" * 300]:
            self.tokenizer["pre_tokenizer"] = {
                "type": "Split", "pattern": {"Regex": pattern},
                "behavior": "Isolated", "invert": False}
            self.path.write_text(json.dumps(self.tokenizer))
            self.all_refused(pattern[:9])

    def test_nested(self):
        for text in ("[" * 100000, '{"model":' * 100000, "{}", "[]", "3",
                     ""):
            self.path.write_text(text)
            self.all_refused(text[:9])


class Manifests(Hostile):
    def test_names(self):
        for name in ["../facts.json", "/etc/passwd", "a/b", ".hidden", "",
                     ".", "..", "manifest.json"]:
            (self.bad / "manifest.json").write_text(sealed(
                {name: {"size": 1, "sha256": "0" * 64}}))
            self.model_refused("bad/manifest.json", name)

    def test_duplicates(self):
        entry = '{"size": 1, "sha256": "%s"}' % ("0" * 64)
        (self.bad / "manifest.json").write_text(
            sealed('{"a": %s, "a": %s}' % (entry, entry)))
        self.model_refused("bad/manifest.json, line 3")

    def test_entries(self):
        for entry in [3, "x", [], {}, {"size": 1}, {"sha256": "0" * 64},
                      {"size": "1", "sha256": "0" * 64},
                      {"size": -1, "sha256": "0" * 64},
                      {"size": 2 ** 63, "sha256": "0" * 64},
                      {"size": 1, "sha256": "0" * 63},
                      {"size": 1, "sha256": "G" * 64}]:
            (self.bad / "manifest.json").write_text(
                sealed({"config.json": entry}))
            self.model_refused("bad/manifest.json", entry)
        for files in ("[]", "3", "null"):
            (self.bad / "manifest.json").write_text(sealed(files))
            self.model_refused("bad/manifest.json", files)

    def test_versions(self):
        for version in ["2", "0", "-1", "1.0", '"1"', "9223372036854775807"]:
            (self.bad / "manifest.json").write_text(sealed({}, version))
            self.model_refused("bad/manifest.json", version)

    def test_sizes(self):
        """A size that would ask for all memory is compared, not believed."""
        for size in (2 ** 40, 2 ** 62, 2 ** 63 - 1):
            (self.bad / "manifest.json").write_text(sealed({
                "config.json": {"size": size, "sha256": "0" * 64}}))
            self.model_refused("bad/config.json: has ", size)

    def test_missing(self):
        for name in ["config.json", "model.safetensors", "tokenizer.json"]:
            path = self.bad / name
            content = path.read_bytes()
            path.unlink()
            self.model_refused(f"bad/{name}: is missing", name)
            path.write_bytes(content)
        for name in ["config.json", "model.safetensors"]:
            shutil.rmtree(self.bad)
            shutil.copytree(self.good, self.bad)
            (self.bad / name).unlink()
            seal(self.bad)
            self.model_refused("lists no config.json or no", name)


class Special(Hostile):
    """What is no regular file: refused at once, never waited for."""

    def test_models(self):
        for name in ["config.json", "model.safetensors", "tokenizer.json",
                     "manifest.json"]:
            path = self.bad / name
            for make in (os.mkfifo, os.mkdir,
                         lambda path: os.symlink("/dev/zero", path)):
                path.unlink()
                make(path)
                self.model_refused(f"bad/{name}", name)
                self.refused(["tokenize", "--tokenizer", f"bad/{name}", "a"],
                             f"bad/{name}", name)
                if path.is_dir():
                    path.rmdir()
                    path.touch()
            self.setUp()

    def test_links(self):
        """A link to a good file is as good as the file; a broken or a
        circular one is a missing file."""
        path = self.bad / "config.json"
        path.unlink()
        path.symlink_to("../run/final/config.json")
        self.assertEqual(self.run_limited(["inspect", "-m", "bad"])[0], 0)
        for target in ("none", "config.json"):
            path.unlink()
            path.symlink_to(target)
            self.model_refused("bad/config.json: is missing")

    def test_data(self):
        os.mkfifo(self.folder / "pipe.json")
        os.mkdir(self.folder / "folder")
        for path in ("pipe.json", "/dev/zero"):
            self.refused(f"train --data {path} --out out", path)
            self.refused(f"tune --model run --data {path} --out out", path)
            self.refused(f"data --out out {path}", path)
            self.refused(f"eval --model run {path}", path)
        self.refused("train --data folder --out out", "folder")
        self.refused("eval --model run folder", "folder")


class Data(Hostile):
    def data_refused(self, name, content):
        self.write(name, content)
        for words in (f"train --data {name} --out out --steps 1 -t1",
                      f"eval --model run {name}"):
            self.refused(words, name, content[:9])
        # What is there to go on from holds no tokens.
        self.refused(f"data --out prepared {name}", name, content[:9])
        self.assertLessEqual(set(os.listdir(self.folder / "prepared")),
                             {"progress.json", "tokenizer.json"})
        shutil.rmtree(self.folder / "prepared")

    def test_texts(self):
        self.data_refused("a.json", "[" * 100000)
        self.data_refused("a.json", '["' + "a" * 1000)
        self.data_refused("a.json", b'["\xff"]')
        self.data_refused("a.json", '["\\ud800"]')
        self.data_refused("a.json", '["a b", 3]')
        self.data_refused("a.jsonl", '{"text": "a b"}\n{"text": 3}\n')
        self.data_refused("a.jsonl", '{"text": "a b"}\n{"tex')
        self.data_refused("a.jsonl", '{"other": "a b"}\n')
        self.data_refused("a.csv", 'a b,"c\n')
        self.data_refused("a.txt", b"to be\xff\xfe or not")
        self.data_refused("a.txt", b"")

    def test_shards(self):
        """Each byte of a shard's head, and each border."""
        moh("data", "--out", "shards", "facts.json", cwd=self.folder)
        bad = self.folder / "bad-shards"
        shutil.copytree(self.folder / "shards", bad)
        path = bad / "shard-000000.bin"
        whole = path.read_bytes()
        changed = [whole[:n] for n in (0, 1, 8, 63, 64, len(whole) - 8,
                                       len(whole) - 1)]
        changed.append(whole + bytes(8))
        for i in range(64):
            changed.append(whole[:i] + bytes([whole[i] ^ 0xff]) +
                           whole[i + 1:])
        manifest = (bad / "manifest.json").read_text()
        for content in changed:
            path.write_bytes(content)
            (bad / "manifest.json").write_text(self.resealed(manifest, path))
            self.refused("data --check bad-shards", "bad-shards", content)
            self.refused("train --data bad-shards --out out --steps 1 -t1",
                         "bad-shards", content)

    @staticmethod
    def resealed(manifest, path):
        """The manifest with the size and hash of one file anew."""
        fields = json.loads(manifest)
        content = path.read_bytes()
        fields["files"][path.name] = {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest()}
        del fields["manifest_sha256"], fields["format_version"]
        files = json.dumps(fields.pop("files"))
        more = "".join(f',\n  "{key}": {json.dumps(value)}'
                       for key, value in fields.items())
        return sealed(files + more)


if __name__ == "__main__":
    main()
