"""The road of AraBERT's files, from a directory in its layout to extracted entities, without the model hub."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import marsad
from marsad import artifact
from tests import encoders
from train import __main__ as program
from train import encoder, export, fit
from train.config import RunConfig, TrainingSection, WindowSection, load

BASE = {"layers": 12, "hidden": 768, "heads": 12, "intermediate": 3072, "vocabulary": 64_000}


def test_what_is_built_has_the_architecture_of_arabert_base(tmp_path: Path) -> None:
    """All that its config.json says but the size, which the slow test has."""
    directory = encoders.tiny_twin(tmp_path)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    published = {
        "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512, "model_type": "bert", "pad_token_id": 0, "type_vocab_size": 2,
    }  # fmt: skip
    assert {key: config[key] for key in published} == published


def test_the_recipe_runs_on_a_directory_in_arabert_s_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`configs/arabert-base.yaml` as it is shipped, but for the encoder's directory, the reports and the epochs."""
    twin = encoders.tiny_twin(tmp_path / "arabert")
    reports = encoders.write_reports(tmp_path / "reports.jsonl", encoders.reports(2))
    monkeypatch.chdir(encoders.ROOT)
    command = ["--config", "configs/arabert-base.yaml"]
    for override in (f"encoder={twin}", f"data.train=[{reports}]", f"runs={tmp_path}", "training.epochs=2"):
        command += ["--set", override]
    assert program.main(["fit", *command]) == 0
    assert program.main(["export", *command]) == 0
    directory = tmp_path / "arabert-base" / "artifact"
    assert f"written: {directory}" in capsys.readouterr().out
    manifest = artifact.read_manifest(directory)
    assert (manifest.name, manifest.window, manifest.encoder["origin"]) == ("arabert-base", 254, str(twin))
    assert isinstance(marsad.load(directory, threads=1)("قصف الجيش حلب"), list)


def test_arabert_s_text_handling_is_in_the_artifact(tmp_path: Path) -> None:
    """However a word is written, the model reads the same pieces, and the offsets are those of the raw text."""
    documents = encoders.reports(3)
    config = encoders.run_config(tmp_path, encoders.tiny_twin(tmp_path / "arabert"), documents, epochs=6)
    fit.main(config)
    extractor = marsad.load(export.main(config), threads=1)
    plain = "أعلن حزب الله مقتل 44 قتيلا في إدلب أمس."
    written = "أعلنَ حِزبُ اللّٰه مـقـتل ٤٤قتيلاً في\u200f إدلـــب أمس."
    expected = [("حزب الله", "ACTOR"), ("44 قتيلا", "COUNT"), ("إدلب", "PLACE"), ("أمس", "DATE")]
    assert [(e.text, e.label) for e in extractor(plain)] == expected
    found = extractor(written)
    assert [(e.text, e.label) for e in found] == [
        ("حِزبُ اللّٰه", "ACTOR"), ("٤٤قتيلاً", "COUNT"), ("إدلـــب", "PLACE"), ("أمس", "DATE")
    ]  # fmt: skip
    assert all(written[e.start : e.end] == e.text for e in found)


@pytest.mark.parametrize("name", ["arabert-base", "arabert-large"])
def test_the_windows_of_the_recipes_fit_arabert_s_positions(name: str, tmp_path: Path) -> None:
    config = load(encoders.ROOT / "configs" / f"{name}.yaml", RunConfig)
    assert config.encoder == f"aubmindlab/bert-{name.removeprefix('arabert-')}-arabertv02"
    model = encoder.load_model(encoders.tiny_twin(tmp_path), config.data.labels, 0.1, config.window.size)
    assert model.config.max_position_embeddings >= config.window.size + 2


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunConfig]:
    """AraBERT base in size and layout with random weights, fitted for a few steps on one short report."""
    directory = tmp_path_factory.mktemp("arabert")
    base = encoders.arabert_like(directory / "bert-base-arabertv02", **BASE)
    config = encoders.run_config(directory, base, encoders.reports(1, sentences=4))
    config = replace(
        config,
        window=WindowSection(size=254, overlap=64),
        training=TrainingSection(epochs=1, batch_size=8, learning_rate=5e-5),
    )
    fit.main(config)
    yield config
    shutil.rmtree(directory)  # some gigabytes, which pytest would keep for three runs


@pytest.mark.slow
def test_arabert_base_in_full_size_goes_from_fit_to_entities(full_size: RunConfig) -> None:
    directory = export.main(full_size)
    weights = (directory / "model.safetensors").stat().st_size
    assert 260e6 < weights < 280e6, "135 million parameters in half precision"
    one, other = (marsad.load(directory, device=device, threads=1, verify=False) for device in ("cpu", "torch"))
    text = encoders.reports(2)[1].text
    (_, first), (_, second) = one.first_piece_logits(text), other.first_piece_logits(text)
    assert first.shape == second.shape and first.shape[1] == 9
    assert np.abs(first - second).max() < 1e-3
    parity = artifact.read_manifest(directory).metrics["parity"]
    assert parity["onnx_torch_largest_logit_difference"] < 1e-3
    assert all(text[e.start : e.end] == e.text for e in one(text))


@pytest.mark.slow
def test_arabert_base_has_its_size_and_positions(full_size: RunConfig) -> None:
    model = encoder.load_model(Path(full_size.encoder), full_size.data.labels, 0.1, window=510)
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(135e6, rel=0.01)
    assert model.config.num_hidden_layers == 12 and model.config.vocab_size == 64_000
