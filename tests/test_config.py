"""Configurations: what is shipped parses, and what is wrong is said at once and by name."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from marsad.errors import ConfigError
from train import __main__ as program
from train import config
from train.config import PretrainConfig, RunConfig
from train.encoder import resolve

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
RUNS = [path for path in SHIPPED if not path.name.startswith("pretrain")]
MINIMAL = "name: mine\nencoder: models/encoder\ndata:\n  train: [mine.jsonl]\n"
PRETRAIN = "run: r\ncorpus: c\ntraining:\n  tokens: 100\n  phases: [{length: 16, batch: 2, share: 1}]\n"


def load(tmp_path: Path, text: str, *overrides: str, cls: type = RunConfig) -> RunConfig:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path, cls, overrides)


def problems(tmp_path: Path, text: str, *overrides: str, cls: type = RunConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides, cls=cls)
    return str(caught.value)


PARTIAL = "  partial: [{files: [a.conll], allow: {LOC: [PLACE, ACTOR], O: [O]}}]\n"


def test_a_map_of_lists_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    (source,) = load(tmp_path, MINIMAL + PARTIAL).data.partial
    assert source.allow == {"LOC": ("PLACE", "ACTOR"), "O": ("O",)}
    assert "allow names PLAC, which labels does not" in problems(tmp_path, MINIMAL + PARTIAL.replace("PLACE", "PLAC"))
    assert "data.partial[0].allow.LOC: expected a list" in problems(
        tmp_path, MINIMAL + PARTIAL.replace("[PLACE, ACTOR]", "PLACE")
    )
    assert "allow: expected names and values" in problems(
        tmp_path, MINIMAL + PARTIAL.replace("{LOC: [PLACE, ACTOR], O: [O]}", "[LOC]")
    )
    assert "each label needs at least one" in problems(tmp_path, MINIMAL + PARTIAL.replace("[O]}", "[]}"))


# What is shipped --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_is_parsed_by_the_class_it_is_for(path: Path) -> None:
    cls = PretrainConfig if path.name.startswith("pretrain") else RunConfig
    loaded = config.load(path, cls)
    assert isinstance(loaded, cls)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_the_files_that_a_shipped_config_names_are_in_the_repository_or_told_as_needed(path: Path) -> None:
    loaded = config.load(path, RunConfig)
    partial = [file for source in loaded.data.partial for file in source.files]
    named = [*loaded.data.train, *loaded.data.extra, *loaded.data.dev, *partial]
    (needs,) = re.findall(r"^# Needs: .+(?:\n# {6,}.+)*", path.read_text(encoding="utf-8"), re.M)
    missing = [Path(name) for name in named if not (ROOT / name).is_file()]
    assert [name for name in missing if name.name not in needs or str(name.parent) not in needs] == []
    assert loaded.name == path.stem, "two configs of one name would write into one run"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_opens_with_purpose_prerequisite_and_launch_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])
    assert re.match(r"# (Purpose: )?\w[^\n]{20,}", header), "the first line says what the run is for"
    assert re.search(r"^# (Needs|Prerequisite): +\S", header, re.M)
    assert _launched(path, header) == Path("configs") / path.name


def _launched(path: Path, header: str) -> Path:
    """The config that the launch line names, by the parser that will read the line."""
    line = re.search(r"^# Launch: +(.+)$", header, re.M)
    assert line, "a launch line to copy"
    if "CONFIG=" in line[1]:
        return Path(line[1].split("CONFIG=")[1].split()[0])
    command = re.search(r"python -m (train [^()]+)", line[1])
    assert command, f"{path.name}: launched by make or by python -m train"
    options = program._parser().parse_args(shlex.split(command[1])[1:])
    return Path(options.config)


def test_make_run_launches_the_default() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^CONFIG \?= configs/default\.yaml$", makefile, re.M)
    assert re.search(r"python -m train run --config \$\(CONFIG\)", makefile)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_an_encoder_is_in_the_repository_or_a_config_of_it_or_a_name_on_the_hub(path: Path) -> None:
    encoder = config.load(path, RunConfig).encoder
    if encoder.endswith(".yaml"):
        assert ROOT / encoder in RUNS and ROOT / encoder != path
        return
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", encoder)
    if not (ROOT / encoder).is_dir():
        assert "the model hub" in path.read_text(encoding="utf-8")


# What users write -------------------------------------------------------------------------------


def test_a_minimal_config_takes_the_defaults(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL)
    assert loaded.data.train == ("mine.jsonl",)
    assert loaded.data.labels == ("ACTOR", "PLACE", "COUNT", "DATE")
    assert loaded.window == config.WindowSection()
    assert loaded.directory == Path("runs/mine")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("encodr: x", "unknown key encodr, did you mean encoder?"),
        ("training: {epoch: 3}", "unknown key training.epoch, did you mean training.epochs?"),
        ("window: {zzz: 3}", "unknown key window.zzz; known are size, overlap"),
        ("5: x", "unknown key 5; known are name, encoder"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, line: str, message: str) -> None:
    assert message in problems(tmp_path, MINIMAL + line + "\n")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = problems(
        tmp_path,
        "nam: mine\nencoder: 5\ndata: {train: x.jsonl, labels: [A, A]}\n"
        "window: {size: 10, overlap: 9}\ntraining: {epochs: 0, learning_rate: fast}\n",
    )
    for problem in (
        "unknown key nam, did you mean name?",
        "missing key name",
        "encoder: expected str, found 5",
        "data.train: expected a list, found 'x.jsonl'",
        "window: overlap: 9 is not below half of size 10",
        "training.learning_rate: expected float, found 'fast'",
    ):
        assert problem in text
    assert str(tmp_path / "mine.yaml") in text


@pytest.mark.parametrize("key", ["name", "encoder", "data"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    tree = {name: value for name, value in yaml.safe_load(MINIMAL).items() if name != key}
    assert problems(tmp_path, yaml.safe_dump(tree)).endswith(f": missing key {key}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=3.5", "training.epochs: expected int, found 3.5"),
        ("training.epochs=true", "training.epochs: expected int, found True"),
        ("training.learning_rate=true", "training.learning_rate: expected float, found True"),
        ("training.learning_rate=null", "training.learning_rate: expected float, found None"),
        ("name=7", "name: expected str, found 7"),
        ("data.train=7", "data.train: expected a list, found 7"),
        ("data.train=[a, 7]", "data.train[1]: expected str, found 7"),
        ("crossval.seeds=[1, x]", "crossval.seeds[1]: expected int, found 'x'"),
        ("window=7", "window: expected a section, found 7"),
        ("window=null", "window: expected a section, found None"),
    ],
)
def test_a_wrong_type_is_told_with_its_key(tmp_path: Path, override: str, message: str) -> None:
    assert message in problems(tmp_path, MINIMAL, override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("window.overlap=63", "window: overlap: 63 is not below half of size 126"),
        ("window.overlap=-1", "window: overlap: -1"),
        ("window.size=0", "window: overlap: 32 is not below half of size 0"),
        ("data.labels=[]", "data: labels: expected distinct names"),
        ("data.labels=[A, B, A]", "data: labels: expected distinct names"),
        ("data.dev_share=0.7", "data: dev_share: 0.7 is not between 0 and 0.5"),
        ("training.epochs=0", "training: epochs, batch_size: 0 and 8 are not both at least 1"),
        ("training.batch_size=0", "training: epochs, batch_size: 30 and 0 are not both at least 1"),
        ("crossval.seeds=[]", "crossval: seeds: expected distinct numbers"),
        ("crossval.seeds=[1, 1]", "crossval: seeds: expected distinct numbers"),
        ("crossval.folds=1", "crossval: folds: 1 is less than 2"),
    ],
)
def test_a_contradiction_is_refused_in_the_users_words(tmp_path: Path, override: str, message: str) -> None:
    assert message in problems(tmp_path, MINIMAL, override)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("packed: p\n", "corpus, packed: give one of them"),
        ("shape: {hidden: 30, heads: 4}\n", "shape: hidden: 30 does not divide into 4 heads"),
        ("shape: {positions: 8}\n", "training.phases: lengths [16] are outside 4 to 8 positions"),
        ("sources: [{files: x, weight: 0}]\n", "sources[0]: weight: 0.0 of 'x' is not positive"),
        ("word2vec: {algorithm: glove}\n", "word2vec.algorithm: 'glove' is none of cbow, skip-gram"),
    ],
)
def test_pretraining_contradictions_are_refused_too(tmp_path: Path, lines: str, message: str) -> None:
    assert message in problems(tmp_path, PRETRAIN + lines, cls=PretrainConfig)


@pytest.mark.parametrize("written", ["5e-4", "5.0e-4", "0.0005", "'5e-4'"])
def test_a_float_may_be_written_as_people_write_it(tmp_path: Path, written: str) -> None:
    assert load(tmp_path, MINIMAL + f"training: {{learning_rate: {written}}}\n").training.learning_rate == 5e-4
    assert load(tmp_path, MINIMAL, f"training.learning_rate={written}").training.learning_rate == 5e-4


def test_overrides_reach_into_sections_that_the_file_leaves_out(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL, "training.epochs=3", "training.seed=4", "name=other", "data.train=[a, b]")
    assert (loaded.training.epochs, loaded.training.seed, loaded.name) == (3, 4, "other")
    assert loaded.data.train == ("a", "b")
    assert load(tmp_path, MINIMAL, "data.texts=a=b").data.texts == "a=b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "expected KEY=VALUE, such as training.epochs=3"),
        ("name.x=3", "name holds a value, not a section"),
        ("training.epochs=[", "--set training.epochs=[: not valid YAML"),
        ("training.epoks=3", "unknown key training.epoks, did you mean training.epochs?"),
    ],
)
def test_a_bad_override_is_told(tmp_path: Path, override: str, message: str) -> None:
    assert message in problems(tmp_path, MINIMAL, override)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    assert "missing key name; missing key encoder; missing key data" in problems(tmp_path, "# nothing\n")
    assert "expected keys and values at the top, found list" in problems(tmp_path, "[1, 2]")
    assert "not valid YAML" in problems(tmp_path, "a: [")
    for path, message in ((tmp_path / "none.yaml", "configs/"), (tmp_path, "cannot be read")):
        with pytest.raises(ConfigError, match=message):
            config.load(path, RunConfig)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        config.load(tmp_path / "latin.yaml", RunConfig)


def test_a_config_error_is_exit_code_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(MINIMAL + "windw: {}\n", encoding="utf-8")
    assert program.main(["fit", "--config", str(tmp_path / "mine.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train: ") and error.count("\n") == 1 and "did you mean window?" in error


def test_what_a_run_writes_of_its_config_is_the_config(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL, "data.labels=[A, B]", "crossval.seeds=[7]", "training.learning_rate=1e-5")
    written = json.dumps(config.to_dict(loaded))  # as in fit.json; JSON is YAML
    assert load(tmp_path, written) == loaded


def test_the_default_needs_nothing_outside_the_repository() -> None:
    loaded = config.load(ROOT / "configs" / "default.yaml", RunConfig)
    assert (loaded.encoder, loaded.data.train) == ("configs/authored.yaml", ("annotations/gold.jsonl",))
    first = config.load(ROOT / loaded.encoder, RunConfig)
    assert (first.encoder, first.data.train) == ("models/encoder", ("annotations/authored.jsonl",))
    assert resolve(str(ROOT / first.encoder)) == ROOT / first.encoder
