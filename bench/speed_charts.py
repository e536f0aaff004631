#!/usr/bin/env python3
"""Draws what `moh bench --json` measured: speed-up over all heads against the
length of the context, one SVG for each work, precision and number of threads.

    moh bench --preset moh-s --json > speed.json
    bench/speed_charts.py speed.json --out docs/images --name moh-s \\
        --title "moh-s, 12 heads of 64"

writes docs/images/moh-s-training-f32-1.svg and so on. Solid lines are measured
(medians, bars from quartile to quartile), dashed ones are counted: multiply-adds,
for decoding the bytes read where they save less. Several files are put together
when they are of the same model. Needs nothing but Python.
"""
import argparse
import itertools
import json
import math
import pathlib

from chart import COLORS, GREY, MARKERS, Chart

LEGEND = 190  # width
WORK = {"training": "training step", "prefill": "prefill",
        "decoding": "decoding of a token",
        "attention": "attention of a layer, forward and backward"}
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers",
         "num_attention_heads", "num_key_value_heads", "vocab_size")


def sizes(table):
    return {key: table["model"].get(key) for key in SIZES}


def read_tables(paths):
    """{(work, precision, threads): {tokens: table}}."""
    charts, first = {}, None
    for path in paths:
        for table in json.loads(path.read_text()):
            first = first or table
            if sizes(table) != sizes(first):
                raise SystemExit(f"{path}: another model's figures; draw "
                                 "each model's apart")
            if table["work"] in WORK:
                key = table["work"], table["precision"], table["threads"]
                charts.setdefault(key, {})[table["tokens"]] = table
    if not charts:
        raise SystemExit("there is nothing to draw in these files")
    return charts


def bound(row):
    """The counted speed-up that a measured one is compared with."""
    return 1 / max(row["counted_ratio"], row.get("counted_bytes_ratio", 0))


def lines_of(tables):
    """{label: [(tokens, row)]} without all heads and pruned ones."""
    lines = {}
    for tokens, table in sorted(tables.items()):
        for row in table["contenders"]:
            if row["strategy"] != "all" and "pruned" not in row["heads"]:
                lines.setdefault(row["heads"], []).append((tokens, row))
    return lines


def y_range(lines):
    values = [1.0]
    for _, row in itertools.chain(*lines.values()):
        values += [1 / row["ratio_low"], 1 / row["ratio_high"]]
        if not row["masked"]:
            values.append(bound(row))
    margin = 0.05 * (max(values) - min(values)) + 0.01
    return min(values) - margin, max(values) + margin


def draw_line(chart, label, points, color, marker):
    counted = [(x, bound(row)) for x, row in points]
    if not points[0][1]["masked"]:
        chart.curve(counted, color, dashed=True, width=1.5)
    chart.curve([(x, 1 / row["ratio"]) for x, row in points], color)
    for x, row in points:
        chart.error_bar(x, 1 / row["ratio_high"], 1 / row["ratio_low"], color)
        chart.marker(chart.x(x), chart.y(1 / row["ratio"]), marker, color)
    chart.legend(chart.width - LEGEND + 16, label, color, marker=marker)


def draw(key, tables, title):
    work, precision, threads = key
    lines = lines_of(tables)
    if not lines:
        return None
    lengths = sorted(tables)
    low, high = lengths[0], lengths[-1]
    if low == high:  # one length stands in the middle
        low, high = low / math.sqrt(2), high * math.sqrt(2)
    chart = Chart((low, high), y_range(lines), log_x=True, right=LEGEND)
    chart.axes("context, tokens", "speed-up over all heads", lengths, ".2f")
    chart.line(chart.x(low), chart.y(1), chart.x(high), chart.y(1),
               'stroke="#24292f" stroke-width="1"')
    styles = zip(itertools.cycle(COLORS), itertools.cycle(MARKERS[:-1]))
    for label, points in lines.items():
        masked = points[0][1]["masked"]
        style = (GREY, MARKERS[-1]) if masked else next(styles)
        draw_line(chart, label, points, *style)
    chart.legend(chart.width - LEGEND + 16, "counted", "#24292f",
                 dashed=True)
    plural = "" if threads == 1 else "s"
    return chart.svg(title, f"{WORK[work]}; {precision}, {threads} "
                     f"thread{plural}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="+", type=pathlib.Path,
                        metavar="JSON")
    parser.add_argument("--out", required=True, type=pathlib.Path,
                        help="directory of the charts")
    parser.add_argument("--name", default="speed",
                        help="front of the charts' names (default: speed)")
    parser.add_argument("--title", default="Skipped heads",
                        help="front of the charts' titles")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for key, tables in sorted(read_tables(arguments.files).items()):
        svg = draw(key, tables, arguments.title)
        if svg is None:
            continue
        work, precision, threads = key
        path = (arguments.out /
                f"{arguments.name}-{work}-{precision}-{threads}.svg")
        path.write_text(svg)
        print(path)


if __name__ == "__main__":
    main()
