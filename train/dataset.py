"""Annotated reports into labelled windows: the same words, pieces and windows that inference reads.

report -> words + tags -> pieces -> windows     each word is learned in the window that judges it,
                                                by its first piece; all other pieces carry no label
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer

from marsad.codec import runs, to_tags
from marsad.encode import Encoding, Window, encode, windows_of
from marsad.errors import AlignmentError, DataError
from marsad.formats import READERS, BadRecord, Record
from marsad.schema import Document, Span, tags_of
from marsad.words import words_of
from train import standoff
from train.config import DataSection, PartialSource, WindowSection

IGNORED = -100  # the label of pieces from which nothing is learned


@dataclass(frozen=True)
class Windows:
    """Training windows, and how many entities had words in two of them (learned in both, none is lost)."""

    dataset: Dataset
    entities: int
    cut: int


def read_training(data: DataSection) -> tuple[list[Document], list[Document]]:
    """The training documents of a config under our scheme, and those that are never held out."""
    return (
        read_documents(data.train, data.labels, data.texts),
        read_documents(data.extra, data.labels, data.texts),
    )


def read_documents(
    paths: Iterable[str | Path], labels: Sequence[str], texts: str | Path | None = None
) -> list[Document]:
    """Read annotated files (.jsonl, .conll; standoff with the texts in `texts`) and hold every span against its text.

    Raises DataError with all problems at once, each with file and line.
    """
    documents: list[Document] = []
    problems: list[str] = []
    for path in map(Path, paths):
        for index, record in enumerate(_records(path, texts)):
            if isinstance(record, BadRecord):
                problems.append(str(record))
                continue
            problems += [f"{path}:{line_of(path, index)}: {record.id}: {p}" for p in find_problems(record, labels)]
            documents.append(record)
    if problems:
        raise DataError("\n".join(problems))
    return documents


def _records(path: Path, texts: str | Path | None) -> Iterator[Record]:
    if path.suffix not in (".jsonl", ".conll"):
        raise DataError(f"{path}: annotated files are .jsonl or .conll")
    if path.name.endswith(standoff.SUFFIX):
        return standoff.read(path, texts)
    return READERS[path.suffix[1:]](path)


def line_of(path: Path, index: int) -> int:
    """The line where the record of this index stands or, in CoNLL, starts."""
    lines = list(enumerate(path.read_bytes().split(b"\n"), 1))
    if path.suffix == ".jsonl":
        return [number for number, line in lines if line.strip()][index]
    blocks = (list(block) for blank, block in groupby(lines, lambda line: not line[1].strip()) if not blank)
    return [block[0][0] for block in blocks if any(_makes_a_record(line) for _, line in block)][index]


def _makes_a_record(line: bytes) -> bool:
    """Whether a CoNLL line is more than a comment."""
    return not line.startswith(b"#") or b"\t" in line or line.startswith(b"# id = ")


def find_problems(document: Document, labels: Sequence[str]) -> list[str]:
    """All that is wrong with a document's spans."""
    words = words_of(document.text)
    unknown = sorted({span.label for span in document.entities} - set(labels))
    problems = [f"label {label} is none of {', '.join(labels)} (data.labels)" for label in unknown]
    try:
        to_tags(document.text, words, document.entities)
    except AlignmentError:
        problems += _misaligned(document, words)
    return problems


def _misaligned(document: Document, words: Sequence[tuple[int, int]]) -> Iterator[str]:
    """What is wrong with each span by itself or beside the last one that fits."""
    fitting: list[Span] = []
    for span in sorted(document.entities):
        try:
            to_tags(document.text, words, [*fitting, span])
            fitting = [span]
        except AlignmentError as error:
            yield str(error)


@dataclass(frozen=True)
class Partial:
    """Documents under another scheme, and the tags of ours that each of their tags allows, as a bit set."""

    documents: list[Document]
    allowed: dict[str, int]


def read_partial(data: DataSection) -> list[Partial]:
    """The partially labelled sources of a config; raises DataError for an `allow` that fits no annotation."""
    return [_partial(source, data) for source in data.partial]


def _partial(source: PartialSource, data: DataSection) -> Partial:
    documents: list[Document] = []
    for path in map(Path, source.files):
        for record in _records(path, data.texts):
            if isinstance(record, BadRecord):
                raise record
            documents.append(record)
    found = {"O"} | {span.label for document in documents for span in document.entities}
    if absent := set(source.allow) - found:
        raise DataError(
            f"{', '.join(source.files)}: no annotation has the label {', '.join(sorted(absent))} that data.partial's "
            f"allow names; there are {', '.join(sorted(found))}"
        )
    return Partial(documents, _allowed(source.allow, found, data.labels))


