"""Fine-tuning on a tiny twin of AraBERT: it learns, it is repeatable, and it goes on where it was killed."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from marsad.artifact import text_hash
from marsad.errors import ConfigError, DataError
from marsad.schema import LABELS, Document, Span, tags_of
from tests import encoders
from train import __main__ as program
from train import dataset, fit, metrics, proclitics
from train.config import PartialSource, RunConfig, to_dict

EPOCHS = 3


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoders.tiny_twin(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def finished(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The config of an uninterrupted fit."""
    config = encoders.run_config(tmp_path_factory.mktemp("fit"), twin, encoders.reports(2), epochs=EPOCHS)
    fit.main(config)
    return config


def beside(config: RunConfig, directory: Path) -> RunConfig:
    """The same fit in another place."""
    return replace(config, runs=str(directory))


def weights(config: RunConfig) -> dict[str, torch.Tensor]:
    return load_file(config.directory / "fit" / "model" / "model.safetensors")


def summary(config: RunConfig) -> dict[str, Any]:
    return summary_of(config.directory / "fit")


def summary_of(directory: Path) -> dict[str, Any]:
    return json.loads((directory / fit.DONE).read_text(encoding="utf-8"))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def figures(config: RunConfig) -> list[tuple[float, ...]]:
    """What was measured after each epoch, without the times."""
    keys = ("epoch", "loss", "eval_loss", "eval_f1", "learning_rate")
    return [tuple(entry.get(key, -1) for key in keys) for entry in summary(config)["history"][:-1]]


# Learning ---------------------------------------------------------------------------------------


def test_it_overfits_what_is_trivial_to_learn(twin: Path, tmp_path: Path) -> None:
    """New sentences of mentions that were seen: told apart by their words, at any place of the text."""
    *train, held_out = encoders.reports(4)
    config = encoders.run_config(tmp_path, twin, train, epochs=8)
    reader = fit.fit(config, train, (), tmp_path / "fit", seed=1, quiet=True)
    assert reader.dev_f1 > 0.9
    assert metrics.score([held_out], [reader.extractor(held_out.text)]).micro.f1 > 0.9
    untrained = replace(config, training=replace(config.training, epochs=1, learning_rate=1e-9))
    start = fit.fit(untrained, train, (), tmp_path / "start", seed=1, quiet=True)
    assert metrics.score([held_out], [start.extractor(held_out.text)]).micro.f1 < 0.2


def test_the_epoch_is_the_one_that_was_best_on_the_development_part(finished: RunConfig) -> None:
    said = summary(finished)
    scores = {entry["epoch"]: entry["eval_f1"] for entry in said["history"] if "eval_f1" in entry}
    assert list(scores) == [1, 2, 3]
    assert said["dev_f1"] == max(scores.values()) == scores[said["best_epoch"]]


