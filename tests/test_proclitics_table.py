"""The table of word forms: counted from raw text, kept small, corrected by what was annotated."""

from collections import Counter
from pathlib import Path

import pytest

from marsad.errors import ConfigError
from marsad.proclitics import Proclitics
from marsad.schema import LABELS, Document, Span
from marsad.words import words_of
from tests import encoders
from train import __main__ as program
from train import dataset, proclitics

TEXT = "دخلَ الجيش حلب\n\nوحلب، بـحلب ﺣﻠﺐ 15\n\nولاية ولاية الـولاية abc"


@pytest.fixture
def table(tmp_path: Path) -> Proclitics:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_text(TEXT, encoding="utf-8")
    return Proclitics.read(proclitics.main(tmp_path / "raw", tmp_path / "new" / "table.tsv"))


def test_forms_are_counted_without_marks_tatweel_and_presentation_forms(table: Proclitics) -> None:
    assert table.counts == {"دخل": 1, "الجيش": 1, "حلب": 2, "وحلب": 1, "بحلب": 1, "ولاية": 2, "الولاية": 1}


def test_the_table_decides_on_words_of_its_text(table: Proclitics) -> None:
    assert (table.length("وحلب"), table.length("بـحلب"), table.length("ولاية"), table.length("حلب")) == (1, 2, 0, 0)


def test_a_file_alone_and_a_second_run_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    one, other = (proclitics.main(tmp_path / "a.txt", tmp_path / name) for name in ("1.tsv", "2.tsv"))
    assert one.read_bytes() == other.read_bytes()
    assert one.read_text(encoding="utf-8").splitlines() == sorted(one.read_text(encoding="utf-8").splitlines())


def test_no_text_is_an_error_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError):
        proclitics.main(tmp_path, tmp_path / "t.tsv")
    assert program.main(["proclitics", "--corpus", str(tmp_path), "--out", str(tmp_path / "t.tsv")]) == 2
    assert capsys.readouterr().err.startswith("train: ")
    assert not (tmp_path / "t.tsv").exists()


def test_rare_forms_are_kept_only_where_they_are_exceptions() -> None:
    common = {f"كلمة{number}": 100 for number in range(30_000)}
    rare = {"ولاية": 31, "لاية": 1, "وحلب": 31, "حلب": 40, "وفرة": 29}
    kept = proclitics.select(Counter({**common, **rare}))
    # ولاية keeps its و though frequent enough to ask; وحلب is و + حلب; وفرة is too rare to be worth an entry
    assert kept.keys() - common.keys() == {"ولاية"}
    assert kept["ولاية"] == 31


# What annotations add ---------------------------------------------------------------------------


def mention(text: str, start: int) -> Document:
    """A report of one mention that ends with its text."""
    return Document("d", text, (Span(start, len(text), "PLACE"),))


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("في وبيلان", 4),  # a name that raw text does not hold, behind و
        ("في لبيلان", 3),  # the same letters, part of the name
        ("في وبكنسبا", 5),  # two particles
        ("في للجبيل", 4),  # ل + ال
        ("في بـ4", 5),
        ("في وَبيلان", 5),
        ("في كفرنبل", 3),
    ],
)
def test_an_annotated_word_is_split_as_it_was(text: str, start: int) -> None:
    document = mention(text, start)
    for base in (Proclitics({}), Proclitics({"بيلان": 5, "لبيلان": 50, "كفرنبل": 1, "فرنبل": 90, "وبكنسبا": 7})):
        table = proclitics.extend(base, [document])
        assert 3 + table.length(text[3:]) == start


def test_the_commoner_reading_of_a_form_wins_and_the_base_is_left_alone() -> None:
    base = Proclitics({})
    split, whole = mention("في بيلان", 4), mention("في بيلان", 3)
    assert proclitics.extend(base, [split, split, whole]).length("بيلان") == 1
    assert proclitics.extend(base, [split, whole, whole]).length("بيلان") == 0
    assert base.counts == {}


def test_a_form_that_is_the_rest_of_another_does_not_undo_it() -> None:
    """ببيلا is a town, and so is بيلا, though ب + يلا looks likelier: raising the one must raise the other."""
    documents = [mention("في ببيلا", 3), mention("في بيلا", 3), mention("في وببيلا", 4)]
    table = proclitics.extend(Proclitics({"يلا": 100}), documents)
    assert [table.length(word) for word in ("ببيلا", "بيلا", "وببيلا")] == [0, 0, 1]


def test_a_mention_behind_the_future_seen_is_no_error() -> None:
    """The check lets a span start behind س, which the reader never takes off."""
    document = Document("d", "قال سيقصف", (Span(5, 9, "ACTOR"),))
    assert dataset.find_problems(document, LABELS) == []
    assert proclitics.extend(Proclitics({}), [document]).length("سيقصف") == 0


def test_the_shipped_table_splits_every_mention_of_the_gold_with_its_help() -> None:
    gold = dataset.read_documents([encoders.ROOT / "annotations" / "gold.jsonl"], LABELS)
    table = proclitics.extend(Proclitics.read(encoders.PROCLITICS), gold)
    wrong = [problem for document in gold for problem in _wrong(document, table)]
    assert wrong == []


def _wrong(document: Document, table: Proclitics) -> list[str]:
    words = words_of(document.text)
    found = []
    for span in document.entities:
        start, end = next((s, e) for s, e in words if s <= span.start < e)
        if start + table.length(document.text[start:end]) != span.start:
            found.append(document.text[start:end])
    return found


def test_a_table_is_written_as_it_is_read(tmp_path: Path) -> None:
    table = Proclitics({"حلب": 3, "وحلب": 1})
    proclitics.write(table, tmp_path / "t.tsv")
    assert Proclitics.read(tmp_path / "t.tsv") == table
