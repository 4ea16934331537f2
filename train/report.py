"""Pictures and pages of a run: curves, the confusion matrix, the errors in their text, the README's tables."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from marsad.errors import ConfigError


def curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss and development F1 over the epochs of a Trainer's log."""
    figure, (losses, scores) = pyplot.subplots(1, 2, figsize=(10, 4))
    for axis, key, name in (
        (losses, "loss", "training loss"),
        (losses, "eval_loss", "development loss"),
        (scores, "eval_f1", "development F1 (strict)"),
    ):
        points = [(entry["epoch"], entry[key]) for entry in history if key in entry]
        if points:
            axis.plot(*zip(*points, strict=True), marker=".", label=name)
    for axis in (losses, scores):
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    losses.set_yscale("log")
    scores.set_ylim(0, 1)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def confusion(matrix: Any, names: Sequence[str], path: Path) -> None:
    """Draw a matrix of word labels, gold in rows against predicted in columns, shaded by share of the row."""
    shares = matrix / matrix.sum(axis=1, keepdims=True).clip(1)
    figure, axis = pyplot.subplots(figsize=(1.4 * len(names) + 1, 1.2 * len(names) + 1))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("gold")
    for row in range(len(names)):
        for column in range(len(names)):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def write_between(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` in a Markdown file."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = path.read_text(encoding="utf-8")
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ConfigError(f"{path}: needs the lines {begin} and {end}, once each, around the table")
    new = re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.S)
    path.write_text(new, encoding="utf-8")
