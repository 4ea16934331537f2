"""What every reader shares: where a record comes from, and what stands in its place when it is bad.

A reader is a generator of `Document | BadRecord`: a bad record is told with file and line where it stood,
and the reading goes on. Sources are paths or open binary streams; lines end at LF alone, so that the other
line breaks of Unicode stay inside texts.
"""

import bz2
import codecs
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from marsad.errors import DataError
from marsad.schema import Document

Source: TypeAlias = "str | Path | BinaryIO"

#: The suffixes of compressed files, which are read like what is in them.
PACKED = (".gz", ".bz2", ".xz", ".zst")

#: What reading a damaged file of these raises beside OSError.
DAMAGE = (EOFError, lzma.LZMAError, zlib.error)


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
    return unpacked_name(Path(name_of(source))).removesuffix(suffix)


def unpacked_name(path: Path) -> str:
    """The base name of a file without what says that it is compressed."""
    return path.stem if path.suffix in PACKED else path.name


def opened(path: str | Path) -> BinaryIO:
    """Open a file for reading, unpacked where its name ends in .gz, .bz2, .xz or .zst.

    Raises OSError where it cannot be opened, for .zst also where its package is not installed.
    """
    openers: dict[str, Callable[[str | Path, str], object]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
        ".zst": _opened_zst,
    }
    return cast(BinaryIO, openers.get(Path(path).suffix, open)(path, "rb"))


def _opened_zst(path: str | Path, mode: str) -> object:
    try:
        import zstandard
    except ImportError:
        raise OSError("a .zst file needs zstandard: pip install 'marsad[zstd]'") from None
    return io.BufferedReader(_ZstFile(Path(path).open(mode), zstandard))


class _ZstFile(io.RawIOBase):
    """The bytes in a .zst file, frame after frame; EOFError where they are damaged or the last frame is cut short.

    zstandard's own reader ends in silence where a frame is cut short.
    """

    def __init__(self, file: Any, zstandard: Any) -> None:
        self._file, self._error = file, zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame: Any = None
        self._packed, self._bytes = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._bytes:
            packed = self._packed or self._file.read(1 << 17)
            if not packed:
                if self._frame is not None:
                    raise EOFError("the last frame has no end")
                return 0
            self._frame = self._frame or self._decompressor.decompressobj()
            try:
                self._bytes = memoryview(self._frame.decompress(packed))
            except self._error as error:
                raise EOFError(str(error)) from None
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._bytes))
        buffer[:count], self._bytes = self._bytes[:count], self._bytes[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def numbered(source: Source) -> Iterator[tuple[int, bytes]]:
    """The lines of a source, counted from 1, without line ends and the byte-order mark of the first."""
    if not isinstance(source, str | Path):
        yield from ((number, _bare(number, line)) for number, line in enumerate(source, 1))
        return
    with _reading(source) as stream:
        yield from numbered(stream)


def whole(source: Source) -> str:
    """The text of a source, byte for byte; raises BadRecord where it is not UTF-8 or cannot be read."""
    try:
        data = _bytes(source)
        return data.decode("utf-8")
    except OSError as error:
        raise unreadable(source, error) from None
    except UnicodeDecodeError as error:
        raise BadRecord(name_of(source), data.count(b"\n", 0, error.start) + 1, not_utf8(error)) from None


def _bytes(source: Source) -> bytes:
    if not isinstance(source, str | Path):
        return source.read()
    with _reading(source) as stream:
        return stream.read()


@contextmanager
def _reading(path: str | Path) -> Iterator[BinaryIO]:
    """An open file whose damage is an OSError, like all else that keeps a file from being read."""
    with opened(path) as stream:
        try:
            yield stream
        except DAMAGE as error:
            raise OSError(f"damaged or cut short ({error}); get the file again") from None


def not_utf8(error: UnicodeDecodeError) -> str:
    """The problem of bytes that are not UTF-8, and the way out."""
    return f"not UTF-8 (byte 0x{error.object[error.start]:02x}); convert the file to UTF-8"


def unreadable(source: Source, error: OSError) -> BadRecord:
    """The record in the place of a file that the system does not let us read."""
    return BadRecord(name_of(source), None, f"cannot be read: {error.strerror or error}")


def _bare(number: int, line: bytes) -> bytes:
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    return line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
