import io
import json
import re
from collections.abc import Iterable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsad.errors import AlignmentError, DataError
from marsad.formats import READERS, WRITERS, BadRecord, Record, brat, conll, html, jsonl, table, txt
from marsad.formats.html import Mark
from marsad.formats.offsets import UNITS, converted
from marsad.schema import Document, Entity, Span

TEXT = "دخل الجيش السوري وحلب أمس."
ARMY = Entity(4, 16, "ACTOR", "الجيش السوري", 0.98765)
CITY = Entity(18, 21, "PLACE", "حلب", 0.5)
DOCUMENT = Document("a", TEXT, (ARMY, CITY))

texts = st.text(st.characters(exclude_categories=("Cs",)))


def written(write, documents: Iterable[Record], **options) -> str:
    stream = io.StringIO(newline="")
    write(documents, stream, **options)
    return stream.getvalue()


def lines(*parts: bytes | str) -> io.BytesIO:
    return io.BytesIO(b"".join((part if isinstance(part, bytes) else part.encode()) + b"\n" for part in parts))


# offsets


def test_offsets_in_other_units_point_at_the_same_text() -> None:
    text = "a🚀حلب👩‍👩"
    assert converted(text, [0, 1, 2, 5], "utf16") == {0: 0, 1: 1, 2: 3, 5: 6}
    assert converted(text, [5, 2], "bytes") == {2: 5, 5: 11}


@given(texts, st.data())
def test_offsets_slice_the_encoded_text(text: str, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    for unit, (encoding, size) in UNITS.items():
        offsets = converted(text, (start, end), unit)
        cut = text.encode(encoding)[offsets[start] * size : offsets[end] * size]
        assert cut.decode(encoding) == text[start:end]


# txt


def test_a_text_file_is_kept_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.b.txt"
    path.write_bytes(b"\xef\xbb\xbfx\r\ny\rz\n")
    assert list(txt.read(path)) == [Document("a.b", "\ufeffx\r\ny\rz\n")]


def test_a_bad_text_file_is_a_bad_record_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("حلب\n".encode() + b"x \xd8")
    (bad,) = txt.read(path)
    assert isinstance(bad, BadRecord) and isinstance(bad, DataError)
    assert (bad.location, bad.id) == (f"{path}:2", "a")
    assert "not UTF-8 (byte 0xd8)" in str(bad)


def test_a_missing_file_is_a_bad_record_for_every_reader(tmp_path: Path) -> None:
    for read in READERS.values():
        (bad,) = read(tmp_path / "none")
        assert str(bad) == f"{tmp_path / 'none'}: cannot be read: No such file or directory"


# jsonl


def test_jsonl_reads_spans_in_order_and_keeps_other_keys() -> None:
    line = {
        "outlet": "x",
        "id": "a",
        "entities": [
            {"start": 18, "end": 21, "label": "PLACE", "text": "حلب", "score": 1},
            {"start": 4, "end": 16, "label": "ACTOR"},
        ],
        "text": TEXT,
        "date": None,
    }
    (document,) = jsonl.read(lines(json.dumps(line)))
    assert document == Document("a", TEXT, (Span(4, 16, "ACTOR"), Span(18, 21, "PLACE")), {"outlet": "x", "date": None})
    assert list(document.extra) == ["outlet", "date"]


def test_jsonl_writes_text_unescaped_and_scores_rounded() -> None:
    (line,) = written(jsonl.write, [Document("a", TEXT, (ARMY,), {"z": 1, "b": "ب"})]).splitlines()
    assert line == (
        f'{{"id": "a", "text": "{TEXT}", "entities": [{{"start": 4, "end": 16, "label": "ACTOR", '
        '"text": "الجيش السوري", "score": 0.9877}], "z": 1, "b": "ب"}'
    )


@given(st.lists(st.builds(Document, texts, texts), max_size=4))
def test_jsonl_reads_back_what_it_wrote_one_line_each(documents: list[Document]) -> None:
    output = written(jsonl.write, documents)
    assert len(output.splitlines()) == len(documents)
    assert list(jsonl.read(io.BytesIO(output.encode()))) == documents


def test_jsonl_offsets_in_another_unit() -> None:
    text = "🚀 حلب"
    documents = [Document("a", text, (Entity(2, 5, "PLACE", "حلب", 1.0),))]
    (entity,) = json.loads(written(jsonl.write, documents, unit="utf16"))["entities"]
    assert (entity["start"], entity["end"], entity["text"]) == (3, 6, "حلب")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "\xff"}', "not UTF-8 (byte 0xff)"),
        ("{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("[1]", "expected an object"),
        ("null", "expected an object"),
        ('{"id": "x"}', "has no \"text\"; its keys are 'id'"),
        ('{"text": 5}', '"text": expected a string, found a number'),
        ('{"text": null}', '"text": expected a string, found null'),
        ('{"id": 5, "text": ""}', '"id": expected a string, found a number'),
        (r'{"text": "ab\ud800"}', '"text": character 2 is a lone surrogate'),
        (r'{"id": "\udc00", "text": ""}', '"id": character 0 is a lone surrogate'),
        (r'{"text": "", "extra": ["\ud800"]}', "has a lone surrogate beside the text"),
        (r'{"text": "", "\ud800": 1}', "has a lone surrogate beside the text"),
        ('{"text": "a", "text": "b"}', "has the key 'text' twice"),
        ('{"text": "", "x": NaN}', "has the number NaN"),
        ('{"text": "", "x": 1e999}', "has the number 1e999"),
        ('{"text": "", "x": ' + "9" * 5000 + "}", "not JSON that can be read"),
        ('{"text": "", "x": ' + "[" * 9999 + "]" * 9999 + "}", "nested too deeply"),
        ('{"text": "", "entities": {}}', '"entities": expected a list, found an object'),
        ('{"text": "", "entities": [[0, 1, "A"]]}', '"entities"[0]: expected an object'),
        ('{"text": "", "entities": [{"start": true, "end": 1, "label": "A"}]}', "expected whole numbers"),
        ('{"text": "", "entities": [{"start": 0, "end": 1}]}', "found 0, 1 and None"),
    ],
)
def test_jsonl_tells_a_bad_line_and_reads_on(line: bytes | str, problem: str) -> None:
    first, bad, last = jsonl.read(lines('{"text": "1"}', line, '{"text": "3"}'))
    assert (first, last) == (Document("stdin:1", "1"), Document("stdin:3", "3"))
    assert isinstance(bad, BadRecord)
    assert bad.location == "stdin:2"
    assert problem in bad.problem
    assert len(written(jsonl.write, [bad]).encode().splitlines()) == 1


