"""The model card of an artifact, written from the run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marsad.artifact import Manifest
from marsad.schema import Document
from marsad.words import words_of
from train import crossval
from train.config import RunConfig

_LICENCES = {
    "annotations/gold.jsonl": "annotations CC BY 4.0; texts of their publishers, quoted for research",
    "annotations/authored.jsonl": "texts and annotations by the project, CC BY 4.0",
    "annotations/extended/train.standoff.jsonl": "annotations CC BY 4.0; texts of their publishers, not included",
    "anercorp_camel/train.conll": "ANERcorp, training part of the CAMeL Lab split, CC BY-SA 4.0",
    "aqmar/dev.conll": "AQMAR, CC BY-SA 3.0",
    "aqmar/test.conll": "AQMAR, CC BY-SA 3.0",
    "caraner/all.conll": "kacst-ncdaai/caraner, no licence stated",
    "wojood_sample_flat/train.conll": "SinaLab/ArabicNER, public sample of Wojood",
}


def render(config: RunConfig, about: Manifest, documents: Sequence[Document], files: Sequence[str]) -> str:
    """The card: what the model reads, what it was trained on, how it did on held-out reports, its limits."""
    words = sum(len(words_of(document.text)) for document in documents)
    counts = {label: sum(s.label == label for d in documents for s in d.entities) for label in about.labels}
    parity = about.metrics["parity"]
    sources = "\n".join(f"- `{path}` ({_licence(path)})" for path in files)
    return f"""---
language: ar
pipeline_tag: token-classification
library_name: transformers
---

# {about.name}

Named entities of Arabic conflict news: {", ".join(about.labels)}. Written by marsad {about.marsad_version}.

- Encoder: `{_shown(about.encoder["origin"])}`{_encoder_note(about.encoder["origin"])}{_first(config)}
- Reads windows of {about.window} word pieces that share about {about.overlap}; texts of any length.
- Trained last on {len(documents)} reports, {words:,} words, entities: {_join(counts)}.
- All that it was trained on:

{sources}

## Held-out results

{_results(about.metrics)}

## Exactness

- ONNX Runtime against torch on the training texts, same fp16-rounded weights: largest difference of a logit
  {parity["onnx_torch_largest_logit_difference"]:.1e}.
- int8 against fp32 on the same texts: {parity["int8_fp32_span_agreement"]:.1%} of the spans are the same.
  `marsad selftest` repeats the comparison on your machine.

## Scores

{_scores(about)}

## Limits

Written for news prose in Modern Standard Arabic about armed conflict. Dialect, poetry and other subjects were
not measured. The scheme annotates parties and places by function, see the annotation guidelines of the project.

## Use

    import marsad
    extractor = marsad.load("{about.name}")  # this directory
    extractor("أعلنت وزارة الدفاع السورية مقتل 15 عنصرا في ريف حلب يوم الأربعاء.")

    from transformers import pipeline
    pipeline("token-classification", "{about.name}", dtype="float32")  # first-piece labels, without constraints
"""


def _licence(path: str) -> str:
    return next((licence for name, licence in _LICENCES.items() if path.endswith(name)), "your own data")


def _shown(origin: str) -> str:
    """A place on one machine says nothing elsewhere; its name may."""
    return Path(origin).name if Path(origin).is_absolute() else origin


def _first(config: RunConfig) -> str:
    return f"; fine-tuned before by `{config.encoder}`" if config.encoder.endswith(".yaml") else ""


def _encoder_note(encoder: str) -> str:
    path = Path(encoder) / "training.json"
    if not path.is_file():
        return ""
    training = json.loads(path.read_text(encoding="utf-8"))
    tokens = training.get("tokens")
    return f", pretrained by the project on {tokens / 1e6:.1f} million word pieces of raw text" if tokens else ""


def _results(metrics: Any) -> str:
    if "crossval" not in metrics:
        return "None: this run was not cross-validated, so no figure is stated."
    return crossval.render(metrics["crossval"])


def _scores(about: Manifest) -> str:
    if about.calibration is None:
        return """An entity's score is the least probability that the model gives to a tag of its words. It is not
calibrated."""
    curve = about.metrics["crossval"]["calibration"]
    return f"""An entity's score is the chance that it is right: the least probability that the model gives to a tag
of its words, through a logistic curve learned on the held-out reports. Expected calibration error there (10 bins, each
fold judged by a curve of the others): {curve["error_after"]:.3f}; without the curve {curve["error_before"]:.3f}."""


def _join(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {label}" for label, count in counts.items())
