"""The whole job, end to end: held-out figures, a model, an artifact proven and used on a real article."""

import sys
from pathlib import Path

import marsad
from marsad import artifact, cli
from marsad.formats import html, table, txt
from marsad.formats.records import BadRecord
from marsad.schema import Document
from train import crossval, export, fit
from train.config import RunConfig


def main(config: RunConfig, article: Path) -> None:
    """Cross-validate, fit, export and verify, then read `article` with the result and say where all of it lies."""
    print(f"1/5  crossval: each report read by models that were trained without it  ({config.name})", flush=True)
    crossval.main(config)
    print("\n2/5  fit: on all the reports", flush=True)
    fit.main(config)
    print("\n3/5  export: the artifact, after ONNX Runtime was held against torch", flush=True)
    directory = export.main(config)
    print("\n4/5  selftest: the artifact on this machine", flush=True)
    if cli.main(["selftest", "--model", str(directory)]):
        raise marsad.ArtifactError(f"{directory}: selftest failed, see above")
    print(f"\n5/5  extract: {article}\n", flush=True)
    page = read(directory, article, config.directory / "article.html")
    print(files(config, directory, page))


def read(directory: Path, article: Path, page: Path) -> Path:
    """Print the entities of an article as a table and write the highlighted page."""
    extractor = marsad.load(directory)
    (record,) = txt.read(article)
    if isinstance(record, BadRecord):
        raise marsad.DataError(str(record))
    document = Document(record.id, record.text, tuple(extractor(record.text)))
    with page.open("w", encoding="utf-8") as stream:
        html.write([document], stream, extractor.manifest.labels)
    table.write([document], sys.stdout)
    return page


def files(config: RunConfig, directory: Path, page: Path) -> str:
    """Where everything that the run wrote lies."""
    entries = {
        "held-out figures": config.directory / "crossval" / "metrics.json",
        "as a table": config.directory / "crossval" / "table.md",
        "fitted model": config.directory / "fit" / "model",
        "curves": config.directory / "fit" / "curves.png",
        "training log": config.directory / "fit" / fit.DONE,
        "artifact": directory,
        "model card": directory / "README.md",
        "golden texts": directory / "golden.jsonl",
        "manifest": directory / artifact.MANIFEST,
        "highlighted article": page,
    }
    return "\nwritten:\n" + "\n".join(f"  {name + ':':<22}{path}" for name, path in entries.items())
