"""Hold annotations against their articles and the guidelines' rules, all problems at once."""

import json
from collections import Counter
from pathlib import Path

from marsad.artifact import sha256
from marsad.errors import DataError
from marsad.formats import BadRecord, jsonl
from marsad.proclitics import Proclitics
from marsad.schema import LABELS, Document
from marsad.words import words_of
from train import dataset, proclitics

_TABLE = Path("models/encoder/proclitics.tsv")


def main(annotations: Path, data: Path) -> None:
    """Check the gold, both passes and the authored reports: offsets, labels, overlaps, edges, proclitics, texts.

    Silent when all is well; raises DataError with every problem, each with file and line.
    """
    problems = _article_problems(data)
    table = Proclitics.read(_TABLE)
    passes = annotations / "passes"
    for path in (annotations / "gold.jsonl", passes / "first.jsonl", passes / "second.jsonl"):
        problems += _file_problems(path, table, data)
    authored = annotations / "authored.jsonl"
    if authored.is_file():
        problems += _file_problems(authored, table, None)
    if problems:
        raise DataError("\n".join(problems))


def _file_problems(path: Path, table: Proclitics, data: Path | None) -> list[str]:
    records = list(jsonl.read(path))
    documents = [record for record in records if not isinstance(record, BadRecord)]
    problems = [str(record) for record in records if isinstance(record, BadRecord)]
    times = Counter(document.id for document in documents)
    problems += [f"{path}: {id} is there {count} times" for id, count in times.items() if count > 1]
    if data and documents:
        articles = {article.stem for article in (data / "articles").glob("*.txt")}
        problems += [f"{path}: {id} is not there" for id in sorted(articles - {record.id for record in records})]
    else:  # authored reports name places that raw text hardly holds: they have to agree in themselves
        table = proclitics.extend(table, [d for d in documents if not dataset.find_problems(d, LABELS)])
    for index, record in enumerate(records):
        if not isinstance(record, BadRecord):
            found = dataset.find_problems(record, LABELS)
            found += [*_text_problems(record, data), *_span_problems(record, table)]
            problems += [f"{path}:{dataset.line_of(path, index)}: {record.id}: {problem}" for problem in found]
    return problems


def _article_problems(data: Path) -> list[str]:
    path = data / "articles.jsonl"
    problems = []
    listed = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            article, expected = data / "articles" / f"{entry['id']}.txt", entry["sha256"]
        except (ValueError, KeyError, TypeError):
            problems.append(f"{path}:{number}: expected an object with id and sha256, found {line[:80]!r}")
            continue
        listed.add(article)
        if not article.is_file():
            problems.append(f"{path}:{number}: {article} is not there")
        elif (found := sha256(article)) != expected:
            problems.append(f"{path}:{number}: SHA-256 of {article} is {found}, listed {expected}")
    unlisted = set((data / "articles").glob("*.txt")) - listed
    return problems + [f"{path}: {article} is not listed" for article in sorted(unlisted)]


def _text_problems(document: Document, data: Path | None) -> list[str]:
    if data is None:
        return []
    article = data / "articles" / f"{document.id}.txt"
    if not article.is_file():
        return [f"no article {article}"]
    if article.read_bytes() != document.text.encode("utf-8"):
        return [f"the text is not that of {article}, byte for byte"]
    return []


def _span_problems(document: Document, table: Proclitics) -> list[str]:
    problems = []
    words = dict(words_of(document.text))
    for span in document.entities:
        word = document.text[span.start : words.get(span.start, span.start)]
        if lead := table.length(word):
            problems.append(
                f"{span.label} [{span.start}, {span.end}): {word!r} seems to start with {word[:lead]!r}, "
                "a proclitic; leave it out, or see whether the word is one"
            )
    return problems