def test_jsonl_keeps_the_id_of_a_bad_line_where_it_has_one() -> None:
    (bad,) = jsonl.read(lines('{"id": "a", "text": 1}'))
    assert written(jsonl.write, [bad]) == (
        '{"id": "a", "error": "stdin:1: \\"text\\": expected a string, found a number"}\n'
    )


def test_jsonl_without_annotations_does_not_look_at_entities() -> None:
    (document,) = jsonl.read(lines('{"id": "a", "text": "", "entities": [[0, 1]]}'), annotated=False)
    assert document == Document("a", "")


def test_jsonl_takes_a_byte_order_mark_blank_lines_and_crlf(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "x"}\r\n\r\n  \n{"text": "y"}')
    assert list(jsonl.read(path)) == [Document("a:1", "x"), Document("a:4", "y")]


# conll


def test_conll_writes_words_and_strict_tags() -> None:
    assert written(conll.write, [DOCUMENT, Document("b", "")]) == (
        "# id = a\nدخل\tO\nالجيش\tB-ACTOR\nالسوري\tI-ACTOR\nوحلب\tB-PLACE\nأمس\tO\n.\tO\n\n# id = b\n\n"
    )
    with pytest.raises(AlignmentError):
        written(conll.write, [Document("a", TEXT, (Span(5, 16, "ACTOR"),))])


def test_conll_reads_back_words_tags_and_ids() -> None:
    documents = list(conll.read(io.BytesIO(written(conll.write, [DOCUMENT, Document("b", "")]).encode())))
    text = "دخل الجيش السوري وحلب أمس ."
    assert documents == [Document("a", text, (Span(4, 16, "ACTOR"), Span(17, 21, "PLACE"))), Document("b", "")]


@given(st.lists(st.builds(Document, texts, texts), max_size=3))
def test_conll_of_any_text_is_the_same_when_written_again(documents: list[Document]) -> None:
    once = written(conll.write, documents)
    again = list(conll.read(io.BytesIO(once.encode())))
    assert [document.id for document in again] == [document.id for document in documents]
    assert written(conll.write, again) == once


