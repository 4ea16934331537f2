"""The figure to beat: a gazetteer and a few number and date patterns, made from training reports alone.

A mention is looked up, longest first, among the mentions of the training reports (the commonest label of a
surface wins); numerals with the noun that follows are COUNT; a word seen inside training DATEs and rarely
elsewhere starts or continues a DATE.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from marsad.codec import runs, to_spans, to_tags
from marsad.proclitics import Proclitics
from marsad.schema import Document, Span
from marsad.words import is_sign, words_of
from train import tokenizer as tokenization

_LONGEST = 8  # words; the longest mention of the gold articles has seven
_DATE_SHARE = 0.8  # of a word's occurrences that lie in DATEs, for it to mark one


@dataclass
class Baseline:
    """A tagger learned by counting."""

    proclitics: Proclitics
    names: dict[tuple[str, ...], str] = field(default_factory=dict)
    numerals: set[str] = field(default_factory=set)
    date_words: set[str] = field(default_factory=set)

    @classmethod
    def learn(cls, documents: Iterable[Document], proclitics: Proclitics) -> "Baseline":
        """Collect names, numeral words and date words from annotated documents."""
        baseline = cls(proclitics)
        labels: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        inside: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        for document in documents:
            forms, starts = baseline._forms(document.text)
            seen.update(forms)
            for first, last, label in runs(to_tags(document.text, starts, document.entities)):
                labels[tuple(forms[first : last + 1])][label] += 1
                if label == "DATE":
                    inside.update(forms[first : last + 1])
                elif label == "COUNT":
                    baseline.numerals.add(forms[first])
        baseline.names = {name: counts.most_common(1)[0][0] for name, counts in labels.items()}
        baseline.date_words = {form for form, count in inside.items() if count >= _DATE_SHARE * seen[form]}
        return baseline

    def __call__(self, text: str) -> list[Span]:
        """The spans of a text."""
        forms, words = self._forms(text)
        tags = ["O"] * len(words)
        index = 0
        while index < len(words):
            length, label = self._match(forms, index)
            for offset in range(length):
                tags[index + offset] = f"{'I' if offset else 'B'}-{label}"
            index += length or 1
        return to_spans(text, words, tags, self.proclitics)

    def _match(self, forms: Sequence[str], index: int) -> tuple[int, str]:
        for length in range(min(_LONGEST, len(forms) - index), 0, -1):
            label = self.names.get(tuple(forms[index : index + length]))
            if label:
                return length, label
        length = 0
        while index + length < len(forms) and forms[index + length] in self.date_words:
            length += 1
        if length:
            return length, "DATE"
        if forms[index][:1].isdecimal() or forms[index] in self.numerals:
            follows = index + 1 < len(forms) and not is_sign(forms[index + 1])
            return 2 if follows else 1, "COUNT"
        return 0, ""

    def _forms(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        """The normalised words of a text without their proclitics, and their offsets."""
        words = words_of(text)
        fold = tokenization.normalizer().normalize_str
        return [fold(text[s + self.proclitics.length(text[s:e]) : e]) for s, e in words], words
