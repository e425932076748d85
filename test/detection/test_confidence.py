# Copyright 2026 pose3d_ros maintainers
# SPDX-License-Identifier: Apache-2.0
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Calibrated confidence."""

import numpy as np
import pytest

from pose3d_ros.detection.confidence import CALIBRATIONS, logits_of


@pytest.mark.parametrize("network", CALIBRATIONS)
def test_a_probability_that_rises_with_what_the_network_says(network):
    logits = np.linspace(-100, 100, 41)
    calibration = CALIBRATIONS[network]
    for values in (calibration(logits), calibration(np.zeros(41), logits)):
        assert (np.diff(values) >= 0).all()
        assert ((values > 0) & (values < 1)).all()
    assert calibration(logits)[0] < 0.1 and calibration(logits)[-1] > 0.95


def test_scores_of_movenet_are_too_low():
    """Of keypoints scored 0.4 to 0.6, more than nine in ten are right."""
    assert CALIBRATIONS["movenet-thunder"](logits_of(np.array([0.5])))[0] > 0.9


def test_logits_of_scores_are_finite():
    assert np.isfinite(logits_of(np.array([0.0, 1.0]))).all()
    assert logits_of(np.array([0.5]))[0] == 0
