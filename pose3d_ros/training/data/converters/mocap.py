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

"""Motion capture before simulated cameras, with a detector's recorded noise: a dataset that needs
no download.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import inverse_transform, transform_points
from pose3d_ros.lifting.feature_maps import root_relative_depth
from pose3d_ros.place.floor import Floor
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.feature_samples import read_noise
from pose3d_ros.training.data.mocap import Mocap
from pose3d_ros.training.data.motion_capture import read_motion_capture
from pose3d_ros.training.data.recordings import Recording
from pose3d_ros.training.data.windows import Clips

RATE_HZ = 30.0
# of a recording: for longer, somebody who walks does not stay before a camera that does not move
FRAMES = 90
CAMERAS = 2  # random ones for each piece of motion
CAMERA = Camera.from_fov(1280, 720, math.radians(90))
NEAREST_M = 0.3
TRIES = 1000


def convert(
    folder: Path, noise: Path | None, split: str = "val", seed: int = 0
) -> Iterator[tuple[str, Recording]]:
    """Recordings of a split of motion capture, with the split.

    Bodies, cameras and lost joints are those of training samples; ``noise`` is the npz of ``pose3d
    render noise`` or the folder of ``pose3d render features``, of which the second tells
    root-relative depth as well; without it, keypoints are exact. Reproducible. People have the
    canonical stature; the world is level, with z up and its origin in the camera.
    """
    detector = read_noise(noise, split) if noise else None
    mocap = Mocap.load(folder, split, np.arange(1 - FRAMES, 1), detector)
    _, clips = read_motion_capture(folder, split)
    starts = [clip.start for clip in clips]
    rng = np.random.default_rng(seed)
    end = -1
    for newest in mocap.newest:
        if newest < end + FRAMES and end >= 0:
            continue
        end = int(newest)
        clip = clips[int(np.searchsorted(starts, end, "right")) - 1]
        piece = replace(mocap, newest=np.array([end]))
        for number in range(CAMERAS):
            seen = _in_view(rng, piece)
            yield (
                split,
                _recording(
                    seen,
                    f"{clip.name}_{end:06d}_{number}",
                    clip.name.partition("_")[0],
                    clip.action,
                    noise.stem if noise else "",
                ),
            )


def _in_view(rng: np.random.Generator, piece: Mocap) -> Clips:
    """The piece of motion before a camera that has the pelvis in its picture all the time."""
    for _ in range(TRIES):
        clips = piece.sample(rng, 1, varied=False)
        pelvis = CAMERA.project(clips.joints_m[0, :, 0], "camera")
        inside = (pelvis >= 0).all() and (pelvis < CAMERA.size).all()
        if inside and clips.joints_m[..., 2].min() > NEAREST_M:
            return clips
    raise ValueError(
        f"expected motion that stays before a camera for {FRAMES / RATE_HZ:g} s, got one at frame "
        f"{piece.newest[0]} that did not in {TRIES} tries"
    )


def _recording(clips: Clips, name: str, subject: str, action: str, detector: str) -> Recording:
    rays = np.concatenate([clips.rays[0], np.ones((FRAMES, len(H36M17), 1))], -1)
    pixels = (rays @ CAMERA.matrix.T)[..., :2]
    found = (clips.confidence[0] > 0) & ((pixels >= 0) & (pixels < CAMERA.size)).all(-1)
    keypoints = np.where(found[..., None], pixels, np.nan)
    assert clips.up is not None
    level = Floor(clips.up[0], height_m=0.0).camera_from_level
    return Recording(
        name,
        transform_points(inverse_transform(level), clips.joints_m[0]).astype(np.float32),
        keypoints,
        np.where(found, clips.confidence[0], 0),
        replace(CAMERA, camera_from_world=level),
        RATE_HZ,
        subject,
        action,
        detector,
        root_relative_depth_px=_depth_px(clips, keypoints),
    )


def _depth_px(clips: Clips, keypoints_px: np.ndarray) -> np.ndarray | None:
    """Root-relative depth (T, 17) of which lifters make that of the clips."""
    if clips.root_relative_depth is None:
        return None
    known = np.isfinite(keypoints_px).any((1, 2))
    depth = np.zeros(keypoints_px.shape[:2], np.float32)
    per_px = root_relative_depth(keypoints_px[known], np.ones_like(depth[known]))
    depth[known] = clips.root_relative_depth[0, known] / per_px
    return depth
