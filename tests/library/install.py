#!/usr/bin/env python3
"""Installs the library into a temporary prefix, moves that elsewhere, and
builds and runs the examples against it in each way that users have:

  pkg-config, shared     cc $(pkg-config --cflags --libs moh)
  pkg-config, static     the same with --static and libmoh.a
  CMake, both            find_package(moh), moh::moh and moh::static

    install.py BUILD_DIRECTORY C_COMPILER
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.c"))
STRICT = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]

# What lies where people and shells look for it, and words of it.
PAGES = [
    ("share/man/man1/moh.1", ".SH \"EXIT STATUS\""),
    ("share/man/man1/moh-train.1", "\\-\\-data"),
    ("share/bash-completion/completions/moh", "complete -F _moh moh"),
    ("share/zsh/site-functions/_moh", "#compdef moh"),
]

# What each example is given, and what its output must show.
RUNS = [
    ("train_from_c", ["MODEL"], r"step   60 of 60 .*saved in"),
    ("load_and_generate", ["MODEL", "the sun", "0.8", "3"],
     r"finished by: context.*the sun"),
    ("read_a_plan", ["MODEL", "the sun"], r"layer 3: 21 of 28 pairs"),
    ("route_by_hand", [], r"step 2000  error 0\.0[01]"),
]


class Failed(Exception):
    pass


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], text=True,
                          capture_output=True, **more)
    if done.returncode != 0:
        raise Failed(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def install(build, folder):
    """An installed copy that has been moved after its installation."""
    run("cmake", "--install", build, "--prefix", folder / "first")
    shutil.move(folder / "first", folder / "moved")
    return folder / "moved"


def find(prefix, name):
    found = list(prefix.rglob(name))
    if len(found) != 1:
        raise Failed(f"{name} was installed {len(found)} times")
    return found[0]


def check_pages(prefix):
    for name, words in PAGES:
        if words not in find(prefix, name).read_text():
            raise Failed(f"{name} lacks {words}")
    pages = list(prefix.rglob("man1/*.1"))
    if min(page.stat().st_size for page in pages) == 0:
        raise Failed("a man page is empty")
    print(f"{len(pages)} man pages, completion for bash and zsh")


def pkg_config(prefix, *options):
    path = find(prefix, "moh.pc").parent
    env = dict(os.environ, PKG_CONFIG_PATH=str(path))
    return run("pkg-config", *options, "moh", env=env).split()


def build_shared(compiler, prefix, out):
    flags = pkg_config(prefix, "--cflags", "--libs")
    for name in NAMES:
        run(compiler, *STRICT, EXAMPLES / f"{name}.c", "-o", out / name,
            *flags, "-lm")


def build_static(compiler, prefix, out):
    flags = ["-l:libmoh.a" if flag == "-lmoh" else flag for flag in
             pkg_config(prefix, "--static", "--cflags", "--libs")]
    for name in NAMES:
        run(compiler, *STRICT, EXAMPLES / f"{name}.c", "-o", out / name,
            *flags)


def build_cmake(target):
    def build(compiler, prefix, out):
        run("cmake", "-G", "Ninja", "-S", HERE / "consumer", "-B",
            out / "build", f"-DCMAKE_C_COMPILER={compiler}",
            f"-DCMAKE_PREFIX_PATH={prefix}", f"-DMOH_TARGET={target}",
            f"-DMOH_EXAMPLES={EXAMPLES}")
        run("cmake", "--build", out / "build", "-j", "2")
        for name in NAMES:
            shutil.copy(out / "build" / name, out / name)
    return build


def links_shared(program):
    return "libmoh.so" in run("readelf", "-d", program)


def check_programs(out, prefix, shared, model):
    """Runs all examples; only a shared build may need the installed copy."""
    env = dict(os.environ)
    if shared:
        env["LD_LIBRARY_PATH"] = str(find(prefix, "libmoh.so").parent)
    for name, arguments, pattern in RUNS:
        if links_shared(out / name) != shared:
            raise Failed(f"{name} is linked in the wrong way")
        words = [str(model) if word == "MODEL" else word
                 for word in arguments]
        output = run(out / name, *words, env=env)
        if not re.search(pattern, output, re.S):
            raise Failed(f"{name} does not show {pattern}:\n{output}")


WAYS = [
    ("pkg-config, shared", build_shared, True),
    ("pkg-config, static", build_static, False),
    ("CMake, moh::moh", build_cmake("moh::moh"), True),
    ("CMake, moh::static", build_cmake("moh::static"), False),
]


def main():
    build, compiler = sys.argv[1:3]
    if sorted(name for name, _, _ in RUNS) != NAMES:
        print(f"examples are {NAMES}, but RUNS knows others")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prefix = install(build, folder)
        check_pages(prefix)
        for i, (way, make, shared) in enumerate(WAYS):
            out = folder / f"way{i}"
            out.mkdir()
            try:
                make(compiler, prefix, out)
                check_programs(out, prefix, shared, folder / "model")
            except Failed as error:
                print(f"{way}: {error}")
                return 1
            print(f"{way}: {len(RUNS)} examples built and run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
