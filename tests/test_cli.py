import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zstandard

import marsad
from marsad import cli
from marsad.errors import DataError
from marsad.formats import BadRecord
from marsad.schema import Document, Entity, Span
from tests import stub

TEXT = "دخل الجيش السوري وحلب أمس."
FOUND = [(4, 16, "ACTOR"), (18, 21, "PLACE"), (22, 25, "DATE")]


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch, tiny_artifact: Path) -> None:
    monkeypatch.setenv("MARSAD_MODEL", str(tiny_artifact))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line in this process: its exit code, stdout and stderr."""

    def runner(*argv: str | Path) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in argv])
        except SystemExit as stop:  # argparse: usage errors, --help, --version
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return runner


def records(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.split("\n")[:-1]]


def spans(record: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(entity["start"], entity["end"], entity["label"]) for entity in record["entities"]]


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


# what is read


def test_a_text_file_is_one_document_with_exact_offsets(tmp_path: Path, run: Any) -> None:
    (tmp_path / "2016-02-07.txt").write_bytes(f"\ufeff\r\n{TEXT}\r\nسوريا\r\n".encode())
    code, out, err = run("extract", tmp_path / "2016-02-07.txt")
    assert (code, err) == (0, "")
    (record,) = records(out)
    assert list(record) == ["id", "text", "entities"]
    assert record["id"] == "2016-02-07"
    assert record["text"] == f"\ufeff\r\n{TEXT}\r\nسوريا\r\n"
    assert spans(record) == [*((start + 3, end + 3, label) for start, end, label in FOUND), (31, 36, "PLACE")]
    for entity in record["entities"]:
        assert record["text"][entity["start"] : entity["end"]] == entity["text"]
        assert 0 < entity["score"] <= 1 and entity["score"] == round(entity["score"], 4)


def test_json_lines_keep_their_order_and_other_keys(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "in.jsonl"
    lines = [{"b": 1, "id": str(n), "text": TEXT * (n % 3), "entities": "ours", "a": [n]} for n in range(200)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    code, out, _ = run("extract", path, "--threads", "2")
    assert code == 0
    found = records(out)
    assert [record["id"] for record in found] == [line["id"] for line in lines]
    assert list(found[7]) == ["id", "text", "entities", "b", "a"] and found[7]["a"] == [7]
    assert all(len(spans(record)) == 3 * (n % 3) for n, record in enumerate(found))


def test_a_directory_is_its_files_in_order_of_their_paths(tmp_path: Path, run: Any) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", "notes.md"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "aa.jsonl").write_text('{"id": "line", "text": ""}\n', encoding="utf-8")
    code, out, _ = run("extract", tmp_path)
    assert code == 0
    assert [record["id"] for record in records(out)] == ["a", "line", "b", "c"]


def test_stdin_is_a_text_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    feed(monkeypatch, TEXT.encode())
    code, out, _ = run("extract", "-")
    assert code == 0
    assert [(record["id"], spans(record)) for record in records(out)] == [("stdin", FOUND)]
    feed(monkeypatch, b'{"text": "\xd8\xad\xd9\x84\xd8\xa8"}\n')
    code, out, _ = run("extract", "-", "--input-format", "jsonl")
    assert [(record["id"], spans(record)) for record in records(out)] == [("stdin:1", [(0, 3, "PLACE")])]


def test_empty_input_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    (tmp_path / "a.txt").touch()
    assert run("extract", tmp_path / "a.txt") == (0, '{"id": "a", "text": "", "entities": []}\n', "")
    feed(monkeypatch, b"")
    assert run("extract", "-", "--input-format", "jsonl") == (0, "", "")


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_files_are_read_like_what_is_in_them(tmp_path: Path, run: Any, suffix: str) -> None:
    (tmp_path / f"a.txt{suffix}").write_bytes(PACKERS[suffix](TEXT.encode()))
    (tmp_path / f"b.jsonl{suffix}").write_bytes(PACKERS[suffix](b'{"text": "\xd8\xad\xd9\x84\xd8\xa8"}\n\n5\n'))
    code, out, err = run("extract", tmp_path)
    assert code == 1 and err.startswith(f"marsad: {tmp_path}/b.jsonl{suffix}:3: ")
    text, line, bad = records(out)
    assert (text["id"], spans(text)) == ("a", FOUND)
    assert (line["id"], spans(line)) == ("b:1", [(0, 3, "PLACE")]) and "error" in bad


def test_a_zst_file_may_have_many_frames_and_be_larger_than_a_read(tmp_path: Path, run: Any) -> None:
    lines = [json.dumps({"id": str(number), "text": "ا" * 3000}).encode() + b"\n" for number in range(90)]
    frames = (zstandard.compress(b"".join(lines[first : first + 15])) for first in range(0, 90, 15))
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(frames))
    code, out, _ = run("extract", tmp_path / "a.jsonl.zst")
    assert code == 0 and [record["id"] for record in records(out)] == [str(number) for number in range(90)]


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_damaged_file_is_told_and_the_rest_is_read(tmp_path: Path, run: Any, suffix: str) -> None:
    noise = bytes(Random(1).randrange(256) for _ in range(4000)).hex().encode()  # incompressible: the cut is felt
    whole = PACKERS[suffix](b'{"text": "' + noise + b'"}\n')
    (tmp_path / f"a.jsonl{suffix}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / f"b.jsonl{suffix}").write_bytes(b"this was never compressed, whatever its name says")
    (tmp_path / "c.txt").write_text("حلب", encoding="utf-8")
    code, out, err = run("extract", tmp_path)
    assert code == 1
    assert [record.get("id") for record in records(out)][-1] == "c"
    assert f"a.jsonl{suffix}" in err and f"b.jsonl{suffix}" in err and "Traceback" not in err


def test_zst_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(b"{}"))
    (tmp_path / "b.txt").write_text("حلب", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    code, out, err = run("extract", tmp_path)
    assert code == 1 and "pip install 'marsad[zstd]'" in err and records(out)[-1]["id"] == "b"


def test_a_pattern_is_its_files_in_order(tmp_path: Path, run: Any) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", "[x].txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert [r["id"] for r in records(run("extract", tmp_path / "?.txt")[1])] == ["a", "b"]
    assert [r["id"] for r in records(run("extract", tmp_path / "**" / "c.txt")[1])] == ["c"]
    assert [r["id"] for r in records(run("extract", tmp_path / "[x].txt")[1])] == ["[x]"], "a name, not a pattern"
    code, _, err = run("extract", tmp_path / "*.json")
    assert code == 2 and "no file matches" in err


@pytest.fixture
def archive(tmp_path: Path, run: Any) -> tuple[Path, bytes]:
    """Inputs with good and bad records, and what an uninterrupted run writes for them."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(TEXT, encoding="utf-8")
    lines = [json.dumps({"id": f"é{n}", "text": TEXT}) if n % 7 else "bad" for n in range(60)]
    (tmp_path / "in" / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert run("extract", tmp_path / "in", "--output", tmp_path / "whole.jsonl")[0] == 1
    return tmp_path / "in", (tmp_path / "whole.jsonl").read_bytes()


def test_a_run_cut_at_any_byte_goes_on_alike(archive: tuple[Path, bytes], tmp_path: Path, run: Any) -> None:
    inputs, whole = archive
    random = Random(1)
    for cut in [0, 1, len(whole) - 1, len(whole), *(random.randrange(len(whole)) for _ in range(20))]:
        (tmp_path / "out.jsonl").write_bytes(whole[:cut])
        code, _, _ = run("extract", inputs, "--output", tmp_path / "out.jsonl", "--resume")
        assert code == 1, "what was bad before is still told by the exit code"
        assert (tmp_path / "out.jsonl").read_bytes() == whole, cut


def test_resume_begins_where_nothing_was_written(archive: tuple[Path, bytes], tmp_path: Path, run: Any) -> None:
    inputs, whole = archive
    assert run("extract", inputs, "--output", tmp_path / "new.jsonl", "--resume")[0] == 1
    assert (tmp_path / "new.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b'{"id": "other", "text": ""}\n', "line 1 of the output is of 'other', the inputs have 'a' there"),
        (b"not ours\n", "out.jsonl:1 is no line of marsad's"),
        (b'{"text": ""}\n' * 99, "the output has 99 lines, the inputs 61 documents"),
    ],
)
def test_resume_refuses_the_output_of_other_inputs(
    archive: tuple[Path, bytes], tmp_path: Path, run: Any, written: bytes, message: str
) -> None:
    (tmp_path / "out.jsonl").write_bytes(written)
    code, _, err = run("extract", archive[0], "--output", tmp_path / "out.jsonl", "--resume")
    assert code == 2 and message in err
    assert (tmp_path / "out.jsonl").read_bytes() == written


