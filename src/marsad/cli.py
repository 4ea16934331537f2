"""The command line: `marsad extract`, `marsad info`, `marsad selftest`.

Exit codes: 0 all is well, 1 some data is bad (the rest was done), 2 wrong usage or no model.
Errors are one line on stderr; --debug adds the traceback.
"""

import argparse
import io
import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import tee
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeAlias, cast

from tqdm import tqdm

from marsad import __version__, artifact
from marsad.artifact import GRAPHS, INT8_AGREEMENT, Manifest
from marsad.errors import ArtifactError, ConfigError, DataError, MarsadError
from marsad.extractor import Extractor, load
from marsad.formats import READERS, WRITERS, BadRecord, Reader, Record, Source, brat, html, jsonl
from marsad.formats.offsets import UNITS
from marsad.formats.records import name_of, unpacked_name
from marsad.schema import Document, Span

_VNNI = ("avx512_vnni", "avx_vnni", "asimddp")  # the last is ARM's dot product

Input: TypeAlias = tuple[Source, Reader]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names and return its exit code."""
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the locale, what we write is UTF-8
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # the reader has what it wanted; the interpreter flushes once more at exit, into nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (MarsadError, OSError) as error:
        if args.debug:
            traceback.print_exc()
        print(f"marsad: {error}", file=sys.stderr)
        return 1 if isinstance(error, DataError) else 2


# Arguments --------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> _Parser:
    parser = _Parser(prog="marsad", description="Reads who, where, how many and when in Arabic conflict news.")
    parser.add_argument("--version", action="version", version=f"marsad {__version__}")
    common = _Parser(add_help=False)
    common.add_argument(
        "--model", metavar="DIR", help=f"the artifact; else ${artifact.MODEL_VARIABLE}, else ./models/ner"
    )
    bar = _Parser(add_help=False)
    bar.add_argument("--no-progress", action="store_true", help="no progress bar on a terminal")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_extract(commands.add_parser("extract", parents=[common, bar], help="find the entities of texts"))
    info = commands.add_parser("info", parents=[common], help="what the artifact is")
    info.set_defaults(run=_info)
    selftest = commands.add_parser("selftest", parents=[common, bar], help="prove the artifact on this machine")
    selftest.set_defaults(run=_selftest)
    return parser


def _add_extract(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_extract)
    parser.description = (
        "Finds the entities of texts. A .txt file is one document, a line of a .jsonl file is one "
        '({"id", "text", …}, other keys kept), a directory is its .txt and .jsonl files, - is stdin; '
        "patterns (*) and .gz, .bz2, .xz and .zst files are understood. "
        "A bad line or document is told on stderr, has an error line in JSONL, and stops nothing; exit code 1."
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="FILE|DIR|-", help="what to read")
    add("--input-format", choices=("txt", "jsonl"), default="txt", help="of stdin and files of other names")
    add("--format", choices=(*WRITERS, "brat"), help="default: table on a terminal, else jsonl")
    add("--output", metavar="F", help="the file to write, for brat the directory; default: stdout")
    add("--resume", action="store_true", help="go on where an interrupted run with the same inputs left --output")
    add("--offsets", choices=tuple(UNITS), default="codepoints", help="what JSONL offsets count")
    add("--device", choices=("cpu", "cuda", "torch"), default="cpu", help="cuda and torch are extras")
    add("--precision", choices=tuple(GRAPHS), default="fp32", help="int8 is faster; see marsad selftest")
    add("--min-score", type=_share, default=0.0, metavar="P", help="leave out entities with a lower score, 0 to 1")
    add("--threads", type=_positive, metavar="N", help="default: all cores")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


# extract ----------------------------------------------------------------------------------------


def _extract(args: argparse.Namespace) -> int:
    to_terminal = args.output is None and sys.stdout.isatty()
    args.format = args.format or ("table" if to_terminal else "jsonl")
    inputs = list(_inputs(args.inputs, args.input_format))
    _check(args, [source for source, _ in inputs])
    extractor = load(args.model, device=args.device, precision=args.precision, threads=args.threads)
    before = _Before.of(args.output) if args.resume else _Before()
    results = _results(extractor, before.behind(_records(inputs)), args.min_score)
    files_are_documents = all(read is READERS["txt"] for _, read in inputs)
    total = len(inputs) if files_are_documents else None
    with _bar(args, total, hide=to_terminal, initial=before.lines) as bar:
        watch = _Watch(bar, before.bad)
        _write(args, extractor.manifest.labels, watch.over(results))
    return 1 if watch.bad else 0


def _inputs(names: Sequence[str], other: str) -> Iterator[Input]:
    """Every file to read, in order; a directory's in order of their paths."""
    readers: Mapping[str, Reader] = {".txt": READERS["txt"], ".jsonl": partial(jsonl.read, annotated=False)}
    for name in names:
        path = Path(name)
        if name == "-":
            yield sys.stdin.buffer, readers[f".{other}"]
        elif path.is_dir():
            files = [f for f in sorted(path.rglob("*")) if _kind(f) in readers and not f.is_dir()]
            if not files:
                raise ConfigError(f"{name_of(path)}: a directory without .txt or .jsonl files")
            yield from ((file, readers[_kind(file)]) for file in files)
        else:
            yield from ((file, readers.get(_kind(file), readers[f".{other}"])) for file in _matches(path))


