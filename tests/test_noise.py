"""What writers vary without meaning to: under each noise the released model finds the same words of the articles."""

from collections.abc import Callable, Iterator
from random import Random

import pytest

import marsad
from marsad import Extractor
from tests.texts import ROOT, gold

Noise = Callable[[str, str, Random], str]  # a character and the one before it to what is written for it

_LETTERS = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"


def tashkeel(character: str, _: str, random: Random) -> str:
    return character + random.choice("\u064e\u064f\u0650\u0652") if character in _LETTERS else character


def tatweel(character: str, before: str, random: Random) -> str:
    joins = character in _LETTERS and before in "بتثجحخسشصضطظعغفقكلمنهي" and before
    return "ـ" + character if joins and random.random() < 0.3 else character


def arabic_indic_digits(character: str, _before: str, _random: Random) -> str:
    return chr(0x0660 + int(character)) if character in "0123456789" else character


def persian_digits(character: str, _before: str, _random: Random) -> str:
    return chr(0x06F0 + int(character)) if character in "0123456789" else character


def persian_letters(character: str, _before: str, _random: Random) -> str:
    return {"ي": "ی", "ك": "ک"}.get(character, character)


def doubled_spaces(character: str, _: str, random: Random) -> str:
    return "  " if character == " " and random.random() < 0.5 else character


def missing_spaces(character: str, before: str, _: Random) -> str:
    return "" if character == " " and before and before in "،,؛:" else character


@pytest.fixture(scope="module")
def released() -> Extractor:
    return marsad.load(ROOT / "models" / "ner")


def spoil(text: str, noise: Noise, random: Random) -> tuple[str, list[int]]:
    """The text under a noise, and for each of its characters the one of the text that it stands for."""
    written = ""
    origin: list[int] = []
    for index, character in enumerate(text):
        now = noise(character, text[index - 1 : index], random)
        written += now
        origin += [index] * len(now)
    return written, origin


def spans(extractor: Extractor, text: str, origin: list[int]) -> Iterator[tuple[int, int, str]]:
    for entity in extractor(text):
        yield origin[entity.start], origin[entity.end - 1], entity.label


@pytest.mark.parametrize(
    "noise",
    [tashkeel, tatweel, arabic_indic_digits, persian_digits, persian_letters, doubled_spaces, missing_spaces],
    ids=lambda noise: noise.__name__,
)
def test_noise_changes_at_most_one_span_in_a_hundred(released: Extractor, noise: Noise) -> None:
    random = Random(1)
    same = total = written = 0
    for document in gold():
        clean = set(spans(released, document.text, list(range(len(document.text)))))
        text, origin = spoil(document.text, noise, random)
        noisy = set(spans(released, text, origin))
        written += text != document.text
        same += len(clean & noisy)
        total += len(clean | noisy)
    assert written >= 2, "the noise wrote something"
    assert total > 300 and same >= 0.99 * total
