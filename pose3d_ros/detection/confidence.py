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

"""Confidence: the probability that a keypoint is right, from what a network says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

Float = npt.NDArray[np.floating]

MOST = 8.0
"""Logits beyond are of no meaning."""


@dataclass(frozen=True)
class Calibration:
    """Logistic regression of "right", within 0.2 of the torso, on a network's logits: of the heat
    at a keypoint, and of its visibility, if the network tells that.
    """

    bias: float
    heat: float
    visibility: float = 0.0

    def __call__(self, heat: Float, visibility: Float | float = 0.0) -> Float:
        """Probability that keypoints are right; logits of any one shape."""
        logits = self.bias + self.heat * np.clip(heat, -MOST, MOST)
        logits = logits + self.visibility * np.clip(visibility, -MOST, MOST)
        return np.asarray(expit(np.asarray(logits, float)))


def logits_of(scores: Float) -> Float:
    """Logits of scores from 0 to 1, finite."""
    return np.asarray(logit(np.clip(np.asarray(scores, float), 1e-4, 1 - 1e-4)))


# benchmarks/confidence.py fits these to annotated pictures (COCO) and to a film (agreement with
# OpenPose); the cards in models/embedded-detectors.md have what they are worth on pictures that
# they were not fitted to. That of full is older: fitted to 10,044 joints of 837 renders, a quarter
# of them hidden. Lifters learnt with it, and real pictures ask for no other.
CALIBRATIONS = {
    "blazepose-full": Calibration(0.514, 1.977, 0.110),
    "blazepose-heavy": Calibration(0.08, 2.07),
    "movenet-thunder": Calibration(2.55, 1.42),
}
"""By the network's name."""
