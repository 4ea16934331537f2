"""Pretraining from scratch: a BERT encoder by masked language modelling, on a laptop or on many GPUs.

    vocabulary -> packed shards -> word vectors (optional) -> masked language modelling -> encoder/

Each stage leaves its result in the run directory and is skipped where the result is there, so the
same command starts a run, continues a killed one and finds a finished one. Which sequences a step
reads, how they are masked and what dropout hides are functions of (seed, phase, step, rank): a
checkpoint needs no random state, and a resumed run equals an uninterrupted one to the last bit.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm
from transformers import BertConfig, BertForMaskedLM

from marsad.errors import ConfigError
from train import corpus
from train import encoder as encoders
from train import tokenizer as tokenization
from train.config import PretrainConfig, PretrainTraining, PretrainWord2Vec, to_dict

LOG_STEPS = 20


def main(config: PretrainConfig) -> Path:
    """Run or resume a pretraining run; returns the Hugging Face directory of the encoder."""
    with _processes() as here:
        run = Path(config.run)
        encoder = run / "encoder"
        if here.rank == 0 and not (encoder / "training.json").exists():
            _prepare(config, run)
        here.wait()
        if not (encoder / "training.json").exists():
            trainer = Trainer(config, run, here)
            trainer.train()
            if here.rank == 0:
                trainer.export(encoder)
            here.wait()
        return encoder


# Stages before training -------------------------------------------------------------------------


def packed_directory(config: PretrainConfig) -> Path:
    """Where the packed shards are: those that the config names, or those of the run."""
    return Path(config.packed) if config.packed else Path(config.run) / "packed"


def _prepare(config: PretrainConfig, run: Path) -> None:
    _claim(config, run)
    packed = packed_directory(config)
    if not (packed / "packed.json").exists() and not config.packed:
        corpus.pack(config, _vocabulary(config), packed)
    corpus.read_packing(packed)
    if config.word2vec and not (run / "word2vec.npy").exists():
        vectors = learn_word_vectors(config.word2vec, config.shape.hidden, packed, config.seed)
        _write_atomically(run / "word2vec.npy", lambda path: np.save(path, vectors))


def _claim(config: PretrainConfig, run: Path) -> None:
    """Note what a run's files depend on, and refuse to go on with them under other settings."""
    run.mkdir(parents=True, exist_ok=True)
    now = json.loads(json.dumps(to_dict(config)))
    # budget, learning rate and the like may change while a run goes on
    kept = ("phases", "mask_rate", "negatives", "dropout", "accumulate")
    now["training"] = {key: now["training"][key] for key in kept}
    path = run / "settings.json"
    if not path.exists():
        _write_json(path, now)
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in now if key != "run" and before.get(key) != now[key]]
    if changed:
        raise ConfigError(f"{run}: begun with another {', '.join(changed)}; choose another run, or remove this one")


def _vocabulary(config: PretrainConfig) -> Tokenizer:
    if config.start:
        return encoders.load_tokenizer(encoders.resolve(config.start))
    if config.vocabulary.directory is None:
        return corpus.learn_vocabulary(config)
    return tokenization.read(Path(config.vocabulary.directory))


def learn_word_vectors(options: PretrainWord2Vec, hidden: int, packed: Path, seed: int) -> NDArray[np.float32]:
    """Word2vec vectors of all pieces, centred and of one length; pieces that are too rare get random ones."""
    from gensim.models import Word2Vec  # heavy, and of use to this stage alone

    text = packed.parent / "word2vec.txt"
    with text.open("w", encoding="ascii") as file:
        for chunk in corpus.stream(packed, "train", options.tokens):
            file.write(" ".join(map(str, chunk.tolist())) + "\n")
    try:
        model = Word2Vec(
            corpus_file=str(text),  # gensim's threads run without the interpreter on files alone
            vector_size=hidden,
            sg=int(options.algorithm == "skip-gram"),
            window=options.window,
            negative=options.negative,
            epochs=options.epochs,
            min_count=5,
            sample=1e-4,
            workers=os.cpu_count() or 1,
            seed=seed,
        )
    finally:
        text.unlink()
    pieces = corpus.read_packing(packed).vocabulary
    vectors = np.random.default_rng(seed).normal(0, 1, (pieces, hidden))
    known = np.array([int(word) for word in model.wv.index_to_key])
    learned = model.wv.vectors - model.wv.vectors.mean(axis=0)
    # raw lengths differ 200-fold, by frequency above all; that the head has in its bias
    vectors[known] = learned * np.sqrt(hidden) / np.linalg.norm(learned, axis=1, keepdims=True)
    return (vectors * options.std).astype(np.float32)


