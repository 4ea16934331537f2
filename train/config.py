"""YAML files into frozen dataclasses: one typed signature is file, command line and documentation."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union

import yaml

from marsad.errors import ConfigError
from marsad.schema import LABELS

T = TypeVar("T")


def load(path: str | Path, cls: type[T], overrides: Sequence[str] = ()) -> T:
    """Read a YAML file into the dataclass `cls`; `overrides` are `dotted.key=value` strings.

    Raises ConfigError with every problem of the file at once.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; the shipped ones are in configs/") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top, found {type(tree).__name__}")
    for text in overrides:
        _override(tree, text)
    problems: list[str] = []
    value = _build(cls, tree, "", problems)
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return typing.cast(T, value)


def to_dict(config: Any) -> dict[str, Any]:
    """The plain tree of a config, as YAML and JSON can hold it."""
    return dataclasses.asdict(config)


def _override(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as training.epochs=3")
    *parents, last = key.split(".")
    for name in parents:
        child = tree.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {text}: {name} holds a value, not a section")
        tree = child
    try:
        tree[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: not valid YAML: {' '.join(str(error).split())}") from None


def _build(cls: type, tree: dict[str, Any], where: str, problems: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    before = len(problems)
    for key, value in tree.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f", did you mean {where}{near[0]}?" if near else f"; known are {', '.join(known)}"
            problems.append(f"unknown key {where}{key}{hint}")
        else:
            values[key] = _convert(hints[key], value, f"{where}{key}", problems)
    for name, f in known.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            problems.append(f"missing key {where}{name}")
    if len(problems) > before:
        return None
    try:
        return cls(**values)
    except ConfigError as error:
        problems.append(f"{where.rstrip('.')}{': ' if where else ''}{error}")
        return None


def _convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (a for a in arguments if a is not type(None))
        return _convert(hint, value, where, problems)
    if origin is tuple:
        if not isinstance(value, list):
            problems.append(f"{where}: expected a list, found {value!r}")
            return ()
        return tuple(_convert(arguments[0], v, f"{where}[{i}]", problems) for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            problems.append(f"{where}: expected names and values, found {value!r}")
            return {}
        return {str(key): _convert(arguments[1], v, f"{where}.{key}", problems) for key, v in value.items()}
    if origin is typing.Literal:
        if value not in arguments:
            problems.append(f"{where}: {value!r} is none of {', '.join(map(str, arguments))}")
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            problems.append(f"{where}: expected a section, found {value!r}")
            return None
        return _build(typing.cast(type, hint), value, where + ".", problems)
    return _scalar(hint, value, where, problems)


def _scalar(hint: type, value: Any, where: str, problems: list[str]) -> Any:
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:  # YAML 1.1 reads 5e-4 as a string
            return float(value)
        except ValueError:
            pass
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    problems.append(f"{where}: expected {hint.__name__}, found {value!r}")
    return value


# Fine-tuning ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartialSource:
    """Annotations under another scheme, trained on for what they say of ours and never scored.

    `allow` maps each of their labels, and O, to those of ours (O among them) that its words may have: LOC to
    [PLACE, ACTOR] says that they are one of the two. Words under a label that it does not name are left out.
    """

    files: tuple[str, ...]
    allow: dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if not self.allow or not all(self.allow.values()):
            raise ConfigError("allow: each label needs at least one of ours; leave out those that say nothing")


@dataclass(frozen=True)
class DataSection:
    """What is read: JSONL of the gold's shape or CoNLL (token TAB tag), by paths from the working directory."""

    train: tuple[str, ...]
    extra: tuple[str, ...] = ()  # always trained on, never held out and never scored
    partial: tuple[PartialSource, ...] = ()  # trained on beside the others, by what their scheme allows
    texts: str | None = None  # directory with the texts of standoff annotations (records without "text")
    labels: tuple[str, ...] = LABELS
    dev: tuple[str, ...] = ()  # documents that choose the epoch; without them, a share of the paragraphs does
    dev_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.dev_share < 0.5:
            raise ConfigError(f"dev_share: {self.dev_share} is not between 0 and 0.5")
        if len(set(self.labels)) != len(self.labels) or not self.labels:
            raise ConfigError(f"labels: expected distinct names, found {list(self.labels)}")
        ours = {label for source in self.partial for allowed in source.allow.values() for label in allowed}
        if unknown := ours - {"O", *self.labels}:
            raise ConfigError(f"partial: allow names {', '.join(sorted(unknown))}, which labels does not")


@dataclass(frozen=True)
class WindowSection:
    """Word pieces read at once, special tokens not counted, and those that neighbouring windows share."""

    size: int = 126
    overlap: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size / 2:
            raise ConfigError(f"overlap: {self.overlap} is not below half of size {self.size}")


@dataclass(frozen=True)
class TrainingSection:
    """Fine-tuning with transformers' Trainer; batch_size counts windows a device."""

    epochs: int = 30
    batch_size: int = 8
    learning_rate: float = 5e-4
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.01
    dropout: float = 0.1
    mask_rate: float = 0.0  # share of the pieces that are read as [MASK], so that names are learned by what is around
    substitute: float = 0.0  # share of mentions exchanged in a second copy of each report; 0: no copy
    seed: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.mask_rate < 1 and 0 <= self.substitute <= 1):
            raise ConfigError(f"mask_rate, substitute: {self.mask_rate} and {self.substitute} are not shares")
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"epochs, batch_size: {self.epochs} and {self.batch_size} are not both at least 1")


@dataclass(frozen=True)
class CrossvalSection:
    """Reports are held out one by one, or in `folds` parts that keep an outlet's reports together."""

    seeds: tuple[int, ...] = (1, 2, 3)
    folds: int | None = None

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds: expected distinct numbers, found {list(self.seeds)}")
        if self.folds is not None and self.folds < 2:
            raise ConfigError(f"folds: {self.folds} is less than 2; null holds reports out one by one")


@dataclass(frozen=True)
class RunConfig:
    """`python -m train run|fit|crossval|evaluate|export`: a named-entity reader from annotated reports."""

    name: str
    encoder: str  # a directory, a name on the model hub, or a config (.yaml) whose fitted model is gone on from
    data: DataSection
    proclitics: str | None = None  # table of attached particles; null: the encoder's own, or else models/encoder's
    window: WindowSection = field(default_factory=WindowSection)
    training: TrainingSection = field(default_factory=TrainingSection)
    crossval: CrossvalSection = field(default_factory=CrossvalSection)
    runs: str = "runs"

    @property
    def directory(self) -> Path:
        """Where the run writes."""
        return Path(self.runs) / self.name


# Pretraining ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PretrainSource:
    """Files of the corpus (a name or glob) and how often an epoch passes over them: 0.5, 1, 2 times."""

    files: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ConfigError(f"weight: {self.weight} of {self.files!r} is not positive; leave the source out instead")


@dataclass(frozen=True)
class PretrainVocabulary:
    """A WordPiece vocabulary to learn from a share of the documents, or a directory that has one."""

    size: int = 16_000
    sample: float = 0.3
    directory: str | None = None


@dataclass(frozen=True)
class PretrainWord2Vec:
    """Word vectors of the pieces as the first embeddings: how they are learned and scaled."""

    algorithm: typing.Literal["cbow", "skip-gram"] = "cbow"
    tokens: int = 100_000_000
    window: int = 5
    negative: int = 8
    epochs: int = 1
    std: float = 0.08  # held-out loss after 0.4 M tokens: 7.48; at BERT's 0.02 it is 7.86


@dataclass(frozen=True)
class PretrainShape:
    """The shape of the BERT encoder."""

    layers: int = 4
    hidden: int = 256
    heads: int = 4
    intermediate: int = 1024
    positions: int = 512

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):
            raise ConfigError(f"hidden: {self.hidden} does not divide into {self.heads} heads of even width")


@dataclass(frozen=True)
class PretrainPhase:
    """A share of the budget at one sequence length; `batch` counts the sequences of an update, all processes."""

    length: int
    batch: int
    share: float


@dataclass(frozen=True)
class PretrainTraining:
    """Masked language modelling; the budget is `tokens` (exact to repeat) or `minutes` (ends on time)."""

    phases: tuple[PretrainPhase, ...]
    tokens: int | None = None
    minutes: float | None = None
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    beta2: float = 0.98
    clip: float = 1.0
    dropout: float = 0.0
    mask_rate: float = 0.15
    negatives: int | None = None  # pieces drawn for a sampled softmax; null: all of the vocabulary, exact and slower
    accumulate: int = 1
    compile: bool = False
    evaluate_steps: int = 500
    evaluate_sequences: int = 256
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        if (self.tokens is None) == (self.minutes is None):
            raise ConfigError("tokens, minutes: give one of them as the budget, and null for the other")
        total = sum(phase.share for phase in self.phases)
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"phases: their shares add up to {total:g}, not 1")


@dataclass(frozen=True)
class PretrainConfig:
    """`python -m train pretrain`: an encoder from raw text, or from a directory that was packed before."""

    run: str
    training: PretrainTraining
    corpus: str | None = None
    packed: str | None = None
    start: str | None = None  # an encoder to go on from, with its vocabulary: a directory or a name on the model hub
    sources: tuple[PretrainSource, ...] = ()
    exclude: tuple[str, ...] = ()
    heldout: float = 0.002
    seed: int = 0
    vocabulary: PretrainVocabulary = field(default_factory=PretrainVocabulary)
    word2vec: PretrainWord2Vec | None = None
    shape: PretrainShape = field(default_factory=PretrainShape)

    def __post_init__(self) -> None:
        if (self.corpus is None) == (self.packed is None):
            raise ConfigError("corpus, packed: give one of them, raw text or packed shards, and null for the other")
        if self.start and self.word2vec:
            raise ConfigError("start, word2vec: an encoder to go on from has its embeddings; set word2vec=null")
        too_long = [p.length for p in self.training.phases if not 3 < p.length <= self.shape.positions]
        if too_long:
            raise ConfigError(f"training.phases: lengths {too_long} are outside 4 to {self.shape.positions} positions")
