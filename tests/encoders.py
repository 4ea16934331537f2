"""Encoders in AraBERT's layout with random weights, and reports simple enough to be learned in seconds."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import torch
from transformers import BertConfig, BertForMaskedLM

from marsad.formats import jsonl
from marsad.schema import Document, Span
from train import tokenizer as tokenization
from train.config import CrossvalSection, DataSection, RunConfig, TrainingSection, WindowSection

ROOT = Path(__file__).resolve().parent.parent
ARTICLES = ROOT / "data" / "articles"
PROCLITICS = ROOT / "models" / "encoder" / "proclitics.tsv"

# The machine's cores are shared; and sums in one order are the same to the last bit from run to run.
torch.set_num_threads(1)

_ACTORS = ("الجيش السوري", "هيئة تحرير الشام", "المعارضة السورية", "حزب الله", "روسيا")
_PLACES = ("حلب", "إدلب", "ريف دمشق", "خان طومان", "سراقب")
_COUNTS = ("15 عنصرا", "ثلاثة مدنيين", "44 قتيلا", "20 مقاتلا")
_DATES = ("يوم الأربعاء", "يوم الجمعة", "عام 2016", "أمس")


def arabert_like(directory: Path, layers: int, hidden: int, heads: int, intermediate: int, vocabulary: int) -> Path:
    """Write the files of a model such as aubmindlab/bert-base-arabertv02: config, weights, vocab.txt."""
    config = BertConfig(
        architectures=["BertForMaskedLM"],
        attention_probs_dropout_prob=0.1,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        hidden_size=hidden,
        intermediate_size=intermediate,
        max_position_embeddings=512,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        pad_token_id=0,
        type_vocab_size=2,
        vocab_size=vocabulary,
    )
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(pieces(vocabulary)) + "\n", encoding="utf-8")
    return directory


def tiny_twin(directory: Path) -> Path:
    """AraBERT's layout at 2 layers x 32."""
    return arabert_like(directory, layers=2, hidden=32, heads=2, intermediate=64, vocabulary=1000)


@cache
def pieces(size: int) -> list[str]:
    """A vocabulary of the gold articles: the special tokens first, made up to `size` with unused pieces."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(ARTICLES.glob("*.txt")))
    found = tokenization.train(texts, size).get_vocab()
    ordered = sorted(found, key=lambda piece: found[piece])
    return ordered + [f"[unused{number}]" for number in range(size - len(ordered))]


def reports(count: int, sentences: int = 16) -> list[Document]:
    """Reports of one sentence a line, in which a mention is told by its words alone."""
    return [_report(number, sentences) for number in range(count)]


def _report(number: int, sentences: int) -> Document:
    text, spans = "", []
    for line in range(number * sentences, (number + 1) * sentences):
        for part, label in _sentence(line):
            if label:
                spans.append(Span(len(text), len(text) + len(part), label))
            text += part
    return Document(f"report{number}", text, tuple(spans))


def _sentence(line: int) -> Sequence[tuple[str, str]]:
    random = Random(f"line {line}")  # the draws of small numbers are alike
    actor, place, count, date = (random.choice(mentions) for mentions in (_ACTORS, _PLACES, _COUNTS, _DATES))
    return (
        ("أعلن ", ""), (actor, "ACTOR"), (" مقتل ", ""), (count, "COUNT"), (" في ", ""), (place, "PLACE"),
        (" ", ""), (date, "DATE"), (".\n", ""),
    )  # fmt: skip


def write_reports(path: Path, documents: Sequence[Document]) -> Path:
    """Write annotated documents as JSONL of the gold's shape."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        jsonl.write(documents, stream)
    return path


def run_config(directory: Path, encoder: Path, documents: Sequence[Document], epochs: int = 2) -> RunConfig:
    """A config whose data and runs lie in `directory`."""
    return RunConfig(
        name="tiny",
        encoder=str(encoder),
        # so large a part is read without a fault only by a model that has learned it all
        data=DataSection(train=(str(write_reports(directory / "train.jsonl", documents)),), dev_share=0.3),
        proclitics=str(PROCLITICS),
        window=WindowSection(size=48, overlap=12),
        training=TrainingSection(epochs=epochs, batch_size=2, learning_rate=1e-2),
        crossval=CrossvalSection(seeds=(1,)),
        runs=str(directory / "runs"),
    )
