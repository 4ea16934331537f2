"""The laws on the artifact that ships, models/ner, whatever model it holds."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer

import marsad
from marsad import Document, Extractor, Span
from marsad.artifact import read_manifest
from marsad.codec import to_spans, to_tags
from marsad.encode import Encoding, Window, encode, windows_of
from marsad.proclitics import Proclitics
from tests.laws import assert_offset_law
from tests.texts import ROOT, fuzzed, gold, texts

MODELS = ROOT / "models"
RELEASED = MODELS / "ner"

MIXED = [*(document.text for document in gold()), *(fuzzed(Random(seed)) for seed in range(40))]

#: Reports of nothing, for a sentence to stand between; of many lengths, so that windows cut anywhere.
FILLER = (
    "وكان الطقس باردا والسماء ملبدة بالغيوم.",
    "ولم تتضح بعد تفاصيل أخرى.",
    "ووقف الناس في طوابير طويلة أمام المتاجر التي فتحت أبوابها متأخرة.",
    "وقالت امرأة إنها تبحث عن أقاربها.",
    "وسمع صوت المطر.",
    "وانقطع التيار الكهربائي ثم عاد، فيما واصل الباعة عملهم كالمعتاد على الأرصفة القريبة من الساحة.",
    "وعاد الهدوء تدريجيا.",
)


@pytest.fixture(scope="module")
def released() -> Extractor:
    return marsad.load(RELEASED)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(RELEASED / "tokenizer.json"))


# Contract ---------------------------------------------------------------------------------------


def test_every_file_of_the_artifact_is_in_its_manifest_with_its_hash() -> None:
    files = {
        path.relative_to(RELEASED).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in RELEASED.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert files == read_manifest(RELEASED).files


def test_the_models_stay_small_enough_to_clone() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 150e6


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_no_tracked_file_is_large() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert ROOT / "pyproject.toml" in paths
    assert {path.name: path.stat().st_size for path in paths if path.is_file() and path.stat().st_size >= 60e6} == {}


def test_golden_texts_give_their_spans(released: Extractor) -> None:
    lines = (RELEASED / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    expected = [[Span(**entity) for entity in row["entities"]] for row in rows]
    found = [[Span(e.start, e.end, e.label) for e in entities] for entities in released.batch(r["text"] for r in rows)]
    assert any(expected)
    assert found == expected


@pytest.mark.parametrize("document", gold(), ids=lambda document: document.id)
def test_gold_spans_survive_the_artifacts_own_words_and_pieces(tokenizer: Tokenizer, document: Document) -> None:
    encoding = encode(tokenizer, document.text)
    words = list(zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True))
    tags = to_tags(document.text, words, document.entities)
    table = Proclitics.read(RELEASED / "proclitics.tsv")
    assert to_spans(document.text, words, tags, table) == sorted(document.entities)


# Offset law -------------------------------------------------------------------------------------


@given(texts)
@settings(max_examples=300)
def test_every_entity_is_its_slice_of_the_untouched_text(released: Extractor, text: str) -> None:
    assert_offset_law(text, released(text))


@pytest.mark.slow
def test_a_hundred_thousand_fuzzed_texts_break_no_law(released: Extractor) -> None:
    random = Random(2024)
    sample = [fuzzed(random, parts=8) for _ in range(100_000)]
    found = 0
    for text, entities in zip(sample, released.batch(sample), strict=True):
        assert_offset_law(text, entities)
        found += len(entities)
    assert found > 1000  # the law had something to hold for


# Whole-text law ---------------------------------------------------------------------------------


def filler(count: int, seed: int) -> list[str]:
    random = Random(seed)
    return [random.choice(FILLER) for _ in range(count)]


def placed(sentences: list[str], place: int, sentence: str) -> tuple[str, int]:
    """The sentences with one more at `place`, and where it starts."""
    before = "".join(f"{other} " for other in sentences[:place])
    return before + " ".join([sentence, *sentences[place:]]), len(before)


def strongest(extractor: Extractor) -> tuple[str, Span]:
    """The gold sentence with the entity that the model is surest of between any few sentences, and that entity."""
    surest = (0.0, "", Span(0, 0, ""))
    for sentence in (line for document in gold() for line in document.text.splitlines() if 40 < len(line) < 160):
        scores: dict[Span, list[float]] = {}
        for seed in range(8):
            text, start = placed(filler(4, seed), 2, sentence)
            for entity in extractor(text):
                span = Span(entity.start - start, entity.end - start, entity.label)
                if span.start >= 0 and span.end <= len(sentence):
                    scores.setdefault(span, []).append(entity.score)
        surest = max([surest, *((min(s), sentence, span) for span, s in scores.items() if len(s) == 8)])
    return surest[1], surest[2]


def test_an_entity_is_found_wherever_it_stands_in_a_long_text(released: Extractor) -> None:
    sentence, entity = strongest(released)
    sentences = filler(100, seed=9)
    cases = [placed(sentences, place, sentence) for place in range(len(sentences) + 1)]
    assert len(windows_of(encode(released._tokenizer, cases[0][0]), released.manifest.window, 0)) > 5
    wanted = [Span(start + entity.start, start + entity.end, entity.label) for _, start in cases]
    results = released.batch(text for text, _ in cases)
    hits = [span in [Span(e.start, e.end, e.label) for e in r] for span, r in zip(wanted, results, strict=True)]
    assert sum(hits) >= 0.99 * len(hits), [place for place, hit in enumerate(hits) if not hit]


def test_a_text_that_fits_one_window_is_read_whole(released: Extractor, tokenizer: Tokenizer) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(RELEASED / "onnx/model.onnx"), providers=["CPUExecutionProvider"])
    lines = [line for document in gold() for line in document.text.splitlines() if 0 < len(line) < 300][:20]
    for line in lines:
        ids = np.array([tokenizer.encode(line).ids])
        assert ids.shape[1] <= released.manifest.window + 2
        (logits,) = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        encoding, ours = released.first_piece_logits(line)
        np.testing.assert_allclose(ours, logits[0, encoding.first + 1], atol=1e-4)


PEAK = """
import sys
from pathlib import Path
import marsad
from tests.texts import gold

