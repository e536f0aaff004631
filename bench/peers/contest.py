"""Contenders as processes that wait for work: one works at a time, they take
turns within rounds, and a ratio is the median of the rounds' ratios.

A contender reads lines of a word and a number, does that work and answers with
the seconds of processor time and of the clock that it took.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import time
import venv

REST = 0.05  # seconds between two turns
ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKER = ROOT / "build/release/bench/peers/moh_worker"
MOH = ROOT / "build/release/moh"


def build():
    """Our worker and program; a build tree that is up to date costs nothing."""
    for command in (["cmake", "--preset", "release"],
                    ["cmake", "--build", "--preset", "release",
                     "--target", "moh_worker", "moh_cli"]):
        subprocess.run(command, cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)


def environment(name, packages, index=()):
    """The Python of a virtual environment with these packages."""
    folder = ROOT / "build/peers" / name
    python = folder / "bin/python"
    marker = folder / "installed"
    if not marker.exists() or marker.read_text() != "\n".join(packages):
        print(f"installing {' '.join(packages)}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *index,
                        *packages], check=True)
        marker.write_text("\n".join(packages))
    return python


class Contender:
    def __init__(self, name, command, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads),
                   MKL_NUM_THREADS=str(threads),
                   OPENBLAS_NUM_THREADS=str(threads))
        for name_of_tuning in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            env.pop(name_of_tuning, None)
        self.name, self.threads = name, threads
        self.samples = {}
        self.process = subprocess.Popen(
            [str(word) for word in command], text=True, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=None if "-v" in sys.argv else subprocess.DEVNULL)
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        raise SystemExit(f"{name} did not start; -v shows what it says")

    def ask(self, word, number):
        self.process.stdin.write(f"{word} {number}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended at '{word} {number}'")
        return [float(x) for x in line.split()]

    def time(self, word, number):
        """Processor time of one thread, or the clock of several. Threads of
        the one before may still wait for work with all their might."""
        time.sleep(REST)
        cpu, wall = self.ask(word, number)
        seconds = cpu if self.threads == 1 else wall
        self.samples.setdefault((word, number), []).append(seconds)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def take_turns(contenders, work, rounds, warm_up=1, before=()):
    """`before` is asked for, untimed, ahead of every piece of work."""
    for number in range(-warm_up, rounds):
        for i in range(len(contenders)):
            contender = contenders[(i + number) % len(contenders)]
            for word in before:
                contender.ask(*word)
            if number < 0:
                contender.ask(*work)
            else:
                contender.time(*work)


def median(contender, work):
    return statistics.median(contender.samples[work])


def ratio(contender, other, work):
    """Median, first and third quartile of contender / other."""
    ratios = sorted(a / b for a, b in zip(contender.samples[work],
                                          other.samples[work]))
    n = len(ratios)
    return (statistics.median(ratios), ratios[n // 4],
            ratios[(3 * n) // 4 if n > 1 else 0])
