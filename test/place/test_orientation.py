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

"""Which way pelvis and shoulders face."""

import numpy as np
import pytest
from bodies import STANDING_M
from scipy.spatial.transform import Rotation

from pose3d_ros.place.orientation import body_rotation, yaws_rad
from pose3d_ros.skeleton import H36M17

LEVEL = STANDING_M @ np.array([[0, -1, 0], [0, 0, -1], [1.0, 0, 0]])  # faces -x, z up
ARMS = H36M17.indices(*(f"{side}_{joint}" for side in "lr" for joint in ("shoulder", "elbow")))


def turned(yaw_rad: float, twist_rad: float = 0.0) -> np.ndarray:
    """Somebody who faces ``yaw_rad``, with the shoulders turned further by ``twist_rad``."""
    about_z = [Rotation.from_euler("z", a).as_matrix() for a in (yaw_rad + np.pi, twist_rad)]
    body = LEVEL.copy()
    body[ARMS] = body[ARMS] @ about_z[1].T
    return body @ about_z[0].T


@pytest.mark.parametrize("yaw_deg", [0, 90, -135, 179])
@pytest.mark.parametrize("twist_deg", [0, 40, -25])
def test_yaw_of_pelvis_and_shoulders(yaw_deg: float, twist_deg: float) -> None:
    body = turned(np.radians(yaw_deg), np.radians(twist_deg))
    pelvis, shoulders = np.degrees(yaws_rad(body[None], H36M17)[0])
    assert (pelvis - yaw_deg + 180) % 360 == pytest.approx(180, abs=1e-4)
    assert (shoulders - yaw_deg - twist_deg + 180) % 360 == pytest.approx(180, abs=1e-4)
    for sides, yaw in ((("hip", "shoulder"), pelvis), (("shoulder", "hip"), shoulders)):
        forward = body_rotation(body, H36M17, (0, 0, 1), sides)[:, 0]
        assert np.degrees(np.arctan2(forward[1], forward[0])) == pytest.approx(yaw, abs=1.0)


def test_unknown_and_lying_people_face_nowhere() -> None:
    body = np.stack([turned(0.0), turned(0.0)])
    body[0, H36M17.index("l_hip")] = np.nan
    body[1] = body[1] @ Rotation.from_euler("x", 90, degrees=True).as_matrix().T  # on the side
    yaws = yaws_rad(body, H36M17)
    assert np.isnan(yaws[0, 0]) and yaws[0, 1] == pytest.approx(0, abs=1e-6)
    assert np.isnan(yaws[1]).all()
    assert yaws_rad(np.zeros((0, 17, 3)), H36M17).shape == (0, 2)