# Processes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Processes:
    """This process among those of a `torchrun`, or alone."""

    rank: int
    count: int
    device: torch.device

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def agree(self, value: float) -> float:
        """The value that the first process has."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared.item())


@contextlib.contextmanager
def _processes() -> Iterator[Processes]:
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if count > 1:
        # the others wait while the first packs the corpus, which takes minutes
        dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=4))
    try:
        yield Processes(rank, count, device)
    finally:
        if count > 1:
            dist.destroy_process_group()


# Model ------------------------------------------------------------------------------------------


def build_model(config: PretrainConfig, pieces: corpus.Pieces, shares: Tensor) -> BertForMaskedLM:
    """The encoder to go on from, or a fresh BERT of the config's shape with what is known of the pieces in it."""
    torch.manual_seed(config.seed)
    if config.start:
        return _load_model(config, pieces)
    shape, dropout = config.shape, config.training.dropout
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=pieces.size,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.intermediate,
            max_position_embeddings=shape.positions,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=pieces.ids["[PAD]"],
            attn_implementation="sdpa",
        )
    )
    with torch.no_grad():
        # the head starts at the pieces' frequencies instead of spending its first 100 steps on them
        model.cls.predictions.bias.copy_(shares.log())
        vectors = Path(config.run) / "word2vec.npy"
        if config.word2vec:
            model.bert.embeddings.word_embeddings.weight.copy_(torch.from_numpy(np.load(vectors)))
        start_local(model, config.seed)
    return model


def _load_model(config: PretrainConfig, pieces: corpus.Pieces) -> BertForMaskedLM:
    dropout = config.training.dropout
    model: BertForMaskedLM = BertForMaskedLM.from_pretrained(
        encoders.resolve(str(config.start)),
        dtype=torch.float32,
        attn_implementation="sdpa",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        local_files_only=True,
    )
    if model.config.vocab_size < pieces.size:
        raise ConfigError(
            f"start {config.start}: knows {model.config.vocab_size} pieces, and the packed text has {pieces.size}; "
            "pack the text with this encoder's vocabulary (corpus instead of packed)"
        )
    return model


def piece_shares(packed: Path, size: int) -> Tensor:
    """The share of each piece in the text, (size,), from 5 million tokens of it; none is zero."""
    counts = np.ones(size)
    for chunk in corpus.stream(packed, "train", 5_000_000):
        counts += np.bincount(chunk, minlength=size)
    return torch.from_numpy(counts / counts.sum())