def test_the_reader_holds_the_best_epoch_not_the_last(twin: Path, tmp_path: Path) -> None:
    """A rate that blows up after some epochs leaves the last one useless."""
    documents = encoders.reports(2)
    config = encoders.run_config(tmp_path, twin, documents, epochs=EPOCHS)
    falling = iter([0.2, 0.7, 0.1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit.metrics, "score", lambda *_: _Scored(next(falling)))
        reader = fit.fit(config, documents, (), tmp_path / "fit", seed=1)
    assert (reader.best_epoch, reader.dev_f1) == (2, 0.7)
    # the best checkpoint and the last are kept
    second, third = sorted((tmp_path / "fit").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    stored = load_file(tmp_path / "fit" / "model" / "model.safetensors")
    assert same(stored, load_file(second / "model.safetensors"))
    assert not same(stored, load_file(third / "model.safetensors"))


class _Scored:
    """A score whose micro F1 is given."""

    def __init__(self, f1: float) -> None:
        self.micro = self
        self.f1 = f1


def test_the_figure_of_an_epoch_is_that_of_the_extractor(twin: Path, tmp_path: Path) -> None:
    documents = encoders.reports(3)
    config = encoders.run_config(tmp_path, twin, documents, epochs=2)
    dev = [Document("dev", documents[2].text, documents[2].entities)]
    reader = fit.fit(config, documents[:2], dev, tmp_path / "fit", seed=1, quiet=True)
    assert reader.dev_f1 == metrics.score(dev, [reader.extractor(dev[0].text)]).micro.f1


def test_the_loss_of_a_known_tag_is_its_cross_entropy() -> None:
    logits = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    tags = torch.tensor([[-100, 0, 3, -100, 8], [-100, 1, -100, -100, -100]])
    loss = _loss(logits, torch.where(tags < 0, tags, 2 ** tags.clamp(min=0)))
    assert torch.isclose(loss, torch.nn.functional.cross_entropy(logits.flatten(0, 1), tags.flatten()))


def test_the_loss_of_a_choice_is_that_of_the_sum_of_its_tags() -> None:
    logits = torch.randn(1, 1, 9, generator=torch.Generator().manual_seed(0))
    chances = logits.softmax(-1)[0, 0]
    assert torch.isclose(_loss(logits, torch.tensor([[2**1 + 2**3]])), -(chances[1] + chances[3]).log())
    assert abs(_loss(logits, torch.tensor([[2**9 - 1]]))) < 1e-6, "where all is allowed, nothing is learned"


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return fit.SpanTrainer.compute_loss(None, Model(logits), {"labels": labels})  # type: ignore[arg-type]


def test_pieces_are_masked_in_training_alone() -> None:
    trainer = SimpleNamespace(mask=4, mask_rate=0.5)
    ids = torch.arange(10, 1010).view(2, 500)
    torch.manual_seed(0)
    masked = fit.SpanTrainer._masked(trainer, ids)  # type: ignore[arg-type]
    assert (masked[:, 0] == ids[:, 0]).all() and ((masked == ids) | (masked == 4)).all()
    assert abs(float((masked == 4).float().mean()) - 0.5) < 0.05
    trainer._masked = lambda ids: pytest.fail("masked at evaluation")
    logits = torch.zeros(2, 500, 9)
    model = Model(logits)
    assert fit.SpanTrainer.compute_loss(trainer, model, {"input_ids": ids, "labels": torch.ones_like(ids)}) > 0  # type: ignore[arg-type]


class Model:
    """A model in evaluation whose logits are given."""

    training = False

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def __call__(self, **_: Any) -> Any:
        return SimpleNamespace(logits=self.logits)


def test_a_source_under_another_scheme_teaches_what_it_says(twin: Path, tmp_path: Path) -> None:
    """Places unseen in the reports are learned from a set that tells places, and says nothing of all else."""
    documents = encoders.reports(2)
    held_out = Document("new", "أعلن الجيش السوري مقتل 15 عنصرا في تعز أمس.\n", (Span(35, 38, "PLACE"),))
    lines = "أعلن\tO\nروسيا\tB-ORG\nفي\tO\nتعز\tB-LOC\nأمس\tO\n.\tO\n\n"
    (tmp_path / "public.conll").write_text(lines * 30, encoding="utf-8")
    config = encoders.run_config(tmp_path, twin, documents, epochs=6)
    source = PartialSource((str(tmp_path / "public.conll"),), {"LOC": ("PLACE",)})
    taught = replace(config, name="taught", data=replace(config.data, partial=(source,)))
    reader = fit.fit(taught, documents, (), tmp_path / "taught", seed=1, quiet=True)
    found = [Span(e.start, e.end, e.label) for e in reader.extractor(held_out.text)]
    assert held_out.entities[0] in found
    assert {span.label for span in found} == set(LABELS), "what the source leaves unsaid is still read"
    assert summary_of(tmp_path / "taught")["partial_windows"] == 30


# Going on from another config ---------------------------------------------------------------------


@pytest.fixture
def staged(twin: Path, tmp_path: Path) -> RunConfig:
    """A config that goes on from the model of another, which is in a file."""
    (tmp_path / "base").mkdir()
    base = encoders.run_config(tmp_path / "base", twin, encoders.reports(2), epochs=8)
    tree = {**to_dict(base), "name": "base"}
    (tmp_path / "base.yaml").write_text(json.dumps(tree), encoding="utf-8")  # JSON is YAML
    config = encoders.run_config(tmp_path, twin, encoders.reports(3)[2:], epochs=1)
    return replace(config, encoder=str(tmp_path / "base.yaml"), training=replace(config.training, learning_rate=1e-9))


def test_a_config_goes_on_from_the_model_of_another(staged: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    fit.main(staged)
    base = Path(staged.runs) / "base" / "fit"
    assert "fitted first" in capsys.readouterr().out
    # at no learning rate to speak of, what it can read is what the first model learned
    assert summary(staged)["dev_f1"] > 0.9
    assert fit.manifest(staged).encoder["origin"] == json.loads(Path(staged.encoder).read_text())["encoder"]
    texts = [
        d.text for d in dataset.read_documents([*staged.data.train, base.parents[2] / "base" / "train.jsonl"], LABELS)
    ]
    lineage = fit.read_lineage(staged.directory / "fit" / "model")
    assert lineage["trained_on"] == sorted(map(text_hash, texts)) and len(texts) == 3
    assert lineage["files"] == [str(base.parents[2] / "base" / "train.jsonl"), *staged.data.train]
    assert fit.read_lineage(base / "model")["trained_on"] != lineage["trained_on"]


def test_the_first_model_is_fitted_once_until_what_it_reads_changes(
    staged: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    model = fit.start_of(staged)
    written = (model / "model.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    assert fit.start_of(staged) == model and capsys.readouterr().out == ""
    assert (model / "model.safetensors").stat().st_mtime_ns == written
    data = Path(json.loads(Path(staged.encoder).read_text())["data"]["train"][0])
    encoders.write_reports(data, encoders.reports(4)[2:])
    fit.start_of(staged)
    assert "fitted first" in capsys.readouterr().out
    assert (model / "model.safetensors").stat().st_mtime_ns != written


def test_a_first_config_that_is_absent_is_an_error(staged: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
        fit.main(replace(staged, encoder="absent.yaml"))


def test_the_particles_are_those_of_the_config_or_the_encoder_or_the_one_inside(twin: Path, tmp_path: Path) -> None:
    config = replace(encoders.run_config(tmp_path, twin, encoders.reports(1)), proclitics=None)
    assert proclitics.find(config, twin) == Path("models/encoder/proclitics.tsv")
    (tmp_path / "proclitics.tsv").write_text("", encoding="utf-8")
    assert proclitics.find(config, tmp_path) == tmp_path / "proclitics.tsv"
    assert proclitics.find(replace(config, proclitics="mine.tsv"), tmp_path) == Path("mine.tsv")


# What it leaves ---------------------------------------------------------------------------------


def test_a_fit_leaves_its_model_log_curves_and_tensorboard(finished: RunConfig) -> None:
    directory = finished.directory / "fit"
    assert {path.name for path in (directory / "model").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "proclitics.tsv",
        "lineage.json",
    }  # fmt: skip
    assert (directory / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(directory.rglob("events.out.tfevents.*"))
    said = summary(finished)
    assert said["config"] == json.loads(json.dumps(to_dict(finished)))
    assert said["train"]["entities"] + said["dev"]["entities"] == 2 * 16 * 4
    model = AutoModelForTokenClassification.from_pretrained(directory / "model", local_files_only=True)
    assert model.config.id2label == dict(enumerate(tags_of(LABELS)))


def test_the_same_fit_gives_the_same_weights_and_another_seed_others(finished: RunConfig, tmp_path: Path) -> None:
    again = beside(finished, tmp_path)
    fit.main(again)
    assert same(weights(again), weights(finished)) and figures(again) == figures(finished)
    other = replace(beside(finished, tmp_path / "other"), training=replace(finished.training, seed=2))
    fit.main(other)
    assert not same(weights(other), weights(finished))


def test_a_development_set_of_the_users_own_chooses_the_epoch(twin: Path, tmp_path: Path) -> None:
    documents = encoders.reports(3)
    config = encoders.run_config(tmp_path, twin, documents[:2], epochs=1)
    dev = encoders.write_reports(tmp_path / "dev.jsonl", documents[2:])
    fit.main(replace(config, data=replace(config.data, dev=(str(dev),))))
    said = summary(config)
    assert said["train"]["entities"] == 2 * 16 * 4 and said["dev"]["entities"] == 16 * 4


def test_data_and_labels_of_the_users_own_in_conll(twin: Path, tmp_path: Path) -> None:
    block = "فاز\tO\nميسي\tB-لاعب\nفي\tO\nباريس\tB-مدينة\nأمس\tO\n\n"
    (tmp_path / "sport.conll").write_text(block * 12, encoding="utf-8")
    config = encoders.run_config(tmp_path, twin, [], epochs=6)
    config = replace(
        config, data=replace(config.data, train=(str(tmp_path / "sport.conll"),), labels=("لاعب", "مدينة"))
    )
    documents = dataset.read_documents(config.data.train, config.data.labels)
    reader = fit.fit(config, documents, (), tmp_path / "fit", seed=1, quiet=True)
    found = [(entity.text, entity.label) for entity in reader.extractor("فاز ميسي في باريس أمس")]
    assert found == [("ميسي", "لاعب"), ("باريس", "مدينة")]


def test_an_encoder_with_tokenizer_json_and_pickled_weights_is_read_too(twin: Path, tmp_path: Path) -> None:
    """What the hub holds of older models: pytorch_model.bin, read with weights_only."""
    other = Path(shutil.copytree(twin, tmp_path / "other"))
    torch.save(load_file(twin / "model.safetensors"), other / "pytorch_model.bin")
    (other / "model.safetensors").unlink()
    documents = encoders.reports(2)
    fits = [
        fit.fit(encoders.run_config(tmp_path, source, documents, epochs=1), documents, (), tmp_path / name, 1, True)
        for name, source in (("one", twin), ("two", other))
    ]
    assert same(fits[0].model.state_dict(), fits[1].model.state_dict())


# Going on ---------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def kill_at(config: RunConfig, step: int) -> None:
    """Fit until the training step of this number, and die there."""
    take_step = fit.SpanTrainer.training_step

    def training_step(self: fit.SpanTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step == step:
            raise Killed
        return take_step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit.SpanTrainer, "training_step", training_step)
        with pytest.raises(Killed):
            fit.main(config)


def steps_taken(config: RunConfig) -> int:
    """How many steps a fit takes from here."""
    taken = 0
    take_step = fit.SpanTrainer.training_step

    def training_step(self: fit.SpanTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal taken
        taken += 1
        return take_step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit.SpanTrainer, "training_step", training_step)
        fit.main(config)
    return taken


def steps_of_an_epoch(config: RunConfig) -> int:
    return -(-summary(config)["train"]["windows"] // config.training.batch_size)


@pytest.mark.parametrize("epochs", [0.5, 1.5, 2.0])  # before a checkpoint, in the second epoch, at the third's start
def test_a_killed_fit_goes_on_and_equals_an_uninterrupted_one(
    finished: RunConfig, tmp_path: Path, epochs: float
) -> None:
    config, epoch = beside(finished, tmp_path), steps_of_an_epoch(finished)
    kill_at(config, int(epochs * epoch))
    assert steps_taken(config) == (EPOCHS - int(epochs)) * epoch
    assert same(weights(config), weights(finished))
    assert figures(config) == figures(finished)


def test_a_checkpoint_that_was_being_written_is_passed_over(finished: RunConfig, tmp_path: Path) -> None:
    config, epoch = beside(finished, tmp_path), steps_of_an_epoch(finished)
    kill_at(config, int(2.5 * epoch))
    (config.directory / "fit" / f"checkpoint-{2 * epoch}" / "trainer_state.json").unlink()
    assert steps_taken(config) == 2 * epoch
    assert same(weights(config), weights(finished))


@pytest.mark.parametrize("change", ["rate", "text", "labels", "encoder", "proclitics"])
def test_another_fit_in_the_same_place_starts_afresh(
    finished: RunConfig, twin: Path, tmp_path: Path, change: str
) -> None:
    config, epoch = beside(finished, tmp_path), steps_of_an_epoch(finished)
    kill_at(config, int(1.5 * epoch))
    (tmp_path / "tiny" / "fit" / "left-over").touch()
    config = _changed(config, twin, tmp_path, change)
    assert steps_taken(config) >= EPOCHS * epoch
    assert not (tmp_path / "tiny" / "fit" / "left-over").exists()


def _changed(config: RunConfig, twin: Path, directory: Path, change: str) -> RunConfig:
    if change == "rate":
        return replace(config, training=replace(config.training, learning_rate=1e-3))
    if change == "labels":
        return replace(config, data=replace(config.data, labels=(*config.data.labels, "OTHER")))
    if change == "text":
        path = encoders.write_reports(directory / "other.jsonl", encoders.reports(3)[1:])
        return replace(config, data=replace(config.data, train=(str(path),)))
    if change == "encoder":
        other = Path(shutil.copytree(twin, directory / "encoder"))
        (other / "vocab.txt").write_text((other / "vocab.txt").read_text(encoding="utf-8") + "زائد\n", encoding="utf-8")
        return replace(config, encoder=str(other))
    table = directory / "table.tsv"
    table.write_text("حلب\t1\n", encoding="utf-8")
    return replace(config, proclitics=str(table))


def test_the_fingerprint_is_that_of_what_decides_a_fit(finished: RunConfig, twin: Path, tmp_path: Path) -> None:
    documents = encoders.reports(1)

    def key(config: RunConfig = finished, documents: list[Document] = documents, seed: int = 1) -> str:
        return fit.fingerprint(config, documents, (), Path(config.encoder), seed)

    assert key() == key()
    moved = Document("report0", documents[0].text, (Span(0, 4, "ACTOR"),))
    table = tmp_path / "other.tsv"
    table.write_text("حلب\t1\n", encoding="utf-8")
    copy = Path(shutil.copytree(twin, tmp_path / "copy"))
    with (copy / "config.json").open("a", encoding="utf-8") as stream:
        stream.write("\n")
    others = {
        key(seed=2),
        key(documents=[moved]),
        key(replace(finished, proclitics=str(table))),
        key(replace(finished, training=replace(finished.training, epochs=9))),
        fit.fingerprint(finished, documents, (), copy, 1),
    }
    assert len(others | {key()}) == 6


def test_a_finished_fit_is_fitted_anew_when_asked_for(finished: RunConfig, tmp_path: Path) -> None:
    config = beside(finished, tmp_path)
    shutil.copytree(finished.directory, config.directory)
    assert steps_taken(config) == EPOCHS * steps_of_an_epoch(finished)


# What cannot be fitted --------------------------------------------------------------------------


def test_no_documents_and_one_paragraph_are_told(twin: Path, tmp_path: Path) -> None:
    config = encoders.run_config(tmp_path, twin, [])
    with pytest.raises(ConfigError, match=r"data\.train: holds no documents"):
        fit.main(config)
    encoders.write_reports(tmp_path / "train.jsonl", encoders.reports(1, sentences=1))
    with pytest.raises(ConfigError, match="one paragraph cannot both train and choose the epoch"):
        fit.main(config)


def test_a_misaligned_gold_span_stops_a_fit_with_file_and_line(
    twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = encoders.run_config(tmp_path, twin, [Document("a", "في حلب", (Span(3, 5, "PLACE"),))])
    with pytest.raises(DataError, match=r"train\.jsonl:1: a: PLACE \[3, 5\) 'حل' does not end where a word ends"):
        fit.main(config)


def test_a_proclitic_table_that_is_not_there_is_one_line(
    twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = encoders.write_reports(tmp_path / "a.jsonl", encoders.reports(1))
    path = tmp_path / "c.yaml"
    path.write_text(f"name: a\nencoder: {twin}\ndata: {{train: [{report}]}}\nproclitics: {tmp_path}/none.tsv\n"
                    f"runs: {tmp_path}\n", encoding="utf-8")  # fmt: skip
    assert program.main(["fit", "--config", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("train: ") and error.count("\n") == 1 and "none.tsv" in error


# Several processes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_fit_together(finished: RunConfig, tmp_path: Path) -> None:
    """torchrun over gloo: one run directory, one log, and a model that learned."""
    path = tmp_path / "pair.yaml"
    tree = {**to_dict(finished), "name": "pair", "runs": str(tmp_path)}
    tree["training"] = {**tree["training"], "epochs": 8, "batch_size": 1}
    path.write_text(json.dumps(tree), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--local_addr=localhost"]
    command = [*torchrun, "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "-m", "train", "fit"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{encoders.ROOT}:{encoders.ROOT / 'src'}"}
    done = subprocess.run(
        [*command, "--config", str(path)], env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads((tmp_path / "pair" / "fit" / fit.DONE).read_text(encoding="utf-8"))
    assert said["dev_f1"] > 0.9
    # the two share the batches of an epoch: as many steps as one process takes at twice the batch size
    assert said["history"][-1]["step"] == 8 * steps_of_an_epoch(finished)
