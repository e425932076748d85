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

"""Joint angles of one person as an OpenSim motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose3d_ros.io.motions import Motion
from pose3d_ros.kinematics import OPENSIM_FROM_Z_UP, joint_angles_deg


def write_mot(path: Path, motion: Motion) -> str:
    """A motion of OpenSim: ``kinematics.joint_angles_deg`` and the pelvis' place in metres (x
    forward, y up, z to the right), at an even rate. What is unknown is interpolated, or held.
    """
    whole = motion.whole()
    place_m = whole.joints_m[:, 0] @ OPENSIM_FROM_Z_UP.T
    columns = {
        "time": whole.times_s,
        **joint_angles_deg(whole.joints_m, whole.times_s),
        **dict(zip(("pelvis_tx", "pelvis_ty", "pelvis_tz"), place_m.T, strict=True)),
    }
    lines = [
        path.stem,
        "version=1",
        f"nRows={len(whole.times_s)}",
        f"nColumns={len(columns)}",
        "inDegrees=yes",
        "endheader",
        "\t".join(columns),
        *(
            "\t".join(f"{value:.6f}" for value in row)
            for row in np.stack(list(columns.values()), -1)
        ),
    ]
    path.write_text("\n".join(lines) + "\n")
    return f"{path}: person {motion.person}"
