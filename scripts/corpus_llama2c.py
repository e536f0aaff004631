#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/llama2c: small checkpoints, honest ones and liars.

    scripts/corpus_llama2c.py
"""

import struct

import corpus_files


def numbers_of(d, hidden, layers, heads, kv_heads, vocab, longest):
    """Floats behind the head."""
    kv = d // heads * kv_heads
    layer = 2 * d + 2 * d * d + 2 * kv * d + 3 * hidden * d
    tables = 2 * longest * (d // heads // 2)
    output = -vocab * d if vocab < 0 else 0
    return abs(vocab) * d + layers * layer + d + tables + output


def checkpoint(*head, extra=0):
    n = numbers_of(*head) + extra
    return struct.pack("<7i", *head) + bytes(i % 60 for i in range(4 * n))


def cases():
    yield "tied", checkpoint(4, 3, 2, 2, 1, 5, 3)
    yield "untied", checkpoint(4, 3, 2, 2, 2, -5, 3)
    yield "short", checkpoint(4, 3, 2, 2, 1, 5, 3, extra=-1)
    yield "long", checkpoint(4, 3, 2, 2, 1, 5, 3, extra=1)
    yield "zero", struct.pack("<7i", 4, 3, 0, 2, 1, 5, 3)
    yield "negative", struct.pack("<7i", -4, 3, 2, 2, 1, 5, 3)
    yield "least", struct.pack("<7i", 4, 3, 2, 2, 1, -1 << 31, 3)
    yield "huge", struct.pack("<7i", *[(1 << 31) - 2] * 7)
    yield "wraps", struct.pack("<7i", 1 << 30, 1 << 30, 1 << 30, 1, 1,
                               1 << 30, 1 << 30)
    yield "heads", struct.pack("<7i", 4, 3, 2, 3, 1, 5, 3)
    yield "version_1", struct.pack("<7i", 0x616b3432, 1, 4, 3, 2, 2, 1)
    yield "cut", b"\x04\0\0\0"


if __name__ == "__main__":
    corpus_files.write("llama2c", cases())
