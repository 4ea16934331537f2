"""Raw text into packed token shards: what a pretraining run reads, and all that it needs to read.

    files -> documents -> paragraphs -> pieces -> one long stream of ids, cut into shards

A document is a run of paragraphs (one a line) between blank lines. In the stream its pieces are
followed by one [SEP]; sequences of any length are cut from the stream when it is read, so that one
packing serves every phase of a length schedule. Shards are `uint16` .npy files of at most 48 MiB.
"""

import gzip
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from marsad.errors import ConfigError, DataError
from marsad.formats.records import DAMAGE, opened
from train import tokenizer as tokenization
from train.config import PretrainConfig, PretrainSource

NGRAM = 10
SHARD_TOKENS = 25_000_000  # 48 MiB; machines that take files of at most 55 MiB take these
BATCH_CHARACTERS = 4_000_000  # one call of the tokenizer; 2.7 M characters/s on two cores, about 0.3 GB
CHUNK = 1_000_000  # pieces in which overlaps are sought at once; 100 MB of working arrays

_TEXT_SUFFIXES = (".txt", ".xz", ".zst", ".gz", ".jsonl")
_CONLL_SUFFIXES = (".conll", ".bio", ".iob", ".tsv")
_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd, so that its powers never vanish modulo 2^64


@dataclass
class SourceCount:
    """What became of one file of raw text."""

    file: str
    weight: float
    documents: int = 0
    heldout_documents: int = 0
    words: int = 0
    tokens: int = 0
    dropped_paragraphs: int = 0
    dropped_words: int = 0


@dataclass
class Packing:
    """The manifest of a directory of packed shards."""

    vocabulary: int
    tokens: dict[str, int]
    shards: dict[str, list[str]]
    sources: list[SourceCount] = field(default_factory=list)


# Reading ----------------------------------------------------------------------------------------


def open_text(path: Path) -> TextIO:
    """Open a plain or compressed UTF-8 file for reading."""
    return io.TextIOWrapper(opened(path), encoding="utf-8")


def documents(path: Path) -> Iterator[list[str]]:
    """The documents of a file, each a list of its non-empty paragraphs."""
    if ".jsonl" in path.suffixes:
        yield from (_paragraphs(text) for text in _json_texts(path))
        return
    paragraphs: list[str] = []
    try:
        with open_text(path) as lines:
            for line in lines:
                if line := line.strip():
                    paragraphs.append(line)
                elif paragraphs:
                    yield paragraphs
                    paragraphs = []
    except (UnicodeDecodeError, gzip.BadGzipFile, *DAMAGE) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); replace or leave out the file") from None
    if paragraphs:
        yield paragraphs


def find_sources(corpus: Path, sources: Sequence[PretrainSource]) -> list[tuple[Path, float]]:
    """The files of a corpus with their weights: those that `sources` name, or all at weight 1."""
    if not corpus.exists():
        raise ConfigError(f"corpus {corpus}: no such file or directory; give one with --set corpus=PATH")
    if corpus.is_file():
        return [(corpus, sources[0].weight if sources else 1.0)]
    found: dict[Path, float] = {}
    for source in sources or [PretrainSource(files="*" + suffix) for suffix in _TEXT_SUFFIXES]:
        matches = sorted(path for path in corpus.glob(source.files) if path.is_file())
        if sources and not matches:
            raise ConfigError(f"sources: no file of {corpus} matches {source.files!r}")
        found.update((path, source.weight) for path in matches)
    if not found:
        raise ConfigError(f"corpus {corpus}: holds no {', '.join(_TEXT_SUFFIXES)} file")
    return list(found.items())


def _paragraphs(text: str) -> list[str]:
    return [line for raw in text.splitlines() if (line := raw.strip())]


def _json_texts(path: Path) -> Iterator[str]:
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)["text"]
            except (json.JSONDecodeError, KeyError, TypeError):
                raise DataError(f'{path}:{number}: expected an object with the key "text"') from None


def _excluded_texts(path: Path) -> Iterator[str]:
    """The texts of a file or directory to keep out; a CoNLL file is one text, so that no edge hides a match."""
    if path.is_dir():
        for child in sorted(path.rglob("*")):
            if child.suffix in _TEXT_SUFFIXES + _CONLL_SUFFIXES:
                yield from _excluded_texts(child)
    elif not path.exists():
        raise ConfigError(f"exclude {path}: no such file or directory")
    elif path.suffix in _CONLL_SUFFIXES:
        with open_text(path) as lines:
            yield " ".join(line.split("\t")[0].strip() for line in lines)
    else:
        yield from (" ".join(paragraphs) for paragraphs in documents(path))


# Pieces, words and n-grams ----------------------------------------------------------------------


