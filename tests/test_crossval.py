"""Held-out figures: every report read by models that never saw it, once per seed, and held against seqeval."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marsad.errors import ConfigError
from marsad.schema import LABELS, Document, Entity, Span
from tests import encoders
from train import crossval, fit, metrics
from train.config import CrossvalSection, RunConfig

README = "# marsad\n\n<!-- tiny:begin -->\nold\n<!-- tiny:end -->\n\nEnd.\n"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoders.tiny_twin(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def done(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, dict[str, Any], Path]:
    """A cross-validation of three reports with two seeds, its figures, and the page that it wrote into."""
    directory = tmp_path_factory.mktemp("crossval")
    config = encoders.run_config(directory, twin, encoders.reports(3, sentences=24), epochs=5)
    config = replace(config, crossval=CrossvalSection(seeds=(1, 2)))
    page = directory / "README.md"
    page.write_text(README, encoding="utf-8")
    return config, crossval.main(config, page), page


# A real one -------------------------------------------------------------------------------------


def test_it_writes_its_figures_and_its_table(done: tuple[RunConfig, dict[str, Any], Path]) -> None:
    config, figures, _ = done
    directory = config.directory / "crossval"
    assert json.loads((directory / "metrics.json").read_text(encoding="utf-8")) == json.loads(json.dumps(figures))
    assert (directory / "table.md").read_text(encoding="utf-8") == crossval.render(figures) + "\n"
    assert sorted(path.name for path in directory.iterdir()) == ["metrics.json", "table.md"]


def test_the_models_learn_what_the_others_have_in_common(done: tuple[RunConfig, dict[str, Any], Path]) -> None:
    _, figures, _ = done
    assert figures["seeds"] == [1, 2] and figures["documents"] == figures["folds"] == 3
    assert figures["model"]["micro"]["mean"] > 0.9
    assert set(figures["model"]["labels"]) == set(LABELS)
    low, high = figures["model"]["interval_95"]
    assert low <= figures["model"]["micro"]["mean"] <= high
    assert len(figures["model"]["documents"]) == 2 and len(figures["baseline"]["documents"]) == 1
    assert figures["baseline"]["micro"]["mean"] == 1  # every mention is in the others, word for word


def test_the_table_stands_between_the_marks_of_the_readme(done: tuple[RunConfig, dict[str, Any], Path]) -> None:
    config, figures, page = done
    text = page.read_text(encoding="utf-8")
    assert text == README.replace("\nold\n", f"\n\n{crossval.render(figures)}\n\n")
    assert config.encoder in text and "| micro | " in text and "±" in text


# How it goes on ---------------------------------------------------------------------------------


def _first_word(text: str) -> list[Entity]:
    end = text.find(" ")
    return [Entity(0, end, "ACTOR", text[:end], 1.0)]


class Fits:
    """Stands for `fit.fit`: a reader that finds the first word of a text, made in no time."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        break_at: int | None = None,
        read: Callable[[str], list[Entity]] = _first_word,
    ) -> None:
        self.trained: list[tuple[tuple[str, ...], int]] = []
        self.break_at, self.read = break_at, read
        monkeypatch.setattr(fit, "fit", self)

    def __call__(
        self, config: RunConfig, documents: Sequence[Document], dev: Any, directory: Path, seed: int, quiet: bool
    ) -> Any:
        if len(self.trained) == self.break_at:
            raise KeyboardInterrupt
        assert quiet and not dev and not directory.exists()
        directory.mkdir()
        self.trained.append((tuple(document.id for document in documents), seed))
        return fit.Reader(None, None, self.read, 1.0, 1.0)  # type: ignore[arg-type]


@pytest.fixture
def config(twin: Path, tmp_path: Path) -> RunConfig:
    texts = ("حلب تقصف", "روسيا تدعم", "تركيا تنفي")
    documents = [Document(f"d{i}", text, (Span(0, text.find(" "), "ACTOR"),)) for i, text in enumerate(texts)]
    return encoders.run_config(tmp_path, twin, documents)


