"""Strict span scores: a found entity counts where label, first and last word are those of the gold.

This is seqeval's `mode="strict", scheme=IOB2` over the words of the guidelines, plus a character-exact
variant (proclitics left out right) and a percentile bootstrap over articles (Efron 1979) for the interval.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from marsad.codec import runs, to_tags
from marsad.schema import Document, Span
from marsad.words import words_of

_RESAMPLES = 2000


@dataclass(frozen=True)
class Figures:
    """Precision, recall and F1 with the counts they come from; 0 where nothing was there to find or found."""

    correct: int
    found: int
    gold: int

    @property
    def precision(self) -> float:
        """Share of the found entities that are right."""
        return self.correct / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold entities that were found."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.correct / (self.found + self.gold) if self.correct else 0.0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.correct + other.correct, self.found + other.found, self.gold + other.gold)

    def as_dict(self) -> dict[str, float]:
        """All of it, for a JSON file."""
        return {**asdict(self), "precision": self.precision, "recall": self.recall, "f1": self.f1}


@dataclass(frozen=True)
class Score:
    """The scores of a set of documents."""

    labels: dict[str, Figures]
    documents: list[Figures]  # micro, one a document
    exact: Figures  # micro, character for character

    @property
    def micro(self) -> Figures:
        """All labels and documents together."""
        return sum(self.documents, Figures(0, 0, 0))

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """The 95 % interval of the micro F1, resampling whole documents."""
        counts = np.array([[d.correct, d.found + d.gold] for d in self.documents])
        draws = np.random.default_rng(seed).integers(0, len(counts), (_RESAMPLES, len(counts)))
        correct, total = counts[draws].sum(axis=1).T
        low, high = np.percentile(2 * correct / np.maximum(total, 1), [2.5, 97.5])
        return float(low), float(high)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for a JSON file."""
        return {
            "micro": self.micro.as_dict(),
            "micro_interval_95": self.interval(),
            "labels": {label: figures.as_dict() for label, figures in self.labels.items()},
            "character_exact": self.exact.as_dict(),
            "documents": len(self.documents),
        }


def score(documents: Sequence[Document], found: Sequence[Iterable[Span]]) -> Score:
    """Score the spans found in documents against their own."""
    labels: dict[str, Figures] = {}
    each: list[Figures] = []
    exact = Figures(0, 0, 0)
    for document, spans in zip(documents, found, strict=True):
        spans = list(spans)
        gold_words, found_words = (
            word_spans(document.text, document.entities),
            word_spans(document.text, spans),
        )
        each.append(_figures(gold_words, found_words))
        for label in {span[2] for span in gold_words | found_words}:
            labels[label] = labels.get(label, Figures(0, 0, 0)) + _figures(
                {span for span in gold_words if span[2] == label},
                {span for span in found_words if span[2] == label},
            )
        exact += _figures(
            {(s.start, s.end, s.label) for s in document.entities}, {(s.start, s.end, s.label) for s in spans}
        )
    return Score(dict(sorted(labels.items())), each, exact)


def word_spans(text: str, spans: Iterable[Span]) -> set[tuple[int, int, str]]:
    """Spans as (first word, last word, label)."""
    return set(runs(word_tags(text, spans)))


def word_tags(text: str, spans: Iterable[Span]) -> list[str]:
    """The IOB2 tag of every word of a text."""
    return to_tags(text, words_of(text), spans)


def kappa(one: Sequence[str], other: Sequence[str]) -> float:
    """Cohen's kappa of two sequences of labels of equal length (Cohen 1960); 1 where both agree on all."""
    if len(one) != len(other) or not one:
        raise ValueError("kappa needs two sequences of the same length, at least 1")
    agreed = sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
    first, second = Counter(one), Counter(other)
    chance = sum(first[label] * second[label] for label in first) / len(one) ** 2
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def _figures(gold: set[tuple[int, int, str]], found: set[tuple[int, int, str]]) -> Figures:
    return Figures(len(gold & found), len(found), len(gold))
