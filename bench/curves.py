#!/usr/bin/env python3
"""Draws the held-out losses of training runs as one SVG chart.

    bench/curves.py --out docs/curves.svg --title "Books" \\
        "all heads=runs/dense" "75 % of the heads=runs/moh"

Each run is LABEL=DIRECTORY; the points are the evaluations in its log.jsonl. With
--bytes-per-token N the losses, nats per token, are shown as bits per byte. Needs
nothing but Python.
"""
import argparse
import itertools
import json
import math
import pathlib

from chart import COLORS, Chart, ticks


def read_run(text):
    """(label, [(step, held-out loss)]) of LABEL=DIRECTORY."""
    label, _, folder = text.partition("=")
    points = {}
    for line in (pathlib.Path(folder) / "log.jsonl").read_text().splitlines():
        entry = json.loads(line).get("eval", {})
        if entry.get("data") == "held_out":
            # the last step has a second one, over all held-out data
            points.setdefault(entry["step"], entry["loss"])
    if not points:
        raise SystemExit(f"{folder}: its log has no held-out losses")
    return label, sorted(points.items())


def draw(runs, title, unit):
    steps = [x for _, points in runs for x, _ in points]
    losses = [y for _, points in runs for _, y in points]
    margin = (max(losses) - min(losses)) * 0.05 or 0.1
    chart = Chart((0, max(steps)),
                  (min(losses) - margin, max(losses) + margin))
    chart.axes("steps", unit, ticks(0, max(steps)))
    for color, (label, points) in zip(itertools.cycle(COLORS), runs):
        chart.curve(points, color)
        chart.legend(chart.width - 250, f"{label}: {points[-1][1]:.4f}",
                     color)
    return chart.svg(title)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--title", default="Held-out loss")
    parser.add_argument("--bytes-per-token", type=float)
    parser.add_argument("runs", nargs="+", metavar="LABEL=DIRECTORY")
    arguments = parser.parse_args()
    runs = [read_run(text) for text in arguments.runs]
    unit = "held-out loss, nats per token"
    if arguments.bytes_per_token:
        unit = "held-out loss, bits per byte"
        scale = 1 / math.log(2) / arguments.bytes_per_token
        runs = [(label, [(x, y * scale) for x, y in points])
                for label, points in runs]
    arguments.out.write_text(draw(runs, arguments.title, unit))


if __name__ == "__main__":
    main()
