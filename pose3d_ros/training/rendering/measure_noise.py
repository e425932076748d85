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

"""Errors of the embedded detector's keypoints on labelled renders, to train lifters and to
calibrate confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.arrays import as_float32
from pose3d_ros.camera import Camera
from pose3d_ros.detection import Detector, create
from pose3d_ros.geometry import transform_points
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.detector_noise import facing_angle, rms_size
from pose3d_ros.training.rendering import images
from pose3d_ros.training.rendering.renderer import Renderer
from pose3d_ros.training.rendering.scene import Shot
from pose3d_ros.training.rendering.studio import Studio

FRAME_NS = 33_333_333
RIGHT = 0.2  # a keypoint within this share of the person's size is right
_LIMB_RADIUS_M = 0.15  # a joint lies at most this far under the skin in front of it


@dataclass(frozen=True)
class Frame:
    """A rendered picture of one person with its labels in the camera's frame."""

    image_bgr: np.ndarray
    camera: Camera
    joints_m: np.ndarray  # (17, 3)
    joints_px: np.ndarray  # (17, 2)
    visible: (
        np.ndarray
    )  # (17,) bool: in the picture, and nothing but the joint's own limb before it


def random_clips(
    makehuman: Path,
    mocap: Sequence[Path],
    clips: int,
    frames: int,
    seed: int,
    size: tuple[int, int] = (640, 480),
    split: str = "train",
    backgrounds: Path | None = None,
) -> Iterator[list[Frame]]:
    """Rendered clips, each of a random person before one random camera, with motions of the
    split.
    """
    studio = Studio(makehuman, mocap, split, size, backgrounds)
    studio.renew(seed)
    for clip in range(clips):
        rng = np.random.default_rng((seed, clip))
        shot = studio.shot(rng, frames, size=size)
        studio.renderer.load(shot.scene)
        view = images.view_of(shot.camera)
        yield [frame_of(rng, studio.renderer, shot, number, view) for number in range(frames)]
    studio.close()


def frame_of(
    rng: np.random.Generator,
    renderer: Renderer,
    shot: Shot,
    number: int,
    view: images.RenderedView,
) -> Frame:
    """The sensor's picture of one frame with the first person's labels; ``view`` is that of the
    shot's camera.
    """
    camera = shot.camera
    joints_m = transform_points(
        camera.camera_from_world, shot.scene.actors[0].posed.joints_m[number]
    )
    joints_px = camera.project(joints_m, "camera")
    image, surface_m = images.whole(rng, renderer, shot, number, view)
    visible = seen_by_depth(view.camera.project(joints_m, "camera"), joints_m[:, 2], surface_m)
    inside = ((joints_px >= 0) & (joints_px <= np.array(camera.size) - 1)).all(-1)
    return Frame(image, camera, joints_m, joints_px, visible & inside)


def visible_joints(
    joints_px: np.ndarray,
    depth_m: np.ndarray,
    person: np.ndarray,
    surface_m: np.ndarray,
    number: int = 0,
) -> np.ndarray:
    """Visibility (J,) of the joints of person ``number``, by the renderer's maps (H, W) of people
    and of depth.
    """
    return seen_by_depth(joints_px, depth_m, np.where(person == number, surface_m, -np.inf))


def seen_by_depth(joints_px: np.ndarray, depth_m: np.ndarray, surface_m: np.ndarray) -> np.ndarray:
    """Visibility (J,) of joints at ``depth_m`` (J,): nothing is nearer in ``surface_m`` (H, W) but
    the skin and cloth around them.
    """
    height, width = surface_m.shape
    column, row = np.rint(np.nan_to_num(joints_px, nan=-1)).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.asarray(
        inside
        & (
            surface_m[np.where(inside, row, 0), np.where(inside, column, 0)]
            > depth_m - _LIMB_RADIUS_M
        )
    )


def own_detection(people: People2D, joints_px: np.ndarray) -> int | None:
    """Index of the detected person nearest to a labelled one (17, 2) in the mean, or None if all
    are off by half its size.
    """
    own = int(own_detections(people, joints_px[None])[0])
    return own if own >= 0 else None


