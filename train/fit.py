"""Fine-tune an encoder on annotated reports; the epoch is chosen on a development part of them."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import concatenate_datasets
from tokenizers import Tokenizer
from transformers import (
    DataCollatorForTokenClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)
from transformers import set_seed as set_seeds
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

import marsad
from marsad.artifact import Manifest, sha256, text_hash
from marsad.backend import Ids, Logits
from marsad.errors import ConfigError
from marsad.extractor import Extractor
from marsad.proclitics import Proclitics
from marsad.schema import Document
from train import augment, dataset, encoder, metrics, proclitics, report
from train import tokenizer as tokenization
from train.config import RunConfig, load, to_dict

DONE = "fit.json"
LINEAGE = "lineage.json"  # beside a fitted model: all that it was trained on, by itself and by what it went on from


@dataclass(frozen=True)
class Reader:
    """A fine-tuned model in memory, with what is needed to read text with it."""

    model: Any
    tokenizer: Tokenizer
    extractor: Extractor
    best_epoch: float
    dev_f1: float


class ModelBackend:
    """A torch model in training, as the extractor's runtime, so that its F1 is that of the only decode path."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def submit(self, window: Ids) -> "Future[Logits]":
        """Run one window at once."""
        model = self._model
        training = model.training
        model.eval()
        with torch.inference_mode():
            ids = torch.from_numpy(window.astype(np.int64))[None].to(model.device)
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        model.train(training)
        future: Future[Logits] = Future()
        future.set_result(logits.float().cpu().numpy())
        return future


