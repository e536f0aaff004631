#!/usr/bin/env python3
"""Checks the symbols of the built libraries.

 - libmoh.so exports exactly what symbols.txt lists, every one declared in
   moh.h with MOH_API, and moh.h declares no other; all start with moh_.
 - libmoh.so knows its own soname, with the major version.
 - Every global symbol of libmoh.a starts with moh_, too, so that it meets no
   name of the program that links it.
 - No object of libmoh.a uses a function that prints, exits or aborts, apart
   from those in ALLOWED.

    symbols.py SHARED STATIC           the check
    symbols.py SHARED STATIC --update  writes symbols.txt anew
"""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
HEADER = HERE.parent.parent / "include" / "moh.h"
LIST = HERE / "symbols.txt"

# What the library has no business with.
FORBIDDEN = re.compile(
    r"^(__)?(v?f?printf|dprintf|vdprintf|puts|putchar|putc|fputs|fputc|"
    r"perror|psignal|syslog|v?warnx?|v?errx?|error|write|"
    r"exit|_exit|_Exit|quick_exit|abort|raise|kill|assert_fail|"
    r"longjmp|siglongjmp|signal|sigaction|system|popen|fork|atexit)"
    r"(_chk|_unlocked)?$|^(stdin|stdout|stderr)$")
# object -> (symbol, why it may)
ALLOWED = {
    # Running over an arena that a dry run has sized is our own mistake.
    ("arena.c.o", "abort"),
}
# assert, in builds without NDEBUG: programmer errors only.
ALLOWED_EVERYWHERE = {"__assert_fail"}

DECLARATION = re.compile(r"MOH_API\s+[\w\s*]*?\b(?!__)(\w+)\s*\(")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True,
                          text=True).stdout


def exported(shared):
    lines = run("nm", "-D", "--defined-only", shared).splitlines()
    return sorted(line.split()[-1].split("@")[0] for line in lines)


def defined(static):
    lines = run("nm", "-g", "--defined-only", static).splitlines()
    return sorted(line.split()[2] for line in lines
                  if len(line.split()) == 3)


def declared():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    return sorted(DECLARATION.findall(text))


def major():
    text = HEADER.read_text()
    return re.search(r"MOH_VERSION_MAJOR (\d+)", text).group(1)


def imports(static):
    """(object, symbol) for every undefined symbol of an archive."""
    for line in run("nm", "-A", "-u", static).splitlines():
        place, symbol = line.rsplit(" U ", 1)
        yield place.rstrip().rstrip(":").split(":")[-1], symbol.strip()


def differences(name_a, a, name_b, b):
    for symbol in sorted(set(a) - set(b)):
        yield f"{symbol} is in {name_a}, but not in {name_b}"
    for symbol in sorted(set(b) - set(a)):
        yield f"{symbol} is in {name_b}, but not in {name_a}"


def check(shared, static):
    symbols = exported(shared)
    yield from differences("libmoh.so", symbols, LIST.name,
                           LIST.read_text().split())
    yield from differences("libmoh.so", symbols, "moh.h", declared())
    for symbol in symbols:
        if not re.match(r"moh_[a-z]", symbol):
            yield f"{symbol} does not start with moh_"
    soname = f"[libmoh.so.{major()}]"
    if soname not in run("readelf", "-d", shared):
        yield f"the soname is not {soname}"
    for symbol in defined(static):
        if not symbol.startswith("moh_"):
            yield f"{symbol} of libmoh.a does not start with moh_"
    for place, symbol in imports(static):
        if FORBIDDEN.match(symbol) and (place, symbol) not in ALLOWED \
                and symbol not in ALLOWED_EVERYWHERE:
            yield f"{place} uses {symbol}"


def main():
    shared, static = sys.argv[1:3]
    if "--update" in sys.argv[3:]:
        LIST.write_text("".join(f"{name}\n" for name in exported(shared)))
    found = list(check(shared, static))
    for message in found:
        print(message)
    print(f"{len(exported(shared))} symbols, {len(found)} breaks")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
