"""The gold and its two readings: sound as they are, and told what is wrong with them when they are not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marsad.artifact import sha256
from marsad.errors import DataError
from tests import encoders
from train import __main__ as program
from train import agreement, check

ANNOTATIONS, DATA = encoders.ROOT / "annotations", encoders.ROOT / "data"

Record = dict[str, Any]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(encoders.ROOT)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The annotations and their articles, to be spoilt."""
    shutil.copytree(ANNOTATIONS, tmp_path / "annotations")
    shutil.copytree(DATA, tmp_path / "data", ignore=shutil.ignore_patterns("cache"))
    return tmp_path


def problems(copy: Path) -> list[str]:
    """What the check says of a copy, line by line, with paths from there."""
    with pytest.raises(DataError) as caught:
        check.main(copy / "annotations", copy / "data")
    return str(caught.value).replace(f"{copy}/", "").splitlines()


def change(copy: Path, name: str, line: int, edit: Callable[[Record], None]) -> Record:
    """Edit the record of a line, and return it."""
    path = copy / "annotations" / name
    records = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    edit(records[line - 1])
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return dict(records[line - 1])


# Sound ------------------------------------------------------------------------------------------


def test_the_check_is_silent_on_the_repository(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["check"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_articles_are_the_seeds_byte_for_byte() -> None:
    listed = [json.loads(line) for line in (DATA / "articles.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {entry["id"]: entry["sha256"] for entry in listed} == {
        path.stem: sha256(path) for path in (DATA / "articles").glob("*.txt")
    }
    assert len(listed) == 5
    for entry in listed:
        assert entry["date"] or entry["date_reason"]
        assert entry["outlet_evidence"]


def test_a_sound_copy_is_sound(copy: Path) -> None:
    assert program.main(["check", "--annotations", str(copy / "annotations"), "--data", str(copy / "data")]) == 0


# Spoilt -----------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_with_file_and_line(copy: Path) -> None:
    """One of each kind, in all three files and beside each other."""

    def spoil_gold(record: Record) -> None:
        entities = record["entities"]
        entities[0]["end"] -= 1  # inside a word
        entities[3]["label"] = "TOWN"
        entities.append({**entities[5], "start": entities[5]["start"], "end": entities[6]["end"]})  # over two others

    change(copy, "gold.jsonl", 2, spoil_gold)
    moved = change(copy, "passes/first.jsonl", 3, _take_in_a_proclitic)
    change(copy, "passes/second.jsonl", 5, lambda record: record.update(text=record["text"].replace("ا", "أ", 1)))
    article = copy / "data" / "articles" / f"{moved['id']}.txt"
    article.write_bytes(article.read_bytes() + b"\n")
    found = problems(copy)
    for start in (
        "annotations/gold.jsonl:2: 001_ed050b49068a8727: label TOWN is none of ACTOR, PLACE, COUNT, DATE",
        "annotations/passes/first.jsonl:3: 002_778f9c0511bcb3a3: the text is not that of data/articles/002_",
        "annotations/passes/second.jsonl:3: 002_778f9c0511bcb3a3: the text is not that of",
        "annotations/passes/second.jsonl:5: 004_f2431452c4f51a95: the text is not that of",
        "data/articles.jsonl:3: SHA-256 of data/articles/002_778f9c0511bcb3a3.txt is",
    ):
        assert any(line.startswith(start) for line in found), start
    in_gold = [line for line in found if line.startswith("annotations/gold.jsonl:2: ")]
    assert any("does not end where a word ends" in line for line in in_gold)
    assert any("overlap; spans are flat" in line for line in in_gold)
    in_first = [line for line in found if line.startswith("annotations/passes/first.jsonl:3: ")]
    assert any("a proclitic; leave it out" in line for line in in_first)


def _take_in_a_proclitic(record: Record) -> None:
    """Move the first span that follows a و back over it."""
    text = record["text"]
    entity = next(e for e in record["entities"] if text[e["start"] - 1] == "و" and text[e["start"] - 2] == " ")
    entity["start"] -= 1


@pytest.mark.parametrize("name", ["gold.jsonl", "passes/first.jsonl", "passes/second.jsonl"])
def test_each_of_the_three_files_is_looked_at(copy: Path, name: str) -> None:
    change(copy, name, 1, _take_in_a_proclitic)
    (problem,) = problems(copy)
    assert problem.startswith(f"annotations/{name}:1: 000_ae8689798c66733c: ") and "a proclitic" in problem


def test_a_proclitic_inside_and_a_wrong_edge_of_one_report_are_both_told(copy: Path) -> None:
    def spoil(record: Record) -> None:
        _take_in_a_proclitic(record)
        record["entities"][-1]["end"] -= 1

    change(copy, "gold.jsonl", 1, spoil)
    assert len(problems(copy)) == 2


def test_blank_lines_do_not_shift_the_numbers(copy: Path) -> None:
    change(copy, "gold.jsonl", 1, _take_in_a_proclitic)
    path = copy / "annotations" / "gold.jsonl"
    path.write_text("\n\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    (problem,) = problems(copy)
    assert problem.startswith("annotations/gold.jsonl:3: ")


def test_a_report_that_is_missing_or_twice_there_is_told(copy: Path) -> None:
    path = copy / "annotations" / "gold.jsonl"
    first, _, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([first, first, *rest]), encoding="utf-8")
    assert problems(copy) == [
        "annotations/gold.jsonl: 000_ae8689798c66733c is there 2 times",
        "annotations/gold.jsonl: 001_ed050b49068a8727 is not there",
    ]


def test_articles_that_are_missing_unlisted_or_listed_badly_are_told(copy: Path) -> None:
    articles = copy / "data" / "articles"
    (articles / "005_new.txt").write_text("جديد", encoding="utf-8")
    (articles / "000_ae8689798c66733c.txt").unlink()
    with (copy / "data" / "articles.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"id": "no hash"}\nnot JSON\n')
    found = problems(copy)
    assert "data/articles.jsonl:1: data/articles/000_ae8689798c66733c.txt is not there" in found
    assert "data/articles.jsonl: data/articles/005_new.txt is not listed" in found
    assert [line[:24] for line in found if "expected an object" in line] == [
        "data/articles.jsonl:6: e", "data/articles.jsonl:7: e"
    ]  # fmt: skip
    assert "annotations/gold.jsonl: 005_new is not there" in found
    assert any(line.startswith("annotations/gold.jsonl:1: 000_ae8689798c66733c: no article") for line in found)


def test_a_line_that_is_no_record_is_told(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (copy / "annotations" / "passes" / "first.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("{\n")
    (problem,) = problems(copy)
    assert problem.startswith("annotations/passes/first.jsonl:6: not JSON")
    assert program.main(["check", "--annotations", str(copy / "annotations"), "--data", str(copy / "data")]) == 1
    assert capsys.readouterr().err.startswith("train: ")


# Agreement --------------------------------------------------------------------------------------


def test_the_agreement_page_is_what_the_command_writes_byte_for_byte(copy: Path) -> None:
    page = copy / "annotations" / "AGREEMENT.md"
    page.unlink()
    assert program.main(["agreement", "--annotations", str(copy / "annotations")]) == 0
    assert page.read_bytes() == (ANNOTATIONS / "AGREEMENT.md").read_bytes()


def test_the_page_has_the_figures_of_the_readings(copy: Path) -> None:
    """Two equal readings agree on all; a span less is a span less."""
    passes = copy / "annotations" / "passes"
    shutil.copyfile(passes / "first.jsonl", passes / "second.jsonl")
    agreement.main(copy / "annotations")
    page = (copy / "annotations" / "AGREEMENT.md").read_text(encoding="utf-8")
    assert "| all | 410 | 410 | 410 | 1.000 | 1.000 |" in page
    removed = change(copy, "passes/second.jsonl", 1, lambda record: record["entities"].pop(0))
    span = json.loads((passes / "first.jsonl").read_text(encoding="utf-8").splitlines()[0])["entities"][0]
    with (passes / "decisions.jsonl").open("a", encoding="utf-8") as stream:
        decision = {"id": removed["id"], "start": span["start"], "end": span["end"], "reason": "In: for a test."}
        stream.write(json.dumps(decision) + "\n")
    agreement.main(copy / "annotations")
    page = (copy / "annotations" / "AGREEMENT.md").read_text(encoding="utf-8")
    assert "| all | 410 | 409 | 409 | 0.999 | " in page
    assert (
        f"| {removed['id']} [{span['start']}, {span['end']}) | " in page and "| first | yes | In: for a test. |" in page
    )


def test_a_difference_without_a_decision_is_an_error(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decisions = copy / "annotations" / "passes" / "decisions.jsonl"
    lines = decisions.read_text(encoding="utf-8").splitlines(keepends=True)
    decisions.write_text("".join(lines[1:]), encoding="utf-8")
    before = (copy / "annotations" / "AGREEMENT.md").read_bytes()
    undecided = json.loads(lines[0])
    where = rf"{undecided['id']}: \w+ \[{undecided['start']}, {undecided['end']}\) is in one reading only"
    with pytest.raises(DataError, match=where):
        agreement.main(copy / "annotations")
    assert program.main(["agreement", "--annotations", str(copy / "annotations")]) == 1
    assert "write down in passes/decisions.jsonl" in capsys.readouterr().err
    assert (copy / "annotations" / "AGREEMENT.md").read_bytes() == before


def test_readings_of_other_reports_are_not_compared(copy: Path) -> None:
    path = copy / "annotations" / "passes" / "second.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    with pytest.raises(DataError, match="do not hold the same documents"):
        agreement.main(copy / "annotations")
