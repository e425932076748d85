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

"""Training samples from what the cameras of a rig see of people whom they label for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from pose3d_ros.arrays import as_float32
from pose3d_ros.camera import Camera
from pose3d_ros.lifting.feature_maps import crop_keypoints, crop_rays
from pose3d_ros.people import People2D
from pose3d_ros.training.data.augmentation import scale_of_person
from pose3d_ros.training.data.recordings import Recording, enough
from pose3d_ros.training.data.shards import NOT_STORED
from pose3d_ros.training.rig.labels import MIN_CONFIDENCE, ImageLabels

STEP_S = 0.1  # between the images whose feature maps are kept
LONGEST_STEP = 1.5  # from image to image of one recording, in usual steps


@dataclass(frozen=True)
class LabelledTrack:
    """One labelled person in T images of one camera: ``joints_m`` (T, 17, 3) in the camera's
    frame, some NaN; number ``image`` (T,) of each image, and ``row`` (T,) of the person in it.
    """

    person: int
    joints_m: np.ndarray
    image: np.ndarray
    row: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> LabelledTrack:
        return LabelledTrack(
            self.person, self.joints_m[chosen], self.image[chosen], self.row[chosen]
        )


def labelled_tracks(labels: Sequence[ImageLabels]) -> list[LabelledTrack]:
    """Tracks of all people in the labels of one camera, in the images in which enough of their
    joints are labelled.
    """
    found = []
    for person in sorted({int(person) for label in labels for person in label.person}):
        own = [
            (label, int(np.flatnonzero(label.person == person)[0]))
            for label in labels
            if person in label.person
        ]
        own = [(label, i) for label, i in own if enough(label.joints_m[i])]
        if own:
            found.append(
                LabelledTrack(
                    person,
                    np.stack([label.joints_m[i] for label, i in own]),
                    np.array([label.image for label, _ in own]),
                    np.array([label.rows[i] for label, i in own]),
                )
            )
    return found


def unbroken_stretches(
    track: LabelledTrack, times_s: np.ndarray, step_s: float
) -> list[LabelledTrack]:
    """Stretches of a track whose images, taken at ``times_s`` (T,), are about ``step_s`` apart."""
    ends = np.flatnonzero(np.diff(times_s) > LONGEST_STEP * step_s) + 1
    return [track[rows] for rows in np.split(np.arange(len(times_s)), ends)]


def recordings(
    name: str, camera: Camera, images: Sequence[People2D], labels: Sequence[ImageLabels]
) -> list[Recording]:
    """One recording for each unbroken stretch of images of one camera in which a person is
    labelled. Truth is in the camera's frame.
    """
    times_s = np.array([people.stamp_ns for people in images]) * 1e-9
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else STEP_S
    found = []
    for whole in labelled_tracks(labels):
        for part in unbroken_stretches(whole, times_s[whole.image], step_s):
            seen = [images[image][[row]] for image, row in zip(part.image, part.row, strict=True)]
            keypoints = np.concatenate([people.keypoints_px for people in seen])
            confidence = np.concatenate([people.confidence for people in seen])
            found.append(
                Recording(
                    f"{name}-{part.person}-{part.image[0]}",
                    part.joints_m,
                    keypoints,
                    np.where(np.isfinite(keypoints).all(-1), confidence, 0),
                    replace(camera, camera_from_world=np.eye(4)),
                    1 / step_s,
                    f"person{part.person}",
                    "rig",
                    "this",
                    frame=part.image,
                )
            )
    return found


class FeatureMapFile:
    """Feature maps of people, in a temporary file until it is known whom the cameras label."""

    def __init__(self, folder: Path, detector: str) -> None:
        self._finer = NOT_STORED.get(detector, 0)
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - until close
        self._at: dict[int, int] = {}
        self._people, self._values = 0, 0
        self._due_ns: float | None = None

    def add(self, image: int, people: People2D) -> None:
        """Keep the maps of an image's people, if it is due: one comes every ``STEP_S``."""
        if (
            not len(people)
            or self._due_ns is not None
            and people.stamp_ns < self._due_ns - 0.25e9 * STEP_S
        ):
            return
        late = self._due_ns is None or people.stamp_ns > self._due_ns + 1e9 * STEP_S
        self._due_ns = (
            people.stamp_ns if late or self._due_ns is None else self._due_ns
        ) + 1e9 * STEP_S
        maps = np.concatenate(
            [level.reshape(len(people), -1) for level in people.features[self._finer :]], 1
        )
        self._at[image], self._values = self._people, maps.shape[1]
        self._people += len(people)
        self._file.write(maps.astype(np.float16).tobytes())

    def __contains__(self, image: int) -> bool:
        return image in self._at

    def of(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(N, V) float16, the levels' maps one after the other."""
        self._file.flush()
        every = np.memmap(self._file, np.float16, "r", shape=(self._people, self._values))
        return every[
            [self._at[int(image)] + int(row) for image, row in zip(images, rows, strict=True)]
        ]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


def labelled_features(
    camera: Camera,
    images: Sequence[People2D],
    labels: Sequence[ImageLabels],
    maps: FeatureMapFile,
    first_clip: int = 0,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Labels of N people and their feature maps (N, V), as ``data.shards`` has them.

    A clip is an unbroken stretch of one person; clips are numbered from ``first_clip`` on.
    """
    rows: list[dict[str, np.ndarray]] = []
    found = []
    clip = first_clip
    for whole in labelled_tracks(labels):
        scale = scale_of_person(whole.joints_m)
        whole = whole[np.array([image in maps for image in whole.image.tolist()], bool)]
        if not len(whole.image) or not np.isfinite(scale):
            continue
        times_s = np.array([images[image].stamp_ns for image in whole.image]) * 1e-9
        step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else STEP_S
        for part in unbroken_stretches(whole, times_s, step_s):
            for joints_m, image, row in zip(part.joints_m, part.image, part.row, strict=True):
                person = images[image][[row]]
                assert person.crop_from_image is not None
                depth = np.zeros(17)  # of detectors without
                if person.root_relative_depth_px is not None:
                    depth = person.root_relative_depth_px[0] * np.sqrt(
                        np.linalg.det(person.crop_from_image[0, :, :2])
                    )
                rows.append(
                    {
                        "rays": camera.rays(person.keypoints_px)[0],
                        "confidence": person.confidence[0],
                        "crop_keypoints": crop_keypoints(person)[0],
                        "crop_rays": crop_rays(camera, person)[0],
                        "root_relative_depth": depth,
                        "joints_m": scale * joints_m,
                        "visible": np.isfinite(joints_m).all(-1)
                        & (person.confidence[0] >= MIN_CONFIDENCE),
                        "frame": np.array(
                            round((person.stamp_ns - images[0].stamp_ns) / (1e9 * STEP_S))
                        ),
                        "clip": np.array(clip),
                    }
                )
            found.append(maps.of(part.image, part.row))
            clip += 1
    if not rows:
        return {}, np.zeros((0, 0), np.float16)
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return as_float32(stacked), np.concatenate(found)
