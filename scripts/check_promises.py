#!/usr/bin/env python3
"""docs/seed-coverage.md names, behind every promise, a test or a command: fails
where a row names none, or one that is not there.

    scripts/check_promises.py
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/seed-coverage.md"


def known_tests():
    """Unit tests, their functions, and the methods of tests of the program."""
    names = set()
    for path in (ROOT / "tests/unit").glob("*.c"):
        names.add(path.stem)
        names.update(re.findall(r"\b(\w+)\(void \*\*state", path.read_text()))
    for path in (ROOT / "tests/cli").glob("*.py"):
        names.add(f"cli_{path.stem}")
        names.update(re.findall(r"def (test_\w+)", path.read_text()))
    names.update(path.stem for path in (ROOT / "tests/fuzz").glob("*.c"))
    names.update(f"library_{path.stem}"
                 for path in (ROOT / "tests/library").glob("*.py"))
    return names


def rows():
    """(line, promise, what shows it) of all tables."""
    for number, line in enumerate(DOCUMENT.read_text().splitlines(), 1):
        cells = [c.strip() for c in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "promise":
            yield number, cells[0], " | ".join(cells[1:]).strip()


def is_known(name, tests):
    """A name that ends with _ stands for all tests that begin so."""
    return name in tests or (name.endswith("_") and
                             any(test.startswith(name) for test in tests))


def mistakes(shown, tests):
    if not shown:
        yield "nothing shows it"
    plain = re.sub(r"`[^`]*`", " ", shown)
    for name in re.findall(r"\b(?:test|cli|fuzz|library)_\w+", plain):
        if not is_known(name, tests):
            yield f"there is no {name}"
    for name in re.findall(r"\btest_\w+, (\w+_\w+)", plain):
        if not is_known(name, tests):
            yield f"there is no {name}"
    for name in re.findall(r"\b(?:bench|scripts|docs|tests|examples)/[\w/]+"
                           r"\.\w+", shown):
        if not (ROOT / name).exists():
            yield f"there is no {name}"


def main():
    tests = known_tests()
    found = [(number, text) for number, _, shown in rows()
             for text in mistakes(shown, tests)]
    for number, text in found:
        print(f"{DOCUMENT.relative_to(ROOT)}:{number}: {text}")
    print(f"{len(list(rows()))} promises, {len(found)} mistakes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
