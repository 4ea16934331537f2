"""Texts for tests: the gold articles, and strings made to break offsets."""

import json
from functools import cache
from pathlib import Path
from random import Random

from hypothesis import strategies as st

from marsad import Document, Span
from marsad.words import words_of

ROOT = Path(__file__).parents[1]

PLAIN = ("سوريا", "حلب", "وحلب", "الجيش", "السوري", "أمس", "قال", "بريف", "للجيش", "15", "3.6", ".", "،", "(", '"')

NASTY = (
    "حَلَبٌ",  # tashkeel
    "سـوريـا",  # tatweel
    "\u064b",  # marks with nothing to stand on
    "\u0301\u0344\u0670",
    "\u200d\u200c\ufeff",  # joiners, byte order mark
    "\u200f\u202b\u202c\u2066\u2069",  # bidi
    "ﺣﻠﺐ",  # presentation forms
    "ﻻ",
    "ﷲﷺ",
    "ﹰ",  # folds to a space and a mark
    "١٥",  # Arabic-Indic and Persian digits
    "٣٫٦",
    "بـ۴",
    "👨\u200d👩\u200d👧",
    "🇸🇾☀\ufe0f",
    "\r\n",
    "\0",
    "\x1c",  # white space to Python alone
    "\x85\u2028\xa0",  # white space to Unicode
    "\ufffd\uffff\ue000",  # replacement, noncharacter, private use
    "𝟙𞺁ﬃ½¨",  # compatibility characters, some of which fold to several
    "e\u0301\u1100\u1161",  # compose
    "=\u0338",
    "[CLS][UNK]",  # written out by a prankster
    "ا" * 120,  # longer than WordPiece reads
)

_characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
_parts = st.one_of(st.sampled_from(PLAIN), st.sampled_from(NASTY), st.sampled_from([" ", " ", "\n"]), _characters)

#: Any text that Unicode allows, rich in what is hard.
texts = st.lists(_parts, max_size=20).map("".join)


@cache
def gold() -> tuple[Document, ...]:
    """The adjudicated articles."""
    lines = (ROOT / "annotations/gold.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return tuple(Document(row["id"], row["text"], tuple(Span(**e) for e in row["entities"])) for row in rows)


def fuzzed(random: Random, parts: int = 12) -> str:
    """Up to `parts` scraps of gold text and nasty strings in a row, fast enough for a hundred thousand."""
    return "".join(random.choice(_SCRAPERS)(random) for _ in range(random.randrange(parts + 1)))


def _scrap(random: Random) -> str:
    text = random.choice(gold()).text
    begin = random.randrange(len(text))
    return text[begin : begin + random.randrange(30)]


def _nasty(random: Random) -> str:
    return random.choice(NASTY)


def _any(random: Random) -> str:
    code = random.randrange(0x11_0000 if random.random() < 0.3 else 0x3000)
    return "" if 0xD800 <= code < 0xE000 else chr(code)


_SCRAPERS = (_scrap, _scrap, _nasty, _any)


def first_word(document: Document, span: Span) -> tuple[int, int]:
    """The word that a span starts in."""
    return next(word for word in words_of(document.text) if word[0] <= span.start < word[1])
