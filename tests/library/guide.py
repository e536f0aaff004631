#!/usr/bin/env python3
"""Checks that docs/library.md shows what the examples say.

Each block of C stands, line for line, in the example that was named last
before it; every example is named.

    guide.py [GUIDE]
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "library.md"
NAMED = re.compile(r"\(\.\./examples/(\w+\.c)\)")


def check(guide):
    text = guide.read_text()
    for block in re.finditer(r"^```c\n(.*?)^```", text, re.M | re.S):
        named = NAMED.findall(text, 0, block.start())
        line = text.count("\n", 0, block.start()) + 1
        source = (ROOT / "examples" / named[-1]).read_text()
        if f"\n{block.group(1)}" not in source:
            yield f"{guide.name}:{line}: not in examples/{named[-1]}"
    for path in sorted((ROOT / "examples").glob("*.c")):
        if path.name not in NAMED.findall(text):
            yield f"{guide.name} does not name examples/{path.name}"


def main():
    guide = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else GUIDE
    found = list(check(guide))
    for message in found:
        print(message)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
