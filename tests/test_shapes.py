"""The comparison of shapes, on text and sentences that take seconds."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import shapes
from tests import encoders
from train import corpus
from train.config import PretrainConfig, PretrainPhase, PretrainTraining, PretrainVocabulary

WORDS = "قصفت طائرات مدينة إدلب فقتل ثلاثة وأصيب آخرون بجروح بينهم أطفال ونساء يوم الجمعة".split()  # noqa: SIM905


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    text = "\n\n".join(f"{number} " + " ".join(random.choice(WORDS, 60)) for number in range(200))
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text(text, encoding="utf-8")
    config = PretrainConfig(
        run=str(tmp_path / "run"),
        training=PretrainTraining(phases=(PretrainPhase(64, 4, 1.0),), tokens=1),
        corpus=str(tmp_path / "corpus"),
        heldout=0.2,
        vocabulary=PretrainVocabulary(size=200, sample=1.0),
    )
    corpus.pack(config, corpus.learn_vocabulary(config), tmp_path / "packed")
    return tmp_path / "packed"


@pytest.mark.slow
def test_each_shape_gets_a_row_with_what_was_measured(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(encoders.ROOT)
    directory = packed.parent
    tags = ("B-PERS", "B-LOC", "B-ORG", "B-MISC")
    sentences = [f"زار\tO\nأحمد\t{tags[number % 4]}\nحلب\tB-LOC\n" for number in range(60)]
    (directory / "train.conll").write_text("\n".join(sentences), encoding="utf-8")
    page = directory / "README.md"
    page.write_text("<!-- shapes:begin -->\n<!-- shapes:end -->\n", encoding="utf-8")
    options = ["--packed", str(packed), "--ner", str(directory / "train.conll"), "--shapes", "1x64", "2x64"]
    options += ["--minutes", "0.02", "--vectors", "5000", "--epochs", "1", "--runs", str(directory / "shapes")]
    shapes.main([*options, "--readme", str(page)])
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows] == ["shape", "---", "1 × 64", "2 × 64"]
    for row in rows[2:]:
        seen, loss, f1, speed = (float(cell.strip().rstrip(" M").replace(",", "")) for cell in row[3:7])
        assert seen > 0 and 0 < loss < 7 and 0 <= f1 <= 100 and speed > 100
