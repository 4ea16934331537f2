"""An encoder on a public set: tokens tagged as the set tags them, and the figures of a tiny run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from marsad.errors import DataError
from marsad.schema import Span
from tests import encoders
from train import benchmark
from train.__main__ import main
from train.config import CrossvalSection, DataSection, RunConfig

SENTENCES = 40


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Forty sentences in which each of two names has a label of its own."""
    directory = tmp_path_factory.mktemp("benchmark")
    sentences = []
    for number in range(SENTENCES):
        person, town = ("أحمد علي", "حلب") if number % 2 else ("خالد عمر", "دمشق")
        first, last = person.split()
        sentences.append(f"زار\tO\n{first}\tB-PERS\n{last}\tI-PERS\n{town}\tB-LOC\nأمس\tO\n.\tO")
    (directory / "train.conll").write_text("\n\n".join(sentences) + "\n\n", encoding="utf-8")
    (directory / "test.conll").write_text("\n\n".join(sentences[:6]) + "\n\n", encoding="utf-8")
    tiny = encoders.run_config(directory, encoders.tiny_twin(directory / "encoder"), (), epochs=5)
    data = DataSection(train=(str(directory / "train.conll"),), labels=("PERS", "LOC"))
    return replace(tiny, data=data, crossval=CrossvalSection(seeds=(1, 2)))


def test_tokens_have_the_tags_of_the_spans_that_touch_them() -> None:
    text = "قال (محمد) علي لحلب ."
    assert benchmark.token_tags(text, [Span(5, 9, "PERS"), Span(16, 19, "LOC")]) == ["O", "B-PERS", "O", "B-LOC", "O"]
    assert benchmark.token_tags(text, [Span(5, 14, "PERS")]) == ["O", "B-PERS", "I-PERS", "O", "O"]


def test_a_second_span_in_one_token_begins_at_its_own_token() -> None:
    text = "دمشق-بيروت القديمة أمس"
    assert benchmark.token_tags(text, [Span(5, 18, "LOC"), Span(0, 4, "LOC")]) == ["B-LOC", "B-LOC", "O"]
    assert benchmark.token_tags(text, [Span(5, 10, "ORG"), Span(0, 4, "LOC")]) == ["B-LOC", "O", "O"]


def test_a_trained_encoder_is_scored_once_a_seed(config: RunConfig, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- benchmark:begin -->\n<!-- benchmark:end -->\n", encoding="utf-8")
    figures = benchmark.main(config, Path(config.data.train[0]).with_name("test.conll"), readme=page)
    assert [score["seed"] for score in figures["seeds"]] == [1, 2]
    assert all(score[mode]["micro avg"] > 0.9 for score in figures["seeds"] for mode in ("default", "strict"))
    assert {"micro avg", "LOC", "PERS"} == figures["seeds"][0]["default"].keys()
    assert json.loads((config.directory / "benchmark.json").read_text(encoding="utf-8")) == figures
    assert benchmark.table(figures["seeds"]) in page.read_text(encoding="utf-8")
    assert not list((config.directory / "benchmark").iterdir())


def test_without_a_test_split_the_last_tenth_is_held_out(config: RunConfig) -> None:
    documents, sentences, gold = benchmark._read(config, None)
    assert len(documents) == SENTENCES - 4 and len(sentences) == len(gold) == 4
    assert {document.id for document in documents}.isdisjoint(sentence.id for sentence in sentences)


def test_the_untrained_twin_has_the_architecture_alone(config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    figures = benchmark.main(replace(config, crossval=CrossvalSection(seeds=(1,))), untrained=True)
    assert figures["untrained"] and (config.directory / "untrained.json").is_file()
    assert "micro avg" in capsys.readouterr().out


def test_a_token_with_a_space_is_an_error(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "test.conll"
    path.write_text("بو ظبي\tB-LOC\n\n", encoding="utf-8")
    with pytest.raises(DataError, match="one token a line"):
        benchmark.main(config, path)


def test_the_command_takes_no_test_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--config", "configs/anercorp.yaml", "--set", "data.train=[absent.conll]"]) == 1
    assert "absent.conll" in capsys.readouterr().err
