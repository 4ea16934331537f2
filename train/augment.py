"""More reports from the same ones: mentions exchanged for others of their label, so that names are no sure clue."""

import random
from collections.abc import Sequence
from dataclasses import replace

from marsad.schema import Document, Span


def substitute(documents: Sequence[Document], rate: float, seed: int) -> list[Document]:
    """A copy of each document in which mentions, at `rate`, are others of their label from the same documents."""
    pool: dict[str, list[str]] = {}
    for document in documents:
        for span in document.entities:
            mention = document.text[span.start : span.end]
            # behind ل, a mention that starts with ل may have lost the alef of its article
            if not (mention.startswith("ل") and document.text.endswith("ل", 0, span.start)):
                pool.setdefault(span.label, []).append(mention)
    chooser = random.Random(seed)
    return [_substituted(document, pool, rate, chooser) for document in documents]


def _substituted(document: Document, pool: dict[str, list[str]], rate: float, chooser: random.Random) -> Document:
    text, end, spans = "", 0, []
    for span in sorted(document.entities):
        text += document.text[end : span.start]
        mention = document.text[span.start : span.end]
        if span.label in pool and chooser.random() < rate:
            mention = chooser.choice(pool[span.label])
            if text.endswith("ل") and mention.startswith("ال"):  # a particle: behind it the article loses its alef
                mention = mention[1:]
        spans.append(Span(len(text), len(text) + len(mention), span.label))
        text, end = text + mention, span.end
    return replace(document, text=text + document.text[end:], entities=tuple(spans))
