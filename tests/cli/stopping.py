"""Tests of commands that write a model and do not come to an end: by a signal
or by a write that fails. Nothing is left, and the same command goes again.
"""

import pathlib
import resource
import shutil
import signal
import subprocess
import time

from importing import HEADS, U32, gguf, metadata, pair, TOKENS
from support import MOH, Case, main, moh

WIDTH, HIDDEN = 512, 6144  # 40 MB, which takes a while to write
COMMANDS = ["import wide.gguf", "quantize wide -w bf16", "export wide",
            "export wide --format gguf",
            "prune --model wide --data text.txt --keep 1 -t1",
            "upcycle --model wide --data text.txt --heads norm:0+1 -t1"]
LIMIT = 100 << 10  # bytes of a file


def wide():
    """One layer; weights of 0."""
    d, ff = WIDTH, HIDDEN
    sizes = {"embedding_length": d, "block_count": 1,
             "feed_forward_length": ff, "attention.head_count_kv": HEADS}
    shapes = {"attn_norm": (d,), "attn_q": (d, d), "attn_k": (d, d),
              "attn_v": (d, d), "attn_output": (d, d), "ffn_norm": (d,),
              "ffn_gate": (ff, d), "ffn_up": (ff, d), "ffn_down": (d, ff)}
    names = {"token_embd.weight": (len(TOKENS), d), "output_norm.weight": (d,),
             **{f"blk.0.{name}.weight": x for name, x in shapes.items()}}
    pairs = {key: pair("llama." + key, U32, x) for key, x in sizes.items()}
    return gguf(metadata(**pairs), [
        (name, x, bytes(4 * x[0] * (x[1] if len(x) > 1 else 1)))
        for name, x in names.items()])


def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


class Stopping(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("wide.gguf", wide())
        cls.write("text.txt", "ab ab\n")
        code, _, err = moh("import", "wide.gguf", "--out", "wide",
                           cwd=cls.folder)
        assert code == 0, err

    def left(self):
        return sorted(self.folder.glob("new*"))

    def clear(self):
        for path in self.left():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def is_writing(self, _):
        """Bytes of the weights are there."""
        try:
            return any(path.stat().st_size > 1 << 20
                       for path in self.folder.rglob("*.tmp"))
        except FileNotFoundError:  # between two looks
            return False

    def is_reading(self, process):
        return "wide" in pathlib.Path(f"/proc/{process.pid}/maps").read_text()

    def stop(self, words, number, ready):
        """Its exit code and stderr when a signal comes once it is ready."""
        out = "new.gguf" if "gguf" in words.split() else "new/model"
        process = subprocess.Popen([MOH, *words.split(), "--out", out],
                                   cwd=self.folder, stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True)
        while process.poll() is None and not ready(process):
            time.sleep(0.001)
        process.send_signal(number)
        _, err = process.communicate()
        return process.returncode, err

    def assert_stopped(self, words, ready):
        for number in (signal.SIGINT, signal.SIGTERM):
            for _ in range(10):  # one that comes too late changes nothing
                code, err = self.stop(words, number, ready)
                if code != 0:
                    break
                self.clear()
            self.assertEqual((code, err), (130, f"moh {words.split()[0]}: "
                             "interrupted; nothing was written\n"))
            self.assertEqual(self.left(), [])

    def test_writing(self):
        for words in COMMANDS:
            with self.subTest(words):
                self.assert_stopped(words, self.is_writing)

    def test_reading(self):
        """Before anything is written a signal ends it at once."""
        for words in COMMANDS[:4]:
            with self.subTest(words):
                self.assert_stopped(words, self.is_reading)

    def test_file_limit(self):
        """What a full disk does; a directory that was there stays, empty."""
        for words in COMMANDS:
            file = "gguf" in words.split()
            for out in ["new.gguf"] if file else ["new/a/b", "new"]:
                if out == "new":
                    (self.folder / "new").mkdir()
                code, text, err = self.run_in(*words.split(), "--out", out,
                                              preexec_fn=limit)
                self.assertEqual((code, text), (1, ""), err)
                self.assertRegex(err, r"^moh \w+: cannot write 'new.*': File "
                                 r"too large\n$")
                if out == "new":
                    self.assertEqual(list((self.folder / "new").iterdir()), [])
                    (self.folder / "new").rmdir()
                self.assertEqual(self.left(), [])


if __name__ == "__main__":
    main()
