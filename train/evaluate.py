"""Score an artifact on annotated reports that it was not trained on, and show its errors in their text."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import marsad
from marsad import artifact
from marsad.errors import DataError
from marsad.formats import html
from marsad.schema import Document, Span
from train import dataset, metrics, report
from train.config import RunConfig

#: The kinds of error, and what each means.
KINDS = {
    "missed": "in the gold, and nothing was found there",
    "spurious": "found, and nothing is there in the gold",
    "boundary": "the right label over other words",
    "label": "the right words, or some of them, under another label",
}


def main(config: RunConfig, data: Sequence[str], model: Path | None, out: Path | None = None) -> dict[str, Any]:
    """Evaluate an artifact (the run's own unless given) on annotated files; writes metrics.json and errors.html.

    Raises DataError where nothing is left after the documents that the model was trained on are set aside.
    """
    directory = model or config.directory / "artifact"
    extractor = marsad.load(directory)
    documents = unseen(
        dataset.read_documents(data, extractor.manifest.labels, config.data.texts), extractor.manifest.trained_on
    )
    found = list(extractor.batch(document.text for document in documents))
    score = metrics.score(documents, found)
    out = out or config.directory / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    kinds = Counter(kind for d, spans in zip(documents, found, strict=True) for kind, _, _ in errors(d, spans))
    figures = {"model": str(directory), "data": list(data), **score.as_dict(), "errors": dict(kinds)}
    (out / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (out / "errors.html").write_text(error_page(documents, found), encoding="utf-8")
    names = ["O", *extractor.manifest.labels]
    report.confusion(confusion_matrix(documents, found, names), names, out / "confusion.png")
    print(table(score))
    print(f"written: {out}/metrics.json, errors.html, confusion.png")
    return figures


def unseen(documents: Sequence[Document], trained_on: Iterable[str]) -> list[Document]:
    """The documents whose text was not trained on; the others are named on the terminal and left out."""
    known = set(trained_on)
    kept = [document for document in documents if artifact.text_hash(document.text) not in known]
    if len(kept) < len(documents):
        print(
            f"left out: {len(documents) - len(kept)} of {len(documents)} documents, since the model was trained on them"
        )
    if not kept:
        raise DataError("no document is left to evaluate on; held-out figures of training reports come from crossval")
    return kept


def table(score: metrics.Score) -> str:
    """Precision, recall and F1 per label as a Markdown table."""
    rows = [(name, figures) for name, figures in score.labels.items()]
    low, high = score.interval()
    body = [
        [name, f"{f.precision:.3f}", f"{f.recall:.3f}", f"{f.f1:.3f}", str(f.gold)]
        for name, f in [("micro", score.micro), *rows, ("character-exact", score.exact)]
    ]
    head = ["label", "precision", "recall", "F1", "gold"]
    return report.markdown(head, body) + f"\n\n95 % interval of the micro F1 over documents: {low:.3f} to {high:.3f}"


def errors(document: Document, found: Iterable[Span]) -> list[tuple[str, Span | None, Span | None]]:
    """Every difference of a document as (kind, gold span, found span), in text order.

    A wrong span is paired with the gold span that it shares most characters with.
    """
    gold_words = {_words(document.text, span): span for span in document.entities}
    found_words = {_words(document.text, span): span for span in found}
    missing = [span for key, span in gold_words.items() if key not in found_words]
    differences: list[tuple[str, Span | None, Span | None]] = []
    for span in (span for key, span in found_words.items() if key not in gold_words):
        gold = max(missing, key=lambda other: _shared(span, other), default=None)
        if gold is None or not _shared(span, gold):
            differences.append(("spurious", None, span))
            continue
        missing.remove(gold)
        differences.append(("boundary" if gold.label == span.label else "label", gold, span))
    differences += [("missed", span, None) for span in missing]
    return sorted(differences, key=lambda entry: (entry[1] or entry[2] or Span(0, 0, "")).start)


def confusion_matrix(documents: Sequence[Document], found: Sequence[Iterable[Span]], names: Sequence[str]) -> Any:
    """Counts of words by gold label (rows) and found label (columns)."""
    matrix = np.zeros((len(names), len(names)), np.int64)
    index = {name: position for position, name in enumerate(names)}
    for document, spans in zip(documents, found, strict=True):
        tags = (metrics.word_tags(document.text, part) for part in (document.entities, spans))
        for gold, predicted in zip(*tags, strict=True):
            matrix[index[gold.partition("-")[2] or "O"], index[predicted.partition("-")[2] or "O"]] += 1
    return matrix


def error_page(documents: Sequence[Document], found: Sequence[Iterable[Span]]) -> str:
    """Every document with its errors highlighted by kind, right to left, gold against found."""
    tones = dict(zip(KINDS, html.TONES, strict=True))
    legend = html.legend({f"{kind}: {meaning}": tones[kind] for kind, meaning in KINDS.items()})
    sections = []
    for document, spans in zip(documents, found, strict=True):
        differences = errors(document, spans)
        marks = [mark for difference in differences for mark in _marks(*difference, tones)]
        heading = f"{document.id}: {len(differences)} errors"
        sections.append(html.section(heading, html.render_text(document.text, marks)))
    return html.page("marsad: gold against found", legend + "".join(sections))


def _marks(kind: str, gold: Span | None, found: Span | None, tones: dict[str, str]) -> list[html.Mark]:
    title = f"{kind}: gold {gold.label if gold else 'nothing'}, found {found.label if found else 'nothing'}"
    sides = (("gold", gold), ("found", found))
    return [html.Mark(s.start, s.end, f"{side} {s.label}", tones[kind], title) for side, s in sides if s]


def _words(text: str, span: Span) -> tuple[int, int, str]:
    (key,) = metrics.word_spans(text, [span])
    return key


def _shared(one: Span, other: Span) -> int:
    return max(0, min(one.end, other.end) - max(one.start, other.start))
