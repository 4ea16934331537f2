"""Scores that are chances: a logistic curve over the model's confidence (Platt 1999), from held-out reports."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from marsad.extractor import calibrated, log_odds

_FEWEST = 20  # right and wrong entities, below which no curve is drawn


def learn(scores: Sequence[float], correct: Sequence[bool]) -> dict[str, float] | None:
    """Slope and intercept of the curve through `scores` of entities that were `correct` or not; None from too few."""
    right = sum(correct)
    if min(right, len(correct) - right) < _FEWEST:
        return None
    curve = LogisticRegression(C=1e6).fit(log_odds(np.array(scores))[:, None], np.array(correct))
    return {"slope": float(curve.coef_[0, 0]), "intercept": float(curve.intercept_[0])}


def error(scores: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: how far scores and shares of right entities lie apart in bins of equal width."""
    numbers = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = np.bincount(numbers, weights=scores - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(scores))


def summary(scores: Sequence[float], correct: Sequence[bool], groups: Sequence[int]) -> dict[str, float] | None:
    """The curve through all entities, and the error before and after it.

    The error after it is that of curves which were learned without the group (fold) of the entity that they judge.
    """
    curve = learn(scores, correct)
    if curve is None:
        return None
    values, truth, parts = np.array(scores), np.array(correct), np.array(groups)
    judged = values.copy()
    for part in np.unique(parts):
        other = learn(values[parts != part].tolist(), truth[parts != part].tolist())
        judged[parts == part] = calibrated(values[parts == part], other)
    return {**curve, "error_before": error(values, truth), "error_after": error(judged, truth)}