def test_conll_reads_public_sets_sentence_by_sentence(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_bytes("(د\tB-ORG\r\nب\tI-ORG\r\nأ)\tI-ORG\r\n#\tO\r\n\r\n\r\nحلب\tB-LOC\r\nسوريا\tB-LOC".encode())
    assert list(conll.read(path)) == [
        Document("train:1", "(د ب أ) #", (Span(1, 6, "ORG"),)),
        Document("train:7", "حلب سوريا", (Span(0, 3, "LOC"), Span(4, 9, "LOC"))),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("b\tI-LOC", "I-LOC after O continues no entity"),
        ("b", "expected a token, a tab and a tag"),
        ("b\tX", "expected a token, a tab and a tag"),
        ("\tO", "expected a token, a tab and a tag"),
        ("b\tNN\tO", "expected a token, a tab and a tag"),
        (b"\xff\tO", "not UTF-8"),
        ('# id = "\\ud800"', "lone surrogate"),
    ],
)
def test_conll_tells_a_bad_sentence_and_reads_on(line: bytes | str, problem: str) -> None:
    bad, good = conll.read(lines("# id = 1", "a\tO", line, "c\tO", "", "d\tO"))
    assert isinstance(bad, BadRecord) and problem in bad.problem
    assert (bad.location, bad.id) == ("stdin:3", "1")
    assert good == Document("stdin:6", "d")


def test_conll_refuses_an_entity_that_changes_its_label() -> None:
    (bad,) = conll.read(lines("a\tB-PER", "b\tI-LOC"))
    assert "I-LOC after B-PER" in str(bad)


def test_conll_leaves_a_span_of_signs_for_the_codec_to_refuse() -> None:
    (document,) = conll.read(lines("++\tB-X"))
    assert document.entities == (Span(0, 2, "X"),)


# brat


def test_brat_writes_and_reads_back(tmp_path: Path) -> None:
    text = "دخل الجيش\r\n السوري حلب"
    document = Document("a", text, (Entity(4, 18, "ACTOR", text[4:18], 0.98765), Span(19, 22, "PLACE")))
    brat.write([document], tmp_path / "new")
    assert (tmp_path / "new/a.txt").read_bytes() == text.encode()
    assert (tmp_path / "new/a.ann").read_text(encoding="utf-8") == (
        "T1\tACTOR 4 9;12 18\tالجيش السوري\n#1\tAnnotatorNotes T1\t0.9877\nT2\tPLACE 19 22\tحلب\n"
    )
    assert list(brat.read(tmp_path / "new")) == [Document("a", text, (Span(4, 18, "ACTOR"), Span(19, 22, "PLACE")))]


