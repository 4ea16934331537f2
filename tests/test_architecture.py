"""The shape of the library: who may import whom, and what is never loaded, read or reached."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import marsad
from tests.texts import ROOT

SOURCE = ROOT / "src/marsad"

#: A module imports only those named before it.
ORDER = [
    *("errors", "schema", "words", "proclitics", "codec", "encode"),
    *("artifact", "backend", "extractor", "formats", "cli"),
]

MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "transformers", "onnx", "datasets", "train")


def name_of(path: Path) -> str:
    """`formats.jsonl` of src/marsad/formats/jsonl.py; "" of the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function, with the names it takes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import; name the module in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_used(path: Path) -> set[str]:
    """The modules of marsad that a file imports; "" where it takes something from the package itself."""
    names = {name_of(module) for module in MODULES}
    used = set()
    for target in imported(path):
        if target.split(".")[0] == "marsad":
            inner = target.removeprefix("marsad").removeprefix(".")
            used.add(inner if inner in names else inner.rpartition(".")[0])
    return used


def test_the_order_names_every_module() -> None:
    assert {name_of(path).split(".")[0] for path in MODULES} == {"", *ORDER}


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p)], ids=name_of)
def test_a_module_imports_only_those_named_before_it(path: Path) -> None:
    own = name_of(path).split(".")[0]
    allowed = {*ORDER[: ORDER.index(own)], *(["formats"] if own == "formats" else [])}
    if own == "cli":  # the last may take the package's own face
        allowed.add("")
    assert {name.split(".")[0] for name in modules_used(path)} <= allowed


def test_the_face_of_the_library_loads_neither_formats_nor_cli() -> None:
    assert modules_used(SOURCE / "__init__.py") <= set(ORDER[: ORDER.index("formats")])


def test_formats_import_one_another_without_a_cycle() -> None:
    paths = {name_of(path): path for path in MODULES if name_of(path).startswith("formats")}
    graph = {name: modules_used(path) & paths.keys() for name, path in paths.items()}
    assert any(graph.values())
    assert set(TopologicalSorter(graph).static_order()) == paths.keys()  # raises where there is a cycle


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path) or "marsad")
def test_a_library_module_imports_nothing_of_training(path: Path) -> None:
    allowed = {"torch", "transformers"} if name_of(path) == "backend" else set()
    assert {name.split(".")[0] for name in imported(path)} & set(HEAVY) <= allowed


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["marsad", "marsad.cli", "marsad.formats"])
def test_importing_the_library_loads_nothing_heavy(module: str) -> None:
    loaded = run(f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})").split()
    assert "marsad" in loaded
    assert not set(HEAVY) & set(loaded)


def test_extracting_loads_nothing_heavy(tiny_artifact: Path) -> None:
    found, *loaded = run(
        f"import sys, marsad; print(marsad.load({str(tiny_artifact)!r})('حلب')[0].label);"
        "print(*{name.split('.')[0] for name in sys.modules})"
    ).split()
    assert found == "PLACE"
    assert not set(HEAVY) & set(loaded)


def test_the_public_names_are_sorted_and_all_there() -> None:
    upper, other = [n for n in marsad.__all__ if n.isupper()], [n for n in marsad.__all__ if not n.isupper()]
    classes, functions = [n for n in other if n[0].isupper()], [n for n in other if n[0].islower()]
    assert [*sorted(upper), *sorted(classes), *sorted(functions)] == marsad.__all__
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    taken = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert taken == set(marsad.__all__)
    assert issubclass(marsad.AlignmentError, marsad.DataError)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path) or "marsad")
def test_nothing_unpickles(path: Path) -> None:
    picklers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert not {name.split(".")[0] for name in imported(path)} & picklers
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in ("load", "loads"):
            assert ast.unparse(node.value) not in ("torch", "self._torch", "np", "numpy"), f"{path}:{node.lineno}"
        assert not (isinstance(node, ast.keyword) and node.arg == "allow_pickle"), path


OFFLINE = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise OSError(f"network: {event}")

sys.addaudithook(refuse)
import socket
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except OSError as error:
    print(error)
import marsad
print(*(entity.text for entity in marsad.load(sys.argv[1])("في حلب أمس")))
"""


def test_an_artifact_loads_and_reads_with_no_network(tiny_artifact: Path) -> None:
    command = [sys.executable, "-c", OFFLINE, str(tiny_artifact)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, encoding="utf-8")
    refusal, found = done.stdout.splitlines()
    assert refusal.startswith("network: socket.")
    assert found == "حلب أمس"
