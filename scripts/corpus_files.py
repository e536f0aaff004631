"""A corpus of a fuzz target as files (scripts/corpus_*.py)."""

import pathlib

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "tests/fuzz/corpus"


def write(target, cases):
    """A file for each name and content."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in cases:
        (folder / name).write_bytes(content)
