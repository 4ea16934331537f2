"""Raw text into windows of word pieces, and the words of each piece back.

    words    [وقال]  [الجيش]  [السوري]
    pieces   و ##قال  الجيش    السوري         the first piece of a word stands for it
    windows  [........]                       a document of more pieces than a window holds is read in
                  [........]                  overlapping windows cut at words; each word is judged
                       [........]             in the window where it lies deepest

A document is tokenised in stretches cut at white space, where neither normalisation nor word pieces reach
across, so the pieces are those of the whole text while the memory in use stays that of a stretch.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from marsad.words import words_of

Ids = NDArray[np.int32]

_STRETCH = 8192  # characters; larger ones gave no more words per second, only more memory
_SPACE = re.compile(r"[^\S\x1C-\x1F]")  # Python counts these four separators as white space, Unicode does not


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text's pieces without special tokens, and its words that have a piece of their own.

    ids: (pieces,); starts, ends: raw offsets of the words; first: the first piece of each; all (words,).
    """

    ids: Ids
    starts: Ids
    ends: Ids
    first: Ids


@dataclass(frozen=True, slots=True)
class Window:
    """The pieces [begin, end) read at once, and the words [word_begin, word_end) judged by it."""

    begin: int
    end: int
    word_begin: int
    word_end: int


def encode(tokenizer: Tokenizer, text: str) -> Encoding:
    """Tokenise a whole raw text; words that normalise to nothing, such as lone marks, are left out."""
    ids: list[Ids] = [np.zeros(0, np.int32)]
    spans: list[NDArray[np.int32]] = [np.zeros((0, 2), np.int32)]
    first: list[Ids] = [np.zeros(0, np.int32)]
    pieces = 0
    for begin, end in _stretches(text):
        stretch = text[begin:end]
        encoding = tokenizer.encode(stretch, add_special_tokens=False)
        words = np.array(words_of(stretch), np.int32).reshape(-1, 2)
        offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        seen, piece = _first_pieces(words, offsets)
        ids.append(np.array(encoding.ids, np.int32))
        spans.append(words[seen] + begin)
        first.append(piece + pieces)
        pieces += len(encoding.ids)
    edges = np.concatenate(spans)
    return Encoding(np.concatenate(ids), edges[:, 0], edges[:, 1], np.concatenate(first).astype(np.int32))


def windows_of(encoding: Encoding, size: int, overlap: int) -> list[Window]:
    """Cut an encoding into windows of at most `size` pieces that share about `overlap` with the next.

    Every word with a piece is judged by exactly one window; a word of more than `size` pieces is read by
    its first `size`.
    """
    cuts = list(_cuts(encoding, size, overlap))
    middles = [(later[0] + earlier[1]) // 2 for earlier, later in pairwise(cuts)]
    borders = [0, *np.searchsorted(encoding.first, middles).tolist(), len(encoding.first)]
    return [Window(*cut, borders[i], borders[i + 1]) for i, cut in enumerate(cuts)]


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(text):
        space = _SPACE.search(text, begin + _STRETCH)
        end = space.start() if space else len(text)
        yield begin, end
        begin = end


def _first_pieces(words: Ids, offsets: Ids) -> tuple[NDArray[np.bool_], Ids]:
    """Which words hold the start of a piece, and the first such piece of each."""
    if not len(words) or not len(offsets):
        return np.zeros(len(words), np.bool_), np.zeros(0, np.int32)
    # the first piece at or behind a word's start is the candidate
    piece = np.searchsorted(offsets[:, 0], words[:, 0])
    inside = piece < len(offsets)
    seen = inside.copy()
    seen[inside] = offsets[piece[inside], 0] < words[inside, 1]
    return seen, piece[seen].astype(np.int32)


def _cuts(encoding: Encoding, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    total, first = len(encoding.ids), encoding.first
    begin = 0
    while total - begin > size:
        end = _last_at_most(first, begin + size)
        if end <= begin:  # one word fills the window
            end = begin + size
        yield begin, end
        later = _last_at_most(first, end - overlap)
        if later <= begin:
            after = np.searchsorted(first, end)
            later = int(first[after]) if after < len(first) else total
        begin = later
    if begin < total or begin == 0:
        yield begin, total


def _last_at_most(first: Ids, piece: int) -> int:
    index = int(np.searchsorted(first, piece, side="right")) - 1
    return int(first[index]) if index >= 0 else 0
