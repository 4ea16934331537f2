"""From a fitted model to an artifact, written only after ONNX Runtime has been held against torch."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification

from marsad import artifact
from marsad.backend import OnnxBackend, available_cores
from marsad.errors import ArtifactError, DataError
from marsad.extractor import Extractor
from marsad.proclitics import Proclitics
from marsad.schema import Document, Entity
from train import card, dataset, standoff
from train.config import RunConfig, to_dict
from train.fit import DONE, ModelBackend, manifest, read_lineage

TOLERANCE = 1e-3  # the parity law: ONNX fp32 logits against torch's, from the same fp16-rounded weights
_GOLDEN = 40  # paragraphs kept with the artifact for `marsad selftest`


def main(config: RunConfig, out: Path | None = None) -> Path:
    """Export the fitted model of a config's run; returns the artifact's directory.

    Raises ArtifactError where the run has no fitted model, or where ONNX and torch differ.
    """
    fitted = config.directory / "fit"
    if not (fitted / DONE).is_file():
        raise ArtifactError(f"{fitted}: holds no finished fit; run `python -m train fit` with this config first")
    _check_same(config, fitted / DONE)
    documents = list(chain.from_iterable(dataset.read_training(config.data)))
    out = out or config.directory / "artifact"
    _check_replaceable(out)
    with tempfile.TemporaryDirectory(dir=config.directory) as scratch:
        building = Path(scratch) / "artifact"
        build(config, fitted / "model", building, documents)
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(building, out)
    print(f"written: {out}")
    return out


def build(config: RunConfig, source: Path, out: Path, documents: Sequence[Document]) -> None:
    """Write the artifact of the fitted model in `source` to the new directory `out`."""
    (out / "onnx").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "proclitics.tsv"):
        shutil.copyfile(source / name, out / name)
    _write_half(source, out)
    model = AutoModelForTokenClassification.from_pretrained(
        out, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    export_onnx(model, out / artifact.GRAPHS["fp32"])
    quantize(out / artifact.GRAPHS["fp32"], out / artifact.GRAPHS["int8"])
    about = manifest(config)
    readers = {
        "torch": Extractor(about, Tokenizer.from_file(str(out / "tokenizer.json")), ModelBackend(model)),
        **{precision: _reader(about, out, precision) for precision in artifact.GRAPHS},
    }
    texts = [document.text for document in documents]
    parity = {
        "onnx_torch_largest_logit_difference": compare_logits(readers["torch"], readers["fp32"], texts),
        "int8_fp32_span_agreement": compare_spans(readers["fp32"], readers["int8"], texts),
    }
    ours = [document.text for document in documents if not document.extra.get(standoff.THEIRS)]
    golden = _golden(readers["fp32"], ours or texts)
    (out / "golden.jsonl").write_text(golden, encoding="utf-8")
    metrics = {"parity": parity, **_crossval(config)}
    lineage = read_lineage(source)
    hashes = {artifact.text_hash(text) for text in texts}
    curve = (metrics.get("crossval") or {}).get("calibration")
    if curve:
        about = replace(about, calibration={name: curve[name] for name in ("slope", "intercept")})
    about = replace(about, metrics=metrics, trained_on=tuple(sorted(hashes.union(lineage["trained_on"]))))
    (out / "README.md").write_text(card.render(config, about, documents, lineage["files"]), encoding="utf-8")
    artifact.write_manifest(out, about)


def export_onnx(model: Any, path: Path) -> None:
    """Write a model's graph for any batch and length, its weights stored in fp16 and computed in fp32."""
    ids = torch.ones(2, 16, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations and tracing notes
        torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={
                "input_ids": {0: "batch", 1: "pieces"},
                "attention_mask": {0: "batch", 1: "pieces"},
                "logits": {0: "batch", 1: "pieces"},
            },
            opset_version=17,
            dynamo=False,
        )
    graph = onnx.load(str(path))
    _store_half(graph)
    onnx.save(graph, str(path))


def quantize(source: Path, out: Path) -> None:
    """Write the dynamic int8 graph: weights per channel, in 7 bits so that CPUs without VNNI do not saturate.

    Attention and the classifier stay in fp32. Of 7,629 spans that fp32 found in text that was not trained on,
    int8 found 98.4 % with all products quantised, 99.3 % without queries, keys and classifier, and 99.7 %
    without attention; three quarters of the blocks' weights are in the products that are left.
    """
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / "full.onnx"
        graph = onnx.load(str(source))
        _load_half(graph)
        onnx.save(graph, str(full))
        quantize_dynamic(
            full,
            out,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[n.name for n in graph.graph.node if "attention/self" in n.name or "classifier" in n.name],
        )
    graph = onnx.load(str(out))
    _store_half(graph)
    onnx.save(graph, str(out))


