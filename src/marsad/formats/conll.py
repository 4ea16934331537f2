"""CoNLL: `token TAB tag` lines in strict IOB2, a blank line behind each document.

    # id = 2016-02-07
    الجيش	B-ACTOR
    السوري	I-ACTOR

What is written are the words of the raw text. What is read has lost the white space between them, so a text
is its tokens joined by single spaces: words, tags and ids survive the round trip, offsets and the proclitics
of a first word do not. Public sets are read alike, a blank line behind each sentence, with any labels;
there a token may be more than a word, and spans are drawn in to the words inside, without signs at their
edges. An I- tag that continues no entity is an error, not a guess: its sentence becomes a BadRecord.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby
from typing import TextIO

from marsad.codec import runs, to_tags
from marsad.errors import DataError
from marsad.extractor import check_text
from marsad.formats.records import BadRecord, Record, Source, name_of, not_utf8, numbered, stem_of, unreadable
from marsad.schema import Document, Span
from marsad.words import is_sign, words_of

_ID = "# id = "
_TAG = re.compile(r"O|[BI]-.+")

Line = tuple[int, bytes]


def read(source: Source) -> Iterator[Record]:
    """The documents, or sentences, of a file; one without an id is called `<base name>:<line>`."""
    name, stem = name_of(source), stem_of(source, ".conll")
    try:
        for blank, block in groupby(numbered(source), key=lambda line: not line[1].strip()):
            lines = list(block)
            if not blank:
                yield from _records(lines, name, f"{stem}:{lines[0][0]}")
    except OSError as error:
        yield unreadable(source, error)


def write(documents: Iterable[Document], stream: TextIO) -> None:
    """Write the words and tags of each document; raises AlignmentError where a span does not fit the words."""
    for document in documents:
        words = words_of(document.text)
        tags = to_tags(document.text, words, document.entities)
        stream.write(f"{_ID}{_encoded(document.id)}\n")
        for (start, end), tag in zip(words, tags, strict=True):
            stream.write(f"{document.text[start:end]}\t{tag}\n")
        stream.write("\n")


def _records(lines: list[Line], name: str, id: str) -> Iterator[Record]:
    reader = _Block(id)
    for number, line in lines:
        try:
            reader.add(line)
        except DataError as error:
            yield BadRecord(name, number, str(error), reader.id)
            return
    if reader.tokens or reader.named:
        yield reader.document()


class _Block:
    """The lines between two blank ones."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.named = False
        self.tokens: list[str] = []
        self.tags: list[str] = []

    def add(self, line: bytes) -> None:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(not_utf8(error)) from None
        token, tab, tag = text.partition("\t")
        if not tab and text.startswith("#"):
            self._comment(text)
        elif not token.strip() or not _TAG.fullmatch(tag):
            raise DataError(f"expected a token, a tab and a tag (O, B-LABEL or I-LABEL), found {text[:80]!r}")
        else:
            self._append(token, tag)

    def document(self) -> Document:
        text = " ".join(self.tokens)
        words = words_of(text)
        ends = list(accumulate(len(token) + 1 for token in self.tokens))
        spans = []
        for first, last, label in runs(self.tags):
            start, end = ends[first] - len(self.tokens[first]) - 1, ends[last] - 1
            spans.append(_drawn_in(text, words, Span(start, end, label)))
        return Document(self.id, text, tuple(spans))

    def _comment(self, text: str) -> None:
        if text.startswith(_ID):
            self.id, self.named = _decoded(text.removeprefix(_ID)), True

    def _append(self, token: str, tag: str) -> None:
        before = self.tags[-1] if self.tags else "O"
        if tag.startswith("I-") and before[2:] != tag[2:]:
            raise DataError(f"{tag} after {before} continues no entity; in IOB2 an entity starts with B-")
        self.tokens.append(token)
        self.tags.append(tag)


def _drawn_in(text: str, words: list[tuple[int, int]], span: Span) -> Span:
    inside = [
        (start, end) for start, end in words if start >= span.start and end <= span.end and not is_sign(text[start:end])
    ]
    # a span of signs alone stays as it is, for the codec to refuse: nothing is lost in silence
    return Span(inside[0][0], inside[-1][1], span.label) if inside else span


def _encoded(id: str) -> str:
    return id if id.isprintable() and not id.startswith('"') else json.dumps(id)


def _decoded(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        id = str(json.loads(text))
    except json.JSONDecodeError:
        return text
    check_text(id)
    return id
