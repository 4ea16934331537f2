"""The guidelines' words, section 1.3."""

from itertools import pairwise

import pytest
from hypothesis import given

from marsad.words import is_sign, words_of
from tests.texts import gold, texts


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in words_of(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t\u3000", []),
        ("وقُتل 3.6 مليون، بـ4", ["وقُتل", "3.6", "مليون", "،", "بـ4"]),
        ("5.975,74 و1,500 و16:30", ["5.975,74", "و1,500", "و16:30"]),
        ("٣٫٦ ١٬٥٠٠", ["٣٫٦", "١٬٥٠٠"]),
        ("15. .5 1..2 ،3", ["15", ".", ".", "5", "1", ".", ".", "2", "،", "3"]),
        ("حلب.سوريا", ["حلب", ".", "سوريا"]),
        ("50% (أمس)", ["50", "%", "(", "أمس", ")"]),
        ("حَـلَـبٌ", ["حَـلَـبٌ"]),
        ("حلب\u200dية", ["حلب\u200dية"]),
        ("حلب\x00\x1cية", ["حلب\x00\x1cية"]),
        ("\u200fحلب\u200f \ufeff", ["حلب"]),
        ("حلب\r\nسوريا\xa0أمس", ["حلب", "سوريا", "أمس"]),
        ("👍🏽", ["👍", "🏽"]),
        ("☀\ufe0f", ["☀\ufe0f"]),
        ("\u064b", ["\u064b"]),
    ],
)
def test_words_are_those_of_the_guidelines(text: str, words: list[str]) -> None:
    assert split(text) == words


@given(texts)
def test_words_are_in_order_and_leave_out_nothing_that_is_seen(text: str) -> None:
    words = words_of(text)
    assert all(start < end for start, end in words)
    assert all(one[1] <= other[0] for one, other in pairwise(words))
    between = [text[a:b] for (_, a), (b, _) in pairwise([(0, 0), *words, (len(text), len(text))])]
    assert not any(character.isalnum() or character in '.,،("' for character in "".join(between))


@given(texts)
def test_a_word_read_alone_is_the_same_word(text: str) -> None:
    for word in split(text):
        assert split(word) == [word]


def test_every_gold_span_covers_whole_words_behind_its_first_letters() -> None:
    for document in gold():
        words = words_of(document.text)
        ends = {end for _, end in words}
        for span in document.entities:
            assert span.end in ends, (document.id, span)
            assert any(start <= span.start < end for start, end in words), (document.id, span)


@pytest.mark.parametrize("word", ["،", "%", "👍", "☀\ufe0f", "\u064b"])
def test_a_sign_holds_no_letter_or_digit(word: str) -> None:
    assert is_sign(word)


@pytest.mark.parametrize("word", ["حلب", "٤", "بـ4", "ﷺ", "½", "ﻻ"])
def test_letters_and_digits_are_no_sign(word: str) -> None:
    assert not is_sign(word)
