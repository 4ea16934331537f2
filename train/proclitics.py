"""The table of word-form counts by which an artifact tells attached particles from the words themselves.

Raw text gives the counts; annotated reports correct them for the names that they contain.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from math import ceil, floor
from pathlib import Path

from tqdm import tqdm

from marsad.proclitics import RATIOS, Proclitics, ratio_of, rest_of, skeleton
from marsad.schema import Document
from marsad.words import words_of
from train import tokenizer as tokenization
from train.config import RunConfig
from train.corpus import documents, find_sources

_FORM = re.compile(r"[\u0621-\u063A\u0641-\u064A]+")
_FREQUENT = 30_000  # forms kept for their own sake; 400,000 decided no gold word otherwise
_EXCEPTION = 30  # occurrences from which a form that keeps its first letter is worth an entry


def main(corpus: Path, out: Path) -> Path:
    """Count the word forms of raw text (.txt, .xz, .zst, .gz, .jsonl) and write the table.

    Raises ConfigError where there is no text, DataError where a file cannot be read.
    """
    counts: Counter[str] = Counter()
    fold = tokenization.normalizer().normalize_str
    for path, _ in find_sources(corpus, ()):
        for paragraphs in tqdm(documents(path), desc=path.name, unit=" documents"):
            counts.update(_FORM.findall(fold("\n".join(paragraphs))))
    table = select(counts)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(Proclitics(table), out)
    return out


def find(config: RunConfig, encoder: Path) -> Path:
    """The table that a config names, else the one beside its encoder, else that of the encoder inside."""
    if config.proclitics:
        return Path(config.proclitics)
    beside = encoder / "proclitics.tsv"
    return beside if beside.is_file() else Path("models/encoder/proclitics.tsv")


def write(proclitics: Proclitics, out: Path) -> None:
    """Write a table as `Proclitics.read` reads it."""
    lines = (f"{form}\t{count}\n" for form, count in sorted(proclitics.counts.items()))
    out.write_text("".join(lines), encoding="utf-8")


def select(counts: Counter[str]) -> dict[str, int]:
    """The forms that decide: frequent ones, and those whose first letter looks attached but is not."""
    table = dict(counts.most_common(_FREQUENT))
    table.update((form, counts[form]) for form in _exceptions(counts) if form not in table)
    return table


def _exceptions(counts: Counter[str]) -> Iterable[str]:
    for form, count in counts.items():
        looks_attached = len(form) > 2 and form[0] in RATIOS
        if looks_attached and count >= _EXCEPTION and counts[rest_of(form)] < ratio_of(form) * count:
            yield form


def extend(base: Proclitics, documents: Iterable[Document]) -> Proclitics:
    """The table with the counts raised until it splits the first words of annotated mentions as they were split.

    A form that was annotated both ways goes the commoner way.
    """
    attached: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for document in documents:
        ends = dict(words_of(document.text))
        starts = sorted(ends)
        for span in document.entities:
            start = starts[bisect_right(starts, span.start) - 1]
            letters, positions = skeleton(document.text[start : ends[start]])
            lead = sum(position < span.start - start for position in positions)
            attached.update(letters[taken:] for taken in range(lead) if letters[taken] in RATIOS)  # not the future س
            noun = letters[lead:]
            article = letters[lead - 1 : lead + 1] == "لل"  # لل is ل + ال: what is left starts with the article
            if lead < 2 and len(noun) > 1 and noun[0] in RATIOS and not article:
                whole[noun] += 1
    counts = dict(base.counts)
    before: dict[str, int] | None = None
    while before != counts:  # a raised form may be another's rest: ببيلا is a town, and so is بيلا
        before = dict(counts)
        for form in sorted(attached.keys() | whole.keys()):
            rest, ratio = rest_of(form), ratio_of(form)
            if attached[form] > whole[form]:
                counts[rest] = max(counts.get(rest, 0), ceil(ratio * counts.get(form, 0)), 1)
            elif counts.get(rest, 0) or not counts.get(form, 0):
                counts[form] = max(counts.get(form, 0), floor(counts.get(rest, 0) / ratio) + 1)
    return Proclitics(counts)
