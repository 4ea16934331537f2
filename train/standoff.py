"""Annotations of texts that are not ours to ship: offsets and a hash here, the texts in the user's directory.

annotations/extended/train.standoff.jsonl    {"id", "origin", "origin_id", "outlet", "sha256", "entities"}
DIR/*.jsonl                                  {"id", "text", …}, the texts under the same ids
"""

import json
from collections.abc import Iterator
from pathlib import Path

from marsad.artifact import text_hash
from marsad.errors import DataError
from marsad.formats import BadRecord, Record, jsonl
from marsad.schema import Document, Span

SUFFIX = ".standoff.jsonl"
THEIRS = "standoff"  # key of a document's extra that says: its text is its publisher's, not to be copied into artifacts


def read(path: Path, texts: str | Path | None) -> Iterator[Record]:
    """The annotated documents of a standoff file; a text that is missing or differs is a BadRecord.

    Raises DataError where no directory of texts was given.
    """
    if texts is None:
        raise DataError(
            f"{path}: holds offsets without texts, which are their publishers'; gather them from the origins that "
            "it names and give their directory with --set data.texts=DIR"
        )
    known = {document.id: document.text for document in _texts(Path(texts))}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        record = json.loads(line)
        text = known.get(record["id"])
        if text is None:
            yield BadRecord(str(path), number, f"no text with id {record['id']} in {texts}", record["id"])
        elif (found := text_hash(text)) != record["sha256"]:
            problem = f"the text of {record['id']} in {texts} has SHA-256 {found[:12]}…, not {record['sha256'][:12]}…"
            yield BadRecord(str(path), number, problem, record["id"])
        else:
            spans = tuple(Span(e["start"], e["end"], e["label"]) for e in record["entities"])
            extra = {**{key: record[key] for key in ("origin", "outlet")}, THEIRS: True}
            yield Document(record["id"], text, spans, extra)


def _texts(directory: Path) -> Iterator[Document]:
    files = sorted(directory.glob("*.jsonl"))
    if not files:
        raise DataError(f"{directory}: holds no .jsonl file of texts")
    for file in files:
        for record in jsonl.read(file, annotated=False):
            if isinstance(record, BadRecord):
                raise record
            yield record