def test_brat_names_stay_in_the_directory_and_apart(tmp_path: Path) -> None:
    ids = ["../../x", "a/b", "a b", "A_b", ".hidden", "", "\0", "ب" * 200]
    brat.write([Document(id, id) for id in ids], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    names = sorted(path.name for path in (tmp_path / "out").glob("*.txt"))
    assert names == sorted(
        f"{name}.txt" for name in ["_.._x", "a_b", "a_b-2", "A_b-3", "hidden", "document", "_", "ب" * 100]
    )
    texts = {path.read_bytes().decode() for path in (tmp_path / "out").glob("*.txt")}
    assert texts == set(ids)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("T1 ACTOR 0 3 دخل", "expected T1, a tab"),
        ("T1\tACTOR 0 3\tحلب", "has 'حلب', but the .txt has 'دخل' there"),
        ("T1\tACTOR 0 3;10 16\tدخل السوري", "is in parts with words between"),
    ],
)
def test_brat_tells_a_bad_annotation_and_reads_on(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    (tmp_path / "a.ann").write_text(f"R1\tx Arg1:T1 Arg2:T2\n{line}\n", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"no .ann")
    bad, good = brat.read(tmp_path)
    assert isinstance(bad, BadRecord) and problem in bad.problem
    assert (bad.location, bad.id) == (f"{tmp_path / 'a.ann'}:2", "a")
    assert good == Document("b", "no .ann")


def test_brat_tells_a_missing_directory(tmp_path: Path) -> None:
    (bad,) = brat.read(tmp_path / "none")
    assert "no such directory" in str(bad)


# html


class _Page(HTMLParser):
    """Collects the text of the `text` boxes, the tags, and the attributes of the marks."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.marks: list[dict[str, str | None]] = []
        self.text = ""
        self._inside = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = self._inside or ("class", "text") in attrs
        if tag == "mark" and self._inside:
            self.marks.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "div"

    def handle_data(self, data: str) -> None:
        self.text += data if self._inside else ""


def test_html_page_marks_entities_and_needs_nothing_from_outside() -> None:
    source = written(html.write, [DOCUMENT, Document("<b>", "x")])
    page = _Page(source)
    assert page.text == TEXT + "x"
    assert page.marks == [
        {"class": "tone0", "title": "ACTOR 0.99", "data-label": "ACTOR"},
        {"class": "tone1", "title": "PLACE 0.50", "data-label": "PLACE"},
    ]
    assert '<html lang="ar" dir="rtl">' in source and "&lt;b&gt;" in source
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script", source)


def test_html_escapes_whatever_it_is_given() -> None:
    evil = "\"'><script>&amp;"
    document = Document(evil, evil, (Span(0, 4, evil),))
    page = _Page(written(html.write, [document], labels=(evil,)))
    assert "script" not in page.tags
    assert page.text == evil
    assert page.marks[0]["data-label"] == evil


def test_html_other_labels_take_their_tones_in_turn() -> None:
    labels = ["A", "B", "C", "D", "E"]
    text = "abcde"
    spans = tuple(Span(index, index + 1, label) for index, label in enumerate(labels))
    page = _Page(written(html.write, [Document("x", text, spans)], labels=labels))
    assert [mark["class"] for mark in page.marks] == [*html.TONES, "tone0"]


def test_html_overlapping_marks_share_their_stretch() -> None:
    marks = [Mark(0, 3, "gold", "tone0", "g"), Mark(2, 5, "found", "tone1", "f")]
    assert html.render_text("abcdef", marks) == (
        '<mark class="tone0" title="g">ab</mark>'
        '<mark class="tone0 tone1" title="g; f" data-label="gold">c</mark>'
        '<mark class="tone1" title="f" data-label="found">de</mark>f'
    )


@given(texts, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6))
def test_html_text_is_the_text_whatever_the_marks(text: str, edges: list[tuple[int, int]]) -> None:
    marks = [Mark(min(a, b, len(text)), min(max(a, b), len(text)), "L", "tone0", "t") for a, b in edges]
    shown = unescape(re.sub(r"<[^>]*>", "", html.render_text(text, marks)))
    assert shown.replace("\r", "") == text.replace("\0", "\ufffd").replace("\r", "")


def test_html_colours_can_be_read_in_light_and_dark() -> None:
    schemes = re.findall(r":root \{(.*?)\}", html._STYLE, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colour = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        pairs = [("ink", "paper"), ("soft", "paper")]
        pairs += [pair for n in range(4) for pair in ((f"e{n}", f"b{n}"), ("ink", f"b{n}"))]
        for one, other in pairs:
            assert _contrast(colour[one], colour[other]) >= 4.5, (one, other)


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# table


def test_table_puts_the_isolated_text_last() -> None:
    assert written(table.write, [DOCUMENT, Document("b", "")]) == (
        "\u2068a\u2069\n"
        "  LABEL  OFFSETS  SCORE  TEXT\n"
        "  ACTOR     4-16   0.99  \u2068الجيش السوري\u2069\n"
        "  PLACE    18-21   0.50  \u2068حلب\u2069\n"
        "\n\u2068b\u2069\n  no entities\n"
    )


def test_table_lets_no_control_through_to_the_terminal() -> None:
    text = "حلب\x1b[31m\r\n\u2069\u202eسوريا\u200d"
    output = written(table.write, [Document("\x1b]0;x\x07", text, (Span(0, len(text), "A"),))])
    assert "\x1b" not in output and "\x07" not in output and "\r" not in output and "\u202e" not in output
    assert "\u2068حلب[31m سوريا\u200d\u2069\n" in output


def test_every_writer_of_the_registry_takes_a_document() -> None:
    for name, write in WRITERS.items():
        assert "الجيش" in written(write, [DOCUMENT]), name
