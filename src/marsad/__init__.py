"""marsad reads Arabic conflict news: who, where, how many and when, at exact offsets."""

from marsad.errors import (
    AlignmentError,
    ArtifactError,
    ConfigError,
    DataError,
    MarsadError,
    MissingExtraError,
)
from marsad.extractor import Extractor, load
from marsad.schema import LABELS, Document, Entity, Span

__version__ = "0.1.0"

__all__ = [
    "LABELS",
    "AlignmentError",
    "ArtifactError",
    "ConfigError",
    "DataError",
    "Document",
    "Entity",
    "Extractor",
    "MarsadError",
    "MissingExtraError",
    "Span",
    "load",
]
