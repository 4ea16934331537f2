"""The laws of extraction, with a stub model that reads single words; test_released has the real one's."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import count, islice, pairwise, product
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

import marsad
from marsad import LABELS, DataError, Entity, Extractor
from marsad.backend import Backend, Ids, Logits, OnnxBackend
from marsad.extractor import decode
from marsad.proclitics import Proclitics
from marsad.schema import tags_of
from marsad.words import words_of
from tests.laws import assert_offset_law
from tests.texts import fuzzed, gold, texts

MIXED = [fuzzed(Random(seed)) for seed in range(60)] + ["", "حلب", *(document.text for document in gold())]


class Recorder:
    """A backend that keeps the windows it is given."""

    def __init__(self, backend: Backend) -> None:
        self.windows: list[Ids] = []
        self._backend = backend

    def submit(self, window: Ids) -> "Future[Logits]":
        self.windows.append(window)
        return self._backend.submit(window)


@pytest.fixture
def recorder(tiny_artifact: Path) -> Recorder:
    return Recorder(OnnxBackend(tiny_artifact / "onnx/model.onnx", 1))


@pytest.fixture
def recorded(tiny_artifact: Path, recorder: Recorder) -> Extractor:
    tokenizer = Tokenizer.from_file(str(tiny_artifact / "tokenizer.json"))
    return Extractor(marsad.artifact.read_manifest(tiny_artifact), tokenizer, recorder)


def keys(entities: list[Entity]) -> list[tuple[str, str]]:
    return [(entity.label, entity.text) for entity in entities]


# Offset law -------------------------------------------------------------------------------------


@given(texts)
def test_every_entity_is_its_slice_of_the_untouched_text(tiny_extractor: Extractor, text: str) -> None:
    assert_offset_law(text, tiny_extractor(text))


@given(st.lists(st.sampled_from(["", "َ", "ّٰ", "ـ", "ـَ", "\u0301"]), min_size=5, max_size=5), texts, texts)
def test_marks_and_tatweel_in_a_word_are_in_its_entity(
    tiny_extractor: Extractor, marks: list[str], before: str, after: str
) -> None:
    word = "".join(letter + mark for letter, mark in zip("سوريا", marks, strict=True))
    found = tiny_extractor(f"{before}\n{word}\n{after}")
    assert (len(before) + 1, word, "PLACE") in [(entity.start, entity.text, entity.label) for entity in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("في ﺣﻠﺐ", [("PLACE", "ﺣﻠﺐ")]),
        ("ح\u200dل\u200cب", [("PLACE", "ح\u200dل\u200cب")]),
        ("\u202bحلب\u202c", [("PLACE", "حلب")]),
        ("ح\0ل\x1cب", [("PLACE", "ح\0ل\x1cب")]),
        ("(حلب)،«أمس»👍سوريا", [("PLACE", "حلب"), ("DATE", "أمس"), ("PLACE", "سوريا")]),
        ("حلب\r\nسوريا", [("PLACE", "حلب"), ("PLACE", "سوريا")]),
        ("الجيش\r\n\u064b السوري", [("ACTOR", "الجيش\r\n\u064b السوري")]),
        ("سوريا وـَحلب", [("PLACE", "سوريا"), ("PLACE", "حلب")]),
        ("", []),
        ("\u064b \u0301", []),
        ("\ufeff\0", []),
    ],
)
def test_written_forms_are_found_as_written(
    tiny_extractor: Extractor, text: str, expected: list[tuple[str, str]]
) -> None:
    assert keys(tiny_extractor(text)) == expected


@pytest.mark.parametrize("token", ["[CLS]", "[SEP]", "[PAD]", "[MASK]"])
def test_a_special_token_written_in_a_text_is_text(recorded: Extractor, recorder: Recorder, token: str) -> None:
    recorded(f"سوريا {token} حلب")
    (window,) = recorder.windows
    assert recorded._tokenizer.token_to_id(token) not in window[1:-1]
    assert recorded.first_piece_logits(token)[0].ends.tolist() == [1, len(token) - 1, len(token)]


@pytest.mark.parametrize("text", ["\ud800", "حلب \udfff", "\ud83d\ude00"])  # the last is an emoji cut in two
def test_a_lone_surrogate_is_a_data_error_that_names_its_place(tiny_extractor: Extractor, text: str) -> None:
    place = next(i for i, character in enumerate(text) if "\ud800" <= character <= "\udfff")
    with pytest.raises(DataError, match=f"character {place} is a lone surrogate"):
        tiny_extractor(text)


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["text"]])
def test_what_is_no_text_is_a_data_error(tiny_extractor: Extractor, text: object) -> None:
    with pytest.raises(DataError, match=f"expected a text, found {type(text).__name__}"):
        tiny_extractor(text)  # type: ignore[arg-type]


# Whole-text law ---------------------------------------------------------------------------------


def test_an_entity_is_found_at_every_position_of_a_long_text(tiny_extractor: Extractor) -> None:
    filler = ["قال", "إنه", "بريف", "،", "و", "كلكم", "15", "ش"] * 15  # some 300 pieces, windows hold 16
    for place in range(len(filler) + 1):
        before = " ".join(filler[:place])
        text = " ".join([*filler[:place], "الجيش السوري في حلب", *filler[place:]])
        start = len(before) + (place > 0)
        found = [(e.start, e.label, e.text) for e in tiny_extractor(text)]
        assert found == [(start, "ACTOR", "الجيش السوري"), (start + 16, "PLACE", "حلب")]


def with_window(directory: Path, window: int, overlap: int) -> Extractor:
    manifest = replace(marsad.artifact.read_manifest(directory), window=window, overlap=overlap)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    table = Proclitics.read(directory / "proclitics.tsv")
    return Extractor(manifest, tokenizer, OnnxBackend(directory / "onnx/model.onnx", 1), table)


@pytest.mark.parametrize(("window", "overlap"), [(16, 4), (16, 0), (5, 4), (2, 1)])
def test_windows_change_nothing_where_the_model_reads_no_further_than_a_word(
    tiny_artifact: Path, window: int, overlap: int
) -> None:
    windowed, whole = with_window(tiny_artifact, window, overlap), with_window(tiny_artifact, 10**6, 0)
    for text in MIXED:
        assert windowed(text) == whole(text)


def test_a_text_that_fits_goes_to_the_model_whole(recorded: Extractor, recorder: Recorder) -> None:
    text = "سوريا " * 16
    recorded(text)
    (window,) = recorder.windows
    assert window.tolist() == recorded._tokenizer.encode(text).ids


def test_no_piece_of_a_long_text_is_kept_from_the_model(recorded: Extractor, recorder: Recorder) -> None:
    text = gold()[0].text * 3
    recorded(text)
    pieces = recorded._tokenizer.encode(text, add_special_tokens=False).ids
    assert max(len(window) for window in recorder.windows) == 18
    assert len(recorder.windows) > 64  # more than are queued at once
    seen: list[int] = []
    for window in recorder.windows:
        inner = window[1:-1].tolist()
        shared = next(n for n in range(len(inner), -1, -1) if seen[len(seen) - n :] == inner[:n])
        seen += inner[shared:]
    assert seen == pieces


def test_a_word_longer_than_a_window_hides_nothing_around_it(tiny_extractor: Extractor) -> None:
    for length in range(14, 40):
        found = tiny_extractor(f"سوريا {'ل' * length} أمس")
        assert keys(found) == [("PLACE", "سوريا"), ("DATE", "أمس")]


# Invariance law ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_by_one(tiny_extractor: Extractor) -> list[list[Entity]]:
    return [tiny_extractor(text) for text in MIXED]


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_threads_change_nothing(tiny_artifact: Path, one_by_one: list[list[Entity]], threads: int) -> None:
    assert list(marsad.load(tiny_artifact, threads=threads).batch(MIXED)) == one_by_one


def test_order_changes_nothing(tiny_extractor: Extractor, one_by_one: list[list[Entity]]) -> None:
    order = list(range(len(MIXED)))
    Random(1).shuffle(order)
    shuffled = tiny_extractor.batch(MIXED[i] for i in order)
    assert list(shuffled) == [one_by_one[i] for i in order]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 65])
def test_batch_size_changes_nothing(tiny_extractor: Extractor, one_by_one: list[list[Entity]], size: int) -> None:
    batches = (MIXED[i : i + size] for i in range(0, len(MIXED), size))
    assert [found for batch in batches for found in tiny_extractor.batch(batch)] == one_by_one


def test_threads_of_the_caller_may_share_an_extractor(tiny_artifact: Path, one_by_one: list[list[Entity]]) -> None:
    extractor = marsad.load(tiny_artifact, threads=2)
    with ThreadPoolExecutor(2) as callers:
        streams = [callers.submit(lambda: list(extractor.batch(MIXED))) for _ in range(2)]
        singles = list(callers.map(extractor, MIXED))
    assert [stream.result() for stream in streams] == [one_by_one, one_by_one]
    assert singles == one_by_one


# Streams ----------------------------------------------------------------------------------------


def test_an_endless_stream_is_read_as_it_is_asked_for(tiny_extractor: Extractor) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        for read in count(1):
            yield "سوريا" if read % 2 else "حلب"

    results = tiny_extractor.batch(endless())
    assert read == 0
    for number, entities in enumerate(islice(results, 200)):
        assert keys(entities) == [("PLACE", "حلب" if number % 2 else "سوريا")]
        assert read <= number + 64


def test_a_bad_text_has_its_error_and_the_rest_goes_on(tiny_extractor: Extractor) -> None:
    stream = ["حلب", "\ud800", 5, "أمس"]
    first, second, third, fourth = tiny_extractor.batch_or_error(stream)  # type: ignore[arg-type]
    assert (keys(first), keys(fourth)) == ([("PLACE", "حلب")], [("DATE", "أمس")])  # type: ignore[arg-type]
    assert isinstance(second, DataError)
    assert isinstance(third, DataError)
    assert "lone surrogate" in str(second)
    assert "int" in str(third)


def test_batch_raises_at_the_bad_text_and_not_before(tiny_extractor: Extractor) -> None:
    results = tiny_extractor.batch(["حلب", "\ud800", "أمس"])
    assert keys(next(results)) == [("PLACE", "حلب")]
    with pytest.raises(DataError, match="lone surrogate"):
        next(results)


# Scores and first pieces ------------------------------------------------------------------------


class Fixed:
    """A backend that gives every window the same logits."""

    def __init__(self, logits: Logits) -> None:
        self._logits = logits

    def submit(self, window: Ids) -> "Future[Logits]":
        future: Future[Logits] = Future()
        future.set_result(self._logits)
        return future


def test_a_score_is_the_least_probability_of_the_words(tiny_extractor: Extractor) -> None:
    tags = tiny_extractor.manifest.tags
    logits = np.zeros((4, len(tags)), np.float32)  # [CLS] الجيش السوري [SEP]
    logits[1, tags.index("B-ACTOR")] = 5
    logits[2, tags.index("I-ACTOR")] = 2
    extractor = Extractor(tiny_extractor.manifest, tiny_extractor._tokenizer, Fixed(logits))
    (entity,) = extractor("الجيش السوري")
    assert entity.text == "الجيش السوري"
    assert entity.score == pytest.approx(np.exp(2) / (np.exp(2) + 8))


def test_first_piece_logits_are_one_row_a_word_before_constraints(tiny_extractor: Extractor) -> None:
    text = "قال السوري، في حلب"
    encoding, logits = tiny_extractor.first_piece_logits(text)
    rows = [tiny_extractor.manifest.tags[tag] for tag in logits.argmax(axis=1)]
    assert rows == ["O", "I-ACTOR", "O", "O", "B-PLACE"]
    assert list(zip(encoding.starts, encoding.ends, strict=True)) == words_of(text)


# Decoding ---------------------------------------------------------------------------------------

TAGS = tags_of(LABELS)
FEW = tags_of(["X", "Y"])


def follows(before: str, tag: str) -> bool:
    return not tag.startswith("I-") or before in (f"B-{tag[2:]}", tag)


def is_valid(tags: list[str]) -> bool:
    return all(follows(before, tag) for before, tag in pairwise(["O", *tags]))


@st.composite
def logits_of(draw: st.DrawFn, tags: tuple[str, ...], most: int) -> Logits:
    """Small whole numbers, so that ties are many."""
    rows = st.lists(st.integers(-3, 3), min_size=len(tags), max_size=len(tags))
    return np.array(draw(st.lists(rows, max_size=most)), np.float32).reshape(-1, len(tags))


@given(logits_of(TAGS, 30))
def test_a_decoded_path_is_valid_and_a_function_of_the_logits(logits: Logits) -> None:
    path, probabilities = decode(logits, TAGS)
    assert len(path) == len(probabilities) == len(logits)
    assert is_valid([TAGS[tag] for tag in path])
    again, _ = decode(np.asfortranarray(logits.astype(np.float64)), TAGS)
    assert again.tolist() == path.tolist()


@given(logits_of(FEW, 4))
def test_the_decoded_path_is_the_best_of_all_and_of_equals_the_one_named_first(logits: Logits) -> None:
    path, probabilities = decode(logits, FEW)
    valid = [p for p in product(range(len(FEW)), repeat=len(logits)) if is_valid([FEW[tag] for tag in p])]
    best = min(valid, key=lambda p: (-sum(logits[word, tag] for word, tag in enumerate(p)), p[::-1]))
    assert path.tolist() == list(best)
    exponents = np.exp(logits.astype(np.float64))
    expected = (exponents / exponents.sum(axis=1, keepdims=True))[np.arange(len(path)), path]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6)


@given(logits_of(TAGS, 30))
def test_where_the_likeliest_tags_are_valid_they_are_the_path(logits: Logits) -> None:
    likeliest = logits.argmax(axis=1).tolist()
    path, _ = decode(logits, TAGS)
    assert (path.tolist() == likeliest) == is_valid([TAGS[tag] for tag in likeliest])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 1, 1, 1, 1]] * 3, ["O", "O", "O"]),
        ([[0, 2, 0, 2, 0]], ["B-X"]),
        ([[0, 0, 9, 0, 0]], ["O"]),
        ([[0, 5, 0, 0, 0], [0, 0, 0, 0, 5]], ["B-X", "O"]),
    ],
)
def test_ties_go_to_the_tag_named_first(rows: list[list[int]], expected: list[str]) -> None:
    path, _ = decode(np.array(rows, np.float32), FEW)
    assert [FEW[tag] for tag in path] == expected


def test_an_inside_tag_can_win_over_the_tag_before_it() -> None:
    path, _ = decode(np.array([[3, 2, 0, 0, 0], [0, 0, 9, 0, 0]], np.float32), FEW)
    assert [FEW[tag] for tag in path] == ["B-X", "I-X"]


def test_no_words_give_no_path() -> None:
    path, probabilities = decode(np.zeros((0, len(TAGS)), np.float32), TAGS)
    assert (path.shape, probabilities.shape) == ((0,), (0,))


def test_logits_of_any_size_give_probabilities() -> None:
    _, probabilities = decode(np.array([[3e4, -3e4, 0, 0, 0], [-3e4] * 5], np.float32), FEW)
    np.testing.assert_allclose(probabilities, [1.0, 0.2])
