"""The figure to beat: what counting alone finds, and that it counts nothing but training reports."""

import pytest

from marsad.errors import AlignmentError
from marsad.proclitics import Proclitics
from marsad.schema import LABELS, Document, Span
from tests import encoders
from train import dataset, metrics
from train.baseline import Baseline

TABLE = Proclitics({"حلب": 90, "وحلب": 2, "الجيش": 90, "لجيش": 1, "روسيا": 9, "وروسيا": 3, "عشرات": 9})


def document(text: str, *mentions: tuple[str, str]) -> Document:
    spans = (Span(text.index(mention), text.index(mention) + len(mention), label) for mention, label in mentions)
    return Document("d", text, tuple(sorted(spans)))


def found(baseline: Baseline, text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.label) for span in baseline(text)]


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return Baseline.learn(
        [
            document("دخل الجيش السوري حلب يوم الأربعاء", ("الجيش السوري", "ACTOR"), ("حلب", "PLACE"),
                     ("يوم الأربعاء", "DATE")),
            document("قتل الجيش عشرات المدنيين", ("الجيش", "ACTOR"), ("عشرات المدنيين", "COUNT")),
            document("قال الجيش السوري", ("الجيش السوري", "ACTOR")),
        ],
        TABLE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("في حلب", [("حلب", "PLACE")]),
        ("في حَلَب", [("حَلَب", "PLACE")]),
        ("دخل الجيش السوري", [("الجيش السوري", "ACTOR")]),  # the longest name
        ("دخل الجيش أمس", [("الجيش", "ACTOR")]),
        ("إدلب وحلب", [("حلب", "PLACE")]),  # a proclitic is looked through and left out
        ("(حلب)", [("حلب", "PLACE")]),
        ("في حماة", []),
    ],
)
def test_names_are_looked_up_longest_first(baseline: Baseline, text: str, expected: list[tuple[str, str]]) -> None:
    assert found(baseline, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("قتل 15 عنصرا من", [("15 عنصرا", "COUNT")]),
        ("قتل ١٥ عنصرا من", [("١٥ عنصرا", "COUNT")]),
        ("قتل عشرات القرويين", [("عشرات القرويين", "COUNT")]),  # a numeral word of the training reports
        ("قتل 15.", [("15", "COUNT")]),
        ("بلغ 3.6", [("3.6", "COUNT")]),
    ],
)
def test_numerals_count_the_word_that_follows(baseline: Baseline, text: str, expected: list[tuple[str, str]]) -> None:
    assert found(baseline, text) == expected


def test_date_words_make_dates_in_any_order(baseline: Baseline) -> None:
    assert found(baseline, "قصف الأربعاء ثم يوم") == [("الأربعاء", "DATE"), ("يوم", "DATE")]


def test_a_word_that_is_rarely_in_dates_marks_none() -> None:
    dated = document("وصل يوم الجمعة", ("يوم الجمعة", "DATE"))
    plain = Document("d", "كل يوم وأي يوم")
    assert found(Baseline.learn([dated], TABLE), "يوم") == [("يوم", "DATE")]
    assert found(Baseline.learn([dated, plain], TABLE), "يوم") == []


def test_the_commonest_label_of_a_surface_wins() -> None:
    acts, lies = document("قصفت روسيا", ("روسيا", "ACTOR")), document("إلى روسيا", ("روسيا", "PLACE"))
    assert found(Baseline.learn([acts, acts, lies], TABLE), "وروسيا") == [("روسيا", "ACTOR")]
    assert found(Baseline.learn([acts, lies, lies], TABLE), "وروسيا") == [("روسيا", "PLACE")]


def test_it_knows_nothing_beyond_its_training_reports() -> None:
    assert found(Baseline.learn([], TABLE), "دخل الجيش السوري حلب يوم الأربعاء") == []
    assert Baseline.learn([], TABLE)("") == []


def test_a_misaligned_training_span_is_an_error() -> None:
    with pytest.raises(AlignmentError):
        Baseline.learn([Document("d", "حلب", (Span(0, 2, "PLACE"),))], TABLE)


def test_on_the_gold_it_is_far_from_zero_and_far_from_a_reader() -> None:
    """Leave one report out; the spans that it finds always fit the words."""
    gold = dataset.read_documents([encoders.ROOT / "annotations" / "gold.jsonl"], LABELS)
    table = Proclitics.read(encoders.PROCLITICS)
    spans = [Baseline.learn([*gold[:i], *gold[i + 1 :]], table)(document.text) for i, document in enumerate(gold)]
    assert 0.3 < metrics.score(gold, spans).micro.f1 < 0.7
