"""What can go wrong, each error with where it happened and what to do next.

MarsadError
├── ConfigError      a configuration that says something it cannot mean
├── ArtifactError    a model directory that is missing, incomplete or changed
├── DataError        a file, line or document that cannot be read
│   └── AlignmentError   a span that does not fit the words of its text
└── MissingExtraError    an optional part that is not installed
"""


class MarsadError(Exception):
    """Base of every error that marsad raises on purpose."""


class ConfigError(MarsadError):
    """A configuration that says something it cannot mean."""


class ArtifactError(MarsadError):
    """A model directory that is missing, incomplete or changed."""


class DataError(MarsadError):
    """A file, line or document that cannot be read."""


class AlignmentError(DataError):
    """A span that does not fit the words of its text."""


class MissingExtraError(MarsadError, ImportError):
    """An optional part that is not installed; the message is the install line."""
