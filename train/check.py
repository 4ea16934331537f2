"""Hold annotations against their articles and the guidelines' rules, all problems at once."""

import json
from pathlib import Path

from marsad.artifact import sha256
from marsad.errors import DataError
from marsad.proclitics import Proclitics
from marsad.schema import LABELS, Document
from marsad.words import words_of
from train import dataset

_TABLE = Path("models/encoder/proclitics.tsv")


def main(annotations: Path, data: Path) -> None:
    """Check gold.jsonl and both passes: offsets, labels, overlaps, word edges, proclitics, text, hashes.

    Silent when all is well; raises DataError with every problem, each with file and line.
    """
    problems = _article_problems(data)
    proclitics = Proclitics.read(_TABLE)
    for path in (annotations / "gold.jsonl", *sorted((annotations / "passes").glob("*st.jsonl"))):
        try:
            documents = dataset.read_documents([path], LABELS)
        except DataError as error:
            problems.append(str(error))
            continue
        for number, document in enumerate(documents, 1):
            problems += [
                f"{path}:{number}: {document.id}: {problem}" for problem in _problems(document, data, proclitics)
            ]
    if problems:
        raise DataError("\n".join(problems))


def _article_problems(data: Path) -> list[str]:
    path = data / "articles.jsonl"
    problems = []
    listed = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = json.loads(line)
        article = data / "articles" / f"{entry['id']}.txt"
        listed.add(article)
        if not article.is_file():
            problems.append(f"{path}:{number}: {article} is not there")
        elif (found := sha256(article)) != entry["sha256"]:
            problems.append(f"{path}:{number}: SHA-256 of {article} is {found}, listed {entry['sha256']}")
    unlisted = set((data / "articles").glob("*.txt")) - listed
    return problems + [f"{path}: {article} is not listed" for article in sorted(unlisted)]


def _problems(document: Document, data: Path, proclitics: Proclitics) -> list[str]:
    problems = []
    article = data / "articles" / f"{document.id}.txt"
    if not article.is_file():
        problems.append(f"no article {article}")
    elif article.read_bytes() != document.text.encode("utf-8"):
        problems.append(f"the text is not that of {article}, byte for byte")
    if list(document.entities) != sorted(document.entities):
        problems.append("the entities are not in text order")
    words = dict(words_of(document.text))
    for span in document.entities:
        word_end = words.get(span.start)
        if word_end and (lead := proclitics.length(document.text[span.start : word_end])):
            word = document.text[span.start : word_end]
            problems.append(
                f"{span.label} [{span.start}, {span.end}): {word!r} seems to start with {word[:lead]!r}, "
                "a proclitic; leave it out, or see whether the word is one"
            )
    return problems
