"""Annotated files into windows: every problem told with its line, no word and no entity lost on the way."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from marsad.artifact import text_hash
from marsad.codec import runs, to_tags
from marsad.encode import encode
from marsad.errors import DataError
from marsad.schema import LABELS, Document, Span
from marsad.words import words_of
from tests import encoders
from train import dataset
from train import tokenizer as tokenization
from train.config import DataSection, PartialSource, WindowSection

GOLD = encoders.ROOT / "annotations" / "gold.jsonl"


@pytest.fixture(scope="module")
def gold() -> list[Document]:
    return dataset.read_documents([GOLD], LABELS)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A vocabulary so small that most words are several pieces."""
    return tokenization.build({piece: number for number, piece in enumerate(encoders.pieces(300))})


# Reading ----------------------------------------------------------------------------------------


def test_jsonl_and_conll_give_the_same_words_and_tags(tmp_path: Path) -> None:
    text = "دخل الجيش السوري حلب"
    lines = "دخل\tO\nالجيش\tB-ACTOR\nالسوري\tI-ACTOR\nحلب\tB-PLACE\n"
    spans = (Span(4, 16, "ACTOR"), Span(17, 20, "PLACE"))
    (tmp_path / "a.conll").write_text(lines, encoding="utf-8")
    one = encoders.write_reports(tmp_path / "a.jsonl", [Document("a", text, spans)])
    (from_conll,), (from_jsonl,) = (dataset.read_documents([path], LABELS) for path in (tmp_path / "a.conll", one))
    assert (from_conll.text, from_conll.entities) == (text, spans)
    assert (from_jsonl.text, from_jsonl.entities) == (text, spans)


def test_documents_of_several_files_come_in_order(tmp_path: Path) -> None:
    documents = encoders.reports(3, sentences=1)
    files = [encoders.write_reports(tmp_path / f"{i}.jsonl", [document]) for i, document in enumerate(documents)]
    assert [document.id for document in dataset.read_documents(files, LABELS)] == ["report0", "report1", "report2"]


def test_labels_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("ليونيل\tB-لاعب\nميسي\tI-لاعب\nفاز\tO\n", encoding="utf-8")
    (document,) = dataset.read_documents([tmp_path / "a.conll"], ["لاعب"])
    assert document.entities == (Span(0, 11, "لاعب"),)
    with pytest.raises(DataError, match="label لاعب is none of ACTOR, PLACE, COUNT, DATE"):
        dataset.read_documents([tmp_path / "a.conll"], LABELS)


def test_every_problem_of_every_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"id": "good", "text": "حلب", "entities": [{"start": 0, "end": 3, "label": "PLACE"}]}\n'
        "\n"
        '{"id": "two", "text": "حلب سوريا", "entities": [{"start": 0, "end": 2, "label": "PLACE"},'
        ' {"start": 4, "end": 8, "label": "TOWN"}]}\n'
        "{not JSON}\n"
        '{"id": "over", "text": "ريف حلب", "entities": [{"start": 0, "end": 7, "label": "PLACE"},'
        ' {"start": 4, "end": 7, "label": "PLACE"}]}\n',
        encoding="utf-8",
    )
    (tmp_path / "b.conll").write_text(
        "# a comment alone is no sentence\n\nحلب\tB-PLACE\n\n\nدخل\tO\nحلب\tB-TOWN\n\nحلب\tI-PLACE\n", encoding="utf-8"
    )
    with pytest.raises(DataError) as caught:
        dataset.read_documents([tmp_path / "a.jsonl", tmp_path / "b.conll"], LABELS)
    told = [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]
    starts = [
        "a.jsonl:3: two: label TOWN is none of",
        "a.jsonl:3: two: PLACE [0, 2)",
        "a.jsonl:3: two: TOWN [4, 8)",
        "a.jsonl:4: not JSON",
        "a.jsonl:5: over: PLACE [0, 7)",
        "b.conll:6: b:6: label TOWN is none of",
        "b.conll:9: I-PLACE after O",
    ]
    assert len(told) == len(starts)
    for line, start in zip(told, starts, strict=True):
        assert line.startswith(start), f"{line!r} does not start with {start!r}"


