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

"""Confidence of a detector's keypoints: its calibration, and what it is worth.

Needs a folder with ``pictures``, ``samples`` (COCO's annotations, also shrunk until a person is
200 or 90 px high) and ``pose2sim_single`` (agreement with OpenPose in 16 frames of each film). A
keypoint is right within 0.2 of the torso; those that nobody annotated are left out.

Fits ``detection.confidence.Calibration`` to all (both kinds weigh alike), and prints it with the
reliability, on COCO's pictures, of calibrations that were fitted without the picture in question,
and of the one in use; `error` is the expected calibration error in ten bins.

    python benchmarks/confidence.py FOLDER [--detector NAME ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from people_found import LIMBS, RIGHT, Scene, coco, shrunk
from scipy.optimize import linear_sum_assignment, minimize

from pose3d_ros import inference
from pose3d_ros.detection import confidence
from pose3d_ros.detection.blazepose.detector import BlazePoseReader
from pose3d_ros.detection.blazepose.landmarks import FULL, HEAVY
from pose3d_ros.detection.confidence import CALIBRATIONS, Calibration, logits_of
from pose3d_ros.detection.following import Reader
from pose3d_ros.detection.movenet import multipose
from pose3d_ros.detection.movenet.thunder import MODEL as THUNDER
from pose3d_ros.detection.movenet.thunder import Thunder
from pose3d_ros.evaluation.table import table
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BODY25B, COCO17, convert

READERS: dict[str, Callable[[PipelineSettings], Reader]] = {
    "blazepose": lambda settings: BlazePoseReader(settings, FULL),
    "blazepose-heavy": lambda settings: BlazePoseReader(settings, HEAVY),
    "movenet": Thunder,
}
NETWORKS = {"blazepose": FULL, "blazepose-heavy": HEAVY, "movenet": THUNDER}
FRAMES = 16
SURE = 0.5  # of OpenPose
SAME = 1.0  # mean distance of limbs in torsos, of a person who was found
FINDER_SIDE = 640


class Judged(NamedTuple):
    """Keypoints with a truth: ``logits`` (N,) of the heat, confidence in use (N,), whether they
    are ``right`` (N,), and the ``picture`` (N,) that they are of.
    """

    logits: np.ndarray
    confidence: np.ndarray
    right: np.ndarray
    picture: np.ndarray


def annotated(folder: Path) -> list[Scene]:
    """COCO's pictures, as they are and shrunk."""
    whole = [
        *coco(folder / "samples/coco_mmpose/test_coco.json", folder / "samples/coco_mmpose"),
        *coco(folder / "pictures/coco_person_keypoints.json", folder / "pictures/images"),
    ]
    return whole + [small for scene in whole for px in (200, 90) for small in shrunk(scene, px)]


def filmed(folder: Path) -> Iterator[Scene]:
    """Frames of the balancing man with OpenPose's keypoints as truth."""
    data = np.load(folder / "keypoints_balancing.npz")
    for view in range(4):
        film = cv2.VideoCapture(str(folder / f"video_balancing_cam{view + 1:02d}.mp4"))
        count = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
        chosen = np.linspace(0, count - 1, FRAMES).astype(int)
        for number in range(count):
            _, image = film.read()
            if number not in chosen:
                continue
            poses = data["poses"][(data["view"] == view) & (data["frame"] == number)]
            poses = poses[:, BODY25B.indices(*COCO17.joints)]
            points = np.where(poses[..., 2:] > SURE, poses[..., :2], np.nan)
            points = points[np.isfinite(points[:, LIMBS]).all(-1).sum(1) >= 8]
            height = np.nanmax(points[..., 1], 1) - np.nanmin(points[..., 1], 1)
            yield Scene(f"camera {view + 1}", image, points, height, np.zeros((0, 4)))


def torso_px(scene: Scene) -> np.ndarray:
    """(P,) shoulder to opposite hip, or a quarter of the height where these are not known."""
    ends = [COCO17.indices("l_shoulder", "r_shoulder"), COCO17.indices("r_hip", "l_hip")]
    across = scene.keypoints_px[:, ends[0]] - scene.keypoints_px[:, ends[1]]
    length = np.nan_to_num(np.linalg.norm(across, axis=-1)).max(1, initial=0)
    return np.asarray(np.where(length > 0, length, 0.25 * scene.height_px))


