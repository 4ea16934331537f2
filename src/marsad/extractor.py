"""The only way from text to entities: the figures reported are computed through it.

text -> encode -> windows -> backend -> logits of first pieces -> constrained IOB2 -> spans -> entities
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from marsad import artifact
from marsad.artifact import Manifest
from marsad.backend import Backend, Logits, open_backend
from marsad.codec import to_spans
from marsad.encode import Encoding, Window, encode, windows_of
from marsad.errors import DataError
from marsad.proclitics import Proclitics
from marsad.schema import Entity

_AHEAD = 64  # documents whose windows are queued before the first is waited for: keeps every thread busy


@dataclass(frozen=True, slots=True)
class _Pending:
    text: str
    encoding: Encoding
    windows: list[Window]
    futures: "deque[Future[Logits]]"


class Extractor:
    """Reads entities from raw Arabic text with one artifact; safe to call from several threads."""

    def __init__(
        self, manifest: Manifest, tokenizer: Tokenizer, backend: Backend, proclitics: Proclitics | None = None
    ) -> None:
        self.manifest = manifest
        tokenizer.encode_special_tokens = True  # a "[SEP]" written in a text is text
        self._tokenizer = tokenizer
        self._backend = backend
        self._proclitics = proclitics
        vocabulary = tokenizer.get_vocab()
        self._cls, self._sep = vocabulary["[CLS]"], vocabulary["[SEP]"]

    def __call__(self, text: str) -> list[Entity]:
        """The entities of a text of any length, in text order.

        Raises DataError where `text` is not a str of Unicode scalar values.
        """
        return self._finish(self._start(text))

    def batch(self, texts: Iterable[str]) -> Iterator[list[Entity]]:
        """The entities of each text, in order, read as a stream.

        Raises DataError at the first text that cannot be read; `batch_or_error` goes on.
        """
        for result in self.batch_or_error(texts):
            if isinstance(result, DataError):
                raise result
            yield result

    def batch_or_error(self, texts: Iterable[str]) -> Iterator[list[Entity] | DataError]:
        """As `batch`, with the DataError itself in the place of a text that cannot be read."""
        pending: deque[_Pending | DataError] = deque()
        stream = iter(texts)
        while True:
            for text in islice(stream, _AHEAD - len(pending)):
                try:
                    pending.append(self._start(text))
                except DataError as error:
                    pending.append(error)
            if not pending:
                return
            head = pending.popleft()
            yield head if isinstance(head, DataError) else self._finish(head)

    def first_piece_logits(self, text: str) -> tuple[Encoding, Logits]:
        """The encoding of a text and the logits of each of its words, (words, tags), before constraints."""
        pending = self._start(text)
        return pending.encoding, self._word_logits(pending)

    def _start(self, text: str) -> _Pending:
        check_text(text)
        encoding = encode(self._tokenizer, text)
        windows = windows_of(encoding, self.manifest.window, self.manifest.overlap)
        # a long document queues its windows as they are used, so that memory stays that of a few
        pending = _Pending(text, encoding, windows, deque())
        for window in windows[:_AHEAD]:
            pending.futures.append(self._submit(encoding, window))
        return pending

    def _submit(self, encoding: Encoding, window: Window) -> "Future[Logits]":
        pieces = encoding.ids[window.begin : window.end]
        return self._backend.submit(np.concatenate(([self._cls], pieces, [self._sep]), dtype=np.int32))

    def _word_logits(self, pending: _Pending) -> Logits:
        encoding, windows, futures = pending.encoding, pending.windows, pending.futures
        logits = np.zeros((len(encoding.first), len(self.manifest.tags)), np.float32)
        for index, window in enumerate(windows):
            words = slice(window.word_begin, window.word_end)
            logits[words] = futures.popleft().result()[encoding.first[words] - window.begin + 1]
            if index + _AHEAD < len(windows):
                futures.append(self._submit(encoding, windows[index + _AHEAD]))
        return logits

    def _finish(self, pending: _Pending) -> list[Entity]:
        encoding, text = pending.encoding, pending.text
        logits = self._word_logits(pending)
        path, probabilities = decode(logits, self.manifest.tags)
        words = list(zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True))
        spans = to_spans(text, words, [self.manifest.tags[tag] for tag in path], self._proclitics)
        firsts = np.searchsorted(encoding.ends, [span.start for span in spans], side="right")
        lasts = np.searchsorted(encoding.starts, [span.end for span in spans])
        lowest = np.array([probabilities[a:b].min() for a, b in zip(firsts, lasts, strict=True)], np.float64)
        scores = calibrated(lowest, self.manifest.calibration).tolist()
        return [
            Entity(
                start=span.start,
                end=span.end,
                label=span.label,
                text=text[span.start : span.end],
                score=score,
            )
            for span, score in zip(spans, scores, strict=True)
        ]


def load(
    model: str | Path | None = None,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    threads: int | None = None,
    verify: bool = True,
) -> Extractor:
    """Open an artifact: `model`, else $MARSAD_MODEL, else ./models/ner.

    device: cpu, cuda or torch; precision: fp32 or int8; threads: all cores unless given.
    Raises ArtifactError where the directory is missing, incomplete or changed.
    """
    directory = artifact.find(model)
    manifest = artifact.read_manifest(directory, verify)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    backend = open_backend(directory, device, precision, threads)
    return Extractor(manifest, tokenizer, backend, Proclitics.read(directory / "proclitics.tsv"))


def check_text(text: object) -> None:
    """Raise DataError unless `text` is a str that can be written as UTF-8."""
    if not isinstance(text, str):
        raise DataError(f"expected a text, found {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start} is a lone surrogate ({text[error.start]!a}), no Unicode text; "
            "decode the source again as UTF-8 or UTF-16"
        ) from None


def calibrated(lowest: NDArray[np.float64], curve: Mapping[str, float] | None) -> NDArray[np.float64]:
    """Entities' scores from the least probability of their words' tags, by the artifact's curve where it has one."""
    if curve is None:
        return lowest
    return np.asarray(1 / (1 + np.exp(-curve["slope"] * log_odds(lowest) - curve["intercept"])))


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of p / (1 - p), finite at 0 and 1."""
    inside = probabilities.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


def decode(logits: Logits, tags: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The likeliest tag sequence whose every I-X follows B-X or I-X, and the probability of each tag.

    logits: (words, tags). Ties go to the tag named first, at the last word where they differ, so the result
    is a function of the logits alone.
    """
    # a row's normaliser changes no choice, but its rounding would break ties: paths are weighed without it
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf)
    allowed = _allowed(tags)
    path = shifted.argmax(axis=1)
    # the best sequence without constraints is the best one with them wherever it breaks none
    if len(path) and not (allowed[path[:-1], path[1:]].all() and allowed[0, path[0]]):
        path = _viterbi(shifted, allowed)
    weights = np.exp(shifted)
    probabilities = weights[np.arange(len(path)), path] / weights.sum(axis=1)
    return path, probabilities.astype(np.float32)


def _allowed(tags: Sequence[str]) -> NDArray[np.bool_]:
    """allowed[a, b]: whether tag b may follow tag a; the start of a text counts as O, tag 0."""
    return np.array([[not b.startswith("I-") or (a[1:] == b[1:] and a != "O") for b in tags] for a in tags], np.bool_)


def _viterbi(scores: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
    penalty = np.where(allowed, 0.0, -np.inf)
    best = scores[0] + penalty[0]
    back = np.zeros(scores.shape, np.intp)
    for word in range(1, len(scores)):
        paths = best[:, None] + penalty
        back[word] = paths.argmax(axis=0)
        best = paths.max(axis=0) + scores[word]
    path = np.zeros(len(scores), np.intp)
    path[-1] = best.argmax()
    for word in range(len(scores) - 1, 0, -1):
        path[word - 1] = back[word, path[word]]
    return path
