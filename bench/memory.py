#!/usr/bin/env python3
"""Peak memory of training and of running beside what `moh inspect` forecasts.

    bench/memory.py [--moh build/release/moh]

Trains models above 100 MB for two steps on a generated text, with and without
--recompute, and generates with them, in f32 and bf16; prints what the kernel
counted as the peak of the process, the forecast, and their ratio. Fails when
one is more than 10 % away. Needs nothing but Python; about a minute.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

SIZES = ["--preset", "moh-xs", "--layers", "6", "--d-model", "512",
         "--n-heads", "8", "--d-ff", "1408", "--max-seq-len", "1024"]
CONTEXT, BATCH = 512, 4
MODELS = {"all heads": [*SIZES, "--heads", "all"],
          "MoH 2 + 4 of 8": [*SIZES, "--heads", "moh:2+4"]}


def peak(command, folder):
    """Bytes that the process had in memory at most."""
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([str(x) for x in command], stdout=log,
                                   stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit((folder / "log").read_text(errors="replace"))
    return usage.ru_maxrss * 1024


def forecast(moh, model, *options):
    text = subprocess.run([moh, "inspect", "--model", model, "--json",
                           *map(str, options)], check=True,
                          capture_output=True, text=True).stdout
    return json.loads(text)["bytes"]


def show(what, measured, expected):
    ratio = measured / expected
    print(f"{what:42} {measured / 2**20:8.1f} MiB  forecast "
          f"{expected / 2**20:8.1f} MiB  ratio {ratio:.3f}")
    return abs(ratio - 1) <= 0.1


def write_text(path):
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7)))
             for _ in range(3000)]
    path.write_text(" ".join(rng.choices(words, k=60000)))


def check_training(moh, folder, name, sizes, extra):
    run = folder / f"run{len(list(folder.iterdir()))}"
    measured = peak([moh, "train", "--data", folder / "text.txt", "--out",
                     run, *sizes, "--steps", 2, "--batch", BATCH,
                     "--context", CONTEXT, "--eval-tokens", CONTEXT,
                     "--final-eval-tokens", CONTEXT, *extra], folder)
    memory = forecast(moh, run / "final", "--batch", BATCH, "--context",
                      CONTEXT, *(x for x in extra if x != "--recompute"))
    expected = memory["training_total"]
    if "--recompute" in extra:
        expected += memory["activations_recomputed"] - memory["activations"]
    return run, show(f"training, {name} {' '.join(extra)}", measured,
                     expected)


def check_running(moh, folder, name, run, precision):
    measured = peak([moh, "generate", "--model", run / "final", "--precision",
                     precision, "--max-tokens", 8, "abc def"], folder)
    memory = forecast(moh, run / "final", "--precision", precision)
    return show(f"generate, {name} {precision}", measured,
                memory["inference_total"])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moh", type=pathlib.Path,
                        default=pathlib.Path("build/release/moh"))
    moh = parser.parse_args().moh.resolve()
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_text(folder / "text.txt")
        for label, sizes in MODELS.items():
            for extra in ([], ["--recompute"], ["--precision", "bf16"]):
                run, within = check_training(moh, folder, label, sizes, extra)
                good &= within
            for precision in ("f32", "bf16"):
                good &= check_running(moh, folder, label, run, precision)
    sys.exit(0 if good else "more than 10 % away from a forecast")


if __name__ == "__main__":
    main()
