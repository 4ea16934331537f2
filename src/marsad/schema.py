"""The label scheme and the records that cross the library: Span, Entity, Document."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: The labels of the project's own scheme, append only; an artifact's manifest names its own.
LABELS: tuple[str, ...] = ("ACTOR", "PLACE", "COUNT", "DATE")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch `text[start:end]` of a raw text, in Unicode code points."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True, order=True)
class Entity(Span):
    """A span that a model found, its text, and the model's score in [0, 1]."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Document:
    """A raw text under an id, with annotated spans in text order and whatever keys its record had besides."""

    id: str
    text: str
    entities: tuple[Span, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def tags_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The IOB2 tags of a label set, O first: the order of a model's output columns."""
    return ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))
