"""How far two readings of the same reports agree, and what was decided where they differ."""

import json
from collections.abc import Sequence
from pathlib import Path

from marsad.errors import DataError
from marsad.schema import LABELS, Document, Span
from train import dataset, metrics, report, standoff

Decisions = dict[tuple[str, int, int], str]


def main(annotations: Path, texts: Path | None = None) -> Path:
    """Compare the two readings in passes/ and write AGREEMENT.md beside them.

    With `texts` the annotations are standoff, and the page quotes nothing. Raises DataError where a
    difference has no reason in passes/decisions.jsonl.
    """
    suffix = standoff.SUFFIX if texts else ".jsonl"
    passes = [_by_id([annotations / "passes" / (name + suffix)], texts) for name in ("first", "second")]
    gold = _by_id(sorted(annotations.glob("*" + suffix)) if texts else [annotations / "gold.jsonl"], texts)
    if passes[0].keys() != passes[1].keys() or not passes[0].keys() <= gold.keys():
        raise DataError(f"{annotations}: the two passes and the gold do not hold the same documents")
    ids = sorted(passes[0])
    decisions = _decisions(annotations / "passes" / "decisions.jsonl")
    first, second, final = ([part[id] for id in ids] for part in (*passes, gold))
    out = annotations / "AGREEMENT.md"
    out.write_text(_render(first, second, final, decisions, quote=texts is None), encoding="utf-8")
    print(f"written: {out}")
    return out


def _by_id(paths: Sequence[Path], texts: Path | None) -> dict[str, Document]:
    return {document.id: document for document in dataset.read_documents(paths, LABELS, texts)}


def _decisions(path: Path) -> Decisions:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(entry["id"], entry["start"], entry["end"]): entry["reason"] for entry in entries}


def _render(
    first: Sequence[Document],
    second: Sequence[Document],
    gold: Sequence[Document],
    decisions: Decisions,
    quote: bool,
) -> str:
    score = metrics.score(first, [document.entities for document in second])
    rows = [["all", *_figures(score.micro), f"{_kappa(first, second, None):.3f}"]]
    for label, figures in score.labels.items():
        rows.append([label, *_figures(figures), f"{_kappa(first, second, label):.3f}"])
    head = ["label", "first reading", "second reading", "same", "strict F1", "Cohen's kappa"]
    differences = [
        line
        for one, other, final in zip(first, second, gold, strict=True)
        for line in _differences(one, other, final, decisions, quote)
    ]
    return "\n".join(
        [
            "# Agreement of the two readings",
            "",
            f"Written by `python -m train agreement` from `passes/`: {len(gold)} reports, read twice under the",
            "guidelines, the second time without sight of the first; the figures are those of the first comparison,",
            "before any change. Strict F1 is over word spans, kappa over the tags of all words. The readers learned",
            "the task from the same text: this measures how far it settles the cases, not how two strangers read.",
            "",
            report.markdown(head, rows),
            "",
            "## Every difference, with its decision",
            "",
            report.markdown(["article", "span", "label", "reading", "in the gold", "why"], differences),
            "",
        ]
    )


def _figures(figures: metrics.Figures) -> list[str]:
    return [str(figures.gold), str(figures.found), str(figures.correct), f"{figures.f1:.3f}"]


def _kappa(first: Sequence[Document], second: Sequence[Document], label: str | None) -> float:
    def tags(documents: Sequence[Document]) -> list[str]:
        every = [tag for d in documents for tag in metrics.word_tags(d.text, d.entities)]
        return every if label is None else [tag if tag[2:] == label else "O" for tag in every]

    return metrics.kappa(tags(first), tags(second))


def _differences(one: Document, other: Document, gold: Document, decisions: Decisions, quote: bool) -> list[list[str]]:
    rows = []
    for span in sorted(set(one.entities) ^ set(other.entities)):
        reason = decisions.get((gold.id, span.start, span.end))
        if reason is None:
            raise DataError(
                f"{gold.id}: {span.label} [{span.start}, {span.end}) is in one reading only; "
                "write down in passes/decisions.jsonl why it is in the gold or not"
            )
        rows.append(_row(gold, span, "first" if span in one.entities else "second", reason, quote))
    return rows


def _row(gold: Document, span: Span, reading: str, reason: str, quote: bool) -> list[str]:
    text = " ".join(gold.text[span.start : span.end].split()) if quote else "(not ours to quote)"
    kept = "yes" if span in gold.entities else "no"
    return [f"{gold.id} [{span.start}, {span.end})", text, span.label, reading, kept, reason]
