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

"""MPI-INF-3DHP (Mehta et al., 3DV 2017): trained on S1 to S8, evaluated on the test set's TS1 to
TS6.

The training set's joints are the metric ones (``annot3``). Published PCK, AUC and MPJPE of the
test set take ``univ_annot3``, in which people are scaled to one stature: so are they here,
together with their distance, so that they project to the file's pixels all the same. The training
set's cameras are the eight at chest and knee height ("vnect") that everybody trains on. The test
set's activities are by frame; its recordings' ``action`` is the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import inverse_transform, transform_points
from pose3d_ros.skeleton import Skeleton
from pose3d_ros.training.data.converters.archives import load_hdf5, load_mat
from pose3d_ros.training.data.converters.fitting import fit_intrinsics
from pose3d_ros.training.data.converters.skeletons import (
    MPI_INF_3DHP17,
    MPI_INF_3DHP28,
    keypoints,
    truth,
)
from pose3d_ros.training.data.recordings import Recording

CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
RATE_HZ = 25.0
_AT_50_HZ = {("S1", "Seq2"), ("S3", "Seq1"), ("S3", "Seq2"), ("S5", "Seq1"), ("S5", "Seq2")}
_TEST_SIZES = {
    "TS5": (1920, 1080),
    "TS6": (1920, 1080),
}  # of the two outdoors; the others have the studio's
_STUDIO_SIZE = (2048, 2048)
_LEFT_IS_RIGHT = {("S4", "Seq2"): slice(3759, 5853)}  # annotated the wrong way round


def read_calibration(path: Path) -> dict[int, Camera]:
    """Cameras by number from a ``camera.calibration`` (Skeletool V1.0, millimetres); raises
    ``ValueError``.
    """
    cameras = {}
    number = -1
    values: dict[str, list[float]] = {}
    try:
        for line in path.read_text().splitlines()[1:]:
            key, *texts = line.split() or [""]
            if key == "name":
                number, values = int(texts[0]), {}
            values[key] = [float(text) for text in texts]
            if key == "extrinsic":
                transform = np.reshape(values["extrinsic"], (4, 4))
                transform[:3, 3] /= 1000
                width, height = (int(size) for size in values["size"])
                cameras[number] = Camera(
                    np.reshape(values["intrinsic"], (4, 4))[:3, :3],
                    (width, height),
                    camera_from_world=transform,
                    frame_id=f"camera{number}",
                )
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: expected a Skeletool camera calibration; {error!r}") from None
    return cameras


def convert(folder: Path) -> Iterator[tuple[str, Recording]]:
    """Recordings with their split of ``S1/Seq1/annot.mat`` and ``camera.calibration``, and so on,
    and of ``mpi_inf_3dhp_test_set/TS1/annot_data.mat``, of which either part may be missing.
    Raises ``ValueError``.
    """
    training = sorted(folder.glob("S[1-8]/Seq[12]/annot.mat"))
    test = sorted((folder / "mpi_inf_3dhp_test_set").glob("TS[1-6]/annot_data.mat"))
    if not training and not test:
        raise ValueError(
            f"{folder}: expected S1/Seq1/annot.mat or mpi_inf_3dhp_test_set/TS1/annot_data.mat, "
            f"got none"
        )
    for path in training:
        yield from (("train", recording) for recording in _training(path))
    for path in test:
        yield "val", _test(path)


def _training(path: Path) -> Iterator[Recording]:
    subject, sequence = path.parts[-3:-1]
    cameras = read_calibration(path.with_name("camera.calibration"))
    data = load_mat(path)
    missing = [name for name in ("annot2", "annot3", "frames") if name not in data]
    if missing or set(CAMERAS) - set(cameras):
        raise ValueError(
            f"{path}: expected annot2, annot3, frames and the calibration of cameras {CAMERAS}, "
            f"got {', '.join(sorted(data))} and cameras {sorted(cameras)}"
        )
    rate_hz = 2 * RATE_HZ if (subject, sequence) in _AT_50_HZ else RATE_HZ
    for number in CAMERAS:
        joints_mm = data["annot3"][number, 0].reshape(-1, 28, 3)
        camera = cameras[number]
        world_m = transform_points(inverse_transform(camera.camera_from_world), joints_mm / 1000)
        valid = np.ones(len(world_m), bool)
        valid[_LEFT_IS_RIGHT.get((subject, sequence), slice(0))] = False
        yield _recording(
            f"{subject}_{sequence}_{number}",
            world_m,
            data["annot2"][number, 0].reshape(-1, 28, 2),
            MPI_INF_3DHP28,
            camera,
            rate_hz,
            subject,
            sequence,
            valid,
            data["frames"].reshape(-1),
            path.parent / "imageSequence" / f"img_{number}_",
        )


def _test(path: Path) -> Recording:
    name = path.parent.name
    pixels, joints_mm, scaled_mm, valid = load_hdf5(
        path, "annot2", "annot3", "univ_annot3", "valid_frame"
    )
    if (
        joints_mm.shape[1:] != (1, 17, 3)
        or scaled_mm.shape != joints_mm.shape
        or pixels.shape[1:] != (1, 17, 2)
    ):
        raise ValueError(
            f"{path}: expected annot3 and univ_annot3 (T, 1, 17, 3) and annot2 (T, 1, 17, 2), got "
            f"{joints_mm.shape}, {scaled_mm.shape} and {pixels.shape}"
        )
    pixels, joints_m, counts = pixels[:, 0], joints_mm[:, 0] / 1000, valid.reshape(-1) > 0
    camera = fit_intrinsics(
        joints_m[counts].reshape(-1, 3),
        pixels[counts].reshape(-1, 2),
        _TEST_SIZES.get(name, _STUDIO_SIZE),
    )
    own, universal = (
        joints[:, 0] - joints[:, 0].mean(1, keepdims=True) for joints in (joints_mm, scaled_mm)
    )
    scale = (own * universal).sum((1, 2)) / np.maximum((own**2).sum((1, 2)), 1e-9)
    joints_m *= scale[:, None, None]
    return _recording(
        name,
        joints_m,
        pixels,
        MPI_INF_3DHP17,
        camera,
        RATE_HZ,
        name,
        name,
        counts,
        np.arange(len(joints_m)),
        path.parent / "imageSequence" / "img_",
    )


def _recording(
    name: str,
    joints_m: np.ndarray,
    pixels: np.ndarray,
    skeleton: Skeleton,
    camera: Camera,
    rate_hz: float,
    subject: str,
    action: str,
    valid: np.ndarray,
    frames: np.ndarray,
    images: Path,
) -> Recording:
    points, confidence = keypoints(pixels, skeleton)
    return Recording(
        name,
        truth(joints_m, skeleton),
        points,
        confidence,
        camera,
        rate_hz,
        subject,
        action,
        images=f"{images.resolve()}{{frame:06d}}.jpg" if images.parent.is_dir() else "",
        valid=valid,
        frame=frames + 1,
    )  # ffmpeg and the test set count pictures from 1