class SpanTrainer(Trainer):
    """transformers' Trainer, whose evaluation adds the strict span F1 of the development documents."""

    extractor: Extractor
    dev: Sequence[Document]
    mask: int  # the id of [MASK]
    mask_rate: float

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """Minus the log of the probability that a word's tag is one of those allowed, averaged over the words."""
        allowed = inputs.pop("labels")
        if model.training and self.mask_rate:
            inputs["input_ids"] = self._masked(inputs["input_ids"])
        outputs = model(**inputs)
        known = allowed != dataset.IGNORED
        scores = outputs.logits[known].float().log_softmax(-1)
        bits = torch.arange(scores.shape[-1], device=scores.device)
        barred = (allowed[known].unsqueeze(-1) >> bits & 1) == 0
        loss = -scores.masked_fill(barred, -torch.inf).logsumexp(-1).mean()
        return (loss, outputs) if return_outputs else loss

    def _masked(self, ids: torch.Tensor) -> torch.Tensor:
        chosen = torch.rand(ids.shape, device=ids.device) < self.mask_rate
        chosen[:, 0] = False  # [CLS]; where [SEP] or padding is chosen, nothing is lost
        return ids.masked_fill(chosen, self.mask)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Loss as Trainer has it, and micro F1 through the extractor."""
        figures = super().evaluate(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        found = self.extractor.batch(document.text for document in self.dev)
        f1 = metrics.score(self.dev, list(found)).micro.f1
        extra = {f"{metric_key_prefix}_f1": f1}
        self.log(extra)
        return {**figures, **extra}


def main(config: RunConfig) -> Path:
    """Fit on all the training documents of a config; an interrupted run goes on from its last checkpoint.

    Returns the directory of the run.
    """
    documents = list(chain.from_iterable(dataset.read_training(config.data)))
    dev = dataset.read_documents(config.data.dev, config.data.labels, config.data.texts)
    reader = fit(config, documents, dev, config.directory / "fit", config.training.seed)
    print(f"fitted on {len(documents)} documents; epoch {reader.best_epoch:g}, development F1 {reader.dev_f1:.3f}")
    print(f"written: {config.directory / 'fit'}")
    return config.directory


def start_of(config: RunConfig) -> Path:
    """The directory of the weights that a fit starts from; another config's model is fitted first where it is not.

    Raises ConfigError where there is no such directory, hub name or config.
    """
    if not config.encoder.endswith(".yaml"):
        return encoder.resolve(config.encoder)
    first = replace(load(config.encoder, RunConfig), runs=config.runs)
    done = first.directory / "fit" / DONE
    if not done.is_file() or json.loads(done.read_text(encoding="utf-8"))["inputs"] != inputs_of(first):
        print(f"{config.name} goes on from {config.encoder}: fitted first", flush=True)
        main(first)
    return first.directory / "fit" / "model"


def encoder_of(config: RunConfig) -> str:
    """The pretrained encoder at the root of a config, behind those that it goes on from."""
    while config.encoder.endswith(".yaml"):
        config = load(config.encoder, RunConfig)
    return config.encoder


def inputs_of(config: RunConfig) -> str:
    """One hash of a config and of every file that its fit reads, wherever they lie."""
    source = start_of(config)
    partial = [file for part in config.data.partial for file in part.files]
    annotated = (*config.data.train, *config.data.extra, *config.data.dev, *partial)
    files = [*map(Path, annotated), *(source / name for name in encoder.FILES), proclitics.find(config, source)]
    parts = [json.dumps({**to_dict(config), "runs": None}), *(sha256(path) for path in files if path.is_file())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_lineage(directory: Path) -> dict[str, list[str]]:
    """The files that a model was trained on and the hashes of the reports in them; nothing for a bare encoder."""
    path = directory / LINEAGE
    if not path.is_file():
        return {"files": [], "trained_on": []}
    lineage: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return lineage


def fit(
    config: RunConfig,
    documents: Sequence[Document],
    dev: Sequence[Document],
    directory: Path,
    seed: int,
    quiet: bool = False,
) -> Reader:
    """Train one model in `directory` (checkpoints, curves, the model itself under model/)."""
    if not documents:
        raise ConfigError("data.train: holds no documents")
    source = start_of(config)
    tokenizer = encoder.load_tokenizer(source)
    table = proclitics.extend(Proclitics.read(proclitics.find(config, source)), documents)
    whole = documents
    if not dev:
        documents, dev = dataset.split_dev(documents, config.data.dev_share, seed)
    if not documents:
        raise ConfigError(
            "data.train: one paragraph cannot both train and choose the epoch; add text, or name data.dev"
        )
    disable_progress_bar()  # of the weights' files, one line a checkpoint
    set_seeds(seed)
    model = encoder.load_model(source, config.data.labels, config.training.dropout, config.window.size)
    bits = dataset.bits_of(config.data.labels)
    copies = augment.substitute(documents, rate, seed) if (rate := config.training.substitute) else []
    train_windows = dataset.make_windows([*documents, *copies], tokenizer, bits, config.window)
    dev_windows = dataset.make_windows(dev, tokenizer, bits, config.window)
    others, parts = _partial_windows(config, tokenizer)
    arguments = _arguments(config, directory, seed, quiet)
    with arguments.main_process_first(local=False, desc="run directory"):
        resume = _prepare(directory, fingerprint(config, [*documents, *others], dev, source, seed))
    trainer = SpanTrainer(
        model=model,
        args=arguments,
        train_dataset=concatenate_datasets([train_windows.dataset, *parts]),
        eval_dataset=dev_windows.dataset,
        data_collator=DataCollatorForTokenClassification(
            PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
        ),
    )
    trainer.extractor = Extractor(manifest(config), tokenizer, ModelBackend(model), table)
    trainer.dev = dev
    trainer.mask, trainer.mask_rate = tokenizer.token_to_id("[MASK]"), config.training.mask_rate
    if quiet:
        trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=resume or None)
    state = trainer.state
    best = next(entry for entry in state.log_history if entry.get("eval_f1") == state.best_metric)
    if trainer.is_world_process_zero():
        _save(model, tokenizer, table, config, directory / "model")
        _write_lineage(config, whole, source, directory / "model")
        summary = {
            "config": to_dict(config),
            "inputs": inputs_of(config),
            "seed": seed,
            "best_epoch": best["epoch"],
            "dev_f1": state.best_metric,
            "train": dataset.columns(train_windows),
            "dev": dataset.columns(dev_windows),
            "partial_windows": sum(map(len, parts)),
            "history": state.log_history,
        }
        (directory / DONE).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        if not quiet:
            report.curves(state.log_history, directory / "curves.png")
    return Reader(model, tokenizer, trainer.extractor, float(best["epoch"]), float(state.best_metric or 0.0))


def _partial_windows(config: RunConfig, tokenizer: Tokenizer) -> tuple[list[Document], list[Any]]:
    """The documents under other schemes, and the training windows of each source."""
    sources = dataset.read_partial(config.data)
    windows = [dataset.make_windows(s.documents, tokenizer, s.allowed, config.window).dataset for s in sources]
    return [document for source in sources for document in source.documents], windows


def manifest(config: RunConfig) -> Manifest:
    """What the artifact of a run says of itself, before it is measured."""
    origin = encoder_of(config)
    name = Path(origin).name if Path(origin).is_dir() else origin
    return Manifest(
        name=config.name,
        labels=config.data.labels,
        encoder={"name": name, "origin": origin},
        window=config.window.size,
        overlap=config.window.overlap,
        marsad_version=marsad.__version__,
    )


def _arguments(config: RunConfig, directory: Path, seed: int, quiet: bool) -> TrainingArguments:
    options = config.training
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",  # sentences of public sets: half of a random batch is padding
        bf16=cuda and torch.cuda.is_bf16_supported(),
        use_cpu=not torch.accelerator.is_available(),  # said aloud, or torchrun's processes each train alone
        seed=seed,
        data_seed=seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="f1",
        greater_is_better=True,
        save_total_limit=2,
        report_to=[] if quiet else ["tensorboard"],
        disable_tqdm=quiet,
        save_only_model=quiet,  # cross-validation resumes by fold, not by step
        dataloader_pin_memory=cuda,
    )


def fingerprint(
    config: RunConfig, documents: Sequence[Document], dev: Sequence[Document], source: Path, seed: int
) -> str:
    """One hash of all that decides a fit, so that only the same fit is resumed."""
    digest = hashlib.sha256()
    files = [path for name in encoder.FILES if (path := source / name).is_file()]
    parts: list[Any] = [to_dict(config), seed, *map(sha256, (*files, proclitics.find(config, source)))]
    parts += [[d.text, [(s.start, s.end, s.label) for s in d.entities]] for d in (*documents, *dev)]
    for part in parts:
        digest.update(json.dumps(part).encode())
    return digest.hexdigest()


def _prepare(directory: Path, key: str) -> bool:
    """Whether `directory` holds checkpoints of an unfinished fit of this fingerprint; other content is cleared."""
    stamp = directory / "fingerprint"
    same = stamp.is_file() and stamp.read_text(encoding="utf-8") == key
    if not same or (directory / DONE).is_file():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        stamp.write_text(key, encoding="utf-8")
    for checkpoint in directory.glob("checkpoint-*"):
        if not (checkpoint / TRAINER_STATE_NAME).is_file():  # written last: the fit was killed before it was whole
            shutil.rmtree(checkpoint)
    return any(directory.glob("checkpoint-*"))


def _write_lineage(config: RunConfig, documents: Sequence[Document], source: Path, directory: Path) -> None:
    before = read_lineage(source)
    data = config.data
    files = (*data.train, *data.extra, *(file for part in data.partial for file in part.files))
    lineage = {
        "files": [*before["files"], *(file for file in files if file not in before["files"])],
        "trained_on": sorted({*before["trained_on"], *(text_hash(document.text) for document in documents)}),
    }
    (directory / LINEAGE).write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")


def _save(model: Any, tokenizer: Tokenizer, table: Proclitics, config: RunConfig, directory: Path) -> None:
    model.save_pretrained(directory)
    proclitics.write(table, directory / "proclitics.tsv")
    tokenization.save(tokenizer, directory, config.window.size + 2)
