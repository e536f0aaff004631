#!/usr/bin/env python3
"""Turns what `moh bench --json` measured into tables in Markdown, as
docs/speed.md has them: a row for each contender.

    bench/speed_table.py build/speed/layer.json [MORE.json]...

Times are medians; a ratio is the median over rounds of the ratio to all heads,
its spread half the distance of its quartiles. `counted` is the ratio of what
was counted, and `kept` the share of the counted saving that was measured; with
* both are of the bytes that a token reads, where these save less. Needs
nothing but Python.
"""
import argparse
import json
import pathlib


def milliseconds(seconds):
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def row(table, contender):
    by_bytes = contender.get("kept_of") == "bytes"
    counted = (contender.get("counted_bytes_ratio") if by_bytes
               else contender["counted_ratio"])
    kept = contender["kept_saving"]
    spread = (contender["ratio_high"] - contender["ratio_low"]) / 2
    first = contender["ratio"] == 1 and spread == 0
    star = "*" if by_bytes else ""
    return [table["work"], str(table["tokens"]), table["precision"],
            str(table["threads"]), contender["heads"],
            milliseconds(contender["seconds"]),
            "1" if first else f"{contender['ratio']:.3f} ± {spread:.3f}",
            "1" if first else f"{counted:.3f}{star}",
            "" if kept is None else f"{100 * kept:.0f} %{star}"]


HEAD = ["work", "tokens", "type", "threads", "heads", "ms", "ratio",
        "counted", "kept"]


def speed_ups(tables):
    """Lines for contenders that were measured with several threads."""
    for table in tables:
        for contender in table["contenders"]:
            if contender.get("speed_up") is not None:
                yield (f"{table['work']}, {table['precision']}, "
                       f"{contender['heads']}: {table['threads']} threads "
                       f"{contender['speed_up']:.2f} times one")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    files = parser.parse_args().files
    tables = [table for path in files
              for table in json.loads(path.read_text())]
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD))
    for table in tables:
        for contender in table["contenders"]:
            print("| " + " | ".join(row(table, contender)) + " |")
    for line in speed_ups(tables):
        print(f"\n{line}")


if __name__ == "__main__":
    main()