def _matches(path: Path) -> list[Path]:
    """The files that a pattern such as `news/*.jsonl.gz` names, in order; a name that is there is no pattern."""
    if path.exists() or not set("*?[").intersection(str(path)):
        return [path]
    root = Path(path.anchor)
    files = [file for file in sorted(root.glob(str(path.relative_to(root)))) if not file.is_dir()]
    if not files:
        raise ConfigError(f"{name_of(path)}: no file matches")
    return files


def _kind(path: Path) -> str:
    """The suffix that says what is in a file, compressed or not."""
    return Path(unpacked_name(path)).suffix


def _check(args: argparse.Namespace, sources: Sequence[Source]) -> None:
    """Raise ConfigError where the arguments contradict each other or the output would replace an input."""
    if args.inputs.count("-") > 1:
        raise ConfigError("stdin (-) can be read once; give it once")
    if args.offsets != "codepoints" and args.format != "jsonl":
        raise ConfigError(f"--offsets {args.offsets} is for --format jsonl alone, not {args.format}")
    if args.resume and (args.output is None or args.format != "jsonl"):
        raise ConfigError("--resume goes on with a file of JSON lines; give --output FILE and no other --format")
    if args.format == "brat" and args.output is None:
        raise ConfigError("--format brat writes a directory; name it with --output DIR")
    if args.device == "torch" and args.precision == "int8":
        raise ConfigError("--precision int8 needs ONNX Runtime; leave out --device torch")
    if args.output is None:
        return
    paths = {Path(source).resolve() for source in sources if isinstance(source, str | Path)}
    if Path(args.output).resolve() in (paths | {path.parent for path in paths}):
        raise ConfigError(f"--output {args.output} is or holds an input; write somewhere else")


def _records(inputs: Iterable[Input]) -> Iterator[Record]:
    for source, read in inputs:
        yield from read(source)


def _results(extractor: Extractor, records: Iterable[Record], min_score: float = 0.0) -> Iterator[Record]:
    """Each document with its entities; `tee` holds no more than the extractor reads ahead."""
    kept, ahead = tee(records)
    # an empty text in the place of a bad record keeps the two streams in step
    texts = ("" if isinstance(record, BadRecord) else record.text for record in ahead)
    for record, found in zip(kept, extractor.batch_or_error(texts), strict=True):
        if isinstance(record, BadRecord):
            yield record
        elif isinstance(found, DataError):
            yield BadRecord(record.id, None, str(found), record.id)
        else:
            kept_entities = tuple(entity for entity in found if entity.score >= min_score)
            yield Document(record.id, record.text, kept_entities, record.extra)


