"""Which shape of encoder to pretrain: F1 after equal, small compute against words per second.

    python -m benchmarks.shapes --packed runs/pretrain-4x256/packed --ner anercorp/train.conll --minutes 6

Each shape is pretrained for the same minutes on the same shards by configs/pretrain-4x256.yaml, fine-tuned on
nine tenths of ANERcorp's training split by configs/anercorp.yaml, scored on the last tenth, and timed from
text to entities in ONNX Runtime (fp32) on one thread. The test split is not touched.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForTokenClassification

from marsad.backend import OnnxBackend
from marsad.extractor import Extractor
from marsad.words import words_of
from train import benchmark, export, fit, pretrain, report
from train.config import CrossvalSection, PretrainConfig, PretrainShape, RunConfig, load
from train.corpus import read_packing

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the shapes and write their table into the encoder's card."""
    options = _options(argv)
    rows = [measure(shape, options) for shape in options.shapes]
    table = report.markdown(["shape", "block parameters", "pieces seen", "held-out loss", "F1", "words/s"], rows)
    print(table)
    if options.readme:
        report.write_between(options.readme, "shapes", table)


def measure(name: str, options: argparse.Namespace) -> list[str]:
    """The row of one shape, such as 6x384."""
    layers, hidden = map(int, name.split("x"))
    shape = PretrainShape(layers, hidden, heads=hidden // 64, intermediate=4 * hidden)
    directory = options.runs / name
    encoder = pretrain.main(_pretraining(shape, directory, options))
    summary = json.loads((encoder / "training.json").read_text(encoding="utf-8"))
    config = _fine_tuning(encoder, directory, options)
    scores = benchmark.main(config)["seeds"]
    f1 = sum(score["default"]["micro avg"] for score in scores) / len(scores)
    return [
        name.replace("x", " × "),
        f"{layers * (4 * hidden**2 + 2 * hidden * shape.intermediate) / 1e6:.1f} M",
        f"{summary['tokens'] / 1e6:.2f} M",
        f"{min(summary['heldout_loss'].values()):.2f}",
        f"{100 * f1:.1f}",
        f"{words_per_second(encoder, config):,.0f}",
    ]


def words_per_second(encoder: Path, config: RunConfig) -> float:
    """Words of the five articles a second, from text to entities, the best of five turns."""
    shape = AutoConfig.from_pretrained(encoder)
    shape.num_labels = 2 * len(config.data.labels) + 1
    model = AutoModelForTokenClassification.from_config(shape, attn_implementation="eager").eval()
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "data" / "articles").glob("*.txt"))]
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        export.export_onnx(model, graph)
        tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
        reader = Extractor(fit.manifest(config), tokenizer, OnnxBackend(graph, 1))
    best = min(_seconds(reader, texts) for _ in range(5))
    return sum(len(words_of(text)) for text in texts) / best


def _seconds(reader: Extractor, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    for _ in reader.batch(texts):
        pass
    return time.perf_counter() - start


def _pretraining(shape: PretrainShape, directory: Path, options: argparse.Namespace) -> PretrainConfig:
    config = load(ROOT / "configs" / "pretrain-4x256.yaml", PretrainConfig)
    assert config.word2vec
    return replace(
        config,
        run=str(directory),
        corpus=None,
        sources=(),
        packed=str(options.packed),
        shape=shape,
        word2vec=replace(config.word2vec, tokens=min(options.vectors, read_packing(options.packed).tokens["train"])),
        training=replace(
            config.training,
            tokens=None,
            minutes=options.minutes,
            phases=(replace(config.training.phases[0], share=1.0),),
        ),
    )


def _fine_tuning(encoder: Path, directory: Path, options: argparse.Namespace) -> RunConfig:
    config = load(ROOT / "configs" / "anercorp.yaml", RunConfig)
    return replace(
        config,
        encoder=str(encoder),
        runs=str(directory),
        data=replace(config.data, train=(str(options.ner),)),
        training=replace(config.training, epochs=options.epochs),
        crossval=CrossvalSection(seeds=(1,)),
    )


def _options(argv: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--packed", type=Path, required=True, help="packed shards of a pretraining run")
    parser.add_argument("--ner", type=Path, required=True, help="ANERcorp's training split, as .conll")
    parser.add_argument("--shapes", nargs="+", default=["4x256", "6x384", "12x384", "6x512"], metavar="LAYERSxHIDDEN")
    parser.add_argument("--minutes", type=float, default=6.0, help="of pretraining, for each shape")
    parser.add_argument("--vectors", type=int, default=10_000_000, help="pieces that the word vectors see")
    parser.add_argument("--epochs", type=int, default=2, help="of fine-tuning")
    parser.add_argument("--runs", type=Path, default=Path("runs/shapes"))
    parser.add_argument("--readme", type=Path, help="write the table between this file's shapes marks too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
