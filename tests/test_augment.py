"""Exchanged mentions: spans still fit their words, labels stay, and particles are written as they should be."""

from marsad.schema import LABELS, Document, Span
from tests import encoders
from train import augment, dataset


def mentions(document: Document) -> list[tuple[str, str]]:
    return [(document.text[s.start : s.end], s.label) for s in document.entities]


def test_every_span_of_a_copy_fits_its_words_and_keeps_its_label() -> None:
    gold = dataset.read_documents([encoders.ROOT / "annotations" / "gold.jsonl"], LABELS)
    copies = augment.substitute(gold, 1.0, seed=1)
    known = {mention for document in gold for mention in mentions(document)}
    known |= {(text[1:], label) for text, label in known}  # behind ل
    for one, other in zip(gold, copies, strict=True):
        assert dataset.find_problems(other, LABELS) == []
        assert [span.label for span in other.entities] == [span.label for span in one.entities]
        assert set(mentions(other)) <= known
        assert mentions(other) != mentions(one)


def test_at_rate_0_a_copy_is_the_document_and_a_seed_gives_the_same_copy() -> None:
    documents = encoders.reports(2)
    assert augment.substitute(documents, 0.0, seed=1) == documents
    assert augment.substitute(documents, 0.5, seed=1) == augment.substitute(documents, 0.5, seed=1)
    assert augment.substitute(documents, 0.5, seed=1) != augment.substitute(documents, 0.5, seed=2)


def test_the_article_loses_its_alef_behind_a_particle() -> None:
    attached = Document("a", "تابع لحماس.", (Span(6, 10, "ACTOR"),))
    free = Document("b", "الجيش يتقدم.", (Span(0, 5, "ACTOR"),))
    texts = {augment.substitute([attached, free], 1.0, seed)[0].text for seed in range(20)}
    assert texts == {"تابع لحماس.", "تابع للجيش."}


def test_what_may_have_lost_its_article_is_no_mention_for_other_places() -> None:
    attached = Document("a", "تابع للجيش.", (Span(6, 10, "ACTOR"),))
    free = Document("b", "حماس تتقدم.", (Span(0, 4, "ACTOR"),))
    texts = {augment.substitute([attached, free], 1.0, seed)[1].text for seed in range(20)}
    assert texts == {"حماس تتقدم."}


def test_a_label_with_no_mention_to_take_keeps_its_own() -> None:
    only = Document("a", "تابع للجيش.", (Span(6, 10, "ACTOR"),))
    assert augment.substitute([only], 1.0, seed=1) == [only]
