#!/usr/bin/env python3
"""Golden file of block formats, made by the Python package `gguf`.

Writes tests/golden/blocks/blocks.safetensors:
  <type>.blocks   bytes made up here, blocks of every format
  <type>.values   what the package decodes them to, F32
  values          numbers, F32
  <type>.encoded  the bytes that the package makes of these
tests/unit/test_blocks.c compares them with moh's.

    scripts/golden_blocks.py            write it
    scripts/golden_blocks.py --check    compute again, compare

Installs the package into build/golden-blocks-venv (pip) when it is not there; the
tests do not need it.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "blocks" / "blocks.safetensors"
VENV = ROOT / "build" / "golden-blocks-venv"
PACKAGE = "gguf==0.19.*"

try:
    import gguf
    import numpy as np
except ImportError:
    python = VENV / "bin" / "python"
    if pathlib.Path(sys.prefix) == VENV:
        sys.exit(f"{VENV} has no package gguf; remove it, try again")
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE],
                       check=True)
    os.execv(python, [python, *sys.argv])

# Name: elements of a block, bytes of it, places of its f16 numbers.
TYPES = {"F16": (1, 2, [0]), "BF16": (1, 2, []), "Q8_0": (32, 34, [0]),
         "Q4_0": (32, 18, [0]), "Q4_1": (32, 20, [0, 2]),
         "Q5_0": (32, 22, [0]), "Q5_1": (32, 24, [0, 2]),
         "Q4_K": (256, 144, [0, 2]), "Q5_K": (256, 176, [0, 2]),
         "Q6_K": (256, 210, [208])}
ENCODED = ["F16", "BF16", "Q8_0", "Q4_0"]


def random_numbers(seed, n):
    """Park and Miller's generator: the same numbers everywhere."""
    out = []
    for _ in range(n):
        seed = seed * 48271 % 2147483647
        out.append(seed)
    return np.array(out, np.int64)


def make_blocks(seed, n, size, halves):
    """Random bytes; f16 numbers among them of all signs and magnitudes, also
    subnormal, but finite."""
    blocks = (random_numbers(seed, n * size) >> 8).astype(np.uint8)
    blocks = blocks.reshape(n, size)
    for at in halves:
        blocks[:, at + 1] %= 0x7C  # clears the sign
        blocks[::3, at + 1] |= 0x80
        blocks[1, at + 1] = 0
    return blocks


def make_values():
    """Eight blocks of 32: smooth ones, ties, zeros, one outlier, tiny."""
    unit = random_numbers(17, 256) / 2147483647 - 0.5
    scale = np.repeat([1, 1, 1e-3, 300, 1, 1, 1, 1e-7], 32)
    values = (unit * scale).astype(np.float32)
    values[128:160] = np.arange(-16, 16) / 2  # ties of q4_0
    values[160:192] = 0
    values[192:224] = np.arange(32) * 4 - 0.5
    values[192] = -127  # ties of q8_0
    values[200] = 1000
    return values


def tensors():
    kinds = gguf.GGMLQuantizationType
    for i, (name, (elements, size, halves)) in enumerate(TYPES.items()):
        n = 64 if elements == 1 else 8 if elements == 32 else 3
        blocks = make_blocks(1000 + i, n, size, halves)
        if name == "BF16":
            blocks[:, 1] &= 0xBE  # finite
        yield f"{name.lower()}.blocks", blocks
        values = gguf.quants.dequantize(blocks, kinds[name])
        yield f"{name.lower()}.values", values.astype(np.float32).ravel()
    values = make_values()
    yield "values", values
    for name in ENCODED:
        encoded = gguf.quants.quantize(values.reshape(8, 32), kinds[name])
        yield f"{name.lower()}.encoded", np.frombuffer(encoded.tobytes(),
                                                       np.uint8)


def to_safetensors(named):
    header, data = {}, b""
    for name, array in named:
        raw = array.tobytes()
        header[name] = {"dtype": "F32" if array.dtype == np.float32 else "U8",
                        "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    made = to_safetensors(tensors())
    if sys.argv[1:] == ["--check"]:
        if GOLDEN.read_bytes() != made:
            sys.exit(f"{GOLDEN} is not what comes out now")
    else:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_bytes(made)


if __name__ == "__main__":
    main()
