#!/usr/bin/env python3
"""Draws the held-out losses of training runs as one SVG chart.

    bench/curves.py --out docs/curves.svg --title "Books" \\
        "all heads=runs/dense" "75 % of the heads=runs/moh"

Each run is LABEL=DIRECTORY; the points are the evaluations in its log.jsonl. With
--bytes-per-token N the losses, nats per token, are shown as bits per byte. Needs
nothing but Python.
"""
import argparse
import json
import math
import pathlib
import xml.sax.saxutils

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 48, 52
COLORS = ["#1f6feb", "#d1493f", "#2a8f4f", "#8250df", "#9a6700"]


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


def ticks(low, high, n=6):
    """About n round numbers from low to high."""
    raw = (high - low) / n
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class Chart:
    def __init__(self, runs):
        steps = [x for _, points in runs for x, _ in points]
        losses = [y for _, points in runs for _, y in points]
        margin = (max(losses) - min(losses)) * 0.05 or 0.1
        self.x0, self.x1 = 0, max(steps)
        self.y0, self.y1 = min(losses) - margin, max(losses) + margin
        self.parts = []

    def x(self, value):
        share = (value - self.x0) / (self.x1 - self.x0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        share = (value - self.y0) / (self.y1 - self.y0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, text, anchor="middle", more=""):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>'
            f"{xml.sax.saxutils.escape(text)}</text>")

    def line(self, x1, y1, x2, y2, more):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
                          f'y2="{y2:.1f}" {more}/>')

    def axes(self, unit):
        for value in ticks(self.y0, self.y1):
            y = self.y(value)
            self.line(LEFT, y, WIDTH - RIGHT, y, 'class="grid"')
            self.text(LEFT - 8, y + 4, f"{value:.4g}", "end")
        for value in ticks(self.x0, self.x1):
            self.text(self.x(value), HEIGHT - BOTTOM + 20, f"{value:,.0f}")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "steps")
        self.text(16, (TOP + HEIGHT - BOTTOM) / 2, unit, "middle",
                  f'transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})"')

    def curve(self, number, label, points):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" '
                          f'stroke="{color}" stroke-width="2"/>')
        y = TOP + 18 + 20 * number
        self.line(WIDTH - 250, y - 4, WIDTH - 222, y - 4,
                  f'stroke="{color}" stroke-width="2"')
        self.text(WIDTH - 214, y, f"{label}: {points[-1][1]:.4f}", "start")

    def svg(self, title):
        body = "\n".join(self.parts)
        return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}"
 height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
 font-family="sans-serif" font-size="12" fill="#24292f">
<title>{xml.sax.saxutils.escape(title)}</title>
<style>.grid {{ stroke: #d0d7de; stroke-width: 1 }}</style>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
<text x="{LEFT}" y="26" font-size="15" font-weight="bold">\
{xml.sax.saxutils.escape(title)}</text>
{body}
</svg>
"""


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
    chart = Chart(runs)
    chart.axes(unit)
    for number, (label, points) in enumerate(runs):
        chart.curve(number, label, points)
    arguments.out.write_text(chart.svg(arguments.title))


if __name__ == "__main__":
    main()
