"""Spans to word tags (IOB2) and back.

    text   وقال  الجيش     السوري     في  حلب      .
    tags   O     B-ACTOR   I-ACTOR    O   B-PLACE  O

To tags it is strict: a span that does not fit the words is an AlignmentError, never O. Back it is total:
every tag sequence gives spans. A tag cannot say where inside its first word a span starts (after a
proclitic), so `Proclitics` decides that on the way back.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from marsad.errors import AlignmentError
from marsad.proclitics import Proclitics, leading
from marsad.schema import Span
from marsad.words import is_sign

Words = Sequence[tuple[int, int]]


def to_tags(text: str, words: Words, spans: Iterable[Span]) -> list[str]:
    """The IOB2 tag of every word of `text`.

    Raises AlignmentError where spans overlap or do not fit the words.
    """
    spans = sorted(spans)
    for one, other in pairwise(spans):
        if other.start < one.end:
            raise AlignmentError(f"{_name(text, one)} and {_name(text, other)} overlap; spans are flat, keep one")
    tags = ["O"] * len(words)
    firsts = {start: index for index, (start, _) in enumerate(words)}
    lasts = {end: index for index, (_, end) in enumerate(words)}
    for span in spans:
        first, last = _fit(text, words, span, firsts, lasts)
        tags[first] = f"B-{span.label}"
        tags[first + 1 : last + 1] = [f"I-{span.label}"] * (last - first)
    return tags


def to_spans(text: str, words: Words, tags: Sequence[str], proclitics: Proclitics | None = None) -> list[Span]:
    """The spans of a tag sequence: signs at their edges dropped, proclitics of the first word left out.

    An I- tag that continues nothing starts a span, as in the CoNLL evaluation script.
    """
    spans = []
    for first, last, label in runs(tags):
        while first <= last and is_sign(text[slice(*words[first])]):
            first += 1
        while last > first and is_sign(text[slice(*words[last])]):
            last -= 1
        if first <= last:
            start, end = words[first]
            lead = proclitics.length(text[start:end]) if proclitics else 0
            spans.append(Span(start + lead, words[last][1], label))
    return spans


def runs(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """The (first word, last word, label) of every entity in a tag sequence."""
    found: list[tuple[int, int, str]] = []
    label = ""
    for index, tag in enumerate(tags):
        prefix, _, name = tag.partition("-")
        if prefix == "I" and name == label:
            found[-1] = (found[-1][0], index, name)
        elif name:
            found.append((index, index, name))
        label = name
    return found


def _fit(text: str, words: Words, span: Span, firsts: dict[int, int], lasts: dict[int, int]) -> tuple[int, int]:
    """The first and last word of a span that starts at a word or behind its proclitics."""
    last = lasts.get(span.end)
    if last is None or not 0 <= span.start < span.end:
        raise AlignmentError(f"{_name(text, span)} does not end where a word ends")
    start = span.start
    while start > 0 and start not in firsts:
        start -= 1
    first = firsts.get(start, last + 1)
    if first > last or span.start >= words[first][1] or not leading(text[start : span.start]):
        raise AlignmentError(f"{_name(text, span)} starts neither where a word starts nor behind the proclitics of one")
    for index in (first, last):
        word = text[slice(*words[index])]
        if is_sign(word):
            raise AlignmentError(f"{_name(text, span)} has the sign {word!r} at its edge; leave it out")
    return first, last


def _name(text: str, span: Span) -> str:
    return f"{span.label} [{span.start}, {span.end}) {text[span.start : span.end]!r}"
