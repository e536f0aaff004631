#!/usr/bin/env python3
"""Checks what holds the sources together (docs/design.md, "Rooms").

 - A file of src/ or cli/ includes only its own room and rooms before it; text
   and format include base and themselves only.
 - No tracked text file has more than 700 lines (LONGER has the exceptions),
   no line of C more than 80 columns.

Prints file:line for each break and exits 1 if there is one.

    scripts/check_rooms.py [DIRECTORY]     the checkout by default
    scripts/check_rooms.py --self-test     plants breaks and looks for them
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOMS = ["base", "kernel", "route", "op", "model", "arch", "text", "format",
         "store", "infer", "train", "report", "serve", "api", "cli"]
ONLY_BASE = {"text", "format"}
MAX_LINES = 700
# The one installed header: what others include is not cut in pieces.
LONGER = {"include/moh.h": 1000}
MAX_COLUMNS = 80
INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')
C_SUFFIXES = {".c", ".h"}


def room_of(path):
    """The room of a path relative to the root, None outside the rooms."""
    parts = path.parts
    if parts[0] == "cli":
        return "cli"
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return None


def check_include(room, name):
    """What is wrong with #include "name" in a file of room, or None."""
    if "/" not in name:  # moh.h is everyone's; others are neighbours
        return None
    included = name.split("/")[0]
    if included not in ROOMS:
        return f'"{name}" is in no known room'
    if included == room:
        return None
    if room in ONLY_BASE and included != "base":
        return f'{room} includes "{name}", but may include base only'
    if ROOMS.index(included) > ROOMS.index(room):
        return f'{room} includes "{name}", but {included} comes later'
    return None


def check_c(path, lines):
    room = room_of(path)
    if room is not None and room not in ROOMS:
        yield 1, f"the room {room} is not in the order of rooms"
        room = None
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            yield number, f"{len(line)} columns, more than {MAX_COLUMNS}"
        match = INCLUDE.match(line) if room else None
        message = check_include(room, match.group(1)) if match else None
        if message:
            yield number, message


def check_file(root, path):
    """(line, message) for each break of one file."""
    data = (root / path).read_bytes()
    if b"\0" in data:
        return  # not text
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    most = LONGER.get(str(path), MAX_LINES)
    if len(lines) > most and path.suffix != ".json":
        yield most + 1, f"{len(lines)} lines, more than {most}"
    if path.suffix in C_SUFFIXES:
        yield from check_c(path, lines)


def files_of(root):
    """Files that git tracks or would; all files where there is no git."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"],
            cwd=root, check=True, capture_output=True).stdout.decode()
        names = [name for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(root)) for path in root.rglob("*")]
    paths = sorted(set(pathlib.Path(name) for name in names))
    return [path for path in paths
            if (root / path).is_file() and path.parts[0] != "build"]


def check(root):
    """All breaks as lines of text, and the number of files seen."""
    breaks = []
    paths = files_of(root)
    for path in paths:
        for number, message in check_file(root, path):
            breaks.append(f"{path}:{number}: {message}")
    return breaks, len(paths)


PLANTED = {
    "src/base/good.c": '#include "base/good.h"\n#include "moh.h"\n',
    "src/op/good.c": '#include "kernel/kernel.h"\n#include "op/op.h"\n',
    "src/op/upward.c": '#include <math.h>\n#include "train/trainer.h"\n',
    "src/text/sideways.c": '#include "kernel/kernel.h"\n',
    "src/store/good.c": '#include "text/tokenizer.h"\n',
    "src/nowhere/lost.c": "int x;\n",
    "src/model/unknown.c": '#include "misc/util.h"\n',
    "cli/good.c": '#include "train/trainer.h"\n',
    "src/base/wide.c": "int " + "x" * 77 + ";\n",
    "src/base/exact.c": "int " + "x" * 75 + ";\n",
    "docs/long.md": "line\n" * 701,
    "docs/exact.md": "line\n" * 700,
}
EXPECTED = ["docs/long.md:701", "src/base/wide.c:1", "src/model/unknown.c:1",
            "src/nowhere/lost.c:1", "src/op/upward.c:2",
            "src/text/sideways.c:1"]


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in PLANTED.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        found = [line.rsplit(": ", 1)[0] for line in check(root)[0]]
    if found != EXPECTED:
        print(f"self-test: expected {EXPECTED}, found {found}")
        return 1
    print(f"self-test: all {len(EXPECTED)} planted breaks found")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", nargs="?", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        return self_test()
    breaks, n_files = check(args.root)
    for line in breaks:
        print(line)
    print(f"{n_files} files, {len(breaks)} breaks")
    return 1 if breaks else 0


if __name__ == "__main__":
    sys.exit(main())
