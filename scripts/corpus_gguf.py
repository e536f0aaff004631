#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/gguf: small GGUF files, honest ones and liars.

    scripts/corpus_gguf.py
"""

import struct

import corpus_files

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
CODES = dict(zip(range(13), "B b H h I i f B - - Q q d".split()))


def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, x):
    return string(x) if kind == STRING else struct.pack("<" + CODES[kind], x)


def pair(key, kind, x):
    return string(key) + struct.pack("<I", kind) + value(kind, x)


def array(key, kind, items, n=None):
    return (string(key) + struct.pack("<IIQ", ARRAY, kind,
                                      len(items) if n is None else n) +
            b"".join(value(kind, x) for x in items))


def tensor(name, dims, kind, offset):
    return (string(name) + struct.pack("<I", len(dims)) +
            struct.pack(f"<{len(dims)}Q", *dims) +
            struct.pack("<IQ", kind, offset))


def file(pairs=(), tensors=(), n_data=0, version=3, align=32, counts=None):
    n_tensors, n_pairs = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_pairs)
    head += b"".join(pairs) + b"".join(tensors)
    return head + b"\0" * (-len(head) % align) + bytes(range(256))[:n_data]


KINDS = [pair("a", U8, 1), pair("b", I8, -1), pair("c", U16, 2),
         pair("d", I16, -2), pair("e", U32, 3), pair("f", I32, -3),
         pair("g", F32, 0.5), pair("h", BOOL, 1), pair("i", STRING, "text"),
         pair("j", U64, 1 << 63), pair("k", I64, -1 << 63),
         pair("l", F64, 1.5), array("m", STRING, ["", "one", b"\xff\0"]),
         array("n", I32, [1, -1]), array("o", F32, [0.5]), array("p", U8, [])]
BLOCKS = [("f32", 0, 4, 1, 4), ("f16", 1, 4, 1, 2), ("q4_0", 2, 32, 32, 18),
          ("q4_1", 3, 32, 32, 20), ("q5_0", 6, 32, 32, 22),
          ("q5_1", 7, 32, 32, 24), ("q8_0", 8, 32, 32, 34),
          ("q4_k", 12, 256, 256, 144), ("q5_k", 13, 256, 256, 176),
          ("q6_k", 14, 256, 256, 210), ("bf16", 30, 4, 1, 2)]


def llama():
    tokens = ["<unk>", "<s>", "</s>", "a", "b", "ab"]
    return [pair("general.architecture", STRING, "llama"),
            pair("llama.context_length", U32, 8),
            pair("llama.embedding_length", U32, 4),
            pair("llama.block_count", U32, 1),
            pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
            pair("tokenizer.ggml.model", STRING, "llama"),
            array("tokenizer.ggml.tokens", STRING, tokens),
            array("tokenizer.ggml.scores", F32, [0.0] * 6),
            array("tokenizer.ggml.token_type", I32, [2, 3, 3, 1, 1, 1])]


def cases():
    yield "kinds", file(KINDS)
    yield "version_2", file(KINDS, version=2)
    yield "version_1", file(KINDS, version=1)
    for name, kind, n, each, size in BLOCKS:
        yield name, file([], [tensor("t", [n, 1], kind, 0)], size * n // each)
    yield "llama", file(llama(), [
        tensor("token_embd.weight", [4, 6], 0, 0),
        tensor("output_norm.weight", [4], 0, 96)], 112)
    yield "alignment", file([pair("general.alignment", U32, 64)],
                            [tensor("t", [4], 0, 64)], 80, align=64)
    yield "alignment_huge", file([pair("general.alignment", U32, 1 << 30)],
                                 [tensor("t", [4], 0, 0)], 16)
    yield "alignment_0", file([pair("general.alignment", U32, 0)],
                              [tensor("t", [4], 0, 0)], 16)
    yield "many", file(counts=(1 << 60, 1 << 61))
    yield "long_array", file([array("a", U8, [1], 1 << 62)])
    yield "long_strings", file([array("a", STRING, ["x"], 1 << 61)])
    yield "nested", file([string("a") + struct.pack("<IIQ", ARRAY, ARRAY, 1)])
    yield "product", file([], [tensor("t", [1 << 32, 1 << 32], 0, 0)], 16)
    yield "wraps", file([], [tensor("t", [1 << 61, 2, 2, 2], 0, 0)], 16)
    yield "dims_5", file([], [tensor("t", [1] * 5, 0, 0)], 16)
    yield "dims_0", file([], [tensor("t", [], 0, 0)], 16)
    yield "offset", file([], [tensor("t", [4], 0, (1 << 64) - 32)], 16)
    yield "overlap", file([], [tensor("t", [16], 0, 0),
                               tensor("s", [4], 0, 32)], 64)
    yield "twice", file([], [tensor("t", [4], 0, 0), tensor("t", [4], 0, 32)],
                        48)
    yield "key_twice", file([pair("a", U8, 1), pair("a", U8, 1)])
    yield "type", file([], [tensor("t", [256], 10, 0)], 84)
    yield "empty", b""


if __name__ == "__main__":
    corpus_files.write("gguf", cases())
