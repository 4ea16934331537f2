"""The directory contract: what is missing or changed is named, and nothing half-written loads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import marsad
from marsad import ArtifactError, artifact
from marsad.artifact import FILES, find, read_manifest, sha256, text_hash, write_manifest
from tests import stub


@pytest.fixture
def directory(tiny_artifact: Path, tmp_path: Path) -> Path:
    """A copy of the stub to break."""
    return Path(shutil.copytree(tiny_artifact, tmp_path / "model"))


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest's tree in place."""
    path = directory / "manifest.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    path.write_text(json.dumps(tree), encoding="utf-8")


# Reading ----------------------------------------------------------------------------------------


def test_a_manifest_is_read_as_it_was_written(directory: Path) -> None:
    before = read_manifest(directory)
    write_manifest(directory, before)
    assert read_manifest(directory) == before
    assert before.labels == marsad.LABELS
    assert before.tags == ("O", "B-ACTOR", "I-ACTOR", "B-PLACE", "I-PLACE", "B-COUNT", "I-COUNT", "B-DATE", "I-DATE")
    assert before.files == {name: sha256(directory / name) for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named_with_both_hashes(directory: Path, name: str) -> None:
    expected = sha256(directory / name)
    with (directory / name).open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(ArtifactError) as caught:
        marsad.load(directory)
    assert f"{name}: SHA-256 is {sha256(directory / name)[:12]}" in str(caught.value)
    assert f"the manifest has {expected[:12]}" in str(caught.value)


def test_everything_wrong_is_named_at_once(directory: Path) -> None:
    (directory / "golden.jsonl").unlink()
    (directory / "README.md").write_text("another", encoding="utf-8")
    edit(directory, lambda tree: tree["files"].pop("config.json"))
    with pytest.raises(ArtifactError) as caught:
        read_manifest(directory)
    for problem in ("golden.jsonl: missing", "README.md: SHA-256 is", "config.json: not in the manifest"):
        assert problem in str(caught.value)


def test_hashes_are_not_read_where_the_caller_says_so(directory: Path) -> None:
    (directory / "README.md").write_text("another", encoding="utf-8")
    assert marsad.load(directory, verify=False)("حلب")[0].text == "حلب"


def test_an_unknown_format_is_named_beside_the_known_one(directory: Path) -> None:
    edit(directory, lambda tree: tree.update(format=99))
    with pytest.raises(ArtifactError, match="format is 99, this marsad reads format 1"):
        read_manifest(directory)


@pytest.mark.parametrize(
    ("removed", "added", "message"),
    [
        (["window", "labels"], [], "missing keys: labels, window; unknown keys: none"),
        ([], ["taste", "colour"], "missing keys: none; unknown keys: colour, taste"),
        (["window"], ["taste"], "missing keys: window; unknown keys: taste"),
    ],
)
def test_missing_and_unknown_keys_are_named(
    directory: Path, removed: list[str], added: list[str], message: str
) -> None:
    edit(directory, lambda tree: [*(tree.pop(key) for key in removed), tree.update(dict.fromkeys(added))])
    with pytest.raises(ArtifactError, match=message):
        read_manifest(directory)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", None),
        ("labels", "PLACE"),
        ("window", "128"),
        ("window", 0),
        ("overlap", -1),
        ("overlap", 16),
        ("overlap", None),
        ("files", []),
        ("trained_on", None),
        ("calibration", [1.0, 0.0]),
        ("calibration", {"slope": 1.0}),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(directory: Path, key: str, value: object) -> None:
    edit(directory, lambda tree: tree.update({key: value}))
    with pytest.raises(ArtifactError, match=key):
        read_manifest(directory)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"manifest"', '{"format": 1'])
def test_what_is_no_manifest_is_an_artifact_error(directory: Path, text: str) -> None:
    (directory / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        read_manifest(directory)


def test_what_is_no_directory_says_what_an_artifact_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ArtifactError, match="python -m train export"):
            marsad.load(path)


def test_a_curve_in_the_manifest_turns_confidence_into_scores(directory: Path) -> None:
    plain = marsad.load(directory)("حلب")[0].score
    edit(directory, lambda tree: tree.update(calibration={"slope": 0.5, "intercept": -1.0}))
    curved = marsad.load(directory)("حلب")[0].score
    odds = plain / (1 - plain)
    assert curved == pytest.approx(1 / (1 + odds**-0.5 * np.e)) and curved < plain


def test_a_manifest_from_before_calibration_is_read(directory: Path) -> None:
    edit(directory, lambda tree: tree.pop("calibration"))
    assert read_manifest(directory).calibration is None


# Writing ----------------------------------------------------------------------------------------


def test_a_half_written_artifact_does_not_load(directory: Path) -> None:
    about = read_manifest(directory)
    (directory / "manifest.json").unlink()
    (directory / "onnx/model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"lacks onnx/model\.onnx"):
        write_manifest(directory, about)
    with pytest.raises(ArtifactError, match=r"manifest\.json: not there"):
        marsad.load(directory)


def test_a_file_cut_short_does_not_load(directory: Path) -> None:
    graph = directory / "onnx/model.onnx"
    graph.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"onnx/model\.onnx: SHA-256"):
        marsad.load(directory)


def test_an_artifact_written_over_another_does_not_load_as_either(directory: Path, tmp_path: Path) -> None:
    other = stub.build(tmp_path / "other", words={"بيروت": "B-PLACE"})
    shutil.copyfile(other / "onnx/model.onnx", directory / "onnx/model.onnx")
    with pytest.raises(ArtifactError, match="changed since it was written"):
        marsad.load(directory)


def test_a_text_hash_is_that_of_its_utf8() -> None:
    assert text_hash("حلب") == "6a80f73e2a3a51078afb8fa604335f922cebf4b14aec450cb6afeaaa84955194"


# Finding ----------------------------------------------------------------------------------------


@pytest.fixture
def home(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the stub in ./models/ner and MARSAD_MODEL set."""
    shutil.copytree(tiny_artifact, tmp_path / "models/ner")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(artifact.MODEL_VARIABLE, "from-environment")
    return tmp_path


def test_the_model_given_comes_first(home: Path) -> None:
    assert find("given") == Path("given")
    assert find(home / "given") == home / "given"


def test_the_environment_comes_second(home: Path) -> None:
    assert find() == Path("from-environment")


@pytest.mark.parametrize("empty", [None, ""])
def test_the_working_directory_comes_third(home: Path, monkeypatch: pytest.MonkeyPatch, empty: str | None) -> None:
    monkeypatch.delenv(artifact.MODEL_VARIABLE)
    if empty is not None:
        monkeypatch.setenv(artifact.MODEL_VARIABLE, empty)
    assert find() == Path("models/ner")
    assert marsad.load()("حلب")[0].label == "PLACE"


def test_without_a_model_the_error_names_all_three_ways(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(artifact.MODEL_VARIABLE)
    (home / "models/ner/manifest.json").unlink()
    with pytest.raises(ArtifactError) as caught:
        marsad.load()
    for way in ("--model", "load(DIR)", "MARSAD_MODEL", "./models/ner"):
        assert way in str(caught.value)


def test_a_model_named_wrongly_is_not_replaced_by_another(home: Path) -> None:
    with pytest.raises(ArtifactError, match="from-environment"):
        marsad.load()
    with pytest.raises(ArtifactError, match="given"):
        marsad.load("given")
