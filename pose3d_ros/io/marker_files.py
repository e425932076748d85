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

"""Markers of one person: OpenSim's TRC, and C3D of motion capture laboratories."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from pose3d_ros.io.motions import Motion
from pose3d_ros.kinematics import OPENSIM_FROM_Z_UP

MAX_RESIDUAL_MM = 255  # a byte


def write_trc(path: Path, motion: Motion) -> str:
    """A TRC file as OpenSim's ``TRCFileAdapter`` reads it: millimetres, x forward, y up, z to the
    right, each frame at its own time, NaN where unknown (OpenSim refuses a row whose last cell is
    empty).

    TRC has one rate: that of the median step between frames.
    """
    names = motion.skeleton.joints
    joints_mm = 1000 * motion.joints_m @ OPENSIM_FROM_Z_UP.T
    count, rate = len(motion.times_s), f"{1 / motion.step_s:.2f}"
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame"
        "\tOrigNumFrames",
        f"{rate}\t{rate}\t{count}\t{len(names)}\tmm\t{rate}\t1\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"X{n}\tY{n}\tZ{n}" for n in range(1, len(names) + 1)),
        "",
    ]
    for frame, (time_s, joints) in enumerate(zip(motion.times_s, joints_mm, strict=True)):
        numbers = [f"{value:.2f}" if np.isfinite(value) else "NaN" for value in joints.ravel()]
        lines.append("\t".join([str(frame + 1), f"{time_s:.6f}", *numbers]))
    path.write_text("\n".join(lines) + "\n")
    return f"{path}: person {motion.person}"


def write_c3d(path: Path, motion: Motion) -> str:
    """A C3D file of floating-point points in millimetres, x forward, y to the left, z up, at an
    even rate (frames in between are interpolated); what is unknown is invalid.

    A point's residual is its sigma in whole millimetres. The person's id is in SUBJECTS:NAMES.
    """
    import c3d

    even = motion.evenly()
    writer = c3d.Writer(point_rate=1 / even.step_s, point_scale=-1.0, point_units="mm")
    writer.set_point_labels(even.skeleton.joints)
    writer.set_screen_axis("+X", "+Z")
    name = f"person {even.person}"
    subjects = writer.get_create("SUBJECTS")
    subjects.set("USED", "Number of subjects", 2, "<h", 1)
    subjects.add_str("NAMES", "Names of the subjects", name, len(name), 1)
    known = np.asarray(np.isfinite(even.joints_m).all(-1))
    residual_mm = np.nan_to_num(1000 * even.sigma_m, nan=MAX_RESIDUAL_MM).clip(0, MAX_RESIDUAL_MM)
    points = np.zeros((*known.shape, 5))  # x, y, z, residual, cameras
    points[..., :3] = np.where(known[..., None], 1000 * even.joints_m, 0)
    points[..., 3] = np.where(known, residual_mm, -1)
    no_analog = np.zeros((0, 0))
    writer.add_frames([(of_frame, no_analog) for of_frame in points])
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No analog data")
        writer.write(file)
    return f"{path}: person {motion.person}"
