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

"""Offsets between cameras' times: people who walk tell them, people who stand do not, and what
reads the rig file obeys them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring, standing

from pose3d_ros.calibration import time_offsets
from pose3d_ros.camera import Camera
from pose3d_ros.cli.main import main
from pose3d_ros.errors import CalibrationError
from pose3d_ros.geometry import rigid, rotation_from_vector
from pose3d_ros.io.rig_file import RigFile, read_rig, write_rig
from pose3d_ros.io.rig_formats import RigFileError
from pose3d_ros.io.rig_time import film_start_s, stamp_offset_ns
from pose3d_ros.io.videos import frames
from pose3d_ros.offline import people_of_rig
from pose3d_ros.people import People2D
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17

NOISE_PX = 3.0
NAMES = ["a", "b", "c"]


def walking(people: int, time_s: float) -> np.ndarray:
    """(P, 17, 3): rounds of changing speed and radius, with swinging arms and legs."""
    angle = 0.6 * time_s + 0.3 * np.sin(1.3 * time_s) + 2 * np.pi * np.arange(people) / people
    radius = 1.0 + 0.3 * np.sin(0.37 * time_s) + 0.4 * np.arange(people) / people
    places = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return standing(places, angle + np.pi / 2, stride=4 * time_s)


def film(
    camera: Camera, start_s: float, length_s: float, rate_hz: float, people: int, seed: int
) -> list[People2D]:
    """2D people of a film of those who walk, with its own times from 0."""
    rng, images = np.random.default_rng(seed), []
    for index in range(int(length_s * rate_hz)):
        pixels = camera.project(walking(people, start_s + index / rate_hz))
        pixels += rng.normal(0, NOISE_PX, pixels.shape)
        known = np.full(pixels.shape[:2], 0.9)
        stamp_ns = round(1e9 * index / rate_hz)
        ids = np.arange(people)
        images.append(People2D(H36M17, pixels, known, stamp_ns, camera.size, ids=ids))
    return images


@pytest.mark.parametrize(
    ("people", "starts_s", "rates_hz"),
    [
        (1, (0.0, 1.234, -0.731), (15, 15, 15)),
        (2, (0.0, -3.3, 0.02), (15, 12, 10)),
    ],
)
def test_people_who_walk_tell_when_films_were_started(
    people: int, starts_s: Sequence[float], rates_hz: Sequence[float]
) -> None:
    cameras = ring(3)
    seen = [
        film(camera, 10 + start_s, 12, rate_hz, people, seed)
        for seed, (camera, start_s, rate_hz) in enumerate(
            zip(cameras, starts_s, rates_hz, strict=True)
        )
    ]
    result = time_offsets.estimate(cameras, NAMES, seen)
    error_s = result.offset_s - np.array(starts_s)
    assert np.abs(error_s).max() < 0.01
    assert (np.abs(error_s[1:]) < 3 * result.sigma_s[1:]).all()
    assert result.after_mrad < 3


def test_cameras_that_stand_elsewhere_than_calibrated_hardly_shift_time() -> None:
    cameras = ring(2)
    off = rigid(rotation_from_vector([0.004, -0.006, 0.003]), [0.02, -0.02, 0.01])
    seen = [
        film(camera, start_s, 12, 15, 1, 0)
        for camera, start_s in zip(cameras, (5, 5.4), strict=True)
    ]
    moved = replace(cameras[1], camera_from_world=off @ cameras[1].camera_from_world)
    result = time_offsets.estimate([cameras[0], moved], NAMES[:2], seen)
    assert abs(result.offset_s[1] - 0.4) < 0.02


def test_people_who_stand_still_tell_nothing() -> None:
    cameras = ring(2)
    still = []
    for camera in cameras:
        (one,) = film(camera, 5, 0.1, 10, 1, 0)
        still.append([one.later(k * 100_000_000) for k in range(60)])
    with pytest.raises(CalibrationError, match="a and b: .*do people move"):
        time_offsets.estimate(cameras, NAMES[:2], still)


def test_cameras_that_see_different_people_tell_nothing() -> None:
    cameras = ring(2)
    upstairs = rigid(np.eye(3), [0.0, 0.0, 3.0])
    other = replace(cameras[1], camera_from_world=cameras[1].camera_from_world @ upstairs)
    seen = [film(cameras[0], 5, 8, 10, 1, 0), film(other, 5, 8, 10, 1, 0)]
    with pytest.raises(CalibrationError, match="offset"):
        time_offsets.estimate(cameras, NAMES[:2], seen)


def test_rig_file_keeps_offsets_and_says_what_they_mean(tmp_path: Path) -> None:
    rig = read_rig(share("demo", "rig.yaml"))
    rig.time_offsets_s.update(cam0=0.0, cam1=-0.25)
    write_rig(tmp_path / "rig.yaml", rig)
    read = read_rig(tmp_path / "rig.yaml")
    assert read.time_offsets_s == {"cam0": 0.0, "cam1": -0.25}
    assert (film_start_s(read, "cam0"), film_start_s(read, "cam1")) == (0.25, 0.0)
    assert stamp_offset_ns(read, "cam1") == 0  # the player has shifted the film already
    read.sources["cam1"]["video"] = "/dev/video7"
    assert stamp_offset_ns(read, "cam1") == -250_000_000
    text = (tmp_path / "rig.yaml").read_text().replace("-0.25", "soon")
    (tmp_path / "rig.yaml").write_text(text)
    with pytest.raises(RigFileError, match="camera cam1: expected time_offset_s in seconds"):
        read_rig(tmp_path / "rig.yaml")


def late_rig(folder: Path, dropped: int, step: int, count: int) -> tuple[RigFile, float]:
    """The demo's rig with folders of every ``step``th picture, the second camera's without its
    first ones; and by how many seconds that starts later.
    """
    rig = read_rig(share("demo", "rig.yaml"))
    late_s = 0.0
    for name in rig.cameras:
        (folder / name).mkdir()
        skipped = dropped if name == "cam1" else 0
        images = enumerate(islice(frames(share("demo", f"{name}.mp4")), step * count))
        shown = [(image, t) for index, (image, t) in images if index % step == 0][skipped:count]
        for image, time_ns in shown:
            cv2.imwrite(str(folder / name / f"{10**18 + time_ns}.jpg"), image)
        late_s = shown[0][1] * 1e-9
        rig.sources[name]["video"] = name
    write_rig(folder / "rig.yaml", rig)
    return rig, late_s


def test_film_started_late_is_found_and_fused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, late_s = late_rig(tmp_path, 3, 4, 20)
    output = tmp_path / "timed.yaml"
    assert main(["calibrate", "time", str(tmp_path / "rig.yaml"), "--output", str(output)]) == 0
    assert "cam0: +0.0 ms, whose time is the rig's" in capsys.readouterr().out
    timed = read_rig(output)
    assert abs(timed.time_offsets_s["cam1"] - late_s) < 0.02
    people = list(islice(people_of_rig(timed, tmp_path), 10))
    with np.load(share("demo", "truth.npz")) as truth:
        truth_m = truth["joints_m"]
    pelvis = H36M17.index("pelvis")
    late = people[-1]
    index = round(late.stamp_ns * 30e-9)
    away = np.linalg.norm(
        late.joints_m[:, None, pelvis] - truth_m[index][None, :, pelvis], axis=-1
    )
    assert len(late) == 2 and away.min(1).max() < 0.1