class Pieces:
    """What packing and masking must know of each piece: does it start a word, is it a sign or special."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Tabulate the vocabulary of `tokenizer`."""
        self.size = tokenizer.get_vocab_size()
        if self.size > 1 << 16:
            raise ConfigError(f"a vocabulary of {self.size} pieces does not fit 16 bits; use at most 65536")
        names = [str(tokenizer.id_to_token(i)) for i in range(self.size)]
        self.starts = np.array([not name.startswith("##") for name in names])
        self.special = np.array([name in tokenization.SPECIAL_TOKENS for name in names])
        letters = [any(c.isalnum() for c in name) for name in names]
        self.sign = ~np.array(letters) | self.special
        self.ids = {name: names.index(name) for name in tokenization.SPECIAL_TOKENS}
        self._random = np.random.default_rng(0).integers(0, 1 << 64, self.size, dtype=np.uint64)

    def ngrams(self, ids: NDArray[np.uint16], parts: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """64-bit hashes of the word 10-grams that lie in one part each, and the part of each.

        Words are hashed by their pieces, hence after the tokenizer's own normalisation; signs and
        unknown words are skipped. NumPy over pieces is 30 times faster than Python over words.
        """
        if not len(ids):
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        new_part = np.empty(len(ids), bool)
        new_part[0], new_part[1:] = True, parts[1:] != parts[:-1]
        starts = np.flatnonzero(self.starts[ids] | new_part)
        lengths = np.diff(starts, append=len(ids))
        place = np.arange(len(ids)) - np.repeat(starts, lengths)
        words = np.add.reduceat(self._random[ids] * _STEP ** place.astype(np.uint64), starts)
        real = ~self.sign[ids[starts]]
        words, owners = words[real], parts[starts[real]]
        count = max(0, len(words) - NGRAM + 1)
        hashes = np.zeros(count, np.uint64)
        for offset in range(NGRAM):
            hashes = hashes * _STEP + words[offset : offset + count]
        inside = owners[:count] == owners[len(owners) - count :]
        return hashes[inside], owners[:count][inside]


def excluded_ngrams(paths: Iterable[str], tokenizer: Tokenizer, pieces: Pieces) -> NDArray[np.uint64]:
    """The sorted hashes of all 10-grams of the texts to keep out."""
    texts = [text for path in paths for text in _excluded_texts(Path(path))]
    ids, lengths = _encode(tokenizer, texts)
    return np.unique(pieces.ngrams(ids, np.repeat(np.arange(len(texts)), lengths))[0])


def shared_ngrams(directory: Path, texts: Iterable[str]) -> dict[str, int]:
    """How many word 10-grams of the packed documents stand in texts that should have been kept out, by split.

    Counted over whole documents, while packing drops paragraphs: a run over two paragraphs is found here too.
    """
    tokenizer = tokenization.read(directory)
    pieces = Pieces(tokenizer)
    excluded = excluded_ngrams(texts, tokenizer, pieces)
    counts = dict.fromkeys(read_packing(directory).shards, 0)
    for split in counts:
        for ids in _whole_documents(directory, split, pieces.ids["[SEP]"]):
            hashes, _ = pieces.ngrams(ids, np.cumsum(ids == pieces.ids["[SEP]"]))
            counts[split] += int(_contained(hashes, excluded).sum())
    return counts


def _whole_documents(directory: Path, split: str, separator: int) -> Iterator[NDArray[np.uint16]]:
    """The stream of a split, about CHUNK pieces at a time, cut between documents."""
    rest = np.empty(0, np.uint16)
    for chunk in stream(directory, split, sys.maxsize, CHUNK):
        joined = np.concatenate([rest, chunk])
        ends = np.flatnonzero(joined == separator)
        cut = int(ends[-1]) + 1 if len(ends) else 0
        yield joined[:cut]
        rest = joined[cut:]
    yield rest


def _encode(tokenizer: Tokenizer, texts: list[str]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    rows = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    return np.fromiter(chain.from_iterable(rows), np.uint16, int(lengths.sum())), lengths


def _contained(values: NDArray[np.uint64], sorted_set: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not len(sorted_set):
        return np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(sorted_set, values), len(sorted_set) - 1)
    return np.equal(sorted_set[place], values)


# Packing ----------------------------------------------------------------------------------------


def learn_vocabulary(config: PretrainConfig) -> Tokenizer:
    """Train a WordPiece vocabulary on the share of the weighted documents that the config names."""
    files = find_sources(Path(str(config.corpus)), config.sources)

    def sample() -> Iterator[str]:
        for path, weight in files:
            share = config.vocabulary.sample * min(weight, 1.0)
            for document in documents(path):
                if _draw(document, "vocabulary") < share:
                    yield from document

    texts = tqdm(sample(), desc="vocabulary", unit=" paragraphs", mininterval=5)
    return tokenization.train(texts, config.vocabulary.size)


def pack(config: PretrainConfig, tokenizer: Tokenizer, directory: Path) -> Packing:
    """Tokenise the corpus into shards under `directory`, with a manifest and the tokenizer beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    files = find_sources(Path(str(config.corpus)), config.sources)
    pieces = Pieces(tokenizer)
    excluded = excluded_ngrams(config.exclude, tokenizer, pieces)
    train, heldout = _ShardWriter(directory, "train"), _ShardWriter(directory, "heldout")
    counts = []
    with tqdm(desc="packing", unit=" tokens", unit_scale=True, mininterval=5) as bar:
        for path, weight in files:
            count = SourceCount(path.name, weight)
            counts.append(count)
            for is_heldout, batch in _chosen(path, weight, config.heldout):
                (heldout if is_heldout else train).add(
                    _pack_batch(batch, tokenizer, pieces, excluded, count, is_heldout)
                )
                bar.update(train.total + heldout.total - bar.n)
    packing = Packing(
        vocabulary=pieces.size,
        tokens={"train": train.total, "heldout": heldout.total},
        shards={"train": train.close(), "heldout": heldout.close()},
        sources=counts,
    )
    tokenization.save(tokenizer, directory, config.shape.positions)
    # written last: a directory with a manifest is a complete one
    (directory / "packed.json").write_text(json.dumps(asdict(packing), indent=2) + "\n", encoding="utf-8")
    return packing


def read_packing(directory: Path) -> Packing:
    """Read the manifest of a packed directory."""
    path = directory / "packed.json"
    if not path.exists():
        raise DataError(f"{path}: no such file; pack a corpus with --set corpus=PATH, or name the shards' directory")
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["sources"] = [SourceCount(**source) for source in tree["sources"]]
    return Packing(**tree)


def _chosen(path: Path, weight: float, heldout: float) -> Iterator[tuple[bool, list[list[str]]]]:
    """Batches of documents as often as `weight` says; held-out ones once, in batches of their own."""
    kept_out: list[list[str]] = []
    for turn in range(ceil(weight)):
        batch, size = [], 0
        for document in documents(path):
            if _draw(document, "heldout") < heldout:
                if turn == 0:
                    kept_out.append(document)
            elif _draw(document, "weight") < weight - turn:
                batch.append(document)
                size += sum(map(len, document))
            if size > BATCH_CHARACTERS:
                yield False, batch
                batch, size = [], 0
        yield False, batch
    yield True, kept_out


def _draw(document: list[str], purpose: str) -> float:
    """A number in [0, 1) that depends on the document's first and last paragraph and the purpose alone."""
    key = hashlib.blake2b(document[0].encode(), digest_size=8, key=purpose.encode())
    key.update(document[-1].encode())
    return int.from_bytes(key.digest(), "big") / 2**64


def _pack_batch(
    batch: list[list[str]],
    tokenizer: Tokenizer,
    pieces: Pieces,
    excluded: NDArray[np.uint64],
    count: SourceCount,
    is_heldout: bool,
) -> NDArray[np.uint16]:
    texts = [paragraph for document in batch for paragraph in document]
    ids, lengths = _encode(tokenizer, texts)
    hashes, owners = pieces.ngrams(ids, np.repeat(np.arange(len(texts)), lengths))
    dropped = set(owners[_contained(hashes, excluded)].tolist())
    ends = np.cumsum(lengths)
    separator = np.array([pieces.ids["[SEP]"]], np.uint16)
    parts: list[NDArray[np.uint16]] = []
    number = 0
    for document in batch:
        before = len(parts)
        for paragraph in document:
            words = len(paragraph.split())
            if number in dropped:
                count.dropped_paragraphs += 1
                count.dropped_words += words
            else:
                count.words += words
                parts.append(ids[ends[number] - lengths[number] : ends[number]])
            number += 1
        if len(parts) > before:
            parts.append(separator)
            count.documents += not is_heldout
            count.heldout_documents += is_heldout
    stream = np.concatenate(parts) if parts else np.empty(0, np.uint16)
    count.tokens += len(stream)
    return stream


class _ShardWriter:
    """Writes a stream of ids as numbered .npy files of SHARD_TOKENS ids each."""

    def __init__(self, directory: Path, split: str) -> None:
        self._directory, self._split = directory, split
        self._waiting: list[NDArray[np.uint16]] = []
        self._names: list[str] = []
        self.total = 0

    def add(self, ids: NDArray[np.uint16]) -> None:
        self._waiting.append(ids)
        self.total += len(ids)
        while self.total - len(self._names) * SHARD_TOKENS >= SHARD_TOKENS:
            joined = np.concatenate(self._waiting)
            self._write(joined[:SHARD_TOKENS])
            self._waiting = [joined[SHARD_TOKENS:]]

    def close(self) -> list[str]:
        rest = np.concatenate(self._waiting) if self._waiting else np.empty(0, np.uint16)
        if len(rest):
            self._write(rest)
        return self._names

    def _write(self, ids: NDArray[np.uint16]) -> None:
        name = f"{self._split}-{len(self._names):03d}.npy"
        np.save(self._directory / name, ids)
        self._names.append(name)


# Sequences and masks ----------------------------------------------------------------------------


class Sequences:
    """Fixed-length sequences `[CLS] pieces [SEP]` cut from packed shards, by number."""

    def __init__(self, directory: Path, split: str, length: int, pieces: Pieces) -> None:
        """Map the shards of a split; nothing is read before it is asked for."""
        names = read_packing(directory).shards[split]
        self._shards = [np.load(directory / name, mmap_mode="r") for name in names]
        self._width, self._ids = length - 2, pieces.ids
        self._ends = np.cumsum([len(shard) // self._width for shard in self._shards], dtype=np.int64)
        self.count = int(self._ends[-1]) if names else 0
        if not self.count:
            total = sum(map(len, self._shards))
            raise DataError(f"{directory}: {total} {split} tokens, too few for one sequence of {length}")

    def take(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sequences of these numbers, one a row."""
        rows = np.empty((len(numbers), self._width + 2), np.int64)
        rows[:, 0], rows[:, -1] = self._ids["[CLS]"], self._ids["[SEP]"]
        for row, number in zip(rows, numbers.tolist(), strict=True):
            shard = int(np.searchsorted(self._ends, number, side="right"))
            first = (number - (int(self._ends[shard - 1]) if shard else 0)) * self._width
            row[1:-1] = self._shards[shard][first : first + self._width]
        return rows


class Order:
    """Which sequence comes at which place: a permutation of all of them for every (key, epoch)."""

    def __init__(self, count: int, key: tuple[int, ...]) -> None:
        """An order of `count` sequences that depends on `key` alone."""
        self._count, self._key = count, key
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def take(self, first: int, number: int) -> NDArray[np.int64]:
        """The sequence numbers at places `first` and following, over any number of epochs."""
        places = np.arange(first, first + number)
        epochs = places // self._count
        chosen = np.empty(number, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self._epoch_order(int(epoch))[places[here] % self._count]
        return chosen

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            self._permutation = np.random.default_rng((*self._key, epoch)).permutation(self._count)
            self._epoch = epoch
        return self._permutation


@dataclass(frozen=True)
class Masked:
    """A batch for masked language modelling: inputs, flat positions to predict, and what stood there."""

    inputs: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]


def mask_words(rows: NDArray[np.int64], pieces: Pieces, rate: float, key: tuple[int, int, int]) -> Masked:
    """Choose whole words at `rate`; of their pieces 80 % become [MASK], 10 % random, 10 % stay.

    The draw is a function of `key` (seed, step, rank) alone, so that a resumed run repeats it.
    """
    seed, step, rank = key
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, step, rank]))
    word = np.cumsum(pieces.starts[rows]) - 1
    chosen = (random.random(int(word[-1]) + 1) < rate)[word] & ~pieces.special[rows].ravel()
    positions = np.flatnonzero(chosen)
    if not len(positions):  # a batch without a target has no loss; only tiny batches come here
        positions = np.flatnonzero(~pieces.special[rows].ravel())[:1]
    inputs, labels = rows.ravel().copy(), rows.ravel()[positions]
    fate = random.random(len(positions))
    inputs[positions[fate < 0.8]] = pieces.ids["[MASK]"]
    swapped = positions[(fate >= 0.8) & (fate < 0.9)]
    ordinary = np.flatnonzero(~pieces.special)
    inputs[swapped] = ordinary[random.integers(0, len(ordinary), len(swapped))]
    return Masked(inputs.reshape(rows.shape), positions, labels)


def stream(directory: Path, split: str, limit: int, chunk: int = 1000) -> Iterator[NDArray[np.uint16]]:
    """About `limit` tokens of a split in chunks, taken evenly from the whole of it."""
    packing = read_packing(directory)
    step = max(1.0, packing.tokens[split] / limit)
    wanted, number = 0.0, 0
    for name in packing.shards[split]:
        shard = np.load(directory / name, mmap_mode="r")
        for first in range(0, len(shard), chunk):
            if number >= wanted:
                wanted += step
                yield np.asarray(shard[first : first + chunk])
            number += 1