def own_detections(people: People2D, joints_px: np.ndarray) -> np.ndarray:
    """Indices (R,) as of ``own_detection`` of R labelled people (R, 17, 2), partly NaN; no two the
    same, -1 for none.
    """
    miss_px = np.linalg.norm(people.keypoints_px - joints_px[:, None], axis=-1)
    known = np.isfinite(miss_px)
    distance = np.where(known, miss_px, 0).sum(2) / np.maximum(known.sum(2), 1)
    size = np.array([rms_size(points[np.isfinite(points).all(1)]) for points in joints_px])
    near = known.any(2) & (distance < 1.0 * size[:, None])
    own = np.full(len(joints_px), -1)
    rows, chosen = linear_sum_assignment(np.where(near, distance, 1e9))
    own[rows] = np.where(near[rows, chosen], chosen, -1)
    return own


def measure(
    clips: Iterator[list[Frame]],
    detector: Detector,
    progress: Callable[[int], object] = lambda clip: None,
) -> dict[str, np.ndarray]:
    """Run the detector over clips and keep the N frames in which the person is at least half in
    the picture.

    ``keypoints_px`` (N, 17, 2) float32, NaN where the person was not found; ``confidence`` (N, 17)
    as the detector says; ``joints_px`` (N, 17, 2) and ``joints_m`` (N, 17, 3) true, in the
    camera's frame; ``visible`` (N, 17); ``matrix`` (N, 3, 3); ``clip``, ``frame``, ``found`` (N,);
    and for ``data.detector_noise`` ``residual`` (N, 17, 2) in units of the person's size in
    the picture, and ``facing`` (N,).
    """
    rows: dict[str, list[Any]] = {}
    for clip, frames in enumerate(clips):
        detector.reset()
        for number, frame in enumerate(frames):
            people = detector(frame.image_bgr, number * FRAME_NS).to(H36M17)
            width, height = frame.camera.size
            inside = ((frame.joints_px >= 0) & (frame.joints_px < (width, height))).all(-1).mean()
            if inside < 0.5:
                continue
            own = own_detection(people, frame.joints_px)
            values = {
                "keypoints_px": np.full((17, 2), np.nan)
                if own is None
                else people.keypoints_px[own],
                "confidence": np.zeros(17) if own is None else people.confidence[own],
                "joints_px": frame.joints_px,
                "joints_m": frame.joints_m,
                "visible": frame.visible,
                "matrix": frame.camera.matrix,
                "clip": clip,
                "frame": number,
                "found": own is not None,
                "others": len(people) - (own is not None),
            }
            for name, value in values.items():
                rows.setdefault(name, []).append(value)
        progress(clip)
    data = as_float32({name: np.array(value) for name, value in rows.items()})
    size = rms_size(data["joints_px"])[:, None, None]
    data["residual"] = (data["keypoints_px"] - data["joints_px"]) / size
    data["facing"] = facing_angle(data["joints_m"])
    return data


def record(
    makehuman: Path,
    mocap: Sequence[Path],
    out: Path,
    clips: int = 60,
    frames: int = 60,
    seed: int = 1,
    progress: Callable[[int], object] = lambda clip: None,
    detector: str = PipelineSettings.detector,
) -> dict[str, float]:
    """Measure a detector on random renders, write ``out`` (npz) and return the
    ``summary``.
    """
    measured = create(PipelineSettings(detector=detector))
    data = measure(random_clips(makehuman, mocap, clips, frames, seed), measured, progress)
    measured.close()
    np.savez_compressed(out, **data)  # type: ignore[arg-type]
    return summary(data)


def summary(data: dict[str, np.ndarray]) -> dict[str, float]:
    """Accuracy of the detector and of its confidence, over the limb joints of the result of
    ``measure``.

    ``right`` is the share of joints within a fifth of the person's size (about 9 cm of a
    grown-up), and ``calibration_error`` the mean difference between that share and the confidence,
    over ten bins of confidence.
    """
    found = data["found"]
    limbs = [i for i, name in enumerate(H36M17.joints) if name[:2] in ("l_", "r_")]
    error = np.linalg.norm(data["residual"][found][:, limbs], axis=-1)
    confidence = data["confidence"][found][:, limbs]
    visible = data["visible"][found][:, limbs]
    right = error < RIGHT
    number = np.minimum((confidence * 10).astype(int), 9)
    apart = [
        abs(confidence[number == k].mean() - right[number == k].mean()) * (number == k).mean()
        for k in np.unique(number)
    ]
    return {
        "frames": len(found),
        "found": float(found.mean()),
        "right": float(right.mean()),
        "right_visible": float(right[visible].mean()),
        "median_error": float(np.median(error)),
        "calibration_error": float(np.sum(apart)),
    }
