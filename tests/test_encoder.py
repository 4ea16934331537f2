"""Where a run gets its encoder from, and what it says when it cannot."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from marsad.errors import ConfigError
from marsad.schema import LABELS, tags_of
from tests import encoders
from train import __main__ as program
from train import encoder
from train import tokenizer as tokenization

HUB_NAME = "aubmindlab/bert-base-arabertv02"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoders.tiny_twin(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


# Directories ------------------------------------------------------------------------------------


def test_the_twin_has_arabert_s_files_and_nothing_else(twin: Path) -> None:
    assert {path.name for path in twin.iterdir()} == {"config.json", "model.safetensors", "vocab.txt"}
    config = json.loads((twin / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForMaskedLM"] and config["max_position_embeddings"] == 512
    pieces = (twin / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert pieces[:5] == list(tokenization.SPECIAL_TOKENS) and len(set(pieces)) == config["vocab_size"]


def test_a_directory_with_vocab_txt_is_read_with_our_text_handling(twin: Path) -> None:
    assert encoder.resolve(str(twin)) == twin
    tokenizer = encoder.load_tokenizer(twin)
    pieces = (twin / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert [tokenizer.id_to_token(number) for number in range(len(pieces))] == pieces
    assert str(tokenizer.normalizer) == str(tokenization.normalizer())
    assert tokenizer.encode("حَـلَب").ids == tokenizer.encode("حلب").ids


def test_a_directory_with_tokenizer_json_gives_the_same_pieces(twin: Path, copy: Path) -> None:
    (copy / "vocab.txt").unlink()
    tokenization.build({piece: i for i, piece in enumerate(encoders.pieces(1000))}).save(str(copy / "tokenizer.json"))
    assert encoder.resolve(str(copy)) == copy
    assert encoder.load_tokenizer(copy).to_str() == encoder.load_tokenizer(twin).to_str()


def test_its_own_text_handling_gives_way_to_ours(copy: Path) -> None:
    """AraBERT's tokenizer.json has BERT's normalizer, which is none of what the model was trained with."""
    tokenizer = encoder.load_tokenizer(copy)
    tokenizer.normalizer = None
    tokenizer.save(str(copy / "tokenizer.json"))
    assert encoder.load_tokenizer(copy).encode("حـلب").ids == tokenizer.encode("حلب").ids


def test_other_line_breaks_of_unicode_are_pieces_like_any_other(copy: Path) -> None:
    lines = (copy / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[5:8] = ["\u2028", "\x85", "\x1c"]
    (copy / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = encoder.load_tokenizer(copy)
    assert tokenizer.get_vocab_size() == len(lines)
    assert tokenizer.token_to_id(lines[8]) == 8


@pytest.mark.parametrize(
    ("removed", "named"),
    [
        (["config.json"], "lacks config.json"),
        (["model.safetensors"], "lacks model.safetensors or pytorch_model.bin"),
        (["vocab.txt"], "lacks tokenizer.json or vocab.txt"),
        (["config.json", "vocab.txt"], "lacks config.json, tokenizer.json or vocab.txt"),
    ],
)
def test_every_file_that_is_missing_is_named(copy: Path, removed: list[str], named: str) -> None:
    for name in removed:
        (copy / name).unlink()
    with pytest.raises(ConfigError, match=named):
        encoder.resolve(str(copy))


def test_a_vocabulary_of_segmented_text_is_refused_with_the_reason(copy: Path) -> None:
    with (copy / "vocab.txt").open("a", encoding="utf-8") as stream:
        stream.write("ال+\n")
    with pytest.raises(ConfigError, match=r"'ال\+'.* segmented by Farasa.* the v02 models"):
        encoder.load_tokenizer(copy)


@pytest.mark.parametrize(
    "model",
    [
        {"type": "Unigram", "vocab": [["<unk>", 0.0]]},
        {"type": "BPE", "vocab": {"<s>": 0, "a": 1}, "merges": []},
    ],
)
def test_a_tokenizer_that_is_no_wordpiece_one_is_refused(copy: Path, model: dict[str, object]) -> None:
    (copy / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    with pytest.raises(ConfigError, match="no WordPiece one"):
        encoder.load_tokenizer(copy)


def test_a_vocabulary_that_is_not_bert_s_is_refused(copy: Path) -> None:
    (copy / "vocab.txt").write_text("<s>\n</s>\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a BERT vocabulary is expected"):
        encoder.load_tokenizer(copy)


# Models -----------------------------------------------------------------------------------------


def test_the_model_is_the_encoder_under_a_fresh_head(twin: Path) -> None:
    model = encoder.load_model(twin, LABELS, dropout=0.2, window=510)
    assert model.config.id2label == dict(enumerate(tags_of(LABELS)))
    assert model.config.label2id == {tag: i for i, tag in enumerate(tags_of(LABELS))}
    assert model.classifier.weight.shape == (9, 32)
    assert model.dropout.p == model.config.hidden_dropout_prob == 0.2
    stored = load_file(twin / "model.safetensors")
    for name, weight in model.bert.named_parameters():
        assert torch.equal(weight, stored[f"bert.{name}"]), name


def test_labels_of_the_users_own_make_the_head(twin: Path) -> None:
    model = encoder.load_model(twin, ("حدث",), dropout=0.1, window=126)
    assert model.config.id2label == {0: "O", 1: "B-حدث", 2: "I-حدث"}
    assert model.classifier.bias.shape == (3,)


def test_a_window_larger_than_the_positions_is_refused(twin: Path) -> None:
    with pytest.raises(ConfigError, match=r"window\.size 511: this encoder reads 512 pieces at most, two of them"):
        encoder.load_model(twin, LABELS, dropout=0.1, window=511)


# The hub ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test here asks a real hub or finds what somebody fetched before."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and never answers, as a firewall may."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, limit: float) -> str:
    """What `train fit` says on stderr, in one line and within `limit` seconds."""
    config = tmp_path / "arabert.yaml"
    report = encoders.write_reports(tmp_path / "a.jsonl", encoders.reports(1))
    config.write_text(f"name: a\nencoder: {HUB_NAME}\ndata: {{train: [{report}]}}\nruns: {tmp_path}\n"
                      f"proclitics: {encoders.PROCLITICS}\n", encoding="utf-8")  # fmt: skip
    begin = time.monotonic()
    assert program.main(["fit", "--config", str(config)]) == 2
    assert time.monotonic() - begin < limit
    error = capsys.readouterr().err
    assert error.startswith(f"train: encoder {HUB_NAME}: not a directory here, and the model hub gave no answer (")
    assert error.count("\n") == 1 and "--set encoder=DIR" in error and "--set encoder=models/encoder" in error
    return error


def test_a_hub_that_refuses_is_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "refused" in _refused(capsys, tmp_path, limit=3)


def test_offline_mode_is_told_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline" in _refused(capsys, tmp_path, limit=3)


def test_a_network_that_swallows_everything_is_not_waited_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", silent)
    monkeypatch.setattr(encoder, "_HUB_SECONDS", 0.5)
    assert "timed out" in _refused(capsys, tmp_path, limit=4)


def test_what_was_fetched_before_is_used_without_asking_the_hub(
    twin: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", silent)
    stored = Path(constants.HF_HUB_CACHE) / "models--aubmindlab--bert-base-arabertv02"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("0" * 40, encoding="ascii")
    snapshot = Path(shutil.copytree(twin, stored / "snapshots" / ("0" * 40)))
    assert encoder.resolve(HUB_NAME) == snapshot
    (snapshot / "vocab.txt").unlink()  # half fetched: the hub is asked for the rest
    monkeypatch.setattr(encoder, "_HUB_SECONDS", 0.5)
    with pytest.raises(ConfigError, match="timed out"):
        encoder.resolve(HUB_NAME)


@pytest.mark.parametrize("name", ["nothing-here", "./nothing/here", "/nothing/here", "a/b/c"])
def test_what_is_neither_a_directory_nor_a_hub_name_is_told_so(name: str) -> None:
    with pytest.raises(ConfigError, match="no such directory, and no hub name"):
        encoder.resolve(name)


def test_the_variable_that_the_hub_s_client_knows_works_from_the_shell(tmp_path: Path) -> None:
    """In a process of its own: the client reads its environment once, when it is imported."""
    code = f"from train.encoder import resolve; resolve({HUB_NAME!r})"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=encoders.ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "ConfigError: encoder aubmindlab" in done.stderr and "offline mode is enabled" in done.stderr
