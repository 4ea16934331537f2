"""YAML files into frozen dataclasses: one typed signature is file, command line and documentation."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union

import yaml

from marsad.errors import ConfigError

T = TypeVar("T")


def load(path: str | Path, cls: type[T], overrides: Sequence[str] = ()) -> T:
    """Read a YAML file into the dataclass `cls`; `overrides` are `dotted.key=value` strings.

    Raises ConfigError with every problem of the file at once.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; the shipped ones are in configs/") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top, found {type(tree).__name__}")
    for text in overrides:
        _override(tree, text)
    problems: list[str] = []
    value = _build(cls, tree, "", problems)
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return typing.cast(T, value)


def to_dict(config: Any) -> dict[str, Any]:
    """The plain tree of a config, as YAML and JSON can hold it."""
    return dataclasses.asdict(config)


def _override(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as training.epochs=3")
    *parents, last = key.split(".")
    for name in parents:
        child = tree.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {text}: {name} holds a value, not a section")
        tree = child
    tree[last] = yaml.safe_load(value)


def _build(cls: type, tree: dict[str, Any], where: str, problems: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f", did you mean {where}{near[0]}?" if near else f"; known are {', '.join(known)}"
            problems.append(f"unknown key {where}{key}{hint}")
        else:
            values[key] = _convert(hints[key], value, f"{where}{key}", problems)
    for name, f in known.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            problems.append(f"missing key {where}{name}")
    if problems:
        return None
    try:
        return cls(**values)
    except ConfigError as error:
        problems.append(f"{where.rstrip('.')}{': ' if where else ''}{error}")
        return None


def _convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (a for a in arguments if a is not type(None))
        return _convert(hint, value, where, problems)
    if origin is tuple:
        if not isinstance(value, list):
            problems.append(f"{where}: expected a list, found {value!r}")
            return ()
        return tuple(_convert(arguments[0], v, f"{where}[{i}]", problems) for i, v in enumerate(value))
    if origin is typing.Literal:
        if value not in arguments:
            problems.append(f"{where}: {value!r} is none of {', '.join(map(str, arguments))}")
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            problems.append(f"{where}: expected a section, found {value!r}")
            return None
        return _build(typing.cast(type, hint), value, where + ".", problems)
    return _scalar(hint, value, where, problems)


def _scalar(hint: type, value: Any, where: str, problems: list[str]) -> Any:
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:  # YAML 1.1 reads 5e-4 as a string
            return float(value)
        except ValueError:
            pass
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    problems.append(f"{where}: expected {hint.__name__}, found {value!r}")
    return value
