"""The artifact: the directory that training writes and inference reads, and nothing else crosses.

manifest.json           what it is: format, labels, encoder, window, SHA-256 of every other file, metrics
config.json, model.safetensors, tokenizer.json, tokenizer_config.json      as transformers reads them
onnx/model.onnx, onnx/model_int8.onnx                                      as onnxruntime reads them
proclitics.tsv          word-form counts that decide where a mention starts
golden.jsonl            texts with the spans this model finds in them, for `marsad selftest`
README.md               the model card
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marsad.errors import ArtifactError
from marsad.schema import tags_of

FORMAT = 1
MANIFEST = "manifest.json"
MODEL_VARIABLE = "MARSAD_MODEL"
DEFAULT_MODEL = Path("models/ner")

#: The parity law: of the spans that fp32 or int8 finds, the share that both find.
INT8_AGREEMENT = 0.99

#: The graph of each precision.
GRAPHS: dict[str, str] = {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}

#: The files of format 1, in the order a reader meets them.
FILES: tuple[str, ...] = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    *GRAPHS.values(),
    "proclitics.tsv",
    "golden.jsonl",
    "README.md",
)


# What JSON must give for each key of the manifest.
_KINDS = {
    "name": str,
    "labels": list,
    "encoder": dict,
    "window": int,
    "overlap": int,
    "marsad_version": str,
    "metrics": dict,
    "trained_on": list,
    "files": dict,
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artifact says of itself."""

    name: str
    labels: tuple[str, ...]
    encoder: Mapping[str, str]  # name and origin
    window: int  # pieces read at once, special tokens not counted
    overlap: int  # pieces that neighbouring windows share
    marsad_version: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, float] | None = None  # slope and intercept of the curve from confidence to score
    trained_on: tuple[str, ...] = ()  # SHA-256 of every training text: no figure on these means anything
    files: Mapping[str, str] = field(default_factory=dict)  # path -> SHA-256
    format: int = FORMAT

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each output column."""
        return tags_of(self.labels)


def find(model: str | Path | None = None) -> Path:
    """The artifact directory to use: `model`, else $MARSAD_MODEL, else ./models/ner.

    Raises ArtifactError that names the three where none is there.
    """
    for choice in (model, os.environ.get(MODEL_VARIABLE) or None):
        if choice is not None:
            return Path(choice)
    if (DEFAULT_MODEL / MANIFEST).is_file():
        return DEFAULT_MODEL
    raise ArtifactError(
        f"no model: none was given (--model DIR, or load(DIR)), {MODEL_VARIABLE} is not set, and there is no "
        f"./{DEFAULT_MODEL} here; give the directory of an artifact in one of the three ways"
    )


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Hash every file of the artifact and write its manifest last, so that a half-written one never loads."""
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise ArtifactError(f"{directory}: the artifact lacks {', '.join(missing)}")
    files = {name: sha256(directory / name) for name in FILES}
    tree = dataclasses.asdict(dataclasses.replace(manifest, files=files))
    text = json.dumps(tree, ensure_ascii=False, indent=2) + "\n"
    (directory / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(directory: Path, verify: bool = True) -> Manifest:
    """Read an artifact's manifest and, with `verify`, hold every file against its SHA-256.

    Raises ArtifactError naming all that is missing or differs, expected and found.
    """
    path = directory / MANIFEST
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(
            f"{path}: not there; an artifact is a directory written by `python -m train export`"
        ) from None
    except ValueError as error:
        raise ArtifactError(f"{path}: not valid JSON ({error}); write the artifact again") from None
    manifest = _manifest(path, tree)
    if verify:
        _verify(directory, manifest)
    return manifest


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """The SHA-256 of a text in UTF-8, as `trained_on` has it."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _manifest(path: Path, tree: Any) -> Manifest:
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        found = tree.get("format") if isinstance(tree, dict) else tree
        raise ArtifactError(f"{path}: format is {found!r}, this marsad reads format {FORMAT}")
    names = {f.name for f in dataclasses.fields(Manifest)}
    tree.setdefault("calibration", None)
    if tree.keys() != names:
        raise ArtifactError(
            f"{path}: missing keys: {', '.join(sorted(names - tree.keys())) or 'none'}; "
            f"unknown keys: {', '.join(sorted(tree.keys() - names)) or 'none'}"
        )
    wrong = [name for name, kind in _KINDS.items() if not isinstance(tree[name], kind)]
    if wrong:
        raise ArtifactError(f"{path}: {', '.join(wrong)}: not of the expected kind; write the artifact again")
    curve = tree["calibration"]
    if curve is not None and not (isinstance(curve, dict) and curve.keys() == {"slope", "intercept"}):
        raise ArtifactError(f"{path}: calibration {curve!r} is not a slope and an intercept; write the artifact again")
    if not 0 <= tree["overlap"] < tree["window"]:
        raise ArtifactError(f"{path}: overlap {tree['overlap']} is not from 0 to below window {tree['window']}")
    return Manifest(**{**tree, "labels": tuple(tree["labels"]), "trained_on": tuple(tree["trained_on"])})


def _verify(directory: Path, manifest: Manifest) -> None:
    problems = [f"{name}: not in the manifest" for name in FILES if name not in manifest.files]
    for name, expected in manifest.files.items():
        path = directory / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif (found := sha256(path)) != expected:
            problems.append(f"{name}: SHA-256 is {found[:12]}…, the manifest has {expected[:12]}…")
    if problems:
        raise ArtifactError(f"{directory}: changed since it was written: {'; '.join(problems)}")