def start_local(model: BertForMaskedLM, seed: int) -> None:
    """Let the heads of the lower half of the layers look at near words from the first step on.

    Positions start as waves of random frequency, as large as the words. A query that keeps its wave
    and a key that turns it by `offset` positions agree most where key = query + offset: at 1.2 times
    the identity, 0.55 of such a head's weight lies there among 64 positions. Finding this from noise
    takes millions of tokens: held-out loss after 0.4 M tokens is 7.05 with it and 7.48 without.
    """
    words = model.bert.embeddings.word_embeddings.weight
    positions = model.bert.embeddings.position_embeddings.weight
    count, hidden = positions.shape
    heads = model.config.num_attention_heads
    frequencies = np.random.default_rng(seed).uniform(0, np.pi, hidden // 2)
    angles = np.outer(np.arange(count), frequencies)
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, hidden)
    positions.copy_(torch.from_numpy(waves) * 2**0.5 * words.std())
    layers = model.bert.encoder.layer
    for number in range(len(layers) // 2):
        offsets = [(1 + head // 2 * (number + 1)) * (-1) ** (head + 1) for head in range(heads)]
        turn = np.repeat(offsets, hidden // 2 // heads) * frequencies
        attention = layers[number].attention.self
        attention.query.weight.add_(1.2 * torch.eye(hidden))
        attention.key.weight.add_(1.2 * torch.from_numpy(_rotation(turn)))


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """The matrix that maps each pair (sin a, cos a) to (sin(a - angle), cos(a - angle))."""
    matrix = np.zeros((2 * len(angles), 2 * len(angles)), np.float32)
    even = np.arange(0, 2 * len(angles), 2)
    matrix[even, even] = matrix[even + 1, even + 1] = np.cos(angles)
    matrix[even, even + 1], matrix[even + 1, even] = -np.sin(angles), np.sin(angles)
    return matrix


class MaskedLoss(nn.Module):
    """The loss at the masked positions alone: the head, a third of the work, skips the other 80 %."""

    def __init__(self, model: BertForMaskedLM) -> None:
        """Wrap a model."""
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy at flat `positions` of `inputs`."""
        hidden = self.model.bert(inputs).last_hidden_state.flatten(0, 1)
        logits = self.model.cls(hidden.index_select(0, positions))
        return nn.functional.cross_entropy(logits.float(), labels)


class SampledLoss(MaskedLoss):
    """MaskedLoss whose softmax is over the batch's targets and `negatives` drawn pieces (Jean et al. 2015).

    A candidate counts by one over the probability that it is among them, a row's own target once: the sum
    over the vocabulary is met on average. On 4x256 with 32,000 pieces and one core, 2,900 tokens/s instead
    of 1,650.
    """

    shares: Tensor
    draws: Tensor

    def __init__(self, model: BertForMaskedLM, shares: Tensor, negatives: int) -> None:
        """Wrap a model; `shares` are the frequencies of its pieces."""
        super().__init__(model)
        self._negatives = negatives
        draws = shares**0.75  # as word2vec draws them (Mikolov et al. 2013)
        self.register_buffer("shares", shares)
        self.register_buffer("draws", draws / draws.sum())

    def forward(self, inputs: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy at flat `positions` of `inputs`, estimated."""
        hidden = self.model.bert(inputs).last_hidden_state.flatten(0, 1)
        head = self.model.cls.predictions
        rows = head.transform(hidden.index_select(0, positions))
        drawn = torch.searchsorted(self.draws.cumsum(0), torch.rand(self._negatives, device=labels.device).double())
        candidates, places = torch.unique(
            torch.cat([labels, drawn.clamp(max=len(self.draws) - 1)]), return_inverse=True
        )
        targets = places[: len(labels), None]
        logits = nn.functional.linear(rows, head.decoder.weight[candidates], head.bias[candidates]).float()
        absent = len(labels) * torch.log1p(-self.shares) + self._negatives * torch.log1p(-self.draws)
        weighed = logits - torch.log(-torch.expm1(absent[candidates])).float()
        weighed = weighed.scatter(1, targets, logits.gather(1, targets))
        return nn.functional.cross_entropy(weighed, targets.flatten())


def flops_per_token(shape: BertConfig, options: PretrainTraining, length: int) -> float:
    """Model FLOPs of a training token: 2 per weight and product forward, twice that backward.

    Counted are the matrix products: 4 h^2 + 2 h i weights a layer, attention's 2 length h products,
    and for masked tokens the head's h^2 + h V (V the negatives, where there are). Embeddings, norms,
    softmax and GELU are not.
    """
    hidden = shape.hidden_size
    layer = 4 * hidden**2 + 2 * hidden * shape.intermediate_size + 2 * length * hidden
    head = options.mask_rate * (hidden**2 + hidden * (options.negatives or shape.vocab_size))
    return 3 * 2 * (shape.num_hidden_layers * layer + head)


def peak_flops(device: torch.device) -> float:
    """FLOP/s of a large matrix product on this machine now, in the type that training uses."""
    cuda = device.type == "cuda"
    size, dtype = (8192, torch.bfloat16) if cuda else (1536, torch.float32)
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


# Training ---------------------------------------------------------------------------------------


@dataclass
class Position:
    """How far a run is: all that decides what its next step does."""

    step: int = 0
    phase: int = 0
    sequences: int = 0  # drawn in this phase
    tokens: int = 0
    seconds: float = 0.0
    flops: float = 0.0

    def share(self, training: PretrainTraining) -> float:
        """The share of the budget that is spent."""
        if training.tokens is not None:
            return min(1.0, self.tokens / training.tokens)
        return min(1.0, self.seconds / (60 * cast(float, training.minutes)))


def phase_at(training: PretrainTraining, share: float) -> int:
    """The number of the phase at a share of the budget."""
    ends = np.cumsum([phase.share for phase in training.phases])
    return min(int(np.searchsorted(ends, share, side="right")), len(ends) - 1)


def learning_rate_at(training: PretrainTraining, share: float) -> float:
    """Linear warm-up, then linear decay to zero at the end of the budget."""
    rise = share / training.warmup if training.warmup else 1.0
    return training.learning_rate * min(rise, (1 - share) / (1 - training.warmup))


class Trainer:
    """One process's part of a run."""

    def __init__(self, config: PretrainConfig, run: Path, here: Processes) -> None:
        """Build the model, or take up the run's last checkpoint."""
        self.config, self.options, self.run, self.here = config, config.training, run, here
        self.packed = packed_directory(config)
        self.peak = peak_flops(here.device)
        self.tokenizer = tokenization.read(self.packed)
        self.pieces = corpus.Pieces(self.tokenizer)
        shares = piece_shares(self.packed, self.pieces.size)
        self.model = build_model(config, self.pieces, shares).to(here.device)
        if self.options.compile:
            self.model.bert.compile()
        self.loss: nn.Module = self._training_loss(shares).to(here.device)
        if here.count > 1:
            self.loss = DistributedDataParallel(self.loss)
        self.optimizer = _optimizer(self.model, self.options)
        self.position = Position()
        self.checkpoints = Checkpoints(run / "checkpoints")
        self.log = Log(run / "log.jsonl")
        self._resume()
        self._source = self._open_phase()

    def train(self) -> None:
        """Train until the budget is spent."""
        started = time.monotonic() - self.position.seconds
        saved = time.monotonic()
        meter = Meter(self.position)
        with tqdm(total=100, unit="%", disable=self.here.rank > 0, mininterval=5, bar_format=_BAR) as bar:
            while (share := self.position.share(self.options)) < 1:
                self._enter_phase(phase_at(self.options, share))
                rate = learning_rate_at(self.options, share)
                meter.add(self._step(rate))
                self.position.seconds = self.here.agree(time.monotonic() - started)
                if self.here.rank == 0 and self.position.step % LOG_STEPS == 0:
                    record = meter.read(self.position, rate, self.peak * self.here.count)
                    self.log.write(record)
                    bar.n = 100 * share
                    bar.set_postfix_str(_line(record))
                if self.here.rank == 0 and self.position.step % self.options.evaluate_steps == 0:
                    self._log_heldout()
                if self.here.rank == 0 and self._checkpoint_due(saved):
                    self._save()
                    saved = time.monotonic()
        if self.here.rank == 0:
            self._log_heldout()
            self._save()

    def export(self, directory: Path) -> None:
        """Write the Hugging Face directory, and `training.json` last: it says that the rest is complete."""
        directory.mkdir(parents=True, exist_ok=True)
        lengths = sorted({phase.length for phase in self.options.phases})
        self.model.config.hidden_dropout_prob = self.model.config.attention_probs_dropout_prob = 0.1
        # the weights are evaluated below as they are stored; the config says how to compute with them
        self.model.half().save_pretrained(directory)
        self.model.float().config.dtype = torch.float32
        self.model.config.save_pretrained(directory)
        tokenization.save(self.tokenizer, directory, self.model.config.max_position_embeddings)
        draw_curves(self.log.records, self.run / "curves.png")
        summary = {
            "config": _portable(self.config),
            "packing": asdict(corpus.read_packing(self.packed)),
            **asdict(self.position),
            "peak_flops": self.peak,
            "processes": self.here.count,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "heldout_loss": {length: self._heldout_loss(length) for length in lengths},
        }
        _write_json(directory / "training.json", summary)

    def _step(self, rate: float) -> Tensor:
        """One update; returns its loss."""
        parts = self.options.accumulate
        total = torch.zeros((), device=self.here.device)
        for part in range(parts):
            last = part == parts - 1
            quiet = contextlib.nullcontext() if last or self.here.count == 1 else cast(Any, self.loss).no_sync()
            batch = self._batch(part)
            self._seed_dropout(part)
            with quiet, self._autocast():
                loss = self.loss(*batch) / parts
                loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        phase = self.options.phases[self.position.phase]
        self.position.step += 1
        self.position.sequences += phase.batch
        self.position.tokens += phase.batch * phase.length
        self.position.flops += phase.batch * phase.length * self._flops
        return total

    def _training_loss(self, shares: Tensor) -> MaskedLoss:
        if self.options.negatives is None:
            return MaskedLoss(self.model)
        return SampledLoss(self.model, shares, self.options.negatives)

    def _seed_dropout(self, part: int) -> None:
        key = (self.config.seed, self.position.step, part, self.here.rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def _batch(self, part: int) -> list[Tensor]:
        phase, here = self.options.phases[self.position.phase], self.here
        size = phase.batch // (self.options.accumulate * here.count)
        first = self.position.sequences + (part * here.count + here.rank) * size
        rows = self._source.take(self._order.take(first, size))
        key = (self.config.seed, self.position.step, part * here.count + here.rank)
        return self._tensors(corpus.mask_words(rows, self.pieces, self.options.mask_rate, key))

    def _tensors(self, masked: corpus.Masked) -> list[Tensor]:
        arrays = (masked.inputs, masked.positions, masked.labels)
        return [torch.from_numpy(array).to(self.here.device, non_blocking=True) for array in arrays]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.here.device.type, torch.bfloat16, enabled=self.here.device.type == "cuda")

    def _open_phase(self) -> corpus.Sequences:
        phase = self.options.phases[self.position.phase]
        per_step = self.options.accumulate * self.here.count
        if phase.batch % per_step:
            raise ConfigError(
                f"training.phases: batch {phase.batch} does not divide into {self.options.accumulate} parts "
                f"for each of {self.here.count} processes; use a multiple of {per_step}"
            )
        self._heldout(phase.length)  # too little held-out text is known now, not at the end
        source = corpus.Sequences(self.packed, "train", phase.length, self.pieces)
        self._order = corpus.Order(source.count, (self.config.seed, self.position.phase))
        self._flops = flops_per_token(self.model.config, self.options, phase.length)
        return source

    def _enter_phase(self, number: int) -> None:
        if number == self.position.phase:
            return
        self.position.phase, self.position.sequences = number, 0
        self._source = self._open_phase()

    def _log_heldout(self) -> None:
        loss = self._heldout_loss(self.options.phases[0].length)
        self.log.write({"step": self.position.step, "tokens": self.position.tokens, "heldout_loss": loss})

    @torch.no_grad()
    def _heldout_loss(self, length: int) -> float:
        """The loss on the same masks of the same held-out sequences, whatever the run's seed and mask rate."""
        source = self._heldout(length)
        numbers = corpus.Order(source.count, (0, 0)).take(0, min(source.count, self.options.evaluate_sequences))
        self.model.eval()
        total, count = 0.0, 0
        for step, first in enumerate(range(0, len(numbers), 32)):
            rows = source.take(numbers[first : first + 32])
            masked = corpus.mask_words(rows, self.pieces, 0.15, (0, step, 0))
            with self._autocast():
                loss = MaskedLoss(self.model)(*self._tensors(masked))
            total += float(loss) * len(masked.labels)
            count += len(masked.labels)
        self.model.train()
        return total / count

    def _heldout(self, length: int) -> corpus.Sequences:
        return corpus.Sequences(self.packed, "heldout", length, self.pieces)

    def _checkpoint_due(self, saved: float) -> bool:
        by_step = self.options.checkpoint_steps
        if by_step is not None:
            return self.position.step % by_step == 0
        return time.monotonic() - saved > 60 * self.options.checkpoint_minutes

    def _save(self) -> None:
        state = {
            "position": asdict(self.position),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        self.checkpoints.write(self.position.step, state)

    def _resume(self) -> None:
        state = self.checkpoints.read()
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.position = Position(**state["position"])
        if self.here.rank == 0:
            self.log.rewind(self.position.step)


def _optimizer(model: BertForMaskedLM, options: PretrainTraining) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]  # biases and LayerNorm
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, options.beta2), eps=1e-6, fused=True)


# Files of a run ---------------------------------------------------------------------------------


class Checkpoints:
    """The last two states of a run, each written whole or not at all."""

    def __init__(self, directory: Path) -> None:
        """Use a directory, made at the first write."""
        self._directory = directory

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Write a state and remove all but the last two."""
        self._directory.mkdir(parents=True, exist_ok=True)
        _write_atomically(self._directory / f"step-{step:09d}.pt", lambda path: torch.save(state, path))
        for old in self._files()[:-2]:
            old.unlink()

    def read(self) -> dict[str, Any] | None:
        """The last state, or None where there is none."""
        files = self._files()
        if not files:
            return None
        return cast(dict[str, Any], torch.load(files[-1], map_location="cpu", weights_only=True))

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("step-*.pt"))


class Log:
    """The JSONL record of a run."""

    def __init__(self, path: Path) -> None:
        """Append to a file."""
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.records: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def write(self, record: dict[str, Any]) -> None:
        """Append a record."""
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def rewind(self, step: int) -> None:
        """Forget what was logged after a step: those steps will be taken again."""
        self.records = [record for record in self.records if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in self.records)
        _write_atomically(self._path, lambda path: path.write_text(text, encoding="utf-8"))


class Meter:
    """Loss and speed since it was last read."""

    def __init__(self, position: Position) -> None:
        """Start at a position."""
        self._losses: list[Tensor] = []
        self._mark(position)

    def add(self, loss: Tensor) -> None:
        """Note a step's loss, without waiting for the device."""
        self._losses.append(loss)

    def read(self, position: Position, rate: float, peak: float) -> dict[str, Any]:
        """The record of the steps since the last reading."""
        elapsed = time.monotonic() - self._time
        loss = float(torch.stack(self._losses).mean())
        if not math.isfinite(loss):
            raise ConfigError(f"the loss is {loss} at step {position.step}; lower training.learning_rate and resume")
        record = {
            "step": position.step,
            "tokens": position.tokens,
            "seconds": round(position.seconds, 1),
            "loss": round(loss, 4),
            "learning_rate": rate,
            "tokens_per_second": round((position.tokens - self._tokens) / elapsed),
            "peak_share": round((position.flops - self._flops) / elapsed / peak, 3),
        }
        self._losses = []
        self._mark(position)
        return record

    def _mark(self, position: Position) -> None:
        self._time, self._tokens, self._flops = time.monotonic(), position.tokens, position.flops


_BAR = "{percentage:5.1f} % {bar} {elapsed} {postfix}"


def _line(record: dict[str, Any]) -> str:
    return (
        f"step {record['step']}, {record['tokens_per_second']} tokens/s, loss {record['loss']:.3f}, "
        f"lr {record['learning_rate']:.1e}, {record['peak_share']:.0%} of peak"
    )


def draw_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Draw loss and learning rate over the tokens seen."""
    import matplotlib  # a second of start-up that only the end of a run needs

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, rates) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 7), height_ratios=(3, 1))
    for axis, key, label in (
        (losses, "loss", "training"),
        (losses, "heldout_loss", "held out"),
        (rates, "learning_rate", ""),
    ):
        points = [(record["tokens"] / 1e6, record[key]) for record in records if key in record]
        axis.plot(*zip(*points, strict=True), label=label)
    losses.set_ylabel("masked LM loss (nats)")
    losses.legend()
    rates.set_ylabel("learning rate")
    rates.set_xlabel("tokens seen (millions)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _portable(config: PretrainConfig) -> dict[str, Any]:
    """The config without the places of one machine: paths are cut to their last part."""
    tree = to_dict(config)
    tree["exclude"] = [Path(path).name for path in config.exclude]
    places = ((tree, "run"), (tree, "corpus"), (tree, "packed"), (tree, "start"), (tree["vocabulary"], "directory"))
    for section, key in places:
        section[key] = section[key] and Path(section[key]).name
    return tree


def _write_json(path: Path, tree: dict[str, Any]) -> None:
    text = json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    _write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary neighbour of `path`, then put it in its place."""
    temporary = path.with_name("." + path.name)
    write(temporary)
    temporary.replace(path)
