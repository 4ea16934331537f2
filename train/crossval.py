"""Leave one report out, train on the rest, read the one left out; with several seeds.

The development paragraphs that choose the epoch come from the training reports of the fold. Every figure is
computed through marsad.Extractor and held against seqeval (strict, IOB2).
"""

import json
import shutil
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from tqdm import tqdm

from marsad.codec import to_tags
from marsad.errors import ConfigError
from marsad.proclitics import Proclitics
from marsad.schema import Document, Span
from marsad.words import words_of
from train import dataset, encoder, fit, metrics, report
from train.baseline import Baseline
from train.config import RunConfig

Spans = list[list[Span]]

_NOTHING = metrics.Figures(0, 0, 0)


def main(config: RunConfig, readme: Path | None = None) -> dict[str, Any]:
    """Cross-validate a config over its training documents; a killed run goes on with the next fold.

    Writes crossval/metrics.json and crossval/table.md, and the table into `readme` where one is given.
    """
    documents = dataset.read_documents(config.data.train, config.data.labels)
    if len(documents) < 2:
        raise ConfigError(f"crossval needs at least two documents, data.train has {len(documents)}")
    directory = config.directory / "crossval"
    found = {seed: _read_held_out(config, documents, seed, directory) for seed in config.crossval.seeds}
    proclitics = Proclitics.read(config.proclitics)
    baseline = [Baseline.learn(_others(documents, i), proclitics)(d.text) for i, d in enumerate(documents)]
    figures = {
        "encoder": config.encoder,
        "documents": len(documents),
        "seeds": list(config.crossval.seeds),
        "model": _summary(documents, list(found.values()), config.data.labels),
        "baseline": _summary(documents, [baseline], config.data.labels),
    }
    table = render(figures)
    (directory / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (directory / "table.md").write_text(table + "\n", encoding="utf-8")
    shutil.rmtree(directory / "folds", ignore_errors=True)
    print(table)
    if readme:
        report.write_between(readme, "crossval", table)
    return figures


def render(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table with a line that says what they are."""
    model, baseline = figures["model"], figures["baseline"]
    names = ["micro", *model["labels"], "character-exact"]

    def cell(part: dict[str, Any], name: str) -> str:
        entry = part[name] if name in part else part["labels"][name]
        spread = f" ± {entry['sd']:.3f}" if len(figures["seeds"]) > 1 and part is model else ""
        return f"{entry['mean']:.3f}{spread}"

    rows = [[name, cell(model, name), cell(baseline, name)] for name in names]
    low, high = model["interval_95"]
    note = (
        f"Strict span F1 on {figures['documents']} reports, each read by models that were trained without it "
        f"(encoder: `{figures['encoder']}`; mean ± sd over {len(figures['seeds'])} seeds; 95 % interval of the "
        f"micro figure over reports {low:.3f} to {high:.3f}). Baseline: gazetteer and patterns from the same folds."
    )
    return report.markdown(["label", "model", "baseline"], rows) + "\n\n" + note


def check_against_seqeval(documents: Sequence[Document], found: Spans, ours: float) -> None:
    """Raise AssertionError unless seqeval's strict IOB2 micro F1 is ours."""
    gold = [to_tags(d.text, words_of(d.text), d.entities) for d in documents]
    predicted = [to_tags(d.text, words_of(d.text), spans) for d, spans in zip(documents, found, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns of labels without support
        theirs = f1_score(gold, predicted, mode="strict", scheme=IOB2)
    if abs(theirs - ours) > 1e-9:
        raise AssertionError(f"strict F1 is {ours:.6f} here and {theirs:.6f} in seqeval")


def _read_held_out(config: RunConfig, documents: Sequence[Document], seed: int, directory: Path) -> Spans:
    folds = tqdm(range(len(documents)), desc=f"crossval, seed {seed}", unit="fold")
    return [_fold(config, documents, index, seed, directory / "folds") for index in folds]


def _fold(config: RunConfig, documents: Sequence[Document], index: int, seed: int, directory: Path) -> list[Span]:
    """The spans found in one document by a model trained on the others."""
    others = _others(documents, index)
    key = fit.fingerprint(config, others, (), encoder.resolve(config.encoder), seed)
    done = directory / f"seed{seed}-{index}.json"
    if done.is_file():
        stored = json.loads(done.read_text(encoding="utf-8"))
        if stored["fingerprint"] == key:
            return [Span(*span) for span in stored["spans"]]
    scratch = directory / f"seed{seed}-{index}"
    reader = fit.fit(config, others, (), scratch, seed, quiet=True)
    spans = [Span(e.start, e.end, e.label) for e in reader.extractor(documents[index].text)]
    shutil.rmtree(scratch)
    entry = {"fingerprint": key, "spans": [[s.start, s.end, s.label] for s in spans]}
    done.write_text(json.dumps(entry), encoding="utf-8")
    return spans


def _others(documents: Sequence[Document], index: int) -> list[Document]:
    return [document for position, document in enumerate(documents) if position != index]


def _summary(documents: Sequence[Document], runs: Sequence[Spans], labels: Sequence[str]) -> dict[str, Any]:
    scores = [metrics.score(documents, found) for found in runs]
    for found, score in zip(runs, scores, strict=True):
        check_against_seqeval(documents, found, score.micro.f1)
    reports = [sum(runs_of_one, _NOTHING) for runs_of_one in zip(*(s.documents for s in scores), strict=True)]
    pooled = metrics.Score({}, reports, _NOTHING)
    return {
        "micro": _spread([score.micro.f1 for score in scores]),
        "labels": {label: _spread([score.labels.get(label, _NOTHING).f1 for score in scores]) for label in labels},
        "character-exact": _spread([score.exact.f1 for score in scores]),
        "interval_95": pooled.interval(),
        "documents": [[figures.as_dict() for figures in score.documents] for score in scores],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0}
