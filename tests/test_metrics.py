"""The scores: seqeval's strict IOB2, Cohen's kappa and the bootstrap, each against something that is not ours."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from marsad.codec import to_spans
from marsad.schema import LABELS, Document, Span, tags_of
from marsad.words import words_of
from train import metrics
from train.metrics import Figures, Score


def repaired(tags: list[str]) -> list[str]:
    """Valid IOB2: an I- that continues nothing becomes O."""
    kept = ["O"]
    for tag in tags:
        continues = tag[0] != "I" or kept[-1][1:] == tag[1:]
        kept.append(tag if continues else "O")
    return kept[1:]


sequences = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.sampled_from(tags_of(LABELS)), min_size=n, max_size=n).map(repaired)] * 2)
)


@given(st.lists(sequences, min_size=1, max_size=4))
def test_the_figures_are_those_of_seqeval_strict_iob2(pairs: list[tuple[list[str], list[str]]]) -> None:
    documents, found = [], []
    for gold, predicted in pairs:
        text = " ".join("كلمة" for _ in gold)
        words = words_of(text)
        documents.append(Document("d", text, tuple(to_spans(text, words, gold))))
        found.append(to_spans(text, words, predicted))
    ours = metrics.score(documents, found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where nothing was there to find or found
        theirs = classification_report(
            [gold for gold, _ in pairs], [p for _, p in pairs], mode="strict", scheme=IOB2, output_dict=True
        )
    for name, figures in (("micro avg", ours.micro), *ours.labels.items()):
        entry = theirs.get(name, {"precision": 0, "recall": 0, "f1-score": 0, "support": 0})
        assert (figures.precision, figures.recall, figures.f1, figures.gold) == pytest.approx(
            (entry["precision"], entry["recall"], entry["f1-score"], entry["support"])
        )


def test_figures_of_a_case_counted_by_hand() -> None:
    text = "قصف الجيش السوري مدينة حلب وريف إدلب أمس"
    gold = (Span(4, 16, "ACTOR"), Span(23, 26, "PLACE"), Span(28, 36, "PLACE"), Span(37, 40, "DATE"))
    found = [Span(4, 9, "ACTOR"), Span(23, 26, "PLACE"), Span(28, 36, "ACTOR"), Span(37, 40, "DATE")]
    score = metrics.score([Document("d", text, gold)], [found])
    assert score.micro == Figures(correct=2, found=4, gold=4)
    assert score.labels == {"ACTOR": Figures(0, 2, 1), "DATE": Figures(1, 1, 1), "PLACE": Figures(1, 1, 2)}
    assert (score.micro.precision, score.micro.recall, score.micro.f1) == (0.5, 0.5, 0.5)
    assert score.as_dict()["labels"]["PLACE"]["recall"] == 0.5


def test_nothing_to_find_and_nothing_found_is_zero_not_an_error() -> None:
    score = metrics.score([Document("d", "لا شيء")], [[]])
    assert (score.micro.precision, score.micro.recall, score.micro.f1) == (0, 0, 0)
    assert score.interval() == (0, 0) and score.labels == {}


def test_a_proclitic_left_in_is_right_by_words_and_wrong_by_characters() -> None:
    document = Document("d", "في حلب وبريف إدلب", (Span(3, 6, "PLACE"), Span(9, 17, "PLACE")))
    score = metrics.score([document], [[Span(3, 6, "PLACE"), Span(7, 17, "PLACE")]])
    assert score.micro == Figures(2, 2, 2)
    assert score.exact == Figures(1, 2, 2)
    assert metrics.score([document], [document.entities]).exact == Figures(2, 2, 2)


def test_word_spans_take_a_word_that_a_span_is_a_part_of() -> None:
    text = "في حلب وبريف إدلب"
    assert metrics.word_spans(text, [Span(9, 17, "PLACE")]) == metrics.word_spans(text, [Span(7, 17, "PLACE")])
    assert metrics.word_spans(text, [Span(9, 17, "PLACE")]) == {(2, 3, "PLACE")}


# Kappa ------------------------------------------------------------------------------------------


def test_kappa_of_a_table_counted_by_hand() -> None:
    """Cohen's table: 20 + 15 agreements of 50, chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5."""
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert metrics.kappa(one, other) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_kappa_of_three_labels_counted_by_hand() -> None:
    one, other = list("aabbcc"), list("aabcca")
    agreed, chance = 4 / 6, (2 * 3 + 2 * 1 + 2 * 2) / 36
    assert metrics.kappa(one, other) == pytest.approx((agreed - chance) / (1 - chance))


def test_kappa_at_its_ends() -> None:
    assert metrics.kappa(["O", "O"], ["O", "O"]) == 1
    assert metrics.kappa(["a", "b"], ["a", "b"]) == 1
    assert metrics.kappa(["a", "b"], ["b", "a"]) == -1
    for one, other in (([], []), (["a"], ["a", "b"])):
        with pytest.raises(ValueError, match="same length"):
            metrics.kappa(one, other)


@given(st.lists(st.tuples(st.sampled_from("abO"), st.sampled_from("abO")), min_size=1))
def test_kappa_is_symmetric_and_at_most_1(pairs: list[tuple[str, str]]) -> None:
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    assert metrics.kappa(one, other) == pytest.approx(metrics.kappa(other, one))
    assert metrics.kappa(one, other) <= 1


# The interval -----------------------------------------------------------------------------------

counts = st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 5)).map(
    lambda t: Figures(t[0], t[0] + t[1], t[0] + t[2])
)


@given(st.lists(counts, min_size=1, max_size=6))
def test_the_interval_lies_around_the_point_and_within_the_documents(each: list[Figures]) -> None:
    score = Score({}, each, Figures(0, 0, 0))
    low, high = score.interval()
    assert 0 <= low <= high <= 1
    assert min(d.f1 for d in each) - 1e-9 <= low and high <= max(d.f1 for d in each) + 1e-9
    assert score.interval() == (low, high)
    assert low - 1e-9 <= score.micro.f1 <= high + 1e-9


def test_the_interval_of_one_document_is_its_point_and_of_equal_ones_too() -> None:
    one = Figures(3, 4, 5)
    assert Score({}, [one], one).interval() == pytest.approx((one.f1, one.f1))
    assert Score({}, [one] * 5, one).interval() == pytest.approx((one.f1, one.f1))


def test_the_interval_narrows_with_more_documents() -> None:
    few = [Figures(1, 10, 10), Figures(9, 10, 10)] * 2
    widths = [np.diff(Score({}, few * times, few[0]).interval()).item() for times in (1, 4, 16)]
    assert all(wide > narrow for wide, narrow in pairwise(widths))
