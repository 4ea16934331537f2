"""Formats: readers give `Document | BadRecord` one at a time, writers take them one at a time.

    reading   txt, jsonl, conll (a source each), brat (a directory)
    writing   jsonl, conll, html, table (to a stream), brat (into a directory)

Everything is a stream: no reader or writer holds more than the document at hand.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO, TypeAlias

from marsad.formats import conll, html, jsonl, table, txt
from marsad.formats.records import BadRecord, Record, Source
from marsad.schema import Document

Reader: TypeAlias = Callable[[Source], Iterator[Record]]
Writer: TypeAlias = Callable[[Iterable[Document], TextIO], None]

#: Readers of one source, by the suffix of its name.
READERS: Mapping[str, Reader] = {"txt": txt.read, "jsonl": jsonl.read, "conll": conll.read}

#: Writers to one stream; JSONL alone has a place for a bad record.
WRITERS: Mapping[str, Writer] = {
    "jsonl": jsonl.write,
    "conll": conll.write,
    "html": html.write,
    "table": table.write,
}

__all__ = ["READERS", "WRITERS", "BadRecord", "Reader", "Record", "Source", "Writer"]
