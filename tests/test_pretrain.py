"""Pretraining: it learns, a killed run resumed equals an uninterrupted one, and transformers loads the result."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertForMaskedLM

from marsad.errors import ConfigError, DataError
from train import pretrain
from train.config import (
    PretrainConfig,
    PretrainPhase,
    PretrainShape,
    PretrainTraining,
    PretrainVocabulary,
    load,
)

ROOT = Path(__file__).resolve().parent.parent
TRAINING = PretrainTraining(
    phases=(PretrainPhase(16, 8, 0.75), PretrainPhase(32, 4, 0.25)),
    tokens=128 * 24,
    learning_rate=3e-3,
    dropout=0.1,
    evaluate_steps=12,
    evaluate_sequences=8,
    checkpoint_steps=5,
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of one word each, so that a sequence tells what is masked in it."""
    random = np.random.default_rng(2)
    words = "قصفت طائرات مدينة إدلب فقتل ثلاثة وأصيب آخرون بجروح بينهم أطفال ونساء يوم الجمعة".split()  # noqa: SIM905
    lines = []
    for number in range(200):  # the number makes each document another, for the held-out draw
        lines.append(" ".join([str(number), *[random.choice(words)] * 40]))
    directory = tmp_path_factory.mktemp("corpus")
    (directory / "a.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return directory


def config(text: Path, run: Path, training: PretrainTraining = TRAINING) -> PretrainConfig:
    return PretrainConfig(
        run=str(run),
        training=training,
        corpus=str(text),
        heldout=0.2,
        vocabulary=PretrainVocabulary(size=200, sample=1.0),
        shape=PretrainShape(layers=2, hidden=64, heads=2, intermediate=128, positions=32),
    )


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    return pretrain.main(config(text, tmp_path_factory.mktemp("run")))


def from_shards(config: PretrainConfig, finished: Path) -> PretrainConfig:
    return replace(config, corpus=None, packed=str(finished.parent / "packed"))


class Killed(Exception):
    pass


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    take_step = pretrain.Trainer._step

    def step(self: pretrain.Trainer, rate: float) -> torch.Tensor:
        if self.position.step == steps:
            raise Killed
        return take_step(self, rate)

    monkeypatch.setattr(pretrain.Trainer, "_step", step)


@pytest.mark.parametrize("steps", [3, 14, 22])  # before a checkpoint, in the first phase, in the second
def test_a_killed_run_resumed_equals_an_uninterrupted_one(
    text: Path, finished: Path, tmp_path: Path, steps: int
) -> None:
    settings = from_shards(config(text, tmp_path), finished)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, steps)
        with pytest.raises(Killed):
            pretrain.main(settings)
    resumed = pretrain.main(settings)
    last = sorted((tmp_path / "checkpoints").iterdir())[-1].name
    states = [torch.load(run / "checkpoints" / last, weights_only=True) for run in (tmp_path, finished.parent)]
    for part in ("model", "optimizer"):
        assert _equal(states[0][part], states[1][part])
    assert (resumed / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert _records(tmp_path) == _records(finished.parent)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def _records(run: Path) -> list[Any]:
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [(r["step"], r["heldout_loss"]) for r in map(json.loads, lines) if "heldout_loss" in r]


def test_two_checkpoints_are_kept(finished: Path) -> None:
    names = sorted(path.name for path in (finished.parent / "checkpoints").iterdir())
    assert names == ["step-000000020.pt", "step-000000024.pt"]


def test_other_settings_do_not_take_up_a_run(text: Path, finished: Path, tmp_path: Path) -> None:
    settings = from_shards(config(text, tmp_path), finished)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(Killed):
            pretrain.main(settings)
        with pytest.raises(ConfigError, match="another shape"):
            pretrain.main(replace(settings, shape=replace(settings.shape, layers=1)))
        with pytest.raises(Killed):  # a longer budget goes on
            pretrain.main(replace(settings, training=replace(TRAINING, tokens=10**6)))


def test_too_little_heldout_text_is_said_at_the_start(text: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 heldout tokens"):
        pretrain.main(replace(config(text, tmp_path), heldout=0.0))


def test_transformers_loads_the_directory(finished: Path) -> None:
    stored = load_file(finished / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert {path.name for path in finished.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json"
    }  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(finished)
    inputs = tokenizer("قصفت طائرات [MASK] مدينة", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    model = AutoModelForMaskedLM.from_pretrained(finished)
    assert model.dtype == torch.float32
    assert model(**inputs).logits.shape == (1, inputs["input_ids"].shape[1], model.config.vocab_size)
    weight = model.bert.embeddings.word_embeddings.weight
    assert weight.data_ptr() == model.cls.predictions.decoder.weight.data_ptr()
    hidden = AutoModel.from_pretrained(finished)(**inputs).last_hidden_state
    assert hidden.shape[-1] == 64 and torch.isfinite(hidden).all()


def test_the_summary_says_what_was_done(finished: Path) -> None:
    summary = json.loads((finished / "training.json").read_text(encoding="utf-8"))
    assert summary["step"] == 24 and summary["tokens"] == TRAINING.tokens
    assert summary["flops"] > 0 and summary["heldout_loss"].keys() == {"16", "32"}
    assert str(finished.parent.parent) not in json.dumps(summary)
    assert [source["file"] for source in summary["packing"]["sources"]] == ["a.txt"]
    assert (finished.parent / "curves.png").stat().st_size > 1000


def test_it_learns_from_packed_shards_alone(text: Path, finished: Path, tmp_path: Path) -> None:
    training = replace(
        TRAINING,
        tokens=128 * 250,
        learning_rate=1e-2,
        mask_rate=0.3,
        dropout=0.0,
        checkpoint_steps=None,
        evaluate_sequences=64,
    )
    pretrain.main(from_shards(config(text, tmp_path, training), finished))
    # 2.8 is the loss of one who knows no more than the frequencies; about 1.0 was measured
    assert _records(tmp_path)[-1][1] < 1.8


def test_training_goes_on_from_an_encoder(text: Path, finished: Path, tmp_path: Path) -> None:
    # the domain's own text is packed with the vocabulary that the encoder has, whatever its own would be
    settings = replace(config(text, tmp_path), start=str(finished), vocabulary=PretrainVocabulary(size=90))
    summary = json.loads((pretrain.main(settings) / "training.json").read_text(encoding="utf-8"))
    assert summary["config"]["start"] == "encoder" and str(tmp_path) not in json.dumps(summary)
    assert (tmp_path / "encoder" / "tokenizer.json").read_bytes() == (finished / "tokenizer.json").read_bytes()
    first = json.loads((finished / "training.json").read_text(encoding="utf-8"))
    for length in ("16", "32"):
        assert summary["heldout_loss"][length] < first["heldout_loss"][length]


def test_an_encoder_does_not_take_text_of_another_vocabulary(text: Path, finished: Path, tmp_path: Path) -> None:
    small = replace(config(text, tmp_path / "small"), vocabulary=PretrainVocabulary(size=90, sample=1.0))
    other = replace(from_shards(config(text, tmp_path / "other"), finished), start=str(pretrain.main(small)))
    with pytest.raises(ConfigError, match="pack the text with this encoder's vocabulary"):
        pretrain.main(other)


def test_a_budget_of_minutes_ends_on_time_at_rate_zero(
    text: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "LOG_STEPS", 1)
    training = replace(TRAINING, tokens=None, minutes=0.03)
    settings = from_shards(config(text, tmp_path, training), finished)
    summary = json.loads((pretrain.main(settings) / "training.json").read_text(encoding="utf-8"))
    assert summary["seconds"] >= 1.8
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    rates = [record["learning_rate"] for record in lines if "learning_rate" in record]
    assert rates[-1] < 0.5 * max(rates)


def test_the_lower_heads_start_at_their_offsets() -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    model = BertForMaskedLM(BertConfig(vocab_size=500, attn_implementation="eager", **shape)).eval()
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.mul_(4)  # 0.08, as word2vec vectors have
        pretrain.start_local(model, seed=0)
        attention = model.bert(torch.randint(0, 500, (4, 64)), output_attentions=True).attentions[0]
    for head, offset in enumerate((-1, 1, -2, 2)):
        weights = [float(attention[:, head].diagonal(o, 1, 2).mean()) for o in range(-4, 5)]
        assert np.argmax(weights) == offset + 4 and weights[offset + 4] > 0.4, (head, weights)


@pytest.mark.parametrize(("negatives", "tolerance"), [(100_000, 1e-4), (60, 0.03)])
def test_the_sampled_loss_is_that_of_the_whole_vocabulary_on_average(negatives: int, tolerance: float) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForMaskedLM(BertConfig(vocab_size=500, **shape)).eval()
    shares = torch.rand(500, dtype=torch.double).pow(3) + 1e-3
    shares /= shares.sum()
    model.cls.predictions.bias.data = shares.log().float()
    positions = torch.arange(0, 64, 3)
    labels = torch.multinomial(shares, len(positions))
    batch = (torch.randint(0, 500, (4, 16)), positions, labels)
    sampled = pretrain.SampledLoss(model, shares, negatives)
    whole = pretrain.MaskedLoss(model)(*batch)
    draws = torch.stack([sampled(*batch) for _ in range(200)])
    assert draws.mean().item() == pytest.approx(whole.item(), rel=tolerance)
    assert (draws.std() > 1e-3) == (negatives < 500), "where each piece is drawn, the loss is exact"


def test_it_learns_by_the_sampled_loss_and_resumes_exactly(text: Path, finished: Path, tmp_path: Path) -> None:
    training = replace(TRAINING, tokens=128 * 120, learning_rate=1e-2, mask_rate=0.3, dropout=0.0, negatives=40)
    settings = from_shards(config(text, tmp_path / "one", training), finished)
    once = pretrain.main(settings)
    assert _records(tmp_path / "one")[-1][1] < 2.5  # of the whole vocabulary; frequencies alone give 2.8
    again = replace(settings, run=str(tmp_path / "two"))
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, 51)
        with pytest.raises(Killed):
            pretrain.main(again)
    assert (pretrain.main(again) / "model.safetensors").read_bytes() == (once / "model.safetensors").read_bytes()


def test_the_schedule_rises_then_falls_to_zero() -> None:
    training = replace(TRAINING, warmup=0.1)
    rates = [pretrain.learning_rate_at(training, share) for share in (0, 0.05, 0.1, 0.55, 1)]
    assert rates == pytest.approx([0, 1.5e-3, 3e-3, 1.5e-3, 0])
    assert [pretrain.phase_at(training, share) for share in (0, 0.74, 0.76, 1)] == [0, 0, 1, 1]


def test_two_processes_train_together(finished: Path, tmp_path: Path) -> None:
    """Two processes read and mask what one reads in two parts, hence the same model but for rounding."""
    smoke = str(ROOT / "configs" / "pretrain-smoke.yaml")
    settings = [f"packed={finished.parent / 'packed'}", "corpus=null", "word2vec=null", "training.tokens=3072"]
    script = tmp_path / "launch.py"
    script.write_text(
        "import sys\n"
        "from train import config, pretrain\n"
        "pretrain.main(config.load(sys.argv[1], config.PretrainConfig, sys.argv[2:]))\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--local_addr=localhost"]
    command = [*torchrun, "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", str(script), smoke]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    pair = [f"run={tmp_path / 'pair'}", *settings]
    done = subprocess.run([*command, *pair], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "pair" / "encoder" / "training.json").read_text(encoding="utf-8"))
    assert summary["processes"] == 2 and summary["step"] == 12
    alone = [f"run={tmp_path / 'alone'}", "training.accumulate=2", *settings]
    pretrain.main(load(smoke, PretrainConfig, alone))
    losses = [_records(tmp_path / name)[-1][1] for name in ("pair", "alone")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_shipped_config_is_valid() -> None:
    load(ROOT / "configs" / "pretrain-4x256.yaml", PretrainConfig)


def test_the_smoke_config_runs_every_stage(text: Path, tmp_path: Path) -> None:
    overrides = [f"run={tmp_path}", f"corpus={text}", "training.tokens=4096"]
    pretrain.main(load(ROOT / "configs" / "pretrain-smoke.yaml", PretrainConfig, overrides))
    vectors = np.load(tmp_path / "word2vec.npy")
    assert vectors.shape[1] == 32 and vectors.std() == pytest.approx(0.08, rel=0.1)
    assert (tmp_path / "encoder" / "training.json").exists()
