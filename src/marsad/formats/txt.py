"""Plain text: a file is one document, kept byte for byte, its id the base name without `.txt`."""

from collections.abc import Iterator

from marsad.formats.records import BadRecord, Record, Source, stem_of, whole
from marsad.schema import Document


def read(source: Source) -> Iterator[Record]:
    """The one document of a text file; line ends and byte-order marks are part of its text."""
    id = stem_of(source, ".txt")
    record: Record
    try:
        record = Document(id, whole(source))
    except BadRecord as bad:
        record = BadRecord(bad.source, bad.line, bad.problem, id)
    yield record
