"""Spans to tags and back: strict one way, total the other, lossless together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsad import LABELS, AlignmentError, Document, Span
from marsad.codec import runs, to_spans, to_tags
from marsad.proclitics import Proclitics, leading
from marsad.schema import tags_of
from marsad.words import is_sign, words_of
from tests.texts import ROOT, gold, texts

TABLE = Proclitics.read(ROOT / "models/encoder/proclitics.tsv")
TAGS = tags_of(LABELS)

TEXT = "قال (الجيش السوري) بريف وبحلب."


def align(text: str, *spans: Span) -> list[str]:
    return to_tags(text, words_of(text), spans)


@st.composite
def tagged(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text and any tag for each of its words, valid IOB2 or not."""
    text = draw(texts)
    count = len(words_of(text))
    return text, draw(st.lists(st.sampled_from(TAGS), min_size=count, max_size=count))


# Lossless ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", gold(), ids=lambda document: document.id)
def test_gold_survives_the_round_trip_to_the_character(document: Document) -> None:
    words = words_of(document.text)
    tags = to_tags(document.text, words, document.entities)
    assert to_spans(document.text, words, tags, TABLE) == sorted(document.entities)


@pytest.mark.parametrize("document", gold(), ids=lambda document: document.id)
def test_gold_survives_the_round_trip_in_whole_words(document: Document) -> None:
    words = words_of(document.text)
    tags = to_tags(document.text, words, document.entities)
    whole = to_spans(document.text, words, tags)
    assert to_tags(document.text, words, whole) == tags
    assert [(s.end, s.label) for s in whole] == [(s.end, s.label) for s in sorted(document.entities)]


@given(tagged())
def test_spans_of_any_tags_survive_the_round_trip(case: tuple[str, list[str]]) -> None:
    text, tags = case
    words = words_of(text)
    for proclitics in (None, TABLE):
        spans = to_spans(text, words, tags, proclitics)
        assert to_spans(text, words, to_tags(text, words, spans), proclitics) == spans


# Back: total ------------------------------------------------------------------------------------


@given(tagged())
def test_any_tags_give_spans_without_signs_at_their_edges(case: tuple[str, list[str]]) -> None:
    text, tags = case
    words = words_of(text)
    spans = to_spans(text, words, tags)
    labelled = [text[a:b] for (a, b), tag in zip(words, tags, strict=True) if tag != "O" and not is_sign(text[a:b])]
    inside = [text[a:b] for a, b in words if any(s.start <= a < s.end for s in spans) and not is_sign(text[a:b])]
    assert inside == labelled  # nothing is lost, nothing is added
    for span in spans:
        covered = [word for word in words if span.start <= word[0] < span.end]
        assert not is_sign(text[slice(*covered[0])])
        assert not is_sign(text[slice(*covered[-1])])


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], []),
        (["O", "O"], []),
        (["B-X", "I-X", "O", "B-X"], [(0, 1, "X"), (3, 3, "X")]),
        (["B-X", "B-X"], [(0, 0, "X"), (1, 1, "X")]),
        (["I-X", "I-X"], [(0, 1, "X")]),
        (["O", "I-X"], [(1, 1, "X")]),
        (["B-X", "I-Y", "I-Y"], [(0, 0, "X"), (1, 2, "Y")]),
    ],
)
def test_an_inside_tag_that_continues_nothing_starts_an_entity(
    tags: list[str], expected: list[tuple[int, int, str]]
) -> None:
    assert runs(tags) == expected


def test_signs_at_the_edges_are_dropped_and_inside_they_stay() -> None:
    text = "(حلب، سوريا)."
    tags = ["B-PLACE", *["I-PLACE"] * 5]
    (span,) = to_spans(text, words_of(text), tags)
    assert text[span.start : span.end] == "حلب، سوريا"


def test_an_entity_of_signs_alone_is_none() -> None:
    assert to_spans("، .", words_of("، ."), ["B-PLACE", "I-PLACE"]) == []


# To tags: strict --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (Span(5, 9, "ACTOR"), "does not end where a word ends"),  # in the word
        (Span(5, 11, "ACTOR"), "does not end where a word ends"),  # in the space behind it
        (Span(5, 99, "ACTOR"), "does not end where a word ends"),  # behind the text
        (Span(5, 5, "ACTOR"), "does not end where a word ends"),  # empty
        (Span(17, 5, "ACTOR"), "does not end where a word ends"),  # backwards
        (Span(-3, 10, "ACTOR"), "does not end where a word ends"),  # before the text
        (Span(6, 10, "ACTOR"), "starts neither where a word starts nor behind the proclitics"),
        (Span(10, 17, "ACTOR"), "starts neither where a word starts nor behind the proclitics"),  # in the space
        (Span(27, 29, "PLACE"), "starts neither where a word starts nor behind the proclitics"),  # behind وبح
        (Span(4, 10, "ACTOR"), r"has the sign '\(' at its edge"),
        (Span(5, 18, "ACTOR"), r"has the sign '\)' at its edge"),
        (Span(29, 30, "PLACE"), r"has the sign '\.' at its edge"),
    ],
)
def test_a_span_that_does_not_fit_is_an_error_that_names_it(span: Span, message: str) -> None:
    with pytest.raises(AlignmentError, match=message) as caught:
        align(TEXT, span)
    assert f"{span.label} [{span.start}, {span.end})" in str(caught.value)


@pytest.mark.parametrize(
    "spans",
    [
        (Span(5, 17, "ACTOR"), Span(11, 17, "ACTOR")),
        (Span(5, 17, "ACTOR"), Span(5, 17, "PLACE")),
        (Span(5, 17, "ACTOR"), Span(5, 10, "ACTOR")),
        (Span(24, 29, "PLACE"), Span(26, 29, "PLACE")),  # with its proclitics and without
    ],
)
def test_spans_that_overlap_are_an_error_that_names_both(spans: tuple[Span, Span]) -> None:
    for order in (spans, spans[::-1]):
        with pytest.raises(AlignmentError, match="overlap") as caught:
            align(TEXT, *order)
        assert all(f"{s.label} [{s.start}, {s.end})" in str(caught.value) for s in spans)


def test_neighbours_do_not_overlap() -> None:
    assert align("حلب،سوريا", Span(0, 3, "PLACE"), Span(4, 9, "PLACE")) == ["B-PLACE", "O", "B-PLACE"]


@pytest.mark.parametrize("start", [24, 25, 26])  # وبحلب, بحلب, حلب
def test_a_span_may_start_behind_any_of_its_proclitics(start: int) -> None:
    assert align(TEXT, Span(start, 29, "PLACE"))[-2:] == ["B-PLACE", "O"]


def test_a_particle_that_stands_alone_is_no_proclitic_of_the_next_word() -> None:
    assert align("و حلب", Span(2, 5, "PLACE")) == ["O", "B-PLACE"]
    with pytest.raises(AlignmentError, match="starts neither"):
        align("و حلب", Span(1, 5, "PLACE"))


@given(texts, st.data())
def test_a_span_is_tagged_as_it_stands_or_refused(text: str, data: st.DataObject) -> None:
    edges = st.integers(-2, len(text) + 2) | st.sampled_from([e for word in words_of(text) for e in word] or [0])
    span = Span(data.draw(edges), data.draw(edges), "ACTOR")
    try:
        tags = align(text, span)
    except AlignmentError:
        assert (span.start, span.end) not in [w for w in words_of(text) if not is_sign(text[slice(*w)])]
        return
    (back,) = to_spans(text, words_of(text), tags)
    assert (back.end, back.label) == (span.end, span.label)
    assert leading(text[back.start : span.start])
