"""Offsets for callers whose strings are not counted in code points.

text        ح    ل    ب    🚀
codepoints  0    1    2    3    4      Python, and every format here
utf16       0    1    2    3    5      JavaScript, Java, C#
bytes       0    2    4    6    10     Go, Rust, C: the text as UTF-8
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["codepoints", "utf16", "bytes"]

#: Unit -> the encoding whose code units it counts, and their size in bytes.
UNITS: Mapping[Unit, tuple[str, int]] = {
    "codepoints": ("utf-32-le", 4),
    "utf16": ("utf-16-le", 2),
    "bytes": ("utf-8", 1),
}


def converted(text: str, positions: Iterable[int], unit: Unit) -> dict[int, int]:
    """Each code point offset into `text` as an offset in `unit`, in one pass over the text."""
    encoding, size = UNITS[unit]
    found, before, count = {}, 0, 0
    for position in sorted(set(positions)):
        count += len(text[before:position].encode(encoding)) // size
        found[position] = count
        before = position
    return found