text = "\\n".join(document.text for document in gold())
text = (text * (int(sys.argv[2]) // len(text) + 1))[: int(sys.argv[2])]
entities = marsad.load(sys.argv[1], threads=2)(text)
status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory at the fork, too
print(len(entities), status.partition("VmHWM:")[2].split()[0])
"""


def peak(length: int) -> tuple[int, int]:
    """The entities of a text of `length` characters, and the peak memory of reading it, in MiB."""
    command = [sys.executable, "-c", PEAK, str(RELEASED), str(length)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found, memory = done.stdout.split()
    return int(found), int(memory) // 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_million_characters_are_read_in_the_memory_of_few() -> None:
    (few, before), (many, after) = peak(100_000), peak(1_000_000)
    assert many == pytest.approx(10 * few, rel=0.05)
    assert after - before < 100  # seen: 49, half of them the offsets of its words


# Invariance law ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_threads_order_and_batch_mates_change_nothing(precision: str) -> None:
    single = marsad.load(RELEASED, precision=precision, threads=1)
    expected = {text: single(text) for text in MIXED}
    shuffled = Random(3).sample(MIXED, len(MIXED))
    for threads in (1, 2, 4):
        extractor = marsad.load(RELEASED, precision=precision, threads=threads)
        assert dict(zip(shuffled, extractor.batch(shuffled), strict=True)) == expected


def test_threads_of_the_caller_may_share_an_extractor(released: Extractor) -> None:
    expected = [released(text) for text in MIXED]
    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(released, MIXED)) == expected


# Parity law -------------------------------------------------------------------------------------


def test_torch_and_onnx_give_the_same_logits(released: Extractor) -> None:
    torch = marsad.load(RELEASED, device="torch")
    largest = 0.0
    for text in MIXED[:15]:
        (_, ours), (_, theirs) = released.first_piece_logits(text), torch.first_piece_logits(text)
        largest = max(largest, float(np.abs(ours - theirs).max(initial=0)))
    assert 0 < largest < 1e-3  # two runtimes are never equal to the bit; 0 would mean that one was read twice


@pytest.fixture(scope="module")
def pipeline() -> Callable[[str], list[dict[str, Any]]]:
    import torch
    import transformers

    read: Callable[[str], list[dict[str, Any]]] = transformers.pipeline(
        "token-classification", str(RELEASED), dtype=torch.float32, aggregation_strategy="none", ignore_labels=[]
    )
    return read


def slice_of(encoding: Encoding, window: Window) -> tuple[int, int]:
    """The raw characters that a window reads; it is cut at words."""
    first, last = np.searchsorted(encoding.first, [window.begin, window.end])
    return int(encoding.starts[first]), int(encoding.ends[last - 1])


@pytest.mark.parametrize("document", gold(), ids=lambda document: document.id)
def test_a_transformers_pipeline_gives_the_labels_that_we_have_before_constraints(
    released: Extractor, pipeline: Callable[[str], list[dict[str, Any]]], document: Document
) -> None:
    encoding, logits = released.first_piece_logits(document.text)
    ours = [released.manifest.tags[tag] for tag in logits.argmax(axis=1)]
    theirs = []
    for window in windows_of(encoding, released.manifest.window, released.manifest.overlap):
        begin, end = slice_of(encoding, window)
        pieces = pipeline(document.text[begin:end])
        assert len(pieces) == window.end - window.begin
        for word in range(window.word_begin, window.word_end):
            start, stop = encoding.starts[word] - begin, encoding.ends[word] - begin
            theirs.append(next(piece["entity"] for piece in pieces if start <= piece["start"] < stop))
    assert theirs == ours
    assert set(ours) > {"O"}
