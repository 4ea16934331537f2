"""`python -m train <verb>`: the command line of the training program."""

import argparse
import sys
import traceback
from pathlib import Path

from marsad.errors import ConfigError, DataError, MarsadError


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0, 1 (bad data), 2 (usage)."""
    options = _parser().parse_args(argv)
    try:
        options.verb(options)
    except (MarsadError, OSError) as error:  # OSError: a file that is not there, or may not be read or written
        if options.debug:
            traceback.print_exc()
        print(f"train: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("train: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train and measure marsad's readers.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = _verb(verbs, "run", _run, "crossval, fit, export, verify, and read an article with the result")
    run.add_argument("--article", type=Path, default=Path("data/articles/003_f41181c3be588978.txt"))
    _verb(verbs, "fit", _fit, "fine-tune on the training documents of a config")
    held_out = _verb(verbs, "crossval", _crossval, "leave one report out, for each seed")
    held_out.add_argument("--readme", type=Path, help="write the table between the file's marks of the config's name")
    exported = _verb(verbs, "export", _export, "write the artifact of a fitted model")
    exported.add_argument("--out", type=Path, help="the artifact's directory (the run's own unless given)")
    scored = _verb(verbs, "evaluate", _evaluate, "score an artifact on annotated files that it was not trained on")
    scored.add_argument(
        "--data", nargs="+", required=True, metavar="FILE", help=".jsonl of the gold's shape, or .conll"
    )
    scored.add_argument("--model", type=Path, help="an artifact (the run's own unless given)")
    scored.add_argument("--out", type=Path, help="where the figures and pages go")
    compared = _verb(verbs, "benchmark", _benchmark, "fine-tune an encoder on ANERcorp and score its test split")
    compared.add_argument("--test", type=Path, help=".conll (unless given, a tenth of the training split)")
    compared.add_argument("--untrained", action="store_true", help="the same architecture with random weights")
    compared.add_argument("--readme", type=Path, help="write the table between this file's benchmark marks too")
    _verb(verbs, "pretrain", _pretrain, "an encoder from raw text")
    clean = _verb(verbs, "overlap", _overlap, "find evaluation texts in packed pretraining text", config=False)
    clean.add_argument("packed", type=Path, help="a directory of packed shards (RUN/packed)")
    clean.add_argument("texts", nargs="+", help="files or directories that should have been kept out")
    table = _verb(verbs, "proclitics", _proclitics, "the table of attached particles from raw text", config=False)
    table.add_argument("--corpus", type=Path, required=True, help="a file or directory of raw text")
    table.add_argument("--out", type=Path, default=Path("models/encoder/proclitics.tsv"))
    checked = _verb(verbs, "check", _check, "validate annotations against articles and guidelines", config=False)
    checked.add_argument("--annotations", type=Path, default=Path("annotations"))
    checked.add_argument("--data", type=Path, default=Path("data"))
    agreed = _verb(verbs, "agreement", _agreement, "compare the two readings, write AGREEMENT.md", config=False)
    agreed.add_argument("--annotations", type=Path, default=Path("annotations"))
    agreed.add_argument("--texts", type=Path, help="directory of the texts of standoff annotations")
    released = _verb(verbs, "release", _release, "put an artifact in the place of the released one", config=False)
    released.add_argument("artifact", type=Path)
    released.add_argument("--out", type=Path, default=Path("models/ner"))
    return parser


def _verb(verbs, name, function, help, config=True):  # type: ignore[no-untyped-def]
    parser = verbs.add_parser(name, help=help, description=help)
    parser.set_defaults(verb=function)
    if config:
        parser.add_argument("--config", type=Path, required=True, help="a YAML file, see configs/")
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    return parser


# Each verb imports its module when it is called: torch and transformers take seconds, `check` needs neither.


def _load(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    from train.config import RunConfig, load

    return load(options.config, RunConfig, options.set)


def _run(options: argparse.Namespace) -> None:
    from train import run

    run.main(_load(options), options.article)


def _fit(options: argparse.Namespace) -> None:
    from train import fit

    fit.main(_load(options))


def _crossval(options: argparse.Namespace) -> None:
    from train import crossval

    crossval.main(_load(options), options.readme)


def _export(options: argparse.Namespace) -> None:
    from train import export

    export.main(_load(options), options.out)


def _evaluate(options: argparse.Namespace) -> None:
    from train import evaluate

    evaluate.main(_load(options), options.data, options.model, options.out)


def _benchmark(options: argparse.Namespace) -> None:
    from train import benchmark

    benchmark.main(_load(options), options.test, options.untrained, options.readme)


def _pretrain(options: argparse.Namespace) -> None:
    from train import pretrain
    from train.config import PretrainConfig, load

    pretrain.main(load(options.config, PretrainConfig, options.set))


def _overlap(options: argparse.Namespace) -> None:
    from train import corpus

    counts = corpus.shared_ngrams(options.packed, options.texts)
    if any(counts.values()):
        found = ", ".join(f"{count:,} in {split}" for split, count in counts.items())
        raise DataError(
            f"{options.packed}: shares word {corpus.NGRAM}-grams with the texts ({found}); "
            "pack again with the texts in exclude"
        )
    print(f"{options.packed}: no word {corpus.NGRAM}-gram of the texts in {' or '.join(counts)}")


def _proclitics(options: argparse.Namespace) -> None:
    from train import proclitics

    print(f"written: {proclitics.main(options.corpus, options.out)}")


def _check(options: argparse.Namespace) -> None:
    from train import check

    check.main(options.annotations, options.data)


def _agreement(options: argparse.Namespace) -> None:
    from train import agreement

    agreement.main(options.annotations, options.texts)


def _release(options: argparse.Namespace) -> None:
    from train import export

    export.release(options.artifact, options.out)


if __name__ == "__main__":
    sys.exit(main())