@pytest.mark.slow
def test_a_killed_process_goes_on_with_no_document_lost_or_doubled(
    archive: tuple[Path, bytes], tmp_path: Path, tiny_artifact: Path
) -> None:
    """Killed twenty times at random moments of its work, each time taken up again, then let to its end."""
    lines = [json.dumps({"id": str(n), "text": TEXT * 30}) for n in range(3000)]
    (tmp_path / "many.jsonl").write_text("\n".join(lines), encoding="utf-8")
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "marsad.cli", "extract", str(tmp_path / "many.jsonl"), "--output", str(output)]
    command += ["--resume", "--threads", "1"]
    environment = {**os.environ, "MARSAD_MODEL": str(tiny_artifact)}
    random = Random(1)
    grown = 0
    for _ in range(20):
        before = output.stat().st_size if output.exists() else 0
        process = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + 30
        wanted = before + random.randrange(60_000)
        while process.poll() is None and time.monotonic() < deadline:
            if output.exists() and output.stat().st_size > wanted:
                break
            time.sleep(0.002)
        process.kill()
        process.wait()
        grown += output.stat().st_size > before
    assert grown >= 15, "it was killed amid its work"
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert [record["id"] for record in records(output.read_text(encoding="utf-8"))] == [str(n) for n in range(3000)]


