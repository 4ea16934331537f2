"""Hold reports out, train on the rest, read those held out; with several seeds.

The development paragraphs that choose the epoch come from the training reports of the fold. Every figure is
computed through marsad.Extractor and held against seqeval (strict, IOB2).
"""

import json
import shutil
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from tqdm import tqdm

from marsad.errors import ConfigError
from marsad.proclitics import Proclitics
from marsad.schema import Document, Entity, Span
from train import calibration, dataset, fit, metrics, proclitics, report
from train.baseline import Baseline
from train.config import RunConfig, to_dict

Spans = Sequence[Sequence[Span]]
Found = list[list[Entity]]

_NOTHING = metrics.Figures(0, 0, 0)


def main(config: RunConfig, readme: Path | None = None) -> dict[str, Any]:
    """Cross-validate a config over its training documents; a killed run goes on with the next fold.

    Writes crossval/metrics.json and crossval/table.md, and the table into `readme` where one is given.
    """
    documents, extra = dataset.read_training(config.data)
    folds = assign(documents, config.crossval.folds)
    if len(folds) < 2:
        raise ConfigError(f"crossval needs at least two folds, the {len(documents)} documents make {len(folds)}")
    directory = config.directory / "crossval"
    (directory / "folds").mkdir(parents=True, exist_ok=True)
    start = fit.start_of(config)
    found = [_read_held_out(config, documents, extra, folds, seed) for seed in config.crossval.seeds]
    baseline = _read_by_baseline(documents, extra, folds, Proclitics.read(proclitics.find(config, start)))
    figures = {
        "config": to_dict(config),
        "encoder": fit.encoder_of(config),
        "first": config.encoder if config.encoder.endswith(".yaml") else None,
        "documents": len(documents),
        "folds": len(folds),
        "seeds": list(config.crossval.seeds),
        "model": _summary(documents, found, config.data.labels),
        "baseline": _summary(documents, [baseline], config.data.labels),
        "calibration": _calibration(documents, found, folds),
    }
    table = render(figures)
    (directory / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (directory / "table.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    if readme:
        report.write_between(readme, config.name, table)
    shutil.rmtree(directory / "folds", ignore_errors=True)  # last: what fails before can go on from the folds
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
    first = f", fine-tuned first by `{figures['first']}`" if figures.get("first") else ""
    note = (
        f"Strict span F1 on {figures['documents']} reports, each read by models that were trained without it "
        f"(encoder: `{figures['encoder']}`{first}; mean ± sd over {len(figures['seeds'])} seeds; 95 % interval of the "
        f"micro figure over reports {low:.3f} to {high:.3f}). Baseline: gazetteer and patterns from the same folds."
    )
    return report.markdown(["label", "model", "baseline"], rows) + "\n\n" + note


def check_against_seqeval(documents: Sequence[Document], found: Spans, ours: float) -> None:
    """Raise AssertionError unless seqeval's strict IOB2 micro F1 is ours."""
    gold = [metrics.word_tags(d.text, d.entities) for d in documents]
    predicted = [metrics.word_tags(d.text, spans) for d, spans in zip(documents, found, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns of labels without support
        theirs = f1_score(gold, predicted, mode="strict", scheme=IOB2)
    if abs(theirs - ours) > 1e-9:
        raise AssertionError(f"strict F1 is {ours:.6f} here and {theirs:.6f} in seqeval")


def assign(documents: Sequence[Document], folds: int | None) -> list[list[int]]:
    """The documents of each fold by position: one each, or whole outlets, the largest first to the smallest fold."""
    if folds is None:
        return [[index] for index in range(len(documents))]
    outlets: dict[str, list[int]] = {}
    for index, document in enumerate(documents):
        outlets.setdefault(str(document.extra.get("outlet") or document.id), []).append(index)
    parts: list[list[int]] = [[] for _ in range(min(folds, len(outlets)))]
    for members in sorted(outlets.values(), key=len, reverse=True):
        min(parts, key=len).extend(members)
    return [sorted(part) for part in parts]


def _read_held_out(
    config: RunConfig,
    documents: Sequence[Document],
    extra: Sequence[Document],
    folds: Sequence[Sequence[int]],
    seed: int,
) -> Found:
    """The entities found in every document by a model that was trained without its fold."""
    found: Found = [[] for _ in documents]
    for number, fold in enumerate(tqdm(folds, desc=f"crossval, seed {seed}", unit="fold")):
        scratch = config.directory / "crossval" / "folds" / f"seed{seed}-{number}"
        held_out = [documents[index] for index in fold]
        read = _fold(config, [*_others(documents, fold), *extra], held_out, seed, scratch)
        for index, entities in zip(fold, read, strict=True):
            found[index] = entities
    return found


def _fold(
    config: RunConfig, training: Sequence[Document], held_out: Sequence[Document], seed: int, scratch: Path
) -> Found:
    """Train and read one fold, unless an interrupted run has left its result."""
    key = fit.fingerprint(config, training, held_out, fit.start_of(config), seed)
    done = scratch.with_suffix(".json")
    if done.is_file():
        stored = json.loads(done.read_text(encoding="utf-8"))
        if stored["fingerprint"] == key:
            return [[Entity(*entity) for entity in entities] for entities in stored["entities"]]
    shutil.rmtree(scratch, ignore_errors=True)  # a killed fold's checkpoints hold no optimizer to go on with
    extractor = fit.fit(config, training, (), scratch, seed, quiet=True).extractor
    read = [extractor(document.text) for document in held_out]
    shutil.rmtree(scratch)
    entry = {"fingerprint": key, "entities": [list(map(astuple, entities)) for entities in read]}
    done.write_text(json.dumps(entry), encoding="utf-8")
    return read


def _read_by_baseline(
    documents: Sequence[Document], extra: Sequence[Document], folds: Sequence[Sequence[int]], proclitics: Proclitics
) -> Spans:
    found: list[list[Span]] = [[] for _ in documents]
    for fold in folds:
        baseline = Baseline.learn([*_others(documents, fold), *extra], proclitics)
        for index in fold:
            found[index] = baseline(documents[index].text)
    return found


def _others(documents: Sequence[Document], fold: Sequence[int]) -> list[Document]:
    return [document for index, document in enumerate(documents) if index not in fold]


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


def _calibration(
    documents: Sequence[Document], runs: Sequence[Found], folds: Sequence[Sequence[int]]
) -> dict[str, float] | None:
    """How the scores of the held-out entities, of all seeds, stand to being right."""
    fold_of = {index: number for number, fold in enumerate(folds) for index in fold}
    rows = []
    for index, document in enumerate(documents):
        gold = metrics.word_spans(document.text, document.entities)
        for found in runs:
            for entity in found[index]:
                rows.append((entity.score, metrics.word_spans(document.text, [entity]) <= gold, fold_of[index]))
    return calibration.summary(*map(list, zip(*rows, strict=True))) if rows else None


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0}
