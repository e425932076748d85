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

"""Human3.6M (Ionescu et al., PAMI 2014): trained on S1, 5, 6, 7, 8, evaluated on S9, 11, 17
joints, 50 Hz.

From the official release's ``D3_Positions`` as ``.cdf`` or, converted by MATLAB, ``.cdf.mat``. The
corrupted recording S11 Directions is left out and the actions are named as everybody does since
VideoPose3D. RPSM's protocol takes every 25th frame (2 Hz). The joints are the dataset's own: its
neck's base is called thorax here, its nose neck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import inverse_transform, rigid, rotation_from_quaternion
from pose3d_ros.training.data.converters.archives import load_cdf, load_mat
from pose3d_ros.training.data.converters.skeletons import H36M17_OF_32
from pose3d_ros.training.data.recordings import Recording

RATE_HZ = 50.0
SPLITS = {
    "S1": "train",
    "S5": "train",
    "S6": "train",
    "S7": "train",
    "S8": "train",
    "S9": "val",
    "S11": "val",
}
_CORRUPTED = ("S11", "Directions")
Positions = Mapping[str, Mapping[str, np.ndarray]]
Detections = Callable[[str, str], list[tuple[np.ndarray, np.ndarray]]]

# Calibration of the release's metadata.xml, in the order of its cameras: width, height, focal
# lengths, principal point, k1 k2 k3, and two tangential coefficients, OpenCV's p2 and p1.
# Human3.6M's projection takes the products x y and x^2 of the tangential terms once, OpenCV's
# twice: a quarter of a pixel at most.
_INTRINSICS = {
    "54138969": (
        1000,
        1002,
        1145.0494,
        1143.7811,
        512.5415,
        515.4515,
        -0.20709892,
        0.24777518,
        -0.0030751503,
        -0.0009756989,
        -0.0014244716,
    ),
    "55011271": (
        1000,
        1000,
        1149.6757,
        1147.5917,
        508.84863,
        508.0649,
        -0.19421363,
        0.24040854,
        0.0068199756,
        -0.0016190266,
        -0.0027408944,
    ),
    "58860488": (
        1000,
        1000,
        1149.1407,
        1148.799,
        519.81586,
        501.40265,
        -0.20833819,
        0.255488,
        -0.0024604974,
        0.001484387,
        -0.0007599993,
    ),
    "60457274": (
        1000,
        1002,
        1145.5114,
        1144.7739,
        514.9682,
        501.88202,
        -0.19838409,
        0.21832368,
        -0.008947807,
        -0.0005872056,
        -0.001813362,
    ),
}
# Orientation of each camera in the world (quaternion w x y z) and position in millimetres.
_EXTRINSICS = {
    "S1": (
        (0.14070565, -0.15007018, -0.7552408, 0.62232804, 1841.107, 4955.2847, 1563.4454),
        (0.6157188, -0.7648363, -0.14833826, 0.11794741, 1761.2786, -5078.007, 1606.265),
        (0.14651473, -0.14647852, 0.76530236, -0.60941756, -1846.7777, 5215.0464, 1491.9724),
        (0.58340085, -0.7853162, 0.14548823, -0.14749594, -1794.7897, -3722.699, 1574.8927),
    ),
    "S5": (
        (0.14673772, -0.16237096, -0.7551893, 0.6178939, 2097.3916, 4880.945, 1605.7324),
        (0.61597586, -0.7626792, -0.15728192, 0.1189815, 2031.7008, -5167.933, 1612.9231),
        (0.14291371, -0.12907842, 0.7678385, -0.6110143, -1620.5948, 5171.6587, 1496.437),
        (0.592048, -0.7814218, 0.12747486, -0.15036418, -1637.1737, -3867.3174, 1547.0332),
    ),
    "S6": (
        (0.13378978, -0.15692396, -0.75710905, 0.61988795, 1935.4518, 4950.2456, 1618.0839),
        (0.61471975, -0.7628813, -0.16174768, 0.11819245, 1969.804, -5128.739, 1632.7788),
        (0.15299481, -0.13529131, 0.76460963, -0.6112781, -1769.5964, 5185.3613, 1476.9934),
        (0.59161013, -0.7804774, 0.1283227, -0.15615939, -1721.6687, -3884.1313, 1540.4879),
    ),
    "S7": (
        (0.14352418, -0.16313368, -0.75483286, 0.6188825, 1974.513, 4926.3545, 1597.8326),
        (0.6141673, -0.76382625, -0.15966456, 0.117792994, 1937.0585, -5119.79, 1631.5665),
        (0.1455006, -0.12874816, 0.76605165, -0.61271393, -1741.8112, 5208.2495, 1464.8246),
        (0.5912848, -0.78217643, 0.12445474, -0.15196487, -1734.7106, -3832.4214, 1548.583),
    ),
    "S8": (
        (0.14110588, -0.15589868, -0.75619173, 0.61964405, 2150.6519, 4896.161, 1611.9047),
        (0.61696017, -0.7647668, -0.1484635, 0.11158158, 2219.9656, -5148.453, 1613.0441),
        (0.1471444, -0.1337712, 0.76701283, -0.61003697, -1571.2216, 5137.0186, 1498.1761),
        (0.59278244, -0.78258705, 0.12147816, -0.14631996, -1476.9133, -3896.7412, 1547.9722),
    ),
    "S9": (
        (0.15540588, -0.15548216, -0.75320953, 0.6199595, 2044.4585, 4935.117, 1481.2275),
        (0.6187845, -0.7634735, -0.14132239, 0.11933968, 1990.9597, -5123.8105, 1568.8048),
        (0.13357827, -0.13671005, 0.76894546, -0.61007386, -1670.9922, 5211.986, 1528.388),
        (0.5879399, -0.7823407, 0.14276144, -0.1479487, -1696.0435, -3827.0999, 1591.4127),
    ),
    "S11": (
        (0.15232472, -0.1544232, -0.75475633, 0.619107, 2098.4402, 4926.5547, 1500.2786),
        (0.61894494, -0.7600917, -0.15300633, 0.12552583, 2083.1824, -4912.173, 1561.0786),
        (0.14943229, -0.15650228, 0.7681234, -0.60263044, -1609.8153, 5177.336, 1537.8967),
        (0.58942515, -0.7818877, 0.13991211, -0.14715362, -1590.738, -3854.169, 1578.0176),
    ),
}


def cameras(subject: str) -> dict[str, Camera]:
    """The four cameras of a subject's recordings by their number; ``KeyError`` for S2, S3, S4 and
    S10.
    """
    result = {}
    for (name, values), (w, x, y, z, *position_mm) in zip(
        _INTRINSICS.items(), _EXTRINSICS[subject], strict=True
    ):
        width, height, fx, fy, cx, cy, k1, k2, k3, p2, p1 = values
        world_from_camera = rigid(
            rotation_from_quaternion([x, y, z, w]), np.divide(position_mm, 1000)
        )
        result[name] = Camera(
            np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
            (width, height),
            np.array([k1, k2, p1, p2, k3]),
            camera_from_world=inverse_transform(world_from_camera),
            frame_id=name,
        )
    return result


def recordings(
    positions: Positions, detections: Detections | None = None, detector: str = ""
) -> Iterator[tuple[str, Recording]]:
    """Recordings with their split from world positions: subject -> trial -> (T, 17 or 32, 3)
    metres.

    ``detections(subject, trial)``: for each camera H36M17 keypoints and confidence; what comes
    after the last position is dropped. Without, the projected joints are the keypoints. Raises
    ``ValueError``.
    """
    for subject, trials in positions.items():
        for trial, joints_m in trials.items() if subject in SPLITS else ():
            if joints_m.ndim != 3 or joints_m.shape[1] not in (17, 32) or joints_m.shape[2] != 3:
                raise ValueError(
                    f"{subject} {trial}: expected positions (T, 32 or 17, 3), got {joints_m.shape}"
                )
            joints_m = joints_m[:, H36M17_OF_32] if joints_m.shape[1] == 32 else joints_m
            seen = detections(subject, trial) if detections else None
            if seen is not None and (
                len(seen) != len(_INTRINSICS) or min(len(k) for k, _ in seen) < len(joints_m)
            ):
                raise ValueError(
                    f"{subject} {trial}: expected keypoints of {len(_INTRINSICS)} cameras in "
                    f"{len(joints_m)} frames, got {[len(keypoints) for keypoints, _ in seen]}"
                )
            for number, (name, camera) in enumerate(cameras(subject).items()):
                keypoints, confidence = (
                    (camera.project(joints_m), np.ones(joints_m.shape[:2]))
                    if seen is None
                    else (part[: len(joints_m)] for part in seen[number])
                )
                yield (
                    SPLITS[subject],
                    Recording(
                        f"{subject}_{trial.replace(' ', '_')}_{name}",
                        joints_m,
                        keypoints,
                        confidence,
                        camera,
                        RATE_HZ,
                        subject,
                        trial.split(" ")[0],
                        detector,
                    ),
                )


def load(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """World positions in metres, subject -> trial -> (T, 32, 3), of
    S*/MyPoseFeatures/D3_Positions/*.cdf[.mat].
    """
    positions: dict[str, dict[str, np.ndarray]] = {}
    for subject in SPLITS:
        trials = folder / subject / "MyPoseFeatures" / "D3_Positions"
        for path in sorted({*trials.glob("*.cdf"), *trials.glob("*.cdf.mat")}):
            trial = (
                path.name.partition(".")[0]
                .replace("TakingPhoto", "Photo")
                .replace("WalkingDog", "WalkDog")
            )
            if trial.startswith("_") or (subject, trial) == _CORRUPTED:
                continue
            values = (
                load_mat(path)["data"][0, 0] if path.suffix == ".mat" else load_cdf(path, "Pose")
            )
            if values.shape[-1] != 96:
                raise ValueError(
                    f"{path}: expected 96 values per frame, got an array of shape {values.shape}"
                )
            positions.setdefault(subject, {})[trial] = (values.reshape(-1, 32, 3) / 1000).astype(
                np.float32
            )
    if not positions:
        raise ValueError(
            f"{folder}: expected S1/MyPoseFeatures/D3_Positions/*.cdf (or *.cdf.mat) and so on "
            "for S5 to S11, got none"
        )
    return positions