def compare_logits(one: Extractor, other: Extractor, texts: Sequence[str]) -> float:
    """The largest difference of two readers' word logits over `texts`.

    Raises ArtifactError above the tolerance.
    """
    largest = 0.0
    for text in texts:
        (_, first), (_, second) = one.first_piece_logits(text), other.first_piece_logits(text)
        largest = max(largest, float(np.abs(first - second).max(initial=0.0)))
    if largest > TOLERANCE:
        raise ArtifactError(f"ONNX logits differ from torch's by {largest:.2g}, more than {TOLERANCE:g}: not exported")
    return largest


def compare_spans(one: Extractor, other: Extractor, texts: Sequence[str]) -> float:
    """The share of the spans found by either reader that both find."""
    agreed = total = 0
    for first, second in zip(one.batch(texts), other.batch(texts), strict=True):
        keys = [{(e.start, e.end, e.label) for e in entities} for entities in (first, second)]
        agreed += len(keys[0] & keys[1])
        total += len(keys[0] | keys[1])
    return agreed / total if total else 1.0


def release(source: Path, out: Path) -> Path:
    """Put a verified artifact in the place of the released one."""
    artifact.read_manifest(source)
    _check_replaceable(out)
    if source.resolve() == out.resolve():
        raise DataError(f"{out}: is the artifact to release itself; name another directory")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out)
    print(f"released: {source} -> {out}")
    return out


def _check_same(config: RunConfig, done: Path) -> None:
    """Raise ArtifactError where the fit was one of other data, labels, encoder or settings than the config's."""
    changed = _changed(config, json.loads(done.read_text(encoding="utf-8"))["config"])
    if changed:
        raise ArtifactError(f"{done}: the fit had another {', '.join(changed)}; run `python -m train fit` again")


def _changed(config: RunConfig, stored: dict[str, Any]) -> list[str]:
    """The parts of a stored config that decide a model and are not the config's."""
    wanted = json.loads(json.dumps(to_dict(config)))
    parts = ("encoder", "data", "proclitics", "window", "training")
    return [part for part in parts if stored.get(part) != wanted[part]]


def _check_replaceable(out: Path) -> None:
    """Raise DataError where `out` holds something that an artifact must not replace."""
    if out.exists() and not (out / artifact.MANIFEST).is_file():
        raise DataError(f"{out}: exists and is no artifact; name another directory")


def _reader(about: artifact.Manifest, directory: Path, precision: str) -> Extractor:
    return Extractor(
        about,
        Tokenizer.from_file(str(directory / "tokenizer.json")),
        OnnxBackend(directory / artifact.GRAPHS[precision], available_cores()),
        Proclitics.read(directory / "proclitics.tsv"),
    )


def _write_half(source: Path, out: Path) -> None:
    weights = load_file(source / "model.safetensors")
    half = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    save_file(half, out / "model.safetensors", metadata={"format": "pt"})


def _store_half(graph: onnx.ModelProto) -> None:
    """Store large fp32 weights as fp16 behind a Cast, which ONNX Runtime folds when it loads the graph."""
    casts = []
    for weight in graph.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and np.prod(weight.dims) >= 1024:
            name = weight.name
            half = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight).astype(np.float16), name + ".fp16")
            weight.CopyFrom(half)
            casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.graph.node.insert(0, cast)


def _load_half(graph: onnx.ModelProto) -> None:
    """Undo `_store_half`: the quantiser wants its weights as initialisers."""
    targets = {node.input[0]: node for node in graph.graph.node if node.op_type == "Cast" and ".fp16" in node.input[0]}
    for weight in graph.graph.initializer:
        if weight.name in targets:
            node = targets[weight.name]
            full = onnx.numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(onnx.numpy_helper.from_array(full, node.output[0]))
            graph.graph.node.remove(node)


def _golden(reader: Extractor, texts: Sequence[str]) -> str:
    paragraphs = [line for text in texts for line in text.splitlines() if line.strip()][:_GOLDEN]
    rows = zip(paragraphs, reader.batch(paragraphs), strict=True)
    return "".join(
        json.dumps({"text": text, "entities": [_plain(e) for e in entities]}, ensure_ascii=False) + "\n"
        for text, entities in rows
    )


def _plain(entity: Entity) -> dict[str, Any]:
    return {"start": entity.start, "end": entity.end, "label": entity.label}


def _crossval(config: RunConfig) -> dict[str, Any]:
    """The held-out figures of the same run, where it has them."""
    path = config.directory / "crossval" / "metrics.json"
    if not path.is_file():
        return {}
    figures = json.loads(path.read_text(encoding="utf-8"))
    changed = _changed(config, figures.pop("config"))
    if changed:
        print(f"left out: {path} has the held-out figures of another {', '.join(changed)}")
        return {}
    return {"crossval": figures}
