"""Where the noun starts in a word that carries attached particles: the و ف ب ك ل that spans leave out.

    وبريف -> بريف -> ريف      ولاية stays ولاية      للجيش -> لجيش (the span's text is the raw slice)

One letter at a time is taken off while the rest is known to be the commoner word, by a table of word-form
counts (the frequency test of light stemmers). The future س stands before verbs alone, never before a
mention, so it is not taken off.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from marsad.errors import ArtifactError

_CONJUNCTIONS = "وف"
_PREPOSITIONS = "بكل"
_ARTICLE = "ال"
_PERSIAN = {"ی": "ي", "ک": "ك"}


# How much commoner, per letter: ف and ك are rarely attached to a noun and often begin one (فيصل, كمال);
# chosen on the gold articles, where all 93 first words with such a letter come out right.
RATIOS = {"و": 0.3, "ف": 3.0, "ب": 0.3, "ك": 3.0, "ل": 0.5}
_SHORT_RATIO = 2.0  # where two letters are left (وحي is و + حي, ولي is a word)


@dataclass(frozen=True, slots=True)
class Proclitics:
    """Counts of word forms in raw text."""

    counts: dict[str, int]

    @classmethod
    def read(cls, path: str | Path) -> "Proclitics":
        """Read a table of `form TAB count` lines; raises ArtifactError with file and line."""
        counts = {}
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
            form, _, count = line.partition("\t")
            if not count.isdecimal():
                raise ArtifactError(f"{path}:{number}: expected a word form, a tab and a count, found {line!r}")
            counts[form] = int(count)
        return cls(counts)

    def length(self, word: str) -> int:
        """The number of leading characters of the raw `word` that are proclitics, joiners included."""
        letters, positions = skeleton(word)
        taken = self._taken(letters)
        return positions[taken] if taken else 0

    def _taken(self, letters: str) -> int:
        taken = 0
        for allowed in (_CONJUNCTIONS, _PREPOSITIONS):
            rest = letters[taken:]
            if len(rest) > 1 and rest[0] in allowed and self._is_attached(rest):
                taken += 1
        return taken

    def _is_attached(self, form: str) -> bool:
        rest = form[1:]
        if rest[0].isdecimal() or rest[0].isascii():
            return True
        if form[0] in _CONJUNCTIONS and rest[0] in _PREPOSITIONS and rest[1:2].isdecimal():  # وب4
            return True
        rest = rest_of(form)
        whole, part = self.counts.get(form, 0), self.counts.get(rest, 0)
        if whole == part == 0:  # an unknown name: few begin with و, and ال shows that a particle precedes
            return len(form) > 3 and (form[0] == "و" or rest.startswith(_ARTICLE))
        return part > 0 and part >= ratio_of(form) * whole


def rest_of(form: str) -> str:
    """What a form is without its first letter; in لل (ل + ال) the article's alef is not written."""
    return _ARTICLE + form[2:] if form.startswith("لل") else form[1:]


def ratio_of(form: str) -> float:
    """How often the rest must occur, for each `form`, for the first letter to count as attached."""
    ratio = RATIOS[form[0]]
    return max(ratio, _SHORT_RATIO) if len(form) == 3 else ratio


def leading(text: str) -> bool:
    """Whether `text`, the part of a word before a span, is nothing but proclitics."""
    letters, _ = skeleton(text)
    if letters and letters[0] in _CONJUNCTIONS:
        letters = letters[1:]
    return letters in ("", *_PREPOSITIONS, "س")


def skeleton(word: str) -> tuple[str, list[int]]:
    """The letters and digits of a word as the table has them, each with its raw position.

    Marks, tatweel and joiners are left out, Persian ya and kaf are the Arabic ones.
    """
    letters, positions = [], []
    for position, character in enumerate(word):
        if character == "ـ":
            continue
        for folded in unicodedata.normalize("NFKC", character):
            if folded.isalnum():
                letters.append(_PERSIAN.get(folded, folded))
                positions.append(position)
    return "".join(letters), positions
