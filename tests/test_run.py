"""The whole job by one command, on a tiny twin: held-out figures, a model, an artifact, a page to look at."""

import io
import json
import re
from contextlib import redirect_stdout
from html import unescape
from pathlib import Path

import pytest

import marsad
from marsad.errors import ArtifactError, DataError
from tests import encoders
from train import __main__ as program
from train import crossval, export, fit, run
from train.config import RunConfig, load

ARTICLE = encoders.ARTICLES / "003_f41181c3be588978.txt"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of a user's own in a directory of the user's own, with paths from there."""
    directory = tmp_path_factory.mktemp("run")
    encoders.tiny_twin(directory / "encoder")
    encoders.write_reports(directory / "mine.jsonl", encoders.reports(3))
    (directory / "table.tsv").write_bytes(encoders.PROCLITICS.read_bytes())
    (directory / "mine.yaml").write_text(
        "name: mine\nencoder: encoder\nproclitics: table.tsv\ndata: {train: [mine.jsonl], dev_share: 0.3}\n"
        "window: {size: 48, overlap: 12}\ntraining: {epochs: 5, batch_size: 2, learning_rate: 1e-2}\n"
        "crossval: {seeds: [1]}\n",
        encoding="utf-8",
    )
    return directory


@pytest.fixture(scope="module")
def done(place: Path) -> str:
    """What `python -m train run` prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.chdir(place)
        assert program.main(["run", "--config", "mine.yaml", "--article", str(ARTICLE)]) == 0
    return printed.getvalue()


def test_the_run_goes_through_its_five_steps_in_order(done: str) -> None:
    steps = re.findall(r"^([1-5])/5  (\w+):", done, re.M)
    assert steps == [("1", "crossval"), ("2", "fit"), ("3", "export"), ("4", "selftest"), ("5", "extract")]
    assert "Strict span F1 on 3 reports" in done and "fp32" in done


def test_every_place_that_it_prints_is_there(done: str, place: Path) -> None:
    listed = re.findall(r"^  ([\w -]+): +(\S+)$", done.split("\nwritten:\n")[1], re.M)
    assert len(listed) == 10
    assert [path for _, path in listed if not (place / path).exists()] == []
    assert [path for path in re.findall(r"^written: (\S+)$", done, re.M) if not (place / path).exists()] == []


def test_the_page_holds_the_article_highlighted_from_right_to_left(done: str, place: Path) -> None:
    page = (place / "runs" / "mine" / "article.html").read_text(encoding="utf-8")
    assert '<html lang="ar" dir="rtl">' in page and "<mark" in page
    body = page.split('<div class="text">')[1].split("</div>")[0]
    assert unescape(re.sub(r"<[^>]+>", "", body)) == ARTICLE.read_text(encoding="utf-8")


def test_the_table_has_the_entities_of_the_artifact(done: str, place: Path) -> None:
    text = ARTICLE.read_text(encoding="utf-8")
    entities = marsad.load(place / "runs" / "mine" / "artifact", threads=1)(text)
    assert entities
    for entity in entities:
        assert f"{entity.start}-{entity.end}" in done


def test_the_figures_of_card_manifest_and_terminal_are_one(done: str, place: Path) -> None:
    run_directory = place / "runs" / "mine"
    table = (run_directory / "crossval" / "table.md").read_text(encoding="utf-8").strip()
    assert table in done and table in (run_directory / "artifact" / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((run_directory / "artifact" / "manifest.json").read_text(encoding="utf-8"))
    stored = json.loads((run_directory / "crossval" / "metrics.json").read_text(encoding="utf-8"))
    assert manifest["metrics"]["crossval"]["model"] == stored["model"]


def test_what_was_left_behind_says_nothing_of_the_machine(done: str, place: Path) -> None:
    """Paths of the config were relative, so those in the artifact are."""
    for path in (place / "runs" / "mine" / "artifact").rglob("*"):
        assert not path.is_file() or str(place).encode() not in path.read_bytes(), path.name


# What goes wrong --------------------------------------------------------------------------------


def test_a_selftest_that_fails_fails_the_run(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = load(place / "mine.yaml", RunConfig, [f"runs={tmp_path}"])
    for module in (crossval, fit):
        monkeypatch.setattr(module, "main", lambda *_: None)
    monkeypatch.setattr(export, "main", lambda _: tmp_path / "artifact")
    monkeypatch.setattr(run.cli, "main", lambda _: 1)
    with pytest.raises(ArtifactError, match="selftest failed, see above"):
        run.main(config, ARTICLE)
    assert not (tmp_path / "mine" / "article.html").exists()


def test_an_article_that_is_not_utf_8_is_told(done: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("حلب".encode("windows-1256"))
    with pytest.raises(DataError, match=r"old\.txt:1: not UTF-8"):
        run.read(place / "runs" / "mine" / "artifact", tmp_path / "old.txt", tmp_path / "page.html")


def test_an_interrupted_run_says_how_to_go_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "main", interrupt)
    assert program.main(["run", "--config", str(place / "mine.yaml")]) == 130
    assert capsys.readouterr().err == "train: interrupted; the same command goes on from the last checkpoint\n"


def test_debug_shows_the_traceback(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = ["fit", "--config", str(place / "none.yaml")]
    assert program.main(missing) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert program.main(["--debug", *missing]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        program.main(["--help"])
    said = capsys.readouterr().out
    for verb in ("run", "fit", "crossval", "export", "evaluate", "pretrain", "check", "agreement", "release"):
        assert re.search(rf"^ +{verb}\b", said, re.M), verb
