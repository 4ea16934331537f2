"""What every reader shares: where a record comes from, and what stands in its place when it is bad.

A reader is a generator of `Document | BadRecord`: a bad record is told with file and line where it stood,
and the reading goes on. Sources are paths or open binary streams; lines end at LF alone, so that the other
line breaks of Unicode stay inside texts.
"""

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from marsad.errors import DataError
from marsad.schema import Document

Source: TypeAlias = "str | Path | BinaryIO"


class BadRecord(DataError):
    """A record that cannot be read: its `location` (file and line), the `problem`, and its `id` where known."""

    def __init__(self, source: str, line: int | None, problem: str, id: str | None = None) -> None:
        self.source = source
        self.line = line
        self.location = source if line is None else f"{source}:{line}"
        self.problem = problem
        self.id = id
        super().__init__(f"{self.location}: {problem}")


Record: TypeAlias = Document | BadRecord


def name_of(source: Source) -> str:
    """How a source is called in messages: its path as text that can be written, or `stdin`."""
    # a file name need not be UTF-8, but the messages and records that name it are
    return os.fsencode(source).decode("utf-8", "replace") if isinstance(source, str | Path) else "stdin"


def stem_of(source: Source, suffix: str) -> str:
    """The base name of a source without `suffix`: the id of the document that it holds."""
    return Path(name_of(source)).name.removesuffix(suffix)


def numbered(source: Source) -> Iterator[tuple[int, bytes]]:
    """The lines of a source, counted from 1, without line ends and the byte-order mark of the first."""
    if not isinstance(source, str | Path):
        yield from ((number, _bare(number, line)) for number, line in enumerate(source, 1))
        return
    with Path(source).open("rb") as stream:
        yield from numbered(stream)


def whole(source: Source) -> str:
    """The text of a source, byte for byte; raises BadRecord where it is not UTF-8 or cannot be read."""
    try:
        data = Path(source).read_bytes() if isinstance(source, str | Path) else source.read()
        return data.decode("utf-8")
    except OSError as error:
        raise unreadable(source, error) from None
    except UnicodeDecodeError as error:
        raise BadRecord(name_of(source), data.count(b"\n", 0, error.start) + 1, not_utf8(error)) from None


def not_utf8(error: UnicodeDecodeError) -> str:
    """The problem of bytes that are not UTF-8, and the way out."""
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x}); convert the file to UTF-8"


def unreadable(source: Source, error: OSError) -> BadRecord:
    """The record in the place of a file that the system does not let us read."""
    return BadRecord(name_of(source), None, f"cannot be read: {error.strerror or error}")


def _bare(number: int, line: bytes) -> bytes:
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    return line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