def test_entities_below_the_least_score_are_left_out(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "a.txt"
    path.write_text("حلب", encoding="utf-8")
    (score,) = [entity["score"] for entity in records(run("extract", path)[1])[0]["entities"]]
    for least, count in ((0, 1), (score - 1e-3, 1), (score + 1e-3, 0)):
        (record,) = records(run("extract", path, "--min-score", repr(least))[1])
        assert len(record["entities"]) == count


# what is bad


def test_bad_lines_and_files_are_told_and_stop_nothing(tmp_path: Path, run: Any) -> None:
    (tmp_path / "a.txt").write_bytes(b"x\n\xff")
    lines = [
        b'{"id": "1", "text": "\xd8\xad\xd9\x84\xd8\xa8"}',
        b'{"id": "2", "text": "\\ud800"}',
        b'{"id": "3", "text": ["x"]}',
        b"\xff",
        b"not json",
        b'{"id": "6", "text": ""}',
    ]
    (tmp_path / "b.jsonl").write_bytes(b"\n".join(lines))
    code, out, err = run("extract", tmp_path / "a.txt", tmp_path / "none.txt", tmp_path / "b.jsonl")
    assert code == 1
    found = records(out)
    assert [record.get("id") for record in found] == ["a", "none", "1", "2", "3", None, None, "6"]
    bad = [record["error"] for record in found if "error" in record]
    assert err.splitlines() == [f"marsad: {problem}" for problem in bad]
    where = [
        f"{tmp_path}/{name}" for name in ("a.txt:2", "none.txt", "b.jsonl:2", "b.jsonl:3", "b.jsonl:4", "b.jsonl:5")
    ]
    assert [problem.split(": ")[0] for problem in bad] == where


@pytest.mark.parametrize("format", ["conll", "html", "table", "brat"])
def test_other_formats_leave_a_bad_record_out_and_say_so(tmp_path: Path, run: Any, format: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "good", "text": ""}\n5\n', encoding="utf-8")
    code, _, err = run("extract", path, "--format", format, "--output", tmp_path / "out")
    assert code == 1
    assert err == f'marsad: {path}:2: expected an object such as {{"id": …, "text": …}}, found a number\n'


def test_a_document_that_the_extractor_refuses_keeps_its_place() -> None:
    class Refusing:
        def batch_or_error(self, texts: Iterator[str]) -> Iterator[list[Entity] | DataError]:
            yield from (DataError("too odd") if text == "odd" else [] for text in texts)

    bad = BadRecord("f", 1, "worse")
    items = [Document("1", "odd"), bad, Document("3", "fine", (), {"k": 1})]
    first, second, third = cli._results(Refusing(), items)  # type: ignore[arg-type]
    assert isinstance(first, BadRecord) and (first.id, str(first)) == ("1", "1: too odd")
    assert second is bad
    assert third == items[2]


def test_documents_are_read_as_they_are_needed(tiny_extractor: marsad.Extractor) -> None:
    seen = 0

    def endless() -> Iterator[Document]:
        nonlocal seen
        while True:
            seen += 1
            yield Document(str(seen), TEXT)

    results = cli._results(tiny_extractor, endless())
    for _ in range(10):
        next(results)
    assert seen < 200


# what is written


def test_every_format_to_a_file(tmp_path: Path, run: Any) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    expected = {
        "jsonl": '"label": "ACTOR"',
        "conll": "الجيش\tB-ACTOR\nالسوري\tI-ACTOR\nوحلب\tB-PLACE\n",
        "html": 'data-label="ACTOR">الجيش السوري</mark>',
        "table": "\u2068الجيش السوري\u2069\n",
    }
    for format, part in expected.items():
        out = tmp_path / f"out.{format}"
        assert run("extract", tmp_path / "a.txt", "--format", format, "--output", out) == (0, "", "")
        assert part in out.read_text(encoding="utf-8")
    assert run("extract", tmp_path / "a.txt", "--format", "brat", "--output", tmp_path / "brat") == (0, "", "")
    assert "T1\tACTOR 4 16\tالجيش السوري\n" in (tmp_path / "brat/a.ann").read_text(encoding="utf-8")


def test_a_terminal_gets_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = run("extract", tmp_path / "a.txt")
    assert code == 0
    assert "LABEL  OFFSETS  SCORE  TEXT" in out


@pytest.mark.parametrize(("unit", "encoding", "size"), [("utf16", "utf-16-le", 2), ("bytes", "utf-8", 1)])
def test_offsets_for_callers_in_other_languages(tmp_path: Path, run: Any, unit: str, encoding: str, size: int) -> None:
    (tmp_path / "a.txt").write_text(f"🚀🇸🇾 {TEXT}", encoding="utf-8")
    code, out, _ = run("extract", tmp_path / "a.txt", "--offsets", unit)
    assert code == 0
    (record,) = records(out)
    raw = record["text"].encode(encoding)
    assert len(record["entities"]) == len(FOUND)
    for entity in record["entities"]:
        cut = raw[entity["start"] * size : entity["end"] * size].decode(encoding)
        assert cut == entity["text"]


def test_progress_is_shown_on_a_terminal_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    arguments = ("extract", tmp_path / "a.txt", "--output", tmp_path / "out")
    assert run(*arguments)[2] == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "1/1" in run(*arguments)[2]
    assert run(*arguments, "--no-progress")[2] == ""


# wrong usage


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["extract"], "the following arguments are required: FILE|DIR|-"),
        (["extract", "x", "--format", "xml"], "invalid choice: 'xml'"),
        (["extract", "x", "--resume"], "--resume goes on with a file of JSON lines"),
        (["extract", "x", "--min-score", "2"], "expected a number from 0 to 1, found '2'"),
        (["extract", "x", "--min-score", "nan"], "expected a number from 0 to 1, found 'nan'"),
        (["extract", "x", "--threads", "0"], "expected a whole number from 1, found '0'"),
        (["extract", "x", "--offsets", "utf16", "--format", "html"], "is for --format jsonl alone, not html"),
        (["extract", "x", "--format", "brat"], "name it with --output DIR"),
        (["extract", "x", "--device", "torch", "--precision", "int8"], "needs ONNX Runtime"),
        (["extract", "-", "-"], "stdin (-) can be read once"),
        (["extract", "x", "--output", "x"], "--output x is or holds an input"),
        (["extract", "x", "--output", "missing/x"], "No such file or directory"),
        (["extract", "."], "a directory without .txt or .jsonl files"),
        (["extract", "x", "--model", "nowhere"], "nowhere/manifest.json: not there"),
        (["info", "--model", "nowhere"], "nowhere/manifest.json: not there"),
        (["selftest", "--model", "nowhere"], "nowhere/manifest.json: not there"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert problem in err and err.startswith("marsad") and err.count("\n") == 1


def test_an_input_is_never_overwritten(tmp_path: Path, run: Any) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    assert run("extract", tmp_path, "--output", tmp_path / "sub/../a.txt")[0] == 2
    assert run("extract", tmp_path, "--format", "brat", "--output", tmp_path)[0] == 2
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == TEXT


def test_without_a_model_the_error_names_the_three_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MARSAD_MODEL")
    code, _, err = run("extract", "x")
    assert code == 2
    assert all(way in err for way in ("--model DIR", "MARSAD_MODEL", "models/ner"))


def test_debug_shows_the_traceback(run: Any) -> None:
    code, _, err = run("info", "--model", "nowhere", "--debug")
    assert code == 2
    assert "Traceback" in err and "ArtifactError" in err


# info and selftest


def test_info_tells_what_the_artifact_is(tiny_artifact: Path, run: Any) -> None:
    code, out, _ = run("info")
    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["model", f"stub in {tiny_artifact}"] in lines
    assert ["labels", "ACTOR PLACE COUNT DATE"] in lines
    assert ["encoder", "name stub, origin tests/stub.py"] in lines
    assert ["hashes", "9 files agree with their SHA-256"] in lines
    assert ["metric", "crossval.f1 0.5"] in lines


def test_info_refuses_a_changed_artifact(tmp_path: Path, run: Any) -> None:
    directory = stub.build(tmp_path / "stub")
    (directory / "README.md").write_text("other", encoding="utf-8")
    code, _, err = run("info", "--model", directory)
    assert code == 2
    assert "README.md: SHA-256 is" in err


def test_selftest_proves_both_precisions(run: Any) -> None:
    code, out, _ = run("selftest")
    assert code == 0
    cpu, *rest = out.splitlines()
    assert cpu.startswith("cpu   onnxruntime ")
    assert rest == [f"{precision}  5 of 5 spans equal, 0 beside them: exact" for precision in ("fp32", "int8")]


def test_selftest_sends_a_weak_int8_back_to_fp32(tmp_path: Path, run: Any) -> None:
    directory = stub.build(tmp_path / "stub", int8_words={**stub.WORDS, "أمس": "B-PLACE"})
    code, out, _ = run("selftest", "--model", directory)
    assert code == 0
    assert out.splitlines()[2] == (
        "int8  4 of 5 spans equal, 1 beside them: 66.7 %, less than 99 %; use fp32 on this machine (--precision fp32)"
    )


def test_selftest_takes_an_int8_that_agrees_enough(tmp_path: Path, run: Any) -> None:
    golden = [
        ("حلب " * 300 + "أمس", [*(Span(4 * n, 4 * n + 3, "PLACE") for n in range(300)), Span(1200, 1203, "DATE")])
    ]
    words = {"حلب": "B-PLACE"}
    directory = stub.build(tmp_path / "stub", {**words, "أمس": "B-DATE"}, words, golden)
    code, out, _ = run("selftest", "--model", directory)
    assert code == 0
    assert out.splitlines()[2] == "int8  300 of 301 spans equal, 0 beside them: 99.7 %, fit for use"


def test_selftest_fails_where_fp32_differs(tmp_path: Path, run: Any) -> None:
    golden = [*stub.GOLDEN, ("حلب", (Span(0, 3, "ACTOR"),))]
    code, out, _ = run("selftest", "--model", stub.build(tmp_path / "stub", golden=golden))
    assert code == 1
    assert "fp32  5 of 6 spans equal, 1 beside them: differs" in out


@pytest.mark.parametrize("golden", [[], [("لا شيء", ())]])
def test_selftest_refuses_golden_texts_that_prove_nothing(tmp_path: Path, run: Any, golden: list[Any]) -> None:
    code, _, err = run("selftest", "--model", stub.build(tmp_path / "stub", golden=golden))
    assert code == 2
    assert "proves nothing" in err


def test_vnni_is_read_from_the_flags_of_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    assert "unknown" in cli._vnni(path)
    path.write_text("flags\t\t: fpu avx512_vnni\n", encoding="utf-8")
    assert cli._vnni(path) == "avx512_vnni"
    path.write_text("flags\t\t: fpu avx2\n", encoding="utf-8")
    assert cli._vnni(path) == "no VNNI"


# the stub that these and other tests read with


def test_the_stub_reads_single_words_and_no_longer_ones(tiny_extractor: marsad.Extractor) -> None:
    found = tiny_extractor("حَلَب حلبجة بسوريا السوري سوريا")
    assert [(entity.text, entity.label) for entity in found] == [("حَلَب", "PLACE"), ("سوريا", "PLACE")]
    assert all(entity.score > 0.99 for entity in found)


# as a process


def process(*arguments: str | Path, data: bytes = b"", env: dict[str, str] | None = None) -> Any:
    command = [sys.executable, "-W", "error", "-m", "marsad.cli", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=120, env={**os.environ, **(env or {})})


def test_the_process_writes_utf_8_whatever_the_locale() -> None:
    done = process("extract", "-", data=TEXT.encode(), env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert spans(json.loads(done.stdout)) == FOUND
    assert "الجيش".encode() in done.stdout


def test_the_exit_codes_of_the_process(tmp_path: Path) -> None:
    assert process("--version").stdout.decode() == f"marsad {marsad.__version__}\n"
    bad = process("extract", tmp_path / "none.txt")
    assert (bad.returncode, bad.stderr.decode()) == (
        1,
        f"marsad: {tmp_path / 'none.txt'}: cannot be read: No such file or directory\n",
    )
    assert process("extract", tmp_path / "none.txt", "--model", tmp_path).returncode == 2


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text((json.dumps({"id": "x", "text": "س " * 5000}) + "\n") * 40, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "marsad.cli", "extract", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout and running.stderr
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


@pytest.mark.parametrize("code", ["import marsad", "import marsad.cli; marsad.cli._parser().format_help()"])
def test_start_up_loads_nothing_heavy(code: str) -> None:
    heavy = ("torch", "transformers", "onnxruntime", "onnx", "datasets", "matplotlib")
    check = f"{code}; import sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_extraction_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    check = (
        "import sys; from marsad.cli import main; "
        f"code = main(['extract', {str(tmp_path / 'a.txt')!r}, '--output', {str(tmp_path / 'o')!r}]); "
        "print(code, [name for name in ('torch', 'transformers', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0 []\n", "")
