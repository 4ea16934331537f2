"""An artifact without a trained model: a graph that looks each word up in a table of tags."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import marsad
from marsad.artifact import GRAPHS, Manifest, write_manifest
from marsad.schema import LABELS, Span, tags_of
from train import tokenizer as tokenization

#: What the stub finds unless told otherwise.
WORDS: dict[str, str] = {
    "سوريا": "B-PLACE",
    "حلب": "B-PLACE",
    "وحلب": "B-PLACE",
    "الجيش": "B-ACTOR",
    "السوري": "I-ACTOR",
    "أمس": "B-DATE",
}

GOLDEN: tuple[tuple[str, tuple[Span, ...]], ...] = (
    ("دخل الجيش السوري حلب أمس.", (Span(4, 16, "ACTOR"), Span(17, 20, "PLACE"), Span(21, 24, "DATE"))),
    ("لا شيء هنا", ()),
    ("سوريا وحلب", (Span(0, 5, "PLACE"), Span(7, 10, "PLACE"))),
)

_LETTERS = [chr(code) for code in (*range(0x621, 0x63B), *range(0x641, 0x64B))]


def build(
    directory: Path,
    words: Mapping[str, str] = WORDS,
    int8_words: Mapping[str, str] | None = None,
    golden: Sequence[tuple[str, Sequence[Span]]] = GOLDEN,
    window: int = 16,
    overlap: int = 4,
) -> Path:
    """Write an artifact whose graph gives each of `words` its tag, whatever stands around it, and all else O.

    Each word is one piece of the vocabulary; all else falls into letters or [UNK], and a longer word that
    begins with one of `words` is O. The int8 graph has `int8_words` where they are given. `window` and
    `overlap` are counted in pieces, as in the manifest.
    """
    (directory / "onnx").mkdir(parents=True)
    pieces = [*tokenization.SPECIAL_TOKENS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    pieces += dict.fromkeys(word for word in (*words, *(int8_words or ())) if word not in pieces)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenization.save(tokenization.build(vocabulary), directory, window + 2)
    _write_graph(directory / GRAPHS["fp32"], vocabulary, words)
    _write_graph(directory / GRAPHS["int8"], vocabulary, words if int8_words is None else int8_words)
    tags = tags_of(LABELS)
    config = {"model_type": "bert", "vocab_size": len(pieces), "id2label": dict(enumerate(tags))}
    _write(directory, "config.json", json.dumps(config))
    (directory / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    _write(directory, "proclitics.tsv", "".join(f"{word}\t10\n" for word in words if word != "وحلب"))
    _write(directory, "golden.jsonl", "".join(_golden_line(text, spans) for text, spans in golden))
    _write(directory, "README.md", "# A stub for tests\n")
    about = Manifest(
        name="stub",
        labels=LABELS,
        encoder={"name": "stub", "origin": "tests/stub.py"},
        window=window,
        overlap=overlap,
        marsad_version=marsad.__version__,
        metrics={"crossval": {"f1": 0.5}},
    )
    write_manifest(directory, about)
    return directory


def _write_graph(path: Path, vocabulary: Mapping[str, int], words: Mapping[str, str]) -> None:
    """logits = table[input_ids], with O on top where the next piece continues the word."""
    tags = tags_of(LABELS)
    table = np.zeros((len(vocabulary), len(tags)), np.float32)
    table[:, 0] = 5.0
    for word, tag in words.items():
        table[vocabulary[word]] = 0.0
        table[vocabulary[word], tags.index(tag)] = 9.0
    longer = np.zeros((len(vocabulary), len(tags)), np.float32)  # what a piece adds to the one before it
    longer[[piece.startswith("##") for piece in vocabulary], 0] = 20.0
    constants = {
        "table": table,
        "longer": longer,
        "one": np.array([1]),
        "end": np.array([np.iinfo(np.int64).max]),
        "pads": np.array([0, 0, 0, 0, 1, 0]),
        "last": np.array([-1]),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["own"]),
        helper.make_node("Gather", ["longer", "input_ids"], ["added"]),
        helper.make_node("Slice", ["added", "one", "end", "one"], ["next"]),
        helper.make_node("Pad", ["next", "pads"], ["shifted"]),
        helper.make_node("Add", ["own", "shifted"], ["sum"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["sum", "column"], ["logits"]),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "pieces"])
        for name in ("input_ids", "attention_mask")
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "pieces", len(tags)])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "stub", ids, [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _golden_line(text: str, spans: Sequence[Span]) -> str:
    entities = [{"start": span.start, "end": span.end, "label": span.label} for span in spans]
    return json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n"


def _write(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(text, encoding="utf-8")
