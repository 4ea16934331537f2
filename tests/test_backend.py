"""Runtimes: what is not installed or not there is said in one line, and threads change no logit."""

import sys
from pathlib import Path

import numpy as np
import pytest

import marsad
from marsad import ArtifactError, MissingExtraError, backend
from marsad.backend import OnnxBackend, available_cores, open_backend
from tests import stub

INSTALL = r"pip install 'marsad\[torch\]'"


@pytest.mark.parametrize("device", ["torch", "cuda"])
@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_device_without_its_extra_says_how_to_install_it(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch, device: str, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # makes its import fail
    monkeypatch.setattr(backend, "_onnx_cuda", lambda: False)
    with pytest.raises(MissingExtraError, match=INSTALL) as caught:
        marsad.load(tiny_artifact, device=device)
    assert isinstance(caught.value, ImportError)


def test_the_cpu_needs_neither_torch_nor_transformers(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, missing, None)
    assert [e.text for e in marsad.load(tiny_artifact, device="cpu")("في حلب")] == ["حلب"]


def test_cuda_without_a_device_says_so(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_onnx_cuda", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ArtifactError, match="no CUDA device here; use --device cpu"):
        marsad.load(tiny_artifact, device="cuda")


@pytest.mark.skipif(backend._onnx_cuda(), reason="CUDA starts here")
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_runtime_that_would_fall_back_to_the_cpu_says_so(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_onnx_cuda", lambda: True)
    with pytest.raises(ArtifactError, match="CUDAExecutionProvider does not start on this machine; use --device cpu"):
        marsad.load(tiny_artifact, device="cuda")


@pytest.mark.parametrize("device", ["torch", "cuda"])
def test_torch_does_not_read_int8_as_something_else(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(backend, "_onnx_cuda", lambda: False)
    with pytest.raises(ArtifactError, match=f"device {device} reads .*int8"):
        marsad.load(tiny_artifact, device=device, precision="int8")


@pytest.mark.parametrize("device", ["gpu", "CPU", "cuda:0", ""])
def test_an_unknown_device_is_named_beside_the_known_ones(tiny_artifact: Path, device: str) -> None:
    with pytest.raises(ArtifactError, match=f"device '{device}' is none of cpu, cuda, torch"):
        marsad.load(tiny_artifact, device=device)


def test_an_unknown_precision_is_named_beside_the_known_ones(tiny_artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="precision 'fp16' is none of fp32, int8"):
        marsad.load(tiny_artifact, precision="fp16")


def test_each_precision_reads_its_own_graph(tiny_artifact: Path, tmp_path: Path) -> None:
    other = stub.build(tmp_path / "other", int8_words={"بيروت": "B-PLACE"})
    found = {p: [e.text for e in marsad.load(other, precision=p)("حلب بيروت")] for p in ("fp32", "int8")}
    assert found == {"fp32": ["حلب"], "int8": ["بيروت"]}


def test_logits_come_one_row_a_piece_whatever_the_threads(tiny_artifact: Path) -> None:
    windows = [np.arange(length, dtype=np.int32) for length in (1, 2, 7, 18)]
    by_threads = []
    for threads in (1, 4):
        reader = OnnxBackend(tiny_artifact / "onnx/model.onnx", threads)
        futures = [reader.submit(window) for window in windows * 8]
        by_threads.append([future.result() for future in futures])
    for window, one, other in zip(windows * 8, *by_threads, strict=True):
        assert one.shape == (len(window), len(marsad.LABELS) * 2 + 1)
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)


def test_threads_default_to_the_cores_there_are(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(backend, "OnnxBackend", lambda graph, workers: seen.append(workers))
    for threads in (None, 3):
        open_backend(tiny_artifact, "cpu", "fp32", threads)
    assert seen == [available_cores(), 3]
    assert available_cores() >= 1
