"""Laws that hold for any extractor, asserted on one result."""

from itertools import pairwise

from marsad import LABELS, Entity
from marsad.words import words_of


def assert_offset_law(text: str, entities: list[Entity]) -> None:
    """Every entity is its slice of the caller's text, ends where a word ends, and overlaps no other."""
    ends = {end for _, end in words_of(text)} if entities else set()
    for entity in entities:
        assert 0 <= entity.start < entity.end <= len(text), (text, entity)
        assert text[entity.start : entity.end] == entity.text, (text, entity)
        assert entity.end in ends, (text, entity)
        assert entity.label in LABELS, (text, entity)
        assert 0 <= entity.score <= 1, (text, entity)
    assert all(one.end <= other.start for one, other in pairwise(entities)), (text, entities)