def test_other_files_and_missing_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: annotated files are \.jsonl or \.conll"):
        dataset.read_documents([tmp_path / "a.csv"], LABELS)
    with pytest.raises(DataError, match=r"a\.jsonl: cannot be read"):
        dataset.read_documents([tmp_path / "a.jsonl"], LABELS)


@pytest.fixture
def standoff(tmp_path: Path) -> Path:
    """Offsets and hashes of three reports; the texts of the first two lie in a directory, one of them changed."""
    documents = encoders.reports(3, sentences=1)
    changed = replace(documents[1], text=documents[1].text + " ")
    (tmp_path / "texts").mkdir()
    encoders.write_reports(tmp_path / "texts" / "gathered.jsonl", [documents[0], changed])
    rows = [
        {
            "id": document.id, "origin": "web", "outlet": "رويترز", "sha256": text_hash(document.text),
            "entities": [{"start": s.start, "end": s.end, "label": s.label} for s in document.entities],
        }
        for document in documents
    ]  # fmt: skip
    path = tmp_path / "a.standoff.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_standoff_annotations_meet_their_texts(standoff: Path) -> None:
    rows = standoff.read_text(encoding="utf-8").splitlines(keepends=True)
    standoff.write_text(rows[0], encoding="utf-8")
    (document,) = dataset.read_documents([standoff], LABELS, standoff.parent / "texts")
    (original,) = encoders.reports(1, sentences=1)
    assert (document.text, document.entities) == (original.text, original.entities)
    assert document.extra == {"origin": "web", "outlet": "رويترز", "standoff": True}


