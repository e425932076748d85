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

"""Do renders look to the embedded detector as real people do? Its feature maps at the joints,
renders against pictures.

    python benchmarks/renders_like_real.py FEATURES [--reference VIDEO|PICTURE ...] REAL...

FEATURES is what `pose3d render features` wrote; REAL and the second real set to compare with are
videos (14 places of each, after two frames of tracking) and pictures. For each level of maps: the
mean over channels of the difference of means in standard deviations, the median ratio of standard
deviations, and the channels that differ most. What another set of real pictures differs by tells
how much of it is a matter of taste.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.detection import create
from pose3d_ros.lifting.feature_maps import crop_keypoints
from pose3d_ros.networks.context_poseformer import BLAZEPOSE
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.rendering.features import LEVELS
from pose3d_ros.training.rendering.measure_noise import FRAME_NS

SURE = 0.7  # confidence of the joints that count
PLACES, WARM_UP = 14, 3
SHAPES = BLAZEPOSE[-len(LEVELS) :]


def at_joints(maps: list[np.ndarray], keypoints: np.ndarray, sure: np.ndarray) -> list[np.ndarray]:
    """Per level (K, C): the nearest cells to the sure keypoints (N, 17, 2), -1 to 1, of maps (N,
    C, H, W).
    """
    values = []
    for level in maps:
        size = np.array(level.shape[:1:-1])
        cell = np.clip(np.rint((keypoints + 1) / 2 * size - 0.5), 0, size - 1).astype(int)
        values.append(
            level[np.arange(len(level))[:, None], :, cell[..., 1], cell[..., 0]][sure].astype(
                np.float32
            )
        )
    return values


def real(paths: list[Path]) -> list[np.ndarray]:
    """What the detector sees at the joints of people in videos and pictures."""
    detector = create(PipelineSettings(detector="blazepose", max_people=3), features=True)
    seen: list[list[np.ndarray]] = []
    for path in paths:
        video = cv2.VideoCapture(str(path))
        still = path.suffix.lower() in (".jpg", ".jpeg", ".png")
        count = 1 if still else int(video.get(cv2.CAP_PROP_FRAME_COUNT)) - WARM_UP
        for place in [0] if still else np.linspace(0, max(count, 0), PLACES).astype(int):
            if not still:
                video.set(cv2.CAP_PROP_POS_FRAMES, int(place))
            detector.reset()
            for number in range(WARM_UP):
                image = cv2.imread(str(path)) if still else video.read()[1]
                people = None if image is None else detector(image, number * FRAME_NS)
            if people is not None and len(people):
                joints = people.to(H36M17)
                seen.append(
                    at_joints(
                        list(people.features[-len(LEVELS) :]),
                        crop_keypoints(joints),
                        joints.confidence > SURE,
                    )
                )
    detector.close()
    if not seen:
        raise ValueError(f"expected people in {', '.join(map(str, paths))}, found none")
    return [np.concatenate(level) for level in zip(*seen, strict=True)]


def rendered(folder: Path, shards: int) -> list[np.ndarray]:
    """The same of the first shards of rendered people."""
    seen = []
    for path in sorted((folder / "train").glob("*.npz"))[:shards]:
        with np.load(path) as labels:
            keypoints, sure = labels["crop_keypoints"], labels["confidence"] > SURE
        parts = np.split(
            np.load(path.with_suffix(".features.npy")),
            np.cumsum([math.prod(s) for s in SHAPES])[:-1],
            1,
        )
        seen.append(
            at_joints(
                [part.reshape(-1, *shape) for part, shape in zip(parts, SHAPES, strict=True)],
                keypoints,
                sure,
            )
        )
    return [np.concatenate(level) for level in zip(*seen, strict=True)]


def apart(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per channel, difference of means in standard deviations and ratio of the latter, of b (M, C)
    to a (N, C).
    """
    spread = np.sqrt((a.var(0) + b.var(0)) / 2) + 1e-6
    return (b.mean(0) - a.mean(0)) / spread, b.std(0) / np.maximum(a.std(0), 1e-6)


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("real", type=Path, nargs="+")
    parser.add_argument("--reference", type=Path, nargs="+", default=[])
    parser.add_argument("--shards", type=int, default=6)
    options = parser.parse_args()
    truth = real(options.real)
    sets = {"renders": rendered(options.features, options.shards)}
    if options.reference:
        sets["other real people"] = real(options.reference)
    for name, values in sets.items():
        for level, a, b in zip(LEVELS, truth, values, strict=True):
            shift, ratio = apart(a, b)
            worst = ", ".join(
                f"{c} ({shift[c]:+.2f}, {ratio[c]:.2f})" for c in np.argsort(-abs(shift))[:6]
            )
            print(
                f"{name}, {level}: shift {abs(shift).mean():.2f}, spread {np.median(ratio):.2f}; "
                f"most: {worst}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
