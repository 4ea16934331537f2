"""The artifact of a fit: what torch, ONNX Runtime and transformers read out of it is the same."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification, pipeline

import marsad
from marsad import artifact, cli
from marsad.artifact import FILES, GRAPHS, MANIFEST
from marsad.errors import ArtifactError, DataError
from marsad.extractor import Extractor
from marsad.proclitics import Proclitics
from marsad.schema import LABELS, Document, tags_of
from tests import encoders
from train import __main__ as program
from train import crossval, dataset, export, fit, metrics
from train.config import CrossvalSection, RunConfig, to_dict

Exported = tuple[RunConfig, Path]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoders.tiny_twin(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def exported(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A fit that has learned, and its artifact."""
    config = encoders.run_config(tmp_path_factory.mktemp("export"), twin, encoders.reports(3), epochs=6)
    fit.main(config)
    return config, export.main(config)


@pytest.fixture
def run(exported: Exported, tmp_path: Path) -> RunConfig:
    """A copy of the run, to be spoilt."""
    config, _ = exported
    shutil.copytree(config.directory, tmp_path / "tiny")
    return replace(config, runs=str(tmp_path))


# From fit to extract ----------------------------------------------------------------------------


def spans(reader: marsad.Extractor, text: str) -> set[tuple[int, int, str]]:
    return {(entity.start, entity.end, entity.label) for entity in reader(text)}


@pytest.mark.parametrize("how", [{}, {"precision": "int8"}, {"device": "torch"}], ids=["fp32", "int8", "torch"])
def test_what_was_fitted_is_what_is_extracted(exported: Exported, how: dict[str, str]) -> None:
    config, directory = exported
    fitted = config.directory / "fit" / "model"
    model = AutoModelForTokenClassification.from_pretrained(fitted, local_files_only=True).eval()
    original = Extractor(
        fit.manifest(config),
        Tokenizer.from_file(str(fitted / "tokenizer.json")),
        fit.ModelBackend(model),
        Proclitics.read(fitted / "proclitics.tsv"),
    )
    extractor = marsad.load(directory, threads=1, **how)  # type: ignore[arg-type]
    new = encoders.reports(6)[3:]
    assert [spans(extractor, report.text) for report in new] == [spans(original, report.text) for report in new]
    assert metrics.score(new, [extractor(report.text) for report in new]).micro.f1 > 0.9


