"""Scores and chances: the curve is found, errors are measured on folds that it has not seen, too little gives none."""

import numpy as np
import pytest

from marsad.extractor import calibrated
from train import calibration


def entities(number: int, slope: float, intercept: float) -> tuple[list[float], list[bool]]:
    """Confidences, and outcomes whose chance is a known curve over them."""
    random = np.random.default_rng(0)
    scores = random.uniform(0.05, 0.999, number)
    chances = calibrated(scores, {"slope": slope, "intercept": intercept})
    return scores.tolist(), (random.random(number) < chances).tolist()


def test_the_curve_of_the_data_is_found() -> None:
    curve = calibration.learn(*entities(20_000, 0.6, -0.5))
    assert curve == {"slope": pytest.approx(0.6, abs=0.05), "intercept": pytest.approx(-0.5, abs=0.05)}


def test_a_curve_rises_with_confidence_and_stays_inside_0_and_1() -> None:
    scores = calibrated(np.array([0.0, 0.2, 0.5, 0.9, 1.0]), {"slope": 0.6, "intercept": -0.5})
    assert (np.diff(scores) > 0).all() and scores[0] > 0 and scores[-1] < 1
    assert calibrated(np.array([0.0, 0.3, 1.0]), None).tolist() == [0.0, 0.3, 1.0]


def test_the_error_is_the_mean_gap_of_the_bins() -> None:
    scores = np.array([0.95, 0.95, 0.95, 0.95, 0.15, 0.15])
    correct = np.array([True, True, True, False, False, False])
    assert calibration.error(scores, correct) == pytest.approx((4 * 0.2 + 2 * 0.15) / 6)
    assert calibration.error(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_the_curve_takes_the_error_away_on_folds_that_it_has_not_seen() -> None:
    scores, correct = entities(5_000, 0.5, -0.8)
    figures = calibration.summary(scores, correct, [number % 5 for number in range(5_000)])
    assert figures and figures["error_before"] > 0.1 > 0.05 > figures["error_after"] > 0


def test_a_fold_unlike_the_others_is_judged_by_their_curve() -> None:
    scores, correct = entities(1_000, 1.0, 0.0)
    wrong = [False] * 500
    figures = calibration.summary([*scores, *[0.9] * 500], [*correct, *wrong], [0] * 1_000 + [1] * 500)
    assert figures and figures["error_after"] > 0.25, "the second fold's errors did not teach the curve that judges it"


def test_too_few_entities_give_no_curve() -> None:
    scores, correct = entities(30, 0.6, -0.5)
    assert calibration.learn(scores, correct) is None
    assert calibration.summary(scores, [True] * 30, [0] * 30) is None