@dataclass(frozen=True)
class _Before:
    """What an interrupted run has written: whole lines, one a record in the order of the inputs."""

    lines: int = 0
    bad: int = 0
    last: str | None = None  # the id in the last line, where it has one

    @classmethod
    def of(cls, output: str) -> "_Before":
        """Read an output, if it is there, and cut a last line off that was not finished."""
        path = Path(output)
        if not path.exists():
            return cls()
        lines = bad = end = 0
        last = b""
        with path.open("rb+") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                lines, end, last = lines + 1, end + len(line), line
                bad += b'"error": ' in line and "error" in _parsed_line(line, path, lines)
            # parsed before anything is cut: what is no output of ours stays as it is
            id = _parsed_line(last, path, lines).get("id") if last else None
            stream.truncate(end)
        return cls(lines, bad, id)

    def behind(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that are still to be read; raises ConfigError where the inputs are not those of before."""
        stream = iter(records)
        record = None
        for number in range(1, self.lines + 1):
            record = next(stream, None)
            if record is None:
                raise ConfigError(f"--resume: the output has {self.lines} lines, the inputs {number - 1} documents")
        if record is not None and self.last is not None and record.id != self.last:
            raise ConfigError(
                f"--resume: line {self.lines} of the output is of {self.last!r}, the inputs have {record.id!r} there; "
                "give the inputs of the run before, in its order"
            )
        return stream


def _parsed_line(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        tree = json.loads(line)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise ConfigError(f"--resume: {name_of(path)}:{number} is no line of marsad's; name another file")
    return tree


class _Watch:
    """Counts the bad records that pass, tells each on stderr, and moves the progress bar on."""

    def __init__(self, bar: "tqdm[Any]", bad: int) -> None:
        self.bad = bad
        self._bar = bar

    def over(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if isinstance(record, BadRecord):
                self.bad += 1
                self._bar.write(f"marsad: {record}", file=sys.stderr)
            yield record
            self._bar.update()


def _bar(args: argparse.Namespace, total: int | None, hide: bool = False, initial: int = 0) -> "tqdm[Any]":
    """A progress bar on stderr where that is a terminal."""
    hidden = hide or args.no_progress or not sys.stderr.isatty()
    return tqdm(total=total, initial=initial, unit=" documents", file=sys.stderr, disable=hidden)


def _write(args: argparse.Namespace, labels: Sequence[str], records: Iterable[Record]) -> None:
    if args.format == "jsonl":
        with _output(args.output, "a" if args.resume else "w") as stream:
            jsonl.write(records, stream, args.offsets)
        return
    documents = (record for record in records if isinstance(record, Document))
    if args.format == "brat":
        brat.write(documents, Path(args.output))
        return
    write = partial(html.write, labels=labels) if args.format == "html" else WRITERS[args.format]
    with _output(args.output) as stream:
        write(documents, stream)


@contextmanager
def _output(name: str | None, mode: str = "w") -> Iterator[TextIO]:
    if name is None:
        yield sys.stdout
        return
    with Path(name).open(mode, encoding="utf-8", newline="\n") as stream:
        yield cast(TextIO, stream)


# info -------------------------------------------------------------------------------------------


def _info(args: argparse.Namespace) -> int:
    directory = artifact.find(args.model)
    manifest = artifact.read_manifest(directory)
    for name, value in _facts(directory, manifest):
        print(f"{name:<10}{value}")
    return 0


def _facts(directory: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "model", f"{manifest.name} in {name_of(directory)}"
    yield "labels", " ".join(manifest.labels)
    yield "encoder", ", ".join(f"{key} {value}" for key, value in manifest.encoder.items())
    yield "window", f"{manifest.window} pieces, {manifest.overlap} shared with the next"
    yield "written", f"by marsad {manifest.marsad_version}, format {manifest.format}"
    for name, digest in manifest.files.items():
        size = (directory / name).stat().st_size
        yield "file", f"{name:<24}{size / 2**20:>9.2f} MiB  {digest[:12]}"
    yield "hashes", f"{len(manifest.files)} files agree with their SHA-256"
    for name, value in _flat(manifest.metrics):
        yield "metric", f"{name} {value}"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# selftest ---------------------------------------------------------------------------------------


def _selftest(args: argparse.Namespace) -> int:
    directory = artifact.find(args.model)
    artifact.read_manifest(directory)  # hold the golden texts themselves against their hash before all else
    golden = _golden(directory / "golden.jsonl")
    expected = sum(len(document.entities) for document in golden)
    print(f"cpu   onnxruntime {version('onnxruntime')}, {_vnni()}")
    agreed = {}
    for precision in GRAPHS:
        equal, found = _compare(args, load(directory, precision=precision), golden)
        agreed[precision] = equal / (expected + found - equal)  # of the spans in either, those in both
        verdict = _verdict(precision, agreed[precision])
        print(f"{precision}  {equal} of {expected} spans equal, {found - equal} beside them: {verdict}", flush=True)
    return 0 if agreed["fp32"] == 1 else 1


def _golden(path: Path) -> list[Document]:
    golden = []
    for record in jsonl.read(path):
        if isinstance(record, BadRecord):
            raise ArtifactError(f"{record}; write the artifact again")
        golden.append(record)
    if not any(document.entities for document in golden):
        raise ArtifactError(f"{path}: holds no spans, so it proves nothing; write the artifact again")
    return golden


def _compare(args: argparse.Namespace, extractor: Extractor, golden: Sequence[Document]) -> tuple[int, int]:
    """How many spans are equal to the golden ones, and how many were found in all."""
    equal = found = 0
    with _bar(args, len(golden)) as bar:
        texts = (document.text for document in golden)
        for document, entities in zip(golden, extractor.batch(texts), strict=True):
            spans = {Span(entity.start, entity.end, entity.label) for entity in entities}
            equal += len(spans.intersection(document.entities))
            found += len(spans)
            bar.update()
    return equal, found


def _verdict(precision: str, agreement: float) -> str:
    if agreement == 1:
        return "exact"
    if precision == "fp32":
        return "differs from the machine that wrote the artifact; do not trust it here, and report this"
    share = f"{100 * agreement:.1f} %"
    if agreement >= INT8_AGREEMENT:
        return f"{share}, fit for use"
    return f"{share}, less than {100 * INT8_AGREEMENT:.0f} %; use fp32 on this machine (--precision fp32)"


def _vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Whether the CPU multiplies int8 natively, where the system says so."""
    if not cpuinfo.is_file():
        return "VNNI unknown (no /proc/cpuinfo)"
    flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    return ", ".join(name for name in _VNNI if name in flags) or "no VNNI"


if __name__ == "__main__":
    sys.exit(main())