def _allowed(allow: Mapping[str, Sequence[str]], found: Iterable[str], labels: Sequence[str]) -> dict[str, int]:
    """Bit sets of our tags by tag of theirs: a B- tag allows the B- tags of our labels, an I- tag their I- tags."""
    bits = bits_of(labels)
    rows = {}
    for theirs in found:
        ours = allow.get(theirs, ("O", *labels))  # what is not named says nothing: all is allowed
        outside = bits["O"] if "O" in ours else 0
        begin, inside = (sum(bits[f"{prefix}-{label}"] for label in ours if label != "O") for prefix in "BI")
        if theirs == "O":
            rows["O"] = outside | begin | inside
        elif theirs in allow:
            rows[f"B-{theirs}"], rows[f"I-{theirs}"] = outside | begin, outside | inside
        else:
            rows[f"B-{theirs}"] = rows[f"I-{theirs}"] = outside | begin | inside
    return rows


def bits_of(labels: Sequence[str]) -> dict[str, int]:
    """Each IOB2 tag of `labels` as the set of itself."""
    return {tag: 1 << index for index, tag in enumerate(tags_of(labels))}


def split_dev(documents: Sequence[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Set a share of the paragraphs aside: a few reports are too few to give up whole ones.

    Returns the runs of paragraphs left for training and the held-out paragraphs, each as a document.
    """
    paragraphs = [(index, *edges) for index, doc in enumerate(documents) for edges in _paragraphs(doc)]
    wanted = share * sum(end - start for _, start, end in paragraphs)
    order = list(range(len(paragraphs)))
    random.Random(seed).shuffle(order)
    held: set[int] = set()
    size = 0
    for position in order:
        if size >= wanted:
            break
        held.add(position)
        size += paragraphs[position][2] - paragraphs[position][1]
    train: list[Document] = []
    dev: list[Document] = []
    for position, (index, start, end) in enumerate(paragraphs):
        part = _part(documents[index], start, end)
        follows = position > 0 and position - 1 not in held and paragraphs[position - 1][0] == index
        if position in held:
            dev.append(part)
        elif follows and train:
            first = start - len(train[-1].text)
            train[-1] = _part(documents[index], first, end)
        else:
            train.append(part)
    return train, dev


def make_windows(
    documents: Iterable[Document], tokenizer: Tokenizer, allowed: Mapping[str, int], window: WindowSection
) -> Windows:
    """Encode documents as windows with special tokens: input_ids, attention_mask, labels.

    A label is the bit set of the tags that its word may have, IGNORED where a piece is no word's first.
    """
    begin, end = (tokenizer.get_vocab()[token] for token in ("[CLS]", "[SEP]"))
    rows: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
    entities = cut = 0
    for document in documents:
        encoding, tags = encode_tags(tokenizer, document)
        windows = windows_of(encoding, window.size, window.overlap)
        borders = [w.word_begin for w in windows[1:]]
        found = runs(tags)
        entities += len(found)
        cut += sum(any(first < border <= last for border in borders) for first, last, _ in found)
        ids = [allowed[tag] for tag in tags]
        for w in windows:
            pieces = encoding.ids[w.begin : w.end].tolist()
            rows["input_ids"].append([begin, *pieces, end])
            rows["attention_mask"].append([1] * (len(pieces) + 2))
            rows["labels"].append(_piece_labels(encoding, w, ids))
    return Windows(Dataset.from_dict(rows), entities, cut)


def encode_tags(tokenizer: Tokenizer, document: Document) -> tuple[Encoding, list[str]]:
    """A document's encoding and the tag of each of its words that has a piece."""
    encoding = encode(tokenizer, document.text)
    words = words_of(document.text)
    tags = to_tags(document.text, words, document.entities)
    of_start = dict(zip((start for start, _ in words), tags, strict=True))
    return encoding, [of_start[start] for start in encoding.starts.tolist()]


def _piece_labels(encoding: Encoding, window: Window, ids: Sequence[int]) -> list[int]:
    labels = np.full(window.end - window.begin + 2, IGNORED)
    words = slice(window.word_begin, window.word_end)
    labels[encoding.first[words] - window.begin + 1] = ids[words]
    row: list[int] = labels.tolist()
    return row


def _paragraphs(document: Document) -> list[tuple[int, int]]:
    """The edges of the lines of a text, one right behind the other, so that runs of them are runs of the text.

    A blank line belongs to the line before it; a line that a span runs past is not cut.
    """
    text = document.text
    blank = len(text) - len(text.lstrip())
    edges = accumulate((len(line) for line in text.splitlines(keepends=True)), initial=0)
    starts = [start for start, end in pairwise(edges) if start > blank and text[start:end].strip()]
    inner = [start for start in starts if not any(s.start < start < s.end for s in document.entities)]
    return list(pairwise([0, *inner, len(text)])) if blank < len(text) else []


def _part(document: Document, start: int, end: int) -> Document:
    spans = tuple(
        Span(s.start - start, s.end - start, s.label) for s in document.entities if start <= s.start and s.end <= end
    )
    return replace(document, text=document.text[start:end], entities=spans)


def columns(windows: Windows) -> dict[str, Any]:
    """What the run's log says of its data."""
    return {"windows": len(windows.dataset), "entities": windows.entities, "entities_cut": windows.cut}
