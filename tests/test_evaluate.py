"""Scores and errors of an artifact, on reports that it was not trained on and on no others."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from marsad import artifact
from marsad.errors import ArtifactError, DataError
from marsad.formats import html
from marsad.schema import LABELS, Document, Span
from marsad.words import words_of
from tests import encoders, stub
from train import __main__ as program
from train import evaluate, report
from train.config import DataSection, RunConfig

TEXT = "دخل الجيش السوري حلب أمس.\nسوريا وحلب هنا"
GOLD = (Span(4, 16, "ACTOR"), Span(17, 20, "PLACE"), Span(21, 24, "DATE"), Span(26, 31, "PLACE"), Span(33, 36, "PLACE"))


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(name="run", encoder="none", data=DataSection(train=("none.jsonl",)), runs=str(tmp_path / "runs"))


def trained_on(directory: Path, *texts: str) -> Path:
    """The stub, as if trained on `texts`."""
    stub.build(directory)
    about = artifact.read_manifest(directory)
    artifact.write_manifest(directory, replace(about, trained_on=tuple(map(artifact.text_hash, texts))))
    return directory


# What is written --------------------------------------------------------------------------------


def test_figures_pages_and_picture_are_written(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained_on(tmp_path / "model")
    gold = (*GOLD[:2], Span(26, 31, "ACTOR"), GOLD[4])  # أمس is not in it, and سوريا is an ACTOR
    data = encoders.write_reports(tmp_path / "gold.jsonl", [Document("one", TEXT, gold)])
    figures = evaluate.main(config, [str(data)], model, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(figures)
    )
    assert (figures["micro"]["correct"], figures["micro"]["found"], figures["micro"]["gold"]) == (3, 5, 4)
    assert figures["errors"] == {"spurious": 1, "label": 1} and figures["documents"] == 1
    page = (tmp_path / "out" / "errors.html").read_text(encoding="utf-8")
    assert 'dir="rtl"' in page and "one: 2 errors" in page
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "| micro | 0.600 | 0.750 | 0.667 | 4 |" in said and "| character-exact |" in said
    for name in re.search(r"written: (.+)", said)[1].split(", "):  # type: ignore[index]
        assert (tmp_path / "out" / Path(name).name).is_file()


def test_the_run_s_own_artifact_and_folder_are_the_default(config: RunConfig, tmp_path: Path) -> None:
    trained_on(config.directory / "artifact")
    data = encoders.write_reports(tmp_path / "gold.jsonl", [Document("one", TEXT, GOLD)])
    figures = evaluate.main(config, [str(data)], None)
    assert figures["model"] == str(config.directory / "artifact")
    assert figures["micro"]["f1"] == 1 and figures["errors"] == {}
    assert (config.directory / "evaluation" / "errors.html").is_file()


def test_conll_and_several_files_are_scored_together(config: RunConfig, tmp_path: Path) -> None:
    model = trained_on(tmp_path / "model")
    (tmp_path / "a.conll").write_text("في\tO\nحلب\tB-PLACE\n", encoding="utf-8")
    data = encoders.write_reports(tmp_path / "b.jsonl", [Document("one", TEXT, GOLD)])
    figures = evaluate.main(config, [str(tmp_path / "a.conll"), str(data)], model, tmp_path / "out")
    assert (figures["documents"], figures["micro"]["correct"]) == (2, 6)


def test_labels_are_those_of_the_artifact(config: RunConfig, tmp_path: Path) -> None:
    data = encoders.write_reports(tmp_path / "a.jsonl", [Document("one", "في حلب", (Span(3, 6, "TOWN"),))])
    with pytest.raises(DataError, match="label TOWN is none of ACTOR, PLACE, COUNT, DATE"):
        evaluate.main(config, [str(data)], trained_on(tmp_path / "model"), tmp_path / "out")


# What is left out -------------------------------------------------------------------------------


def test_reports_that_were_trained_on_are_left_out_and_said_so(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained_on(tmp_path / "model", TEXT)
    new = Document("new", "وصل إلى سوريا", (Span(8, 13, "PLACE"),))
    data = encoders.write_reports(tmp_path / "gold.jsonl", [Document("under another id", TEXT, GOLD), new])
    figures = evaluate.main(config, [str(data)], model, tmp_path / "out")
    assert (figures["documents"], figures["micro"]["gold"]) == (1, 1)
    assert "left out: 1 of 2 documents, since the model was trained on them" in capsys.readouterr().out


def test_no_figure_is_given_where_nothing_is_left(config: RunConfig, tmp_path: Path) -> None:
    model = trained_on(tmp_path / "model", TEXT)
    data = encoders.write_reports(tmp_path / "gold.jsonl", [Document("one", TEXT, GOLD)])
    with pytest.raises(DataError, match="no document is left to evaluate on; held-out figures"):
        evaluate.main(config, [str(data)], model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_verb_ends_with_1_where_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained_on(tmp_path / "model", TEXT)
    data = encoders.write_reports(tmp_path / "gold.jsonl", [Document("one", TEXT, GOLD)])
    (tmp_path / "c.yaml").write_text(f"name: r\nencoder: e\ndata: {{train: [x]}}\nruns: {tmp_path}\n", encoding="utf-8")
    verb = ["evaluate", "--config", str(tmp_path / "c.yaml"), "--model", str(model), "--data", str(data)]
    assert program.main(verb) == 1
    assert capsys.readouterr().err.startswith("train: no document is left")
    assert program.main([*verb[:-1], str(tmp_path / "none.jsonl")]) == 1


def test_without_an_artifact_it_says_how_to_get_one(config: RunConfig) -> None:
    with pytest.raises(ArtifactError, match="written by `python -m train export`"):
        evaluate.main(config, ["none.jsonl"], None)


# Kinds of error ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        (GOLD, []),
        (GOLD[1:], ["missed"]),
        ((*GOLD, Span(37, 40, "PLACE")), ["spurious"]),
        ((Span(4, 9, "ACTOR"), *GOLD[1:]), ["boundary"]),
        ((Span(0, 16, "ACTOR"), *GOLD[1:]), ["boundary"]),
        ((Span(4, 16, "PLACE"), *GOLD[1:]), ["label"]),
        ((Span(10, 16, "PLACE"), *GOLD[1:]), ["label"]),  # some of the words, another label
        ((Span(4, 9, "ACTOR"), Span(10, 16, "ACTOR"), *GOLD[1:]), ["boundary", "spurious"]),  # split in two
        ((Span(4, 20, "ACTOR"), *GOLD[2:]), ["boundary", "missed"]),  # two in one
        ((), ["missed"] * 5),
        ((Span(0, 3, "DATE"), *GOLD[1:4]), ["spurious", "missed", "missed"]),
        ((*GOLD[:4], Span(32, 36, "PLACE")), []),  # a proclitic left in is no error of words
    ],
)
def test_kinds_of_error_are_told_apart(found: tuple[Span, ...], kinds: list[str]) -> None:
    assert [kind for kind, _, _ in evaluate.errors(Document("d", TEXT, GOLD), found)] == kinds
    assert set(kinds) <= evaluate.KINDS.keys()


def test_a_wrong_span_is_paired_with_the_gold_span_that_it_shares_most_with() -> None:
    ((kind, gold, found), *rest) = evaluate.errors(Document("d", TEXT, GOLD), [Span(4, 20, "PLACE"), *GOLD[2:]])
    assert (kind, gold, found) == ("label", GOLD[0], Span(4, 20, "PLACE"))
    assert rest == [("missed", GOLD[1], None)]


def test_every_difference_is_counted_once() -> None:
    """Each gold span is right, or in one error; each found span likewise."""
    document = Document("d", TEXT, GOLD)
    random = np.random.default_rng(0)
    words = [word for word in words_of(TEXT) if TEXT[slice(*word)] != "."]
    for _ in range(200):
        edges = sorted(random.choice(len(words) + 1, 4, replace=False))
        pairs = [(edges[0], edges[1]), (edges[2], edges[3])]
        found = {Span(words[a][0], words[b - 1][1], str(random.choice(LABELS))) for a, b in pairs}
        differences = evaluate.errors(document, found)
        golds = [gold for _, gold, _ in differences if gold]
        founds = [span for _, _, span in differences if span]
        assert len(golds) == len(set(golds)) and len(founds) == len(set(founds))
        assert len(GOLD) - len(golds) == len(found) - len(founds)


# The matrix and the page ------------------------------------------------------------------------


def test_the_confusion_matrix_counts_every_word_once() -> None:
    documents = [Document("a", TEXT, GOLD), Document("b", "لا شيء")]
    found = [[Span(4, 9, "ACTOR"), Span(17, 20, "DATE")], [Span(0, 2, "COUNT")]]
    names = ["O", *LABELS]
    matrix = evaluate.confusion_matrix(documents, found, names)
    assert matrix.sum() == sum(len(words_of(document.text)) for document in documents) == 11
    cell = {(g, f): int(matrix[names.index(g), names.index(f)]) for g in names for f in names}
    assert {key: count for key, count in cell.items() if count} == {
        ("O", "O"): 4, ("O", "COUNT"): 1, ("ACTOR", "ACTOR"): 1, ("ACTOR", "O"): 1,
        ("PLACE", "DATE"): 1, ("PLACE", "O"): 2, ("DATE", "O"): 1,
    }  # fmt: skip


def test_the_confusion_picture_draws_rows_without_words(tmp_path: Path) -> None:
    names = ["O", "حدث", "ACTOR"]
    report.confusion(np.array([[5, 0, 1], [0, 0, 0], [1, 0, 7]]), names, tmp_path / "m.png")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_the_error_page_shows_both_sides_of_every_error_and_the_whole_text() -> None:
    found = [Span(4, 9, "ACTOR"), *GOLD[1:], Span(37, 40, "DATE")]
    page = evaluate.error_page([Document("<d>", TEXT, GOLD)], [found])
    assert "&lt;d&gt;: 2 errors" in page
    for kind, meaning in evaluate.KINDS.items():
        assert f"{kind}: {meaning}" in page
    body = page.split('<div class="text">')[1].split("</div>")[0]
    assert unescape(re.sub(r"<[^>]+>", "", body)) == TEXT
    assert 'title="boundary: gold ACTOR, found ACTOR; boundary: gold ACTOR, found ACTOR"' in body
    assert 'title="spurious: gold nothing, found DATE"' in body
    assert "gold ACTOR" in body and "found DATE" in body


def test_each_kind_of_error_has_its_tone() -> None:
    assert len(evaluate.KINDS) == len(html.TONES) == len(set(html.TONES))


def test_the_table_has_a_row_for_each_label_that_was_met() -> None:
    score = evaluate.metrics.score([Document("d", TEXT, GOLD)], [GOLD[:3]])
    rows = [line.split(" | ")[0].strip("| ") for line in evaluate.table(score).splitlines() if line.startswith("|")]
    assert rows == ["label", "---", "micro", "ACTOR", "DATE", "PLACE", "character-exact"]
    assert evaluate.table(score).endswith("over documents: 0.750 to 0.750")
