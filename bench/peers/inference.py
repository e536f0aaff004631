#!/usr/bin/env python3
"""Reading a prompt and decoding: ours and llama.cpp's, same weights, in turns.

    bench/peers/inference.py [--weights bf16,f16,q8_0,q4_0] [--rounds 7]
                             [--threads 1,2] [--json]

A LLaMA of 246M parameters with random weights (width 1024, 16 layers, 16 heads,
4 KV heads, FFN 2816, vocabulary 32000 untied) is made by our library and written
as GGUF by gguf_file.py and, in other formats, by moh quantize. First the logits of
both must agree, in f32 and, as well as rounding allows, in each format. Then, with
weights in each format (f16 is computed in f32 by us): a prompt of 512 tokens, and one
token behind 32 and behind 2048 others; llama.cpp (llama-cpp-python of the Python
registry, pinned) with flash attention on and off, of which the better counts. With
one thread the processor time counts, with more the clock. The read bandwidth of the
machine is measured beside it. About five minutes for a format, after the
installation, which compiles llama.cpp.
"""
import argparse
import json
import pathlib
import subprocess
import sys

from contest import (MOH, ROOT, WORKER, Contender, build, environment, median,
                     ratio, take_turns)

LLAMA = "llama-cpp-python==0.3.36"
GGUF = "gguf==0.19.0"
CONFIG = {"num_hidden_layers": 16, "hidden_size": 1024,
          "num_attention_heads": 16, "num_key_value_heads": 4,
          "head_dim": 64, "intermediate_size": 2816, "vocab_size": 32000,
          "max_position_embeddings": 4096, "tie_word_embeddings": False}
# Bytes of a weight, and how far logits may be apart, over their size.
FORMATS = {"f32": (4, 1e-3), "bf16": (2, .03), "f16": (2, .01),
           "q8_0": (34 / 32, .05), "q4_0": (18 / 32, .05)}
FOLDER = ROOT / "build/peers/model"
HERE = pathlib.Path(__file__).resolve().parent
LENGTH = 2304


def make_files(python, formats):
    """Our directories, and the same weights as GGUF."""
    if not (FOLDER / "manifest.json").exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([WORKER, "make", json.dumps(CONFIG), FOLDER],
                       check=True)
    for precision in formats:
        path = FOLDER / f"{precision}.gguf"
        if not path.exists():
            subprocess.run([python, HERE / "gguf_file.py", FOLDER, path,
                            precision], check=True)
        if not (folder_of(precision) / "manifest.json").exists():
            subprocess.run([MOH, "quantize", FOLDER, "--out",
                            folder_of(precision), "--weights", precision],
                           check=True, stdout=sys.stderr)


def folder_of(precision):
    return FOLDER if precision == "f32" else FOLDER / precision


def ours(folder, precision, threads, name="moh"):
    return Contender(name, [WORKER, "run", folder, precision, threads,
                            LENGTH], threads)


def llama(python, file, threads, flash):
    return Contender(f"llama.cpp, flash attention {'on' if flash else 'off'}",
                     [python, HERE / "llama_worker.py", file, threads, LENGTH,
                      int(flash)], threads)


def check(python, folder, file, precision):
    """Largest difference of the logits behind 40 tokens, over their size."""
    pair = [ours(folder, precision, 2), llama(python, file, 2, False)]
    logits = [c.ask("logits", 40)[:32000] for c in pair]
    for c in pair:
        c.close()
    off = max(abs(a - b) for a, b in zip(*logits))
    size = max(abs(a) for a in logits[0])
    print(f"logits in {precision}: largest {size:.3f}, largest difference "
          f"{off:.1e}", file=sys.stderr)
    if not off < FORMATS[precision][1] * size:
        raise SystemExit("the two do not compute the same: nothing is timed")


def bandwidth(threads):
    """GB/s of reading 512 MB with so many threads."""
    program = ROOT / "build/peers/bandwidth"
    subprocess.run(["cc", "-O3", "-march=native", "-pthread",
                    HERE / "bandwidth.c", "-o", program], check=True)
    return float(subprocess.run([program, str(threads)], check=True,
                                capture_output=True, text=True).stdout)


def bytes_of_token(precision, position):
    """Weights and the f32 cache behind `position` tokens."""
    c = CONFIG
    d, kv = c["hidden_size"], c["num_key_value_heads"] * c["head_dim"]
    layer = 2 * d * d + 2 * d * kv + 3 * d * c["intermediate_size"]
    weights = c["num_hidden_layers"] * layer + c["vocab_size"] * d
    cache = c["num_hidden_layers"] * 2 * kv * (position + 1)
    return FORMATS[precision][0] * weights + 4 * cache


def contest(contenders, rivals, weights, rounds):
    """Rows of each contender against the first; the best of the rivals is
    marked. Contenders are closed."""
    rows = []
    works = [(("prefill", 512), (), 512)]
    works += [(("decode", n), [("fill", n), ("decode", n), ("decode", n)], 1)
              for n in (32, 2048)]
    for work, before, tokens in works:
        take_turns(contenders, work, rounds if tokens > 1 else 3 * rounds,
                   before=before)
        best = min(rivals, key=lambda c, w=work: median(c, w))
        for c in contenders:
            middle, low, high = ratio(c, contenders[0], work)
            rows.append({"work": f"{work[0]} {work[1]}",
                         "weights": weights, "threads": c.threads,
                         "contender": c.name, "better": c is best,
                         "seconds": median(c, work),
                         "tokens_per_second": tokens / median(c, work),
                         "ratio": middle, "quartiles": [low, high]})
    for c in contenders:
        c.close()
    return rows


def show(rows):
    for r in rows:
        print(f"{r['weights']:4} {r['work']:13} {r['threads']} thread(s)  "
              f"{r['contender']:31}{'*' if r['better'] else ' '} "
              f"{1e3 * r['seconds']:8.2f} ms  "
              f"{r['tokens_per_second']:7.1f} tokens/s  time / ours "
              f"{r['ratio']:.2f} ({r['quartiles'][0]:.2f}-"
              f"{r['quartiles'][1]:.2f})")
        if "bandwidth" in r and r["contender"] == "moh" and \
                r["work"].startswith("decode"):
            rate = (bytes_of_token(r["weights"], int(r["work"][7:])) /
                    r["seconds"] * 1e-9)
            print(f"{'':13} reads {rate:.1f} GB/s, "
                  f"{100 * rate / r['bandwidth']:.0f} % of "
                  f"{r['bandwidth']:.1f}")


def parser_of(text, weights, rounds):
    """What contests of reading and decoding have in common."""
    parser = argparse.ArgumentParser(
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=weights)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("-v", action="store_true",
                        help="what contenders say on stderr")
    return parser


def tell(rows, as_json):
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


def main():
    options = parser_of(__doc__, "bf16,f16,q8_0,q4_0", 7).parse_args()
    build()
    python = environment("llama", [LLAMA, GGUF, "numpy"])
    formats = options.weights.split(",")
    make_files(python, ["f32", *formats])
    for precision in ["f32", *formats]:
        check(python, folder_of(precision), FOLDER / f"{precision}.gguf",
              precision)
    rows = []
    for threads in map(int, options.threads.split(",")):
        rate = bandwidth(threads)
        for precision in formats:
            rivals = [llama(python, FOLDER / f"{precision}.gguf", threads, on)
                      for on in (True, False)]
            us = ours(folder_of(precision), precision, threads)
            rows += [dict(r, bandwidth=rate) for r in
                     contest([us, *rivals], rivals, precision,
                             options.rounds)]
    tell(rows, options.json)


if __name__ == "__main__":
    main()
