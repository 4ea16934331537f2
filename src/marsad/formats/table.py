"""A table for the terminal: the Arabic text last, so that no column has to be set by its width.

Each text and id stands between U+2068 and U+2069: a bidirectional terminal then lays it out by itself and
leaves the rest of the line alone.
"""

from collections.abc import Iterable, Iterator
from typing import TextIO

from marsad.schema import Document, Entity, Span

_HEAD = ("LABEL", "OFFSETS", "SCORE", "TEXT")
_SHAPING = "\u200c\u200d"  # the joiners that decide how letters look


def write(documents: Iterable[Document], stream: TextIO) -> None:
    """Write each document's id and its entities: label, offsets, score, text."""
    for index, document in enumerate(documents):
        stream.write("\n" * bool(index) + _isolated(document.id) + "\n")
        stream.writelines(line.rstrip() + "\n" for line in _lines(document))


def _lines(document: Document) -> Iterator[str]:
    if not document.entities:
        yield "  no entities"
        return
    rows = [_HEAD, *(_row(document.text, span) for span in document.entities)]
    label, offsets, score = (max(len(row[column]) for row in rows) for column in range(3))
    for row in rows:
        yield f"  {row[0]:<{label}}  {row[1]:>{offsets}}  {row[2]:>{score}}  {row[3]}"


def _row(text: str, span: Span) -> tuple[str, str, str, str]:
    score = f"{span.score:.2f}" if isinstance(span, Entity) else ""
    shown = _isolated(text[span.start : span.end])
    return _visible(span.label), f"{span.start}-{span.end}", score, shown


def _isolated(text: str) -> str:
    return f"\u2068{_visible(text)}\u2069"


def _visible(text: str) -> str:
    """The text on one line, without the controls that would steer the terminal or end the isolation."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable() or c in _SHAPING)