def test_each_report_is_read_by_models_of_the_others_alone(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits(monkeypatch)
    figures = crossval.main(replace(config, crossval=CrossvalSection(seeds=(1, 5))))
    assert fits.trained == [(others, seed) for seed in (1, 5) for others in (("d1", "d2"), ("d0", "d2"), ("d0", "d1"))]
    assert figures["model"]["micro"] == {"mean": 1.0, "sd": 0.0}


def test_a_killed_run_goes_on_with_the_next_fold(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    Fits(monkeypatch, break_at=2)
    with pytest.raises(KeyboardInterrupt):
        crossval.main(config)
    stale = config.directory / "crossval" / "folds" / "seed1-2"
    (stale / "checkpoint-9").mkdir(parents=True)  # a killed fold has no optimizer to go on with: it starts afresh
    rest = Fits(monkeypatch)
    figures = crossval.main(config)
    assert rest.trained == [(("d0", "d1"), 1)]
    assert figures["model"]["micro"]["mean"] == 1


def test_folds_of_another_config_are_read_anew(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    Fits(monkeypatch, break_at=2)
    with pytest.raises(KeyboardInterrupt):
        crossval.main(config)
    rest = Fits(monkeypatch)
    crossval.main(replace(config, training=replace(config.training, epochs=9)))
    assert len(rest.trained) == 3


def test_a_page_without_marks_costs_no_fold(config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Fits(monkeypatch)
    page = tmp_path / "README.md"
    page.write_text("nothing here", encoding="utf-8")
    with pytest.raises(ConfigError, match="needs the lines <!-- tiny:begin -->"):
        crossval.main(config, page)
    page.write_text(README, encoding="utf-8")
    rest = Fits(monkeypatch)
    crossval.main(config, page)
    assert rest.trained == [] and "| micro | 1.000 |" in page.read_text(encoding="utf-8")


def test_extra_reports_are_trained_on_and_never_scored(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extra = encoders.write_reports(tmp_path / "extra.jsonl", [Document("more", "قصف حلب", (Span(4, 7, "PLACE"),))])
    fits = Fits(monkeypatch)
    figures = crossval.main(replace(config, data=replace(config.data, extra=(str(extra),))))
    assert [ids for ids, _ in fits.trained] == [("d1", "d2", "more"), ("d0", "d2", "more"), ("d0", "d1", "more")]
    assert figures["documents"] == 3 and figures["model"]["labels"]["PLACE"]["mean"] == 0


def test_fewer_than_two_folds_are_refused(config: RunConfig, tmp_path: Path) -> None:
    encoders.write_reports(Path(config.data.train[0]), encoders.reports(1))
    with pytest.raises(ConfigError, match="at least two folds, the 1 documents make 1"):
        crossval.main(config)


def test_outlets_are_held_out_together() -> None:
    outlets = ["a", "b", "a", None, "c", "a", "b"]
    documents = [Document(f"d{i}", "", (), {"outlet": outlet}) for i, outlet in enumerate(outlets)]
    folds = crossval.assign(documents, 3)
    assert sorted(index for fold in folds for index in fold) == list(range(7))
    assert [0, 2, 5] in folds, "the largest outlet fills a fold"
    assert any({1, 6} <= set(fold) for fold in folds)
    assert crossval.assign(documents, None) == [[i] for i in range(7)]
    assert len(crossval.assign(documents, 20)) == 4


# What it asserts --------------------------------------------------------------------------------


def test_figures_that_seqeval_does_not_share_stop_it() -> None:
    documents = encoders.reports(2)
    found = [[*document.entities[1:], Span(0, 4, "ACTOR")] for document in documents]
    ours = metrics.score(documents, found).micro.f1
    crossval.check_against_seqeval(documents, found, ours)
    with pytest.raises(AssertionError, match=r"strict F1 is 0\.5\d+ here and 0\.9\d+ in seqeval"):
        crossval.check_against_seqeval(documents, found, ours - 0.4)


def test_seqeval_is_asked_for_every_seed_and_the_baseline(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    Fits(monkeypatch)
    asked: list[float] = []
    monkeypatch.setattr(crossval, "check_against_seqeval", lambda _, __, ours: asked.append(ours))
    crossval.main(replace(config, crossval=CrossvalSection(seeds=(1, 2))))
    assert asked == [1.0, 1.0, 0.0]  # two seeds; nothing that the baseline has seen is in another report


def test_reports_without_a_mention_are_no_error(twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fits(monkeypatch, read=lambda text: [])
    config = encoders.run_config(tmp_path, twin, [Document("a", "لا شيء"), Document("b", "هنا أيضا")])
    assert crossval.main(config)["model"]["micro"] == {"mean": 0.0, "sd": 0.0}


def test_the_table_of_one_seed_has_no_deviation_and_that_of_three_has() -> None:
    def figures(seeds: list[int]) -> dict[str, Any]:
        entry = {"mean": 0.5, "sd": 0.25}
        part = {"micro": entry, "labels": {"ACTOR": entry}, "character-exact": entry, "interval_95": (0.4, 0.6)}
        return {"encoder": "E", "documents": 5, "folds": 5, "seeds": seeds, "model": part, "baseline": {**part}}

    assert "| ACTOR | 0.500 | 0.500 |" in crossval.render(figures([1]))
    table = crossval.render(figures([1, 2, 3]))
    assert "| ACTOR | 0.500 ± 0.250 | 0.500 |" in table
    assert "5 reports" in table and "`E`" in table and "3 seeds" in table and "0.400 to 0.600" in table
