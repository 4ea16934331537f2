"""brat standoff: `<name>.txt` and `<name>.ann` side by side in a directory.

    T1	ACTOR 5 17	الجيش السوري
    #1	AnnotatorNotes T1	0.98

Texts are kept byte for byte. An entity that crosses a line end is written in fragments, as brat does, and
read back whole. Relations, events, attributes and notes are brat's own and are not read.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from marsad.errors import DataError
from marsad.formats.records import BadRecord, Record, name_of, not_utf8, numbered, stem_of, unreadable, whole
from marsad.schema import Document, Entity, Span

_BREAK = re.compile(r"\s*[\r\n]\s*")
_BOUND = re.compile(r"T\d+\t(?P<label>\S+) (?P<fragments>\d+ \d+(?:;\d+ \d+)*)\t(?P<text>.*)", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.\-]+")
_NAME_BYTES = 200  # file systems end a name at 255


def read(directory: str | Path) -> Iterator[Record]:
    """The documents of a directory in order of name; one without a `.ann` has no entities."""
    if not Path(directory).is_dir():
        yield BadRecord(name_of(directory), None, "no such directory; give one of .txt and .ann files")
    for path in sorted(Path(directory).glob("*.txt")):
        yield _record(path, stem_of(path, ".txt"))


def write(documents: Iterable[Document], directory: Path) -> None:
    """Write each document under its id, made safe as a file name; a name taken before gets a number."""
    directory.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for document in documents:
        name = _name(document.id, taken)
        (directory / f"{name}.txt").write_bytes(document.text.encode("utf-8"))
        (directory / f"{name}.ann").write_bytes("".join(_lines(document)).encode("utf-8"))


def _record(path: Path, id: str) -> Record:
    try:
        text = whole(path)
        return Document(id, text, _spans(path.with_suffix(".ann"), text))
    except BadRecord as bad:
        return BadRecord(bad.source, bad.line, bad.problem, id)


def _name(id: str, taken: set[str]) -> str:
    safe = _UNSAFE.sub("_", id).encode()[:_NAME_BYTES].decode(errors="ignore").lstrip(".") or "document"
    name, number = safe, 1
    while name.casefold() in taken:
        number += 1
        name = f"{safe}-{number}"
    taken.add(name.casefold())
    return name


def _lines(document: Document) -> Iterator[str]:
    for number, span in enumerate(document.entities, 1):
        fragments = _fragments(document.text, span)
        offsets = ";".join(f"{start} {end}" for start, end in fragments)
        text = " ".join(document.text[start:end] for start, end in fragments)
        label = "_".join(span.label.split())  # brat ends a label at white space
        yield f"T{number}\t{label} {offsets}\t{text}\n"
        if isinstance(span, Entity):
            yield f"#{number}\tAnnotatorNotes T{number}\t{round(span.score, 4)}\n"


def _fragments(text: str, span: Span) -> list[tuple[int, int]]:
    fragments, start = [], span.start
    for gap in _BREAK.finditer(text, span.start, span.end):
        fragments.append((start, gap.start()))
        start = gap.end()
    return [*fragments, (start, span.end)]


def _spans(path: Path, text: str) -> tuple[Span, ...]:
    spans = []
    try:
        for number, line in numbered(path) if path.exists() else ():
            if line.startswith(b"T"):
                spans.append(_span(line, number, name_of(path), text))
    except OSError as error:
        raise unreadable(path, error) from None
    return tuple(sorted(spans))


def _span(line: bytes, number: int, name: str, text: str) -> Span:
    try:
        return _bound(line.decode("utf-8"), text)
    except UnicodeDecodeError as error:
        raise BadRecord(name, number, not_utf8(error)) from None
    except DataError as error:
        raise BadRecord(name, number, str(error)) from None


def _bound(line: str, text: str) -> Span:
    match = _BOUND.fullmatch(line)
    if not match:
        raise DataError(f"expected T1, a tab, LABEL START END, a tab and the text, found {line!r}")
    edges = [int(edge) for edge in re.findall(r"\d+", match["fragments"])]
    pieces = [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    if " ".join(pieces) != match["text"]:
        raise DataError(
            f"has {match['text']!r}, but the .txt has {' '.join(pieces)!r} there; "
            "one of the two was changed after the annotation"
        )
    if any(text[end:start].strip() for end, start in zip(edges[1::2], edges[2::2], strict=False)):
        raise DataError(f"{match['text']!r} is in parts with words between; a span here is one stretch")
    return Span(edges[0], edges[-1], match["label"])
