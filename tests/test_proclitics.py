"""Where a mention starts in a word with attached particles, by the table that ships with the encoder."""

from pathlib import Path

import pytest
from hypothesis import given

from marsad import ArtifactError
from marsad.proclitics import Proclitics, leading
from marsad.words import words_of
from tests.texts import ROOT, first_word, gold, texts

TABLE = Proclitics.read(ROOT / "models/encoder/proclitics.tsv")

LOOKALIKES = """
ولاية لبنان بريطانيا فرنسا كركوك بنغازي واشنطن بغداد بيروت كوباني لندن ليبيا باريس بشار فلسطين فيينا كندا كوريا
وزارة وكالة وسائل فصائل كتائب بلدة لواء لجنة فيصل كمال وادي بوتين بايدن بلجيكا فنزويلا كييف كابول بورسعيد فيسبوك
لحج بحر بنت لافروف كردستان بانياس بابل بصرى وحدات باكستان فبراير كانون بعلبك ليلا سوريا سراقب ستالين
"""

ATTACHED = """
و|روسيا ب|حلب وب|ريف ل|حزب ل|لجيش و|لبنان و|بريطانيا ب|لبنان و|واشنطن ل|كركوك ف|سوريا ول|سوريا ول|لجيش ب|الرقة
و|القوات و|فرنسا و|كركوك ل|بنغازي ب|بيروت ول|واشنطن و|كوباني ك|سوريا
"""

ODDLY_WRITTEN = [
    "بـ|4",
    "بـ|٤",
    "ل|20",
    "و|5",
    "وب|4",
    "وبـ|15",
    "وَ|حلب",
    "ـو|حلب",
    "وـ|حلب",
    "و\u200d|حلب",
    "ﻭ|ﺣﻠﺐ",
    "ل|کرکوک",
    "|کوبانی",
]


def start_by_gold() -> list[tuple[str, int]]:
    """Every gold first word that begins like a particle, and where the annotators start it."""
    found = []
    for document in gold():
        for span in document.entities:
            start, end = first_word(document, span)
            if document.text[start] in "وفبكلس":
                found.append((document.text[start:end], span.start - start))
    return found


def test_every_gold_first_word_starts_where_the_annotators_start_it() -> None:
    cases = start_by_gold()
    assert any(length for _, length in cases) and any(not length for _, length in cases)
    assert [(word, TABLE.length(word)) for word, _ in cases] == cases


@pytest.mark.parametrize("word", LOOKALIKES.split())
def test_a_word_that_only_looks_attached_stays_whole(word: str) -> None:
    assert TABLE.length(word) == 0


@pytest.mark.parametrize("cut", ATTACHED.split() + ODDLY_WRITTEN)
def test_attached_particles_are_left_out(cut: str) -> None:
    particles, _, noun = cut.partition("|")
    assert TABLE.length(particles + noun) == len(particles)
    assert leading(particles)


@given(texts)
def test_what_is_taken_off_is_particles_and_something_is_left(text: str) -> None:
    for start, end in words_of(text):
        word = text[start:end]
        length = TABLE.length(word)
        assert leading(word[:length])
        assert word[length:]


@pytest.mark.parametrize("letters", ["", "و", "ف", "ب", "ك", "ل", "س", "وب", "فل", "وـ", "وَس"])
def test_particles_are_leading(letters: str) -> None:
    assert leading(letters)


@pytest.mark.parametrize("letters", ["ال", "بو", "وو", "بل", "وال", "م", "4", "وبل"])
def test_other_letters_are_not_leading(letters: str) -> None:
    assert not leading(letters)


def test_a_broken_table_names_its_line(tmp_path: Path) -> None:
    table = tmp_path / "proclitics.tsv"
    table.write_text("حلب\t10\nسوريا ten\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"proclitics\.tsv:2: .*'سوريا ten'"):
        Proclitics.read(table)
