"""An encoder against the published ones: fine-tune on ANERcorp's CAMeL training split, score its test split.

ANERcorp (Benajiba et al. 2007) in the split of CAMeL Lab (Obeid et al. 2020); published figures are seqeval's
default mode over the set's own tokens, so both modes are given, over those tokens.
"""

import json
import shutil
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from transformers import AutoConfig, AutoModel

from marsad.errors import DataError
from marsad.schema import Document, Span
from train import dataset, encoder, fit, report
from train import tokenizer as tokenization
from train.config import RunConfig

Tags = list[list[str]]


def main(
    config: RunConfig, test: Path | None = None, untrained: bool = False, readme: Path | None = None
) -> dict[str, Any]:
    """Fit and score once a seed, with the encoder of the config or the same architecture untrained.

    Without a test split, the last tenth of the training sentences is held out and scored. Writes benchmark.json
    (or untrained.json) into the run's directory, and the table into `readme` where one is given.
    """
    documents, sentences, gold = _read(config, test)
    directory = config.directory / "benchmark"
    with tempfile.TemporaryDirectory() as scratch:
        chosen = make_untrained(config.encoder, Path(scratch)) if untrained else config.encoder
        scores = [_score(config, chosen, documents, sentences, gold, seed, directory) for seed in config.crossval.seeds]
    scored = test.name if test else "held-out tenth of the training split"
    figures = {"encoder": config.encoder, "untrained": untrained, "scored": scored, "seeds": scores}
    name = "untrained" if untrained else "benchmark"
    out = config.directory / f"{name}.json"
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(table(scores))
    print(f"written: {out}")
    if readme:
        report.write_between(readme, name, table(scores))
    return figures


def _read(config: RunConfig, test: Path | None) -> tuple[list[Document], list[Document], Tags]:
    """The sentences to train on, those to score, and the tags of the latter as they stand in their file."""
    documents, _ = dataset.read_training(config.data)
    if test:
        sentences, gold = dataset.read_documents([test], config.data.labels), read_tags(test)
    else:
        cut = len(documents) * 9 // 10
        gold = [tags for path in config.data.train for tags in read_tags(Path(path))][cut:]
        documents, sentences = documents[:cut], documents[cut:]
    if [len(tags) for tags in gold] != [len(sentence.text.split(" ")) for sentence in sentences]:
        raise DataError(f"{test or config.data.train[-1]}: a token holds a space; one token a line is expected")
    return documents, sentences, gold


def read_tags(path: Path) -> Tags:
    """The tags of each sentence of a CoNLL file, as they stand there."""
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return [[line.split("\t")[1] for line in block.splitlines()] for block in blocks]


def token_tags(text: str, spans: Iterable[Span]) -> list[str]:
    """The IOB2 tags of the space-separated tokens that spans touch; a token belongs to the first span in it."""
    tokens = text.split(" ")
    starts = list(accumulate((len(token) + 1 for token in tokens), initial=0))
    tags = ["O"] * len(tokens)
    for span in sorted(spans):
        touched = (i for i in range(len(tokens)) if starts[i] < span.end and span.start < starts[i + 1] - 1)
        free = [index for index in touched if tags[index] == "O"]
        for index in free:
            tags[index] = f"{'B' if index == free[0] else 'I'}-{span.label}"
    return tags


def make_untrained(source: str, directory: Path) -> str:
    """The encoder's architecture and text handling with random weights, in `directory`."""
    origin = encoder.resolve(source)
    AutoModel.from_config(AutoConfig.from_pretrained(origin)).save_pretrained(directory)
    tokenization.save(encoder.load_tokenizer(origin), directory, 512)
    return str(directory)


def table(scores: Sequence[dict[str, Any]]) -> str:
    """Mean ± sd over the seeds, micro and per type, as a Markdown table."""
    names = list(scores[0]["default"])
    rows = [[name, *(_spread([s[mode][name] for s in scores]) for mode in ("default", "strict"))] for name in names]
    return report.markdown(["F1", "seqeval default", "seqeval strict IOB2"], rows)


def _score(
    config: RunConfig,
    chosen: str,
    documents: Sequence[Document],
    sentences: Sequence[Document],
    gold: Tags,
    seed: int,
    directory: Path,
) -> dict[str, Any]:
    scratch = directory / f"seed{seed}"
    reader = fit.fit(replace(config, encoder=chosen), documents, (), scratch, seed)
    found = reader.extractor.batch(sentence.text for sentence in sentences)
    predicted = [token_tags(s.text, spans) for s, spans in zip(sentences, found, strict=True)]
    shutil.rmtree(scratch)
    modes = {"default": {}, "strict": {"mode": "strict", "scheme": IOB2}}
    return {"seed": seed, **{name: _f1(gold, predicted, options) for name, options in modes.items()}}


def _f1(gold: Tags, predicted: Tags, options: dict[str, Any]) -> dict[str, float]:
    entries = classification_report(gold, predicted, output_dict=True, zero_division=0, **options)
    labels = [name for name in entries if not name.endswith("avg")]
    return {name: float(entries[name]["f1-score"]) for name in ("micro avg", *labels)}


def _spread(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.2f} ± {100 * spread:.2f}"
