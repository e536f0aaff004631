#!/usr/bin/env python3
"""Runs clang-tidy (.clang-tidy) over every C source of the project once.

    scripts/tidy.py BUILD_DIRECTORY [-j N] [FILE...]

The compile database of the build names a source several times, once for each
instruction set and number type; one of them is enough. Prints the findings,
exits 1 if there are any.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Makes the analyzer see that moh__fail never returns MOH_OK; status.c defines
# moh__fail itself, and the examples do not see it.
HELP_HEADER = ROOT / "scripts" / "tidy.h"
NO_HELP = ROOT / "src" / "base" / "status.c"
EXAMPLES = ROOT / "examples"
DROPPED = {"-c"}
DROPPED_WITH_VALUE = {"-o", "-MF", "-MT", "-MQ"}


def flags_of(entry):
    """The compiler's options without input, output and dependencies."""
    words = shlex.split(entry["command"])[1:]
    flags = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in DROPPED_WITH_VALUE:
            skip = True
        elif word not in DROPPED and not word.startswith("-M") \
                and word != entry["file"]:
            flags.append(word)
    return flags


def sources(build):
    """File -> flags, the first entry of each."""
    entries = json.loads((build / "compile_commands.json").read_text())
    found = {}
    for entry in entries:
        found.setdefault(pathlib.Path(entry["file"]), flags_of(entry))
    return found


def tidy(path, flags):
    """Output of clang-tidy on one file, empty when it is clean."""
    if path != NO_HELP and EXAMPLES not in path.parents:
        flags = ["-include", str(HELP_HEADER)] + flags
    done = subprocess.run(
        ["clang-tidy", "--quiet", str(path), "--"] + flags + [
            "-Wno-unknown-warning-option"],
        cwd=ROOT, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode != 0 else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("-j", type=int, default=os.cpu_count())
    args = parser.parse_intermixed_args()
    wanted = {path.resolve() for path in args.files}
    found = {path: flags for path, flags in sources(args.build).items()
             if not wanted or path in wanted}
    n_bad = 0
    with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        for output in pool.map(tidy, found.keys(), found.values()):
            if output:
                n_bad += 1
                print(output)
    print(f"clang-tidy: {len(found)} files, {n_bad} with findings")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
