"""Windows: every piece as in the whole text, every word judged once, by a window that holds all of it."""

from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from marsad import encode as encoding_module
from marsad.encode import Encoding, Window, encode, windows_of
from marsad.words import words_of
from tests.texts import gold, texts


@pytest.fixture(scope="module")
def tokenizer(tiny_artifact: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(tiny_artifact / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # as the extractor has it
    return tokenizer


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    """A window's size and overlap."""
    size = draw(st.integers(1, 24))
    return size, draw(st.integers(0, size - 1))


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    """Words of any number of pieces, as an encoding without a text."""
    lengths = draw(st.lists(st.integers(1, 9) | st.integers(1, 40), max_size=40))
    first = np.cumsum([0, *lengths], dtype=np.int32)
    return Encoding(np.zeros(first[-1], np.int32), first[:-1], first[1:], first[:-1])


def plain(length: int) -> Encoding:
    """Words of one piece each."""
    pieces = np.arange(length, dtype=np.int32)
    return Encoding(pieces, pieces, pieces + 1, pieces)


def assert_equal(one: Encoding, other: Encoding) -> None:
    for name in ("ids", "starts", "ends", "first"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


# Pieces -----------------------------------------------------------------------------------------


def test_the_pieces_of_a_long_text_are_those_of_all_of_it_at_once(tokenizer: Tokenizer) -> None:
    text = "\n".join(document.text for document in gold()) * 4
    assert len(text) > 4 * encoding_module._STRETCH
    assert encode(tokenizer, text).ids.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


@given(texts, st.integers(1, 12))
def test_where_a_text_is_cut_for_tokenising_changes_nothing(tokenizer: Tokenizer, text: str, stretch: int) -> None:
    with patch.object(encoding_module, "_STRETCH", stretch):
        cut = encode(tokenizer, text)
    assert_equal(cut, encode(tokenizer, text))
    assert cut.ids.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    "character", [chr(c) for c in (*range(0x21), *range(0x7F, 0xA1), 0x2028, 0x200B, 0x3000)], ids=ascii
)
def test_a_text_is_cut_for_tokenising_at_white_space_alone(tokenizer: Tokenizer, character: str) -> None:
    text = f"حلب{character}سوريا"
    with patch.object(encoding_module, "_STRETCH", 3):
        cut = encode(tokenizer, text)
    assert_equal(cut, encode(tokenizer, text))
    assert list(zip(cut.starts, cut.ends, strict=True)) == words_of(text)


@given(texts)
def test_words_with_a_piece_are_all_that_do_not_normalise_to_nothing(tokenizer: Tokenizer, text: str) -> None:
    encoding = encode(tokenizer, text)
    seen = list(zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True))
    assert seen == [(a, b) for a, b in words_of(text) if tokenizer.normalizer.normalize_str(text[a:b]).strip()]


@given(texts)
def test_the_first_piece_of_a_word_lies_in_it_and_no_earlier_piece_does(tokenizer: Tokenizer, text: str) -> None:
    encoding = encode(tokenizer, text)
    piece_starts = [start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets]
    assert piece_starts == sorted(piece_starts)
    for start, end, first in zip(encoding.starts, encoding.ends, encoding.first, strict=True):
        assert next(i for i, piece in enumerate(piece_starts) if start <= piece < end) == first


@given(texts)
def test_raw_offsets_are_sorted_and_inside_the_text(tokenizer: Tokenizer, text: str) -> None:
    encoding = encode(tokenizer, text)
    edges = np.stack([encoding.starts, encoding.ends], axis=1).ravel()
    assert (np.diff(edges) >= 0).all()
    assert (encoding.starts < encoding.ends).all()
    assert not len(edges) or (edges[0] >= 0 and edges[-1] <= len(text))


@pytest.mark.parametrize("text", ["", " \r\n\x85\u3000", "\0\u200d\ufeff", "\u064b\u0301", "ـ"])
def test_a_text_without_words_has_no_pieces_and_one_empty_window(tokenizer: Tokenizer, text: str) -> None:
    encoding = encode(tokenizer, text)
    assert [len(part) for part in (encoding.ids, encoding.starts, encoding.ends, encoding.first)] == [0, 0, 0, 0]
    assert windows_of(encoding, 16, 4) == [Window(0, 0, 0, 0)]


# Windows ----------------------------------------------------------------------------------------


@given(encodings(), sizes())
def test_every_word_is_judged_by_one_window_that_holds_it(encoding: Encoding, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    windows = windows_of(encoding, size, overlap)
    judged = [word for window in windows for word in range(window.word_begin, window.word_end)]
    assert judged == list(range(len(encoding.first)))
    for window in windows:
        assert 0 <= window.end - window.begin <= size
        for word in range(window.word_begin, window.word_end):
            begin, end = encoding.starts[word], encoding.ends[word]  # here counted in pieces
            assert window.begin <= begin
            assert min(end, begin + size) <= window.end


@given(encodings(), sizes())
def test_windows_leave_out_no_piece_but_the_tails_of_words_too_long(encoding: Encoding, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    windows = windows_of(encoding, size, overlap)
    read = {piece for window in windows for piece in range(window.begin, window.end)}
    tails = {p for a, b in zip(encoding.starts, encoding.ends, strict=True) for p in range(a + size, b)}
    assert set(range(len(encoding.ids))) - tails <= read


@given(st.integers(0, 300), sizes())
def test_neighbours_share_the_overlap_and_judge_with_half_of_it_around(length: int, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    windows = windows_of(plain(length), size, overlap)
    for one, other in pairwise(windows):
        assert one.end - other.begin == overlap
        assert one.end - one.word_end >= overlap // 2
        assert other.word_begin - other.begin >= overlap // 2


@given(st.integers(0, 300), sizes())
def test_a_text_that_fits_is_read_in_one_window(length: int, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    windows = windows_of(plain(length), size, overlap)
    assert (len(windows) == 1) == (length <= size)
    assert windows[0].begin == 0
    assert windows[-1].end == length


def test_a_word_longer_than_a_window_is_read_by_its_beginning(tokenizer: Tokenizer) -> None:
    text = "سوريا " + "ل" * 40 + " أمس"
    encoding = encode(tokenizer, text)
    assert encoding.first.tolist() == [0, 1, 41]
    windows = windows_of(encoding, 16, 4)
    assert Window(1, 17, 1, 2) in windows
    assert all(window.end - window.begin <= 16 for window in windows)
