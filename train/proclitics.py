"""The table of word-form counts by which an artifact tells attached particles from the words themselves."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from marsad.proclitics import RATIOS, ratio_of, rest_of
from train import tokenizer as tokenization
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
    lines = (f"{form}\t{count}\n" for form, count in sorted(table.items()))
    out.write_text("".join(lines), encoding="utf-8")
    return out


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
