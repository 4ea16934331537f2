"""JSON lines: one document a line, `{"id", "text", "entities": [{"start", "end", "label"}], …}`.

Other keys of a line are kept, in order. On reading, `entities` may be absent, and so may `id`: the document
is then called `<base name>:<line>`. Whether spans fit the text is for `marsad.codec` to say.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from marsad.errors import DataError
from marsad.extractor import check_text
from marsad.formats.offsets import Unit, converted
from marsad.formats.records import BadRecord, Record, Source, name_of, not_utf8, numbered, stem_of, unreadable
from marsad.schema import Document, Entity, Span

_TOO_DEEP = "not JSON that can be read: nested too deeply"

# JSON leaves these bare, though many readers take them for line ends
_LINE_BREAKS = str.maketrans({character: f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"})


def read(source: Source, annotated: bool = True) -> Iterator[Record]:
    """The documents of a file, blank lines skipped; without `annotated` its entities are not looked at."""
    name, stem = name_of(source), stem_of(source, ".jsonl")
    try:
        for number, line in numbered(source):
            if line.strip():
                yield _record(line, name, number, f"{stem}:{number}", annotated)
    except OSError as error:
        yield unreadable(source, error)


def write(records: Iterable[Record], stream: TextIO, unit: Unit = "codepoints") -> None:
    """Write each document as a line, offsets counted in `unit`; a bad record is a line with `error`."""
    for record in records:
        tree = _error(record) if isinstance(record, BadRecord) else _tree(record, unit)
        line = json.dumps(tree, ensure_ascii=False, allow_nan=False)
        stream.write(line.translate(_LINE_BREAKS) + "\n")


def _record(line: bytes, name: str, number: int, default: str, annotated: bool) -> Record:
    id: str | None = None
    try:
        tree = _parsed(line)
        id = _string(tree.get("id", default), "id")
        return _document(tree, id, annotated)
    except DataError as error:
        return BadRecord(name, number, str(error), id)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(error)) from None
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise DataError(_TOO_DEEP) from None
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"not JSON that can be read: {error}") from None
    if not isinstance(tree, dict):
        raise DataError(f'expected an object such as {{"id": …, "text": …}}, found {_kind(tree)}')
    return tree


def _document(tree: dict[str, Any], id: str, annotated: bool) -> Document:
    if "text" not in tree:
        raise DataError(f'has no "text"; its keys are {", ".join(map(repr, tree)) or "none"}')
    text = _string(tree["text"], "text")
    entities = _spans(tree.get("entities", [])) if annotated else ()
    extra = {key: value for key, value in tree.items() if key not in ("id", "text", "entities")}
    _check_writable(extra)
    return Document(id, text, entities, extra)


def _check_writable(extra: dict[str, Any]) -> None:
    try:
        json.dumps(extra, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise DataError("has a lone surrogate beside the text; write the line again as UTF-8") from None
    except RecursionError:
        raise DataError(_TOO_DEEP) from None


def _spans(entities: Any) -> tuple[Span, ...]:
    if not isinstance(entities, list):
        raise DataError(f'"entities": expected a list, found {_kind(entities)}')
    return tuple(sorted(_span(entity, f'"entities"[{index}]') for index, entity in enumerate(entities)))


def _span(entity: Any, where: str) -> Span:
    if not isinstance(entity, dict):
        raise DataError(f"{where}: expected an object with start, end and label, found {_kind(entity)}")
    start, end, label = (entity.get(key) for key in ("start", "end", "label"))
    if type(start) is not int or type(end) is not int or not isinstance(label, str):
        raise DataError(
            f"{where}: expected whole numbers start and end and a string label, found {start!r}, {end!r} and {label!r}"
        )
    return Span(start, end, _string(label, f"label of {where}"))


def _string(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise DataError(f'"{key}": expected a string, found {_kind(value)}')
    try:
        check_text(value)
    except DataError as error:
        raise DataError(f'"{key}": {error}') from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"has the key {twice!r} twice; keep one")
    return tree


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise DataError(f"has the number {number}, which JSON cannot hold; write null")
    return value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _tree(document: Document, unit: Unit) -> dict[str, Any]:
    edges = (edge for span in document.entities for edge in (span.start, span.end))
    offsets = converted(document.text, edges, unit)
    entities = [_entity(document.text, span, offsets) for span in document.entities]
    return {"id": document.id, "text": document.text, "entities": entities, **document.extra}


def _entity(text: str, span: Span, offsets: dict[int, int]) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "start": offsets[span.start],
        "end": offsets[span.end],
        "label": span.label,
        "text": text[span.start : span.end],
    }
    if isinstance(span, Entity):
        tree["score"] = round(span.score, 4)
    return tree


def _error(bad: BadRecord) -> dict[str, Any]:
    return {"error": str(bad)} if bad.id is None else {"id": bad.id, "error": str(bad)}
