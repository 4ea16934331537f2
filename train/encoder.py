"""The pretrained encoder that a run starts from: a directory, or a name on the model hub."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForTokenClassification
from transformers.utils import logging

from marsad.errors import ConfigError
from marsad.schema import tags_of
from train import tokenizer as tokenization

_HUB_SECONDS = 10  # to wait for the hub's first answer

#: What is read of an encoder's directory, where it is there.
FILES = ["config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "vocab.txt"]


def resolve(encoder: str) -> Path:
    """The directory of an encoder, fetched from the hub where it is not one.

    Raises ConfigError, in one line that says what to do, where it is neither here nor there.
    """
    if Path(encoder).is_dir():
        return _checked(Path(encoder), encoder)
    if encoder.count("/") != 1 or encoder.startswith((".", "/")):
        raise ConfigError(f"encoder {encoder}: no such directory, and no hub name (OWNER/NAME) either")
    try:
        directory = _fetched(encoder)
    except Exception as error:  # the hub's client and its HTTP library have no base in common
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ConfigError(
            f"encoder {encoder}: not a directory here, and the model hub gave no answer ({reason}); put its "
            "files (config.json, weights, vocab.txt or tokenizer.json) into a directory and name that with "
            "--set encoder=DIR, or use the encoder inside with --set encoder=models/encoder"
        ) from None
    return _checked(directory, encoder)


def load_tokenizer(directory: Path) -> Tokenizer:
    """The encoder's vocabulary under marsad's text handling.

    Raises ConfigError for a vocabulary of text that Farasa has segmented.
    """
    vocabulary = _vocabulary(directory)
    if "ال+" in vocabulary:
        raise ConfigError(
            f"encoder {directory}: its vocabulary holds 'ال+', so it was trained on text segmented by Farasa, "
            "which is not part of marsad; use the version without segmentation (AraBERT: the v02 models)"
        )
    return tokenization.build(vocabulary)


def load_model(directory: Path, labels: tuple[str, ...], dropout: float, window: int) -> Any:
    """The encoder with a fresh token-classification head over the IOB2 tags of `labels`."""
    tags = tags_of(labels)
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    limit = config.max_position_embeddings
    if window + 2 > limit:
        raise ConfigError(f"window.size {window}: this encoder reads {limit} pieces at most, two of them special")
    config.id2label = dict(enumerate(tags))
    config.label2id = {tag: index for index, tag in enumerate(tags)}
    config.num_labels = len(tags)
    config.classifier_dropout = dropout
    config.hidden_dropout_prob = dropout
    with _silent():
        return AutoModelForTokenClassification.from_pretrained(
            directory, config=config, dtype=torch.float32, local_files_only=True
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Keep transformers from reporting that the head is new and the language model's head unused: both are meant."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _fetched(encoder: str) -> Path:
    """The hub's files of an encoder: those fetched before, else fetched now."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        return _checked(Path(snapshot_download(encoder, allow_patterns=FILES, local_files_only=True)), encoder)
    except (OSError, ConfigError):  # nothing was fetched before, or not all of it
        pass
    HfApi().model_info(encoder, timeout=_HUB_SECONDS)  # snapshot_download would wait for ever on a silent network
    return Path(snapshot_download(encoder, allow_patterns=FILES))


def _checked(directory: Path, encoder: str) -> Path:
    names = {path.name for path in directory.iterdir()}
    wanted = (
        ("config.json",),
        ("model.safetensors", "pytorch_model.bin"),
        ("tokenizer.json", "vocab.txt"),
    )
    missing = [" or ".join(choice) for choice in wanted if not names.intersection(choice)]
    if missing:
        raise ConfigError(f"encoder {encoder}: {directory} lacks {', '.join(missing)}")
    return directory


def _vocabulary(directory: Path) -> dict[str, int]:
    path = directory / "tokenizer.json"
    if path.is_file():
        model = json.loads(path.read_text(encoding="utf-8"))["model"]
        if not isinstance(model["vocab"], dict) or "merges" in model:
            raise ConfigError(f"encoder {directory}: its tokenizer is no WordPiece one; a BERT encoder is expected")
        return {str(piece): int(number) for piece, number in model["vocab"].items()}
    # lines end at LF alone: other line breaks of Unicode may be pieces, and would shift the ids of all that follow
    lines = (directory / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return {piece: number for number, piece in enumerate(lines)}
