#!/usr/bin/env python3
"""Compiles moh.h alone, as the first include, with all warnings as errors.

    header.py c COMPILER      as C11 and C17
    header.py cxx [COMPILER]  as C++11, C++17 and C++20; 77 when there is none

Each source also uses what a program would: an initialised options structure,
an enum, a status list.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

INCLUDE = pathlib.Path(__file__).resolve().parents[2] / "include"
SOURCE = """
#include "moh.h"
#include "moh.h"

#define COUNT(name, text) +1
int n_codes(void);
int n_codes(void) { return 0 MOH_STATUS_MAP(COUNT); }

moh_status load(moh_model **model, moh_error *err);
moh_status load(moh_model **model, moh_error *err) {
  moh_load_options options;
  moh_load_options_default(&options, sizeof(options));
  options.verify = true;
  return moh_model_load(model, "directory", &options, err);
}
"""
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow",
            "-Wundef"]
KINDS = {
    "c": (".c", ["c11", "c17"], ["-Wstrict-prototypes", "-Wold-style-definition"]),
    "cxx": (".cpp", ["c++11", "c++17", "c++20"], []),
}


def compiles(compiler, source, standard, warnings):
    done = subprocess.run(
        [compiler, f"-std={standard}", *WARNINGS, *warnings,
         "-I", str(INCLUDE), "-c", str(source), "-o", "/dev/null"],
        capture_output=True, text=True)
    print(f"{compiler} -std={standard}:",
          "ok" if done.returncode == 0 else f"failed\n{done.stderr}")
    return done.returncode == 0


def main():
    kind = sys.argv[1]
    compiler = sys.argv[2] if len(sys.argv) > 2 else shutil.which("c++")
    if compiler is None:
        print("skipped: there is no C++ compiler (package g++)")
        return 77
    suffix, standards, warnings = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / f"header{suffix}"
        source.write_text(SOURCE)
        results = [compiles(compiler, source, standard, warnings)
                   for standard in standards]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