def test_the_artifact_has_the_files_of_its_contract_and_no_other(exported: Exported) -> None:
    _, directory = exported
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert found == {*FILES, MANIFEST}
    assert set(artifact.read_manifest(directory).files) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_changes_afterwards_is_found_out(run: RunConfig, name: str) -> None:
    directory = run.directory / "artifact"
    with (directory / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(ArtifactError, match=f"{name}: SHA-256 is"):
        marsad.load(directory)


def test_the_manifest_says_what_the_run_was(exported: Exported) -> None:
    config, directory = exported
    manifest = artifact.read_manifest(directory)
    documents = dataset.read_documents(config.data.train, LABELS)
    assert (manifest.name, manifest.labels) == ("tiny", LABELS)
    assert (manifest.window, manifest.overlap) == (48, 12)
    assert manifest.encoder["origin"] == config.encoder
    assert manifest.marsad_version == marsad.__version__
    assert manifest.trained_on == tuple(sorted(artifact.text_hash(document.text) for document in documents))


def test_selftest_proves_it(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    _, directory = exported
    assert cli.main(["selftest", "--model", str(directory)]) == 0
    assert "fp32" in capsys.readouterr().out


def test_golden_texts_are_paragraphs_with_what_the_artifact_finds(exported: Exported) -> None:
    _, directory = exported
    rows = [json.loads(line) for line in (directory / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    extractor = marsad.load(directory, threads=1)
    assert len(rows) == 40 and sum(len(row["entities"]) for row in rows) > 100
    for row in rows:
        assert {(e["start"], e["end"], e["label"]) for e in row["entities"]} == spans(extractor, row["text"])


def test_a_second_export_is_the_same_to_the_last_byte(exported: Exported, tmp_path: Path) -> None:
    config, directory = exported
    again = export.main(config, tmp_path / "again")
    for name in (*FILES, MANIFEST):
        assert (again / name).read_bytes() == (directory / name).read_bytes(), name


def test_nothing_of_the_machine_is_in_it(exported: Exported) -> None:
    """The manifest and the card name the encoder and the data as the config does; no other file names a place."""
    config, directory = exported
    for name in set(FILES) - {"README.md"}:
        content = (directory / name).read_bytes()
        assert str(config.directory.parent).encode() not in content, name
        assert config.encoder.encode() not in content, name
        assert b"site-packages" not in content and str(encoders.ROOT).encode() not in content, name


# Parity -----------------------------------------------------------------------------------------


def test_weights_are_those_of_the_fit_in_half_precision(exported: Exported) -> None:
    config, directory = exported
    fitted = load_file(config.directory / "fit" / "model" / "model.safetensors")
    stored = load_file(directory / "model.safetensors")
    assert stored.keys() == fitted.keys()
    assert all(torch.equal(stored[name], fitted[name].half()) for name in fitted)


@pytest.mark.parametrize("precision", GRAPHS)
def test_graphs_store_large_weights_in_half_precision_and_compute_in_full(exported: Exported, precision: str) -> None:
    _, directory = exported
    graph = onnx.load(str(directory / GRAPHS[precision])).graph
    large = [w for w in graph.initializer if np.prod(w.dims) >= 1024]
    full = [w.name for w in large if w.data_type == onnx.TensorProto.FLOAT]
    assert large and full == []
    (logits,) = graph.output
    assert logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_int8_is_int8(exported: Exported) -> None:
    _, directory = exported
    kinds = {node.op_type for node in onnx.load(str(directory / GRAPHS["int8"])).graph.node}
    assert "MatMulInteger" in kinds
    assert "MatMulInteger" not in {node.op_type for node in onnx.load(str(directory / GRAPHS["fp32"])).graph.node}


def test_the_manifest_has_the_parity_that_can_be_measured_again(exported: Exported) -> None:
    _, directory = exported
    parity = artifact.read_manifest(directory).metrics["parity"]
    one, other = (marsad.load(directory, device=device, threads=1) for device in ("cpu", "torch"))
    texts = [report.text for report in encoders.reports(4)]
    assert 0 <= parity["onnx_torch_largest_logit_difference"] < 1e-4
    assert export.compare_logits(one, other, texts) < 1e-4
    assert parity["int8_fp32_span_agreement"] == 1


def test_a_graph_that_differs_from_torch_is_never_an_artifact(run: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    write = export.export_onnx

    def spoilt(model: torch.nn.Module, path: Path) -> None:
        bias = model.classifier.bias
        assert isinstance(bias, torch.Tensor)
        with torch.no_grad():
            bias[0] += 0.002
            write(model, path)
            bias[0] -= 0.002

    monkeypatch.setattr(export, "export_onnx", spoilt)
    before = (run.directory / "artifact" / MANIFEST).read_bytes()
    with pytest.raises(
        ArtifactError, match=r"ONNX logits differ from torch's by 0\.002, more than 0\.001: not exported"
    ):
        export.main(run)
    assert (run.directory / "artifact" / MANIFEST).read_bytes() == before
    with pytest.raises(ArtifactError, match="not exported"):
        export.main(run, run.directory / "new")
    assert sorted(path.name for path in run.directory.iterdir()) == ["artifact", "fit"], "nothing half-made is left"


def test_span_agreement_is_over_the_spans_of_either(exported: Exported) -> None:
    _, directory = exported
    reader = marsad.load(directory, threads=1)
    text = encoders.reports(1)[0].text
    assert export.compare_spans(reader, reader, [text]) == 1
    assert export.compare_spans(reader, reader, ["لا شيء هنا"]) == 1
    half = _Half(reader)
    assert export.compare_spans(reader, half, [text]) == 0.5  # type: ignore[arg-type]


class _Half:
    """A reader that finds every second entity."""

    def __init__(self, reader: marsad.Extractor) -> None:
        self.reader = reader

    def batch(self, texts: list[str]) -> list[list[marsad.Entity]]:
        return [entities[::2] for entities in self.reader.batch(texts)]


def test_transformers_reads_the_same_labels_before_constraints(exported: Exported) -> None:
    _, directory = exported
    tagger = pipeline(
        "token-classification", str(directory), dtype=torch.float32, aggregation_strategy="none", ignore_labels=[]
    )
    extractor = marsad.load(directory, threads=1)
    for report in encoders.reports(4):
        for sentence in report.text.splitlines():
            encoding, logits = extractor.first_piece_logits(sentence)
            ours = [tags_of(LABELS)[column] for column in logits.argmax(axis=1)]
            pieces = tagger(sentence)
            assert [pieces[piece]["entity"] for piece in encoding.first] == ours
            assert [pieces[piece]["start"] for piece in encoding.first] == encoding.starts.tolist()


# The card ---------------------------------------------------------------------------------------


def test_the_card_names_encoder_data_and_counts(exported: Exported) -> None:
    config, directory = exported
    card = (directory / "README.md").read_text(encoding="utf-8")
    assert f"- `{config.data.train[0]}` (your own data)" in card
    assert f"Encoder: `{Path(config.encoder).name}`" in card
    assert "Trained last on 3 reports, " in card and "48 ACTOR, 48 PLACE, 48 COUNT, 48 DATE" in card
    assert "this run was not cross-validated, so no figure is stated" in card
    assert "windows of 48 word pieces that share about 12" in card


def test_the_card_names_every_source_with_its_licence(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    config, directory = exported
    monkeypatch.chdir(encoders.ROOT)
    files = ("annotations/gold.jsonl", "annotations/authored.jsonl", "mine.jsonl", "sets/aqmar/dev.conll")
    card = export.card.render(config, artifact.read_manifest(directory), [], files)
    assert "`annotations/gold.jsonl` (annotations CC BY 4.0; texts of their publishers" in card
    assert "`annotations/authored.jsonl` (texts and annotations by the project, CC BY 4.0)" in card
    assert "`mine.jsonl` (your own data)" in card and "`sets/aqmar/dev.conll` (AQMAR, CC BY-SA 3.0)" in card


def held_out(config: RunConfig) -> dict[str, Any]:
    """What `train crossval` writes of a config."""
    entry = {"mean": 0.75, "sd": 0.0}
    part = {
        "micro": entry, "labels": dict.fromkeys(LABELS, entry), "character-exact": entry,
        "interval_95": [0.5, 1.0], "documents": [],
    }  # fmt: skip
    about = {"encoder": config.encoder, "documents": 3, "folds": 3, "seeds": [1]}
    return {"config": to_dict(config), **about, "model": part, "baseline": part}


def test_held_out_figures_are_in_card_and_manifest_where_the_run_has_them(run: RunConfig) -> None:
    figures = held_out(replace(run, crossval=CrossvalSection(seeds=(7,)), name="other"))
    path = run.directory / "crossval" / "metrics.json"
    path.parent.mkdir()
    path.write_text(json.dumps(figures), encoding="utf-8")
    directory = export.main(run)
    assert crossval.render(figures) in (directory / "README.md").read_text(encoding="utf-8")
    assert artifact.read_manifest(directory).metrics["crossval"]["model"]["micro"]["mean"] == 0.75


def test_held_out_figures_of_another_config_are_left_out(run: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    path = run.directory / "crossval" / "metrics.json"
    path.parent.mkdir()
    path.write_text(json.dumps(held_out(replace(run, encoder="x/y"))), encoding="utf-8")
    directory = export.main(run)
    assert "has the held-out figures of another encoder" in capsys.readouterr().out
    assert "no figure is stated" in (directory / "README.md").read_text(encoding="utf-8")
    assert "crossval" not in artifact.read_manifest(directory).metrics


# What is refused --------------------------------------------------------------------------------


def test_without_a_finished_fit_there_is_nothing_to_export(run: RunConfig) -> None:
    (run.directory / "fit" / fit.DONE).unlink()
    with pytest.raises(ArtifactError, match="holds no finished fit; run `python -m train fit`"):
        export.main(run)


def test_a_fit_of_another_config_is_not_exported_under_this_one(run: RunConfig, tmp_path: Path) -> None:
    other = encoders.write_reports(tmp_path / "other.jsonl", encoders.reports(1))
    changed = replace(
        run, data=replace(run.data, train=(str(other),)), window=replace(run.window, size=60), encoder="x/y"
    )
    with pytest.raises(ArtifactError, match=r"the fit had another encoder, data, window; run `python -m train fit`"):
        export.main(changed)


def test_a_directory_that_is_no_artifact_is_not_replaced(run: RunConfig, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years", encoding="utf-8")
    for refuse in (lambda: export.main(run, mine), lambda: export.release(run.directory / "artifact", mine)):
        with pytest.raises(DataError, match="exists and is no artifact; name another directory"):
            refuse()
    assert (mine / "thesis.txt").read_text(encoding="utf-8") == "years"


# Release ----------------------------------------------------------------------------------------


def test_a_release_takes_the_place_of_the_one_before(run: RunConfig, tmp_path: Path) -> None:
    source, out = run.directory / "artifact", tmp_path / "models" / "ner"
    assert program.main(["release", str(source), "--out", str(out)]) == 0
    (out / "left-over").touch()
    assert program.main(["release", str(source), "--out", str(out)]) == 0
    assert artifact.read_manifest(out).name == "tiny" and not (out / "left-over").exists()
    assert source.is_dir()


def test_a_release_of_itself_or_of_something_spoilt_changes_nothing(run: RunConfig, tmp_path: Path) -> None:
    source = run.directory / "artifact"
    with pytest.raises(DataError, match="is the artifact to release itself"):
        export.release(source, source)
    artifact.read_manifest(source)
    spoilt = Path(shutil.copytree(source, tmp_path / "spoilt"))
    (spoilt / "proclitics.tsv").write_text("", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"proclitics\.tsv: SHA-256"):
        export.release(spoilt, source)
    assert artifact.read_manifest(source).name == "tiny"


def test_a_reader_that_finds_nothing_is_exported_all_the_same(
    twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is selftest that says that such golden texts prove nothing."""
    documents = [Document("a", "لا شيء هنا\nولا هناك\nولا أبدا"), Document("b", "لا شيء\nأبدا")]
    config = encoders.run_config(tmp_path, twin, documents, epochs=6)
    with pytest.MonkeyPatch.context() as patch:  # no mention to find: every epoch scores 0, so the first would be kept
        patch.setattr(fit.metrics, "score", lambda *_: _Rising())
        fit.main(config)
    directory = export.main(config)
    assert marsad.load(directory, threads=1)("لا شيء هنا") == []
    assert cli.main(["selftest", "--model", str(directory)]) == 2
    assert "holds no spans, so it proves nothing" in capsys.readouterr().err


class _Rising:
    """A score whose micro F1 is better each time."""

    times = 0

    @property
    def micro(self) -> "_Rising":
        _Rising.times += 1
        return self

    @property
    def f1(self) -> float:
        return _Rising.times / 100