def judge(scene: Scene, finder: inference.Engine, reader: Reader, in_use: Reader) -> Judged:
    """Keypoints that a reader reads of people whom the finder finds."""
    found = multipose.find(finder, *multipose.letterbox(scene.image, FINDER_SIDE))
    nothing = np.zeros(0)
    if not len(found.scores) or not len(scene.keypoints_px):
        return Judged(nothing, nothing, nothing.astype(bool), nothing.astype(str))
    where = reader(scene.image, reader.regions_of(found)).next_regions
    raw, used = (of(scene.image, where) for of in (reader, in_use))
    keypoints, sure = convert(raw.keypoints_px, raw.confidence, reader.skeleton, COCO17)
    _, confidence_in_use = convert(used.keypoints_px, used.confidence, reader.skeleton, COCO17)
    torso = torso_px(scene)
    apart = np.linalg.norm(keypoints[:, None] - scene.keypoints_px, axis=-1) / torso[:, None]
    known = np.isfinite(apart)
    limbs = np.where(known, np.minimum(apart, 2), 0)[:, :, LIMBS].sum(-1)
    mean = limbs / np.maximum(known[:, :, LIMBS].sum(-1), 1)
    rows, columns = linear_sum_assignment(np.where(known[:, :, LIMBS].any(-1), mean, 9))
    same = mean[rows, columns] < SAME
    rows, columns = rows[same], columns[same]
    use = known[rows, columns]
    return Judged(
        logits_of(sure[rows])[use],
        confidence_in_use[rows][use],
        (apart[rows, columns] < RIGHT)[use],
        np.full(int(use.sum()), scene.name.partition(" ")[0]),
    )


def together(parts: list[Judged]) -> Judged:
    """All of them."""
    return Judged(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def fitted(*parts: Judged) -> Calibration:
    """Maximum likelihood; each of the parts weighs the same."""

    def loss(values: np.ndarray) -> float:
        total = 0.0
        for part in parts:
            z = values[0] + values[1] * np.clip(part.logits, -confidence.MOST, confidence.MOST)
            total += float((np.logaddexp(0, z) - part.right * z).mean())
        return total

    bias, heat = minimize(loss, np.array([0.0, 1.0])).x
    return Calibration(float(bias), float(heat))


def reliability(name: str, sure: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Row of the table: share of keypoints that are right, by confidence."""
    row: dict[str, Any] = {"confidence": name}
    error = 0.0
    for low in np.arange(0, 1, 0.1):
        chosen = (sure >= low) & (sure < low + 0.1)
        if chosen.any():
            error += chosen.mean() * abs(sure[chosen].mean() - right[chosen].mean())
    for low in np.arange(0, 1, 0.2):
        chosen = (sure >= low) & (sure < low + 0.2)
        share = f"{right[chosen].mean():.2f} of {chosen.sum()}" if chosen.any() else "-"
        row[f"{low:.1f} to {low + 0.2:.1f}"] = share
    return {**row, "error": float(error)}


def main() -> None:
    """Print a calibration and a table for each detector."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", nargs="+", choices=READERS, default=list(READERS))
    options = parser.parse_args()
    scenes = [annotated(options.folder), list(filmed(options.folder / "pose2sim_single"))]
    finder = inference.load(locate(multipose.MODEL), "cpu")
    for name in options.detector:
        settings, network = PipelineSettings(engine="cpu"), NETWORKS[name]
        in_use, calibration = READERS[name](settings), CALIBRATIONS[network]
        CALIBRATIONS[network] = Calibration(0.0, 1.0)  # confidence is the heat then
        raw = READERS[name](settings)
        pictures, films = (
            together([judge(scene, finder, raw, in_use) for scene in some]) for some in scenes
        )
        left_out = np.empty(len(pictures.right))
        for picture in np.unique(pictures.picture):
            others = pictures.picture != picture
            without = fitted(Judged(*(values[others] for values in pictures)), films)
            left_out[~others] = without(pictures.logits[~others])
        print(f"{name}: {fitted(pictures, films)}; in use {calibration}")
        rows = [
            reliability("fitted without the picture", left_out, pictures.right),
            reliability("in use", pictures.confidence, pictures.right),
            reliability("in use, films", films.confidence, films.right),
        ]
        print(table(rows))
        raw.close()
        in_use.close()


if __name__ == "__main__":
    main()
