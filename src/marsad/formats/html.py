"""One self-contained right-to-left page of highlighted texts: no script, no outside file, light and dark.

    render_text("قصف حلب", [Mark(4, 7, "PLACE", "tone1", "PLACE 0.98")])
    قصف <mark class="tone1" title="PLACE 0.98" data-label="PLACE">حلب</mark>

A mark is told by its tone, by the style of its underline and by its label, never by colour alone. The label
is drawn by the style sheet, so that the characters of the page are those of the text. Other pages, such as
the error page of training, are made of the same functions with marks of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TextIO

from marsad.schema import LABELS, Document, Entity, Span

#: The CSS classes that a mark can take: blue, orange, green and purple.
TONES: tuple[str, ...] = ("tone0", "tone1", "tone2", "tone3")

# No horizontal padding, border or margin on a mark: it would cut the joined letters of بحلب at the ب.
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1f; --soft: #5c5f66; --line: #d9dbe0;
  --b0: #d3e5ff; --e0: #174ea6; --b1: #ffe3bf; --e1: #8a4600; --b2: #cdeed6; --e2: #14602f;
  --b3: #ecdcff; --e3: #6527a3; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171c; --ink: #e9eaee; --soft: #a3a7b0;
  --line: #363a43; --b0: #17345f; --e0: #9cc4ff; --b1: #54330a; --e1: #ffc37a; --b2: #14432a;
  --e2: #86dda5; --b3: #42265f; --e3: #d6b4ff; } }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 1.15rem/2.1 "Noto Naskh Arabic", "Amiri", "Geeza Pro", "Segoe UI", Tahoma, serif; }
h1, h2 { line-height: 1.4; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.15rem; color: var(--soft); border-top: 1px solid var(--line); padding-top: 1rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1.5rem; line-height: 2; }
mark { color: inherit; background: none; border-bottom: 3px solid; padding-block: .15em; }
mark[data-label]::after { content: attr(data-label); unicode-bidi: isolate; vertical-align: super;
  font: 700 .55em/1 system-ui, sans-serif; margin-inline-start: .35em; }
.tone0 { background: var(--b0); border-color: var(--e0); border-bottom-style: solid; }
.tone1 { background: var(--b1); border-color: var(--e1); border-bottom-style: double; }
.tone2 { background: var(--b2); border-color: var(--e2); border-bottom-style: dashed; }
.tone3 { background: var(--b3); border-color: var(--e3); border-bottom-style: dotted; }
.tone0::after { color: var(--e0); } .tone1::after { color: var(--e1); }
.tone2::after { color: var(--e2); } .tone3::after { color: var(--e3); }
@media print { body { max-width: none; margin: 0; font-size: 11pt; }
  h2 { break-after: avoid; } mark { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

_END = "</main>\n</body>\n</html>\n"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A stretch of a text to highlight: `css` is its class (see TONES), `title` its tooltip."""

    start: int
    end: int
    label: str
    css: str
    title: str


def write(documents: Iterable[Document], stream: TextIO, labels: Sequence[str] = LABELS) -> None:
    """Write a page of documents under a legend of `labels`, each label in its tone."""
    tones = {label: TONES[index % len(TONES)] for index, label in enumerate(labels)}
    stream.write(_start("marsad") + legend(tones))
    for document in documents:
        marks = [_mark(span, tones) for span in document.entities]
        stream.write(section(document.id, render_text(document.text, marks)))
    stream.write(_END)


def page(title: str, body: str) -> str:
    """A whole page around a body of HTML."""
    return _start(title) + body + _END


def section(heading: str, body: str) -> str:
    """A heading, escaped, above a rendered text."""
    return f'<section>\n<h2><bdi>{_plain(heading)}</bdi></h2>\n<div class="text">{body}</div>\n</section>\n'


def legend(tones: Mapping[str, str]) -> str:
    """A list of names, each with the look of its class."""
    items = "".join(
        f'<li><mark class="{_plain(css)}"><bdi>{_plain(name)}</bdi></mark></li>' for name, css in tones.items()
    )
    return f'<ul class="legend">{items}</ul>\n'


def render_text(text: str, marks: Iterable[Mark]) -> str:
    """The text as HTML with its marks; where marks overlap, the shared stretch carries them all."""
    marks = sorted(marks)
    edges = sorted({0, len(text), *(edge for mark in marks for edge in (mark.start, mark.end))})
    parts: list[str] = []
    active: list[Mark] = []
    coming = iter([*marks, None])
    mark = next(coming)
    for start, end in pairwise(edges):
        while mark and mark.start <= start:
            active.append(mark)
            mark = next(coming)
        active = [one for one in active if one.end > start]
        parts.append(_stretch(text[start:end], active, end))
    return "".join(parts)


def _stretch(text: str, marks: list[Mark], end: int) -> str:
    if not marks:
        return _plain(text)
    classes = _plain(" ".join(dict.fromkeys(mark.css for mark in marks)))
    title = _plain("; ".join(mark.title for mark in marks))
    ending = " ".join(mark.label for mark in marks if mark.end == end)
    label = f' data-label="{_plain(ending)}"' if ending else ""
    return f'<mark class="{classes}" title="{title}"{label}>{_plain(text)}</mark>'


def _mark(span: Span, tones: Mapping[str, str]) -> Mark:
    title = f"{span.label} {span.score:.2f}" if isinstance(span, Entity) else span.label
    return Mark(span.start, span.end, span.label, tones.get(span.label, TONES[-1]), title)


def _start(title: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="ar" dir="rtl">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_plain(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1><bdi>{_plain(title)}</bdi></h1>\n"
    )


def _plain(text: str) -> str:
    # HTML has no NUL; its line ends are LF, and a bare CR would be read as another
    return escape(text.replace("\0", "\ufffd").replace("\r\n", "\n"))