def test_standoff_texts_that_are_missing_or_changed_are_told_with_their_lines(standoff: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset.read_documents([standoff], LABELS, standoff.parent / "texts")
    second, third = str(caught.value).splitlines()
    assert second.startswith(f"{standoff}:2: the text of report1 in ") and "has SHA-256" in second
    assert third.startswith(f"{standoff}:3: no text with id report2 in ")


def test_standoff_without_a_directory_of_texts_says_how_to_give_one(standoff: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds offsets without texts.*--set data\.texts=DIR"):
        dataset.read_documents([standoff], LABELS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.jsonl file of texts"):
        dataset.read_documents([standoff], LABELS, tmp_path / "empty")


def test_a_span_that_fits_beside_one_that_does_not_is_not_blamed() -> None:
    document = Document("a", "ريف حلب ثم إدلب", (Span(0, 7, "PLACE"), Span(4, 7, "PLACE"), Span(11, 15, "PLACE")))
    (problem,) = dataset.find_problems(document, LABELS)
    assert "overlap" in problem


# The development part ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_split_loses_no_text_and_no_entity_of_the_gold(gold: list[Document], seed: int) -> None:
    train, dev = dataset.split_dev(gold, 0.1, seed)
    _assert_split_is_whole(gold, train, dev)
    size = sum(len(d.text) for d in gold)
    assert 0.1 * size <= sum(len(d.text) for d in dev) < 0.3 * size
    assert dataset.split_dev(gold, 0.1, seed) == (train, dev)


def test_another_seed_sets_other_paragraphs_aside(gold: list[Document]) -> None:
    parts = {tuple(d.text for d in dataset.split_dev(gold, 0.1, seed)[1]) for seed in range(5)}
    assert len(parts) == 5


@given(
    st.lists(st.lists(st.sampled_from(["حلب", "في حلب", "دخل", "", " ", "\n", "\r"])), min_size=1), st.integers(0, 9)
)
def test_the_split_loses_nothing_whatever_the_line_ends_are(texts: list[list[str]], seed: int) -> None:
    documents = [_with_places(f"d{i}", "\n".join(lines)) for i, lines in enumerate(texts)]
    _assert_split_is_whole(documents, *dataset.split_dev(documents, 0.3, seed))


def _with_places(id: str, text: str) -> Document:
    found = [i for i in range(len(text)) if text.startswith("حلب", i)]
    return Document(id, text, tuple(Span(i, i + 3, "PLACE") for i in found))


def test_a_span_across_lines_is_never_cut() -> None:
    document = Document("a", "دخل ريف\nحلب أمس\nثم خرج", (Span(4, 11, "PLACE"),))
    for seed in range(10):
        train, dev = dataset.split_dev([document], 0.2, seed)
        assert sorted(d.text for d in (*train, *dev)) == sorted(["دخل ريف\nحلب أمس\n", "ثم خرج"])


def test_a_share_of_one_paragraph_leaves_nothing_to_train_on() -> None:
    train, dev = dataset.split_dev([Document("a", "دخل حلب", ())], 0.1, 1)
    assert (train, len(dev)) == ([], 1)


def _assert_split_is_whole(whole: list[Document], train: list[Document], dev: list[Document]) -> None:
    """Pieces of all texts, each with its mentions as they stood."""
    for document in whole:
        parts = [d for d in (*train, *dev) if d.id == document.id]
        assert sum(len(d.text) for d in parts) == (len(document.text) if document.text.strip() else 0)
        assert all(d.text.strip() and d.text in document.text for d in parts)
        assert _mentions(parts) == _mentions([document])
        assert Counter(" ".join(d.text for d in parts).split()) == Counter(document.text.split())


def _mentions(documents: list[Document]) -> Counter[tuple[str, str]]:
    return Counter((span.label, d.text[span.start : span.end]) for d in documents for span in d.entities)


# Windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "overlap"), [(512, 0), (126, 32), (24, 8), (8, 3), (2, 0)])
def test_every_word_is_learned_exactly_once(
    gold: list[Document], tokenizer: Tokenizer, size: int, overlap: int
) -> None:
    windows = dataset.make_windows(gold, tokenizer, dataset.bits_of(LABELS), WindowSection(size, overlap))
    learned = [label for row in windows.dataset["labels"] for label in row if label != dataset.IGNORED]
    names = {bit: tag for tag, bit in dataset.bits_of(LABELS).items()}
    assert Counter(names[label] for label in learned) == Counter(
        tag for document in gold for tag in dataset.encode_tags(tokenizer, document)[1]
    )
    assert len(learned) == sum(len(encode(tokenizer, document.text).first) for document in gold)
    assert len(learned) == sum(len(words_of(document.text)) for document in gold), "every gold word has a piece"


def test_a_window_has_its_special_tokens_and_a_label_for_each_piece(gold: list[Document], tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    for row in dataset.make_windows(gold, tokenizer, dataset.bits_of(LABELS), WindowSection(24, 8)).dataset:
        assert row["input_ids"][0] == vocabulary["[CLS]"] and row["input_ids"][-1] == vocabulary["[SEP]"]
        assert row["labels"][0] == row["labels"][-1] == dataset.IGNORED
        assert len(row["labels"]) == len(row["input_ids"]) == len(row["attention_mask"]) <= 26
        assert set(row["attention_mask"]) == {1}


def test_labels_stand_at_the_first_pieces_of_their_words(tokenizer: Tokenizer) -> None:
    text = "دخل الجيش السوري حلب"
    document = Document("a", text, (Span(4, 16, "ACTOR"), Span(17, 20, "PLACE")))
    (row,) = dataset.make_windows([document], tokenizer, dataset.bits_of(LABELS), WindowSection(100, 10)).dataset
    names = {bit: tag for tag, bit in dataset.bits_of(LABELS).items()}
    pieces = [tokenizer.id_to_token(number) for number in row["input_ids"]]
    learned = [(piece, names[label]) for piece, label in zip(pieces, row["labels"], strict=True) if label >= 0]
    assert [tag for _, tag in learned] == ["O", "B-ACTOR", "I-ACTOR", "B-PLACE"]
    assert not any(piece.startswith("##") for piece, _ in learned)


def test_a_special_token_written_in_a_text_is_text(tokenizer: Tokenizer) -> None:
    """As at inference: otherwise its words would have no piece, and a [SEP] would stand amid a window."""
    document = Document("a", "قال [SEP] حلب [CLS]", (Span(10, 13, "PLACE"),))
    (row,) = dataset.make_windows([document], tokenizer, dataset.bits_of(LABELS), WindowSection(100, 10)).dataset
    assert sum(label >= 0 for label in row["labels"]) == len(words_of(document.text)) == 8
    special = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]")]
    assert [number for number in row["input_ids"] if number in special] == special


def test_entities_that_a_window_cuts_are_counted_and_still_learned(tokenizer: Tokenizer) -> None:
    documents = encoders.reports(2)
    wide, narrow = (
        dataset.make_windows(documents, tokenizer, dataset.bits_of(LABELS), WindowSection(*w))
        for w in ((999, 0), (6, 0))
    )
    total = sum(len(document.entities) for document in documents)
    assert (wide.entities, wide.cut) == (total, 0)
    assert narrow.entities == total and 0 < narrow.cut <= total
    labels = [Counter(x for row in w.dataset["labels"] for x in row if x >= 0) for w in (wide, narrow)]
    assert labels[0] == labels[1]
    assert dataset.columns(narrow) == {
        "windows": len(narrow.dataset), "entities": total, "entities_cut": narrow.cut
    }  # fmt: skip


def test_an_entity_whose_words_are_judged_by_two_windows_is_the_cut_one(tokenizer: Tokenizer) -> None:
    document = Document("a", "حلب ريف حلب", (Span(4, 11, "PLACE"),))
    encoding, tags = dataset.encode_tags(tokenizer, document)
    assert tags == ["O", "B-PLACE", "I-PLACE"]
    size = int(encoding.first[2])  # the last word does not fit beside the first two
    windows = dataset.make_windows([document], tokenizer, dataset.bits_of(LABELS), WindowSection(size, 0))
    assert (len(windows.dataset), windows.entities, windows.cut) == (2, 1, 1)
    single = replace(document, entities=(Span(0, 3, "PLACE"), Span(4, 7, "ACTOR"), Span(8, 11, "PLACE")))
    windows = dataset.make_windows([single], tokenizer, dataset.bits_of(LABELS), WindowSection(2, 0))
    assert (windows.entities, windows.cut) == (3, 0), "one word is never cut"


# Other schemes ----------------------------------------------------------------------------------


PUBLIC = "زار\tO\nأحمد\tB-PERS\nعلي\tI-PERS\nسوريا\tB-LOC\nأمس\tO\n.\tO\n\nرواية\tB-MISC\n\n"


def public(path: Path, **allow: tuple[str, ...]) -> DataSection:
    (path / "public.conll").write_text(PUBLIC, encoding="utf-8")
    return DataSection(train=(), partial=(PartialSource((str(path / "public.conll"),), allow),))


def test_a_foreign_tag_allows_what_the_config_says(tmp_path: Path, tokenizer: Tokenizer) -> None:
    data = public(tmp_path, PERS=("ACTOR",), LOC=("PLACE", "ACTOR"), O=("O", "COUNT", "DATE"))
    (part,) = dataset.read_partial(data)
    bits = dataset.bits_of(LABELS)
    assert part.allowed["B-PERS"] == bits["B-ACTOR"] and part.allowed["I-PERS"] == bits["I-ACTOR"]
    assert part.allowed["B-LOC"] == bits["B-PLACE"] | bits["B-ACTOR"]
    assert part.allowed["I-LOC"] == bits["I-PLACE"] | bits["I-ACTOR"]
    assert part.allowed["O"] == sum(bits[tag] for tag in ("O", "B-COUNT", "I-COUNT", "B-DATE", "I-DATE"))
    assert part.allowed["B-MISC"] == sum(bits.values()), "a label that is not named says nothing"
    rows = dataset.make_windows(part.documents, tokenizer, part.allowed, WindowSection(100, 10)).dataset
    learned = [[label for label in row["labels"] if label != dataset.IGNORED] for row in rows]
    tags = [["O", "B-PERS", "I-PERS", "B-LOC", "O", "O"], ["B-MISC"]]
    assert learned == [[part.allowed[tag] for tag in sentence] for sentence in tags]


def test_a_label_that_no_annotation_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no annotation has the label PER .*there are LOC, MISC, O, PERS"):
        dataset.read_partial(public(tmp_path, PER=("ACTOR",)))


def test_a_source_with_a_bad_sentence_is_an_error(tmp_path: Path) -> None:
    data = public(tmp_path, PERS=("ACTOR",))
    (tmp_path / "public.conll").write_text("أحمد\tI-PERS\n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"public\.conll:1"):
        dataset.read_partial(data)


def test_gold_spans_go_to_labels_and_back(gold: list[Document], tokenizer: Tokenizer) -> None:
    for document in gold:
        _, tags = dataset.encode_tags(tokenizer, document)
        assert runs(tags) == runs(to_tags(document.text, words_of(document.text), document.entities))
        assert len(runs(tags)) == len(document.entities)
