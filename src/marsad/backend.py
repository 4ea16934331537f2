"""Windows of piece ids in, logits out: ONNX Runtime, or torch where its extra is installed.

The CPU backend runs one window at a time on one thread each, and as many windows beside each other as there
are threads. A window's logits then depend on nothing but the window: not on batch mates, padding or thread
count, in int8 (one activation scale a run) as in fp32.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from marsad.artifact import GRAPHS
from marsad.errors import ArtifactError, MissingExtraError

Ids = NDArray[np.int32]
Logits = NDArray[np.float32]


class Backend(Protocol):
    """What the extractor needs of a runtime."""

    def submit(self, window: Ids) -> "Future[Logits]":
        """Queue one window of ids with its special tokens, (pieces,); its logits are (pieces, tags)."""
        ...


def open_backend(directory: Path, device: str, precision: str, threads: int | None) -> Backend:
    """The backend for a device; raises MissingExtraError with the install line where its part is missing."""
    if precision not in GRAPHS:
        raise ArtifactError(f"precision {precision!r} is none of {', '.join(GRAPHS)}")
    workers = threads or available_cores()
    if device == "cpu":
        return OnnxBackend(directory / GRAPHS[precision], workers)
    if device == "cuda":
        if _onnx_cuda():
            return OnnxBackend(directory / GRAPHS[precision], workers=1, provider="CUDAExecutionProvider")
        if precision != "fp32":
            raise ArtifactError(f"device cuda reads {precision} with onnxruntime-gpu alone; use --precision fp32")
        return TorchBackend(directory, "cuda")
    if device == "torch":
        if precision != "fp32":
            raise ArtifactError(f"device torch reads fp32 alone; for {precision} use --device cpu")
        return TorchBackend(directory, "cpu")
    raise ArtifactError(f"device {device!r} is none of cpu, cuda, torch")


def available_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxBackend:
    """ONNX Runtime; sessions are safe to run from several threads."""

    def __init__(self, graph: Path, workers: int, provider: str = "CPUExecutionProvider") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=[provider])
        if self._session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU in silence
            raise ArtifactError(f"{provider} does not start on this machine; use --device cpu")
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="marsad")

    def submit(self, window: Ids) -> "Future[Logits]":
        """Queue one window."""
        return self._pool.submit(self._run, window)

    def _run(self, window: Ids) -> Logits:
        ids = window[None].astype(np.int64)
        (logits,) = self._session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        return np.asarray(logits[0], np.float32)


class TorchBackend:
    """PyTorch through transformers, on the CPU or a CUDA device; the weights are computed in fp32."""

    def __init__(self, directory: Path, device: str) -> None:
        try:
            import torch
            from transformers import AutoModelForTokenClassification
        except ImportError:
            raise MissingExtraError("this device needs torch and transformers: pip install 'marsad[torch]'") from None
        if device == "cuda" and not torch.cuda.is_available():
            raise ArtifactError("device cuda: torch sees no CUDA device here; use --device cpu")
        self._torch: Any = torch
        self._device = device
        model = AutoModelForTokenClassification.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
        self._model = model.to(device).eval()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="marsad")

    def submit(self, window: Ids) -> "Future[Logits]":
        """Queue one window."""
        return self._pool.submit(self._run, window)

    def _run(self, window: Ids) -> Logits:
        torch = self._torch
        with torch.inference_mode():
            ids = torch.from_numpy(window.astype(np.int64))[None].to(self._device)
            logits = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        return np.asarray(logits.float().cpu().numpy(), np.float32)


def _onnx_cuda() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
