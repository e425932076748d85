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

"""Keypoints and feature maps of a detector in the images of recordings, to train lifters of
features.

The detector runs as in the node, on one image after the other; the people that it finds are
matched to the recordings' truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pose3d_ros.camera import Camera
from pose3d_ros.detection import Detector, create
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.training.data.image_clips import image_path, read_image
from pose3d_ros.training.data.recordings import SPLITS, Recording, completed, enough, read
from pose3d_ros.training.data.shards import LabelledFeatures, write
from pose3d_ros.training.rendering.measure_noise import own_detections
from pose3d_ros.training.rig.labels import ImageLabels
from pose3d_ros.training.rig.observations import run_detector
from pose3d_ros.training.rig.samples import FeatureMapFile, labelled_features

SHARD = 256  # people: a hundred megabytes of HRNet's maps


def extract_features(folder: Path, out: Path, settings: PipelineSettings) -> Iterator[str]:
    """Run the detector on the recordings of ``folder``; writes shards to ``out``/train and
    ``out``/val.

    Of each clip, that is all recordings of the same images, an image each tenth of a second is
    kept. Yields a line for each split. Raises ``ValueError``, ``ModelError``, ``EngineError`` or
    ``SettingsError``.
    """
    splits = [split for split in SPLITS if any((folder / split).glob("*.npz"))] or SPLITS[:1]
    for split in splits:
        if any((out / split).glob("*.np[yz]")):
            raise ValueError(
                f"{out / split}: expected an empty folder to write to, got one with files"
            )
    detector = create(settings, features=True)
    try:
        for split in splits:
            clips: dict[str, list[Recording]] = {}
            for recording in read(folder, split):
                clips.setdefault(recording.images, []).append(recording)
            written, clip, seen = 0, 0, list[LabelledFeatures]()
            for number, recordings in enumerate(
                tqdm(clips.values(), desc=split, unit=" clips", disable=None), 1
            ):
                labels, maps = _extract(
                    detector, folder, recordings, out / split, settings.detector, clip
                )
                if labels:
                    seen.append((labels, maps))
                    clip = int(labels["clip"].max()) + 1
                people = sum(len(maps) for _, maps in seen)
                if people >= SHARD or people and number == len(clips):
                    write(out / split / f"{number:06d}.npz", seen)
                    written, seen = written + people, []
            if not written:
                raise ValueError(
                    f"{folder / split}: expected people whom the detector finds where their "
                    f"recordings say, got none in the images of {len(clips)} clips"
                )
            yield f"{out / split}: {len(clips)} clips, feature maps of {written} people"
    finally:
        detector.close()


def _extract(
    detector: Detector,
    folder: Path,
    recordings: Sequence[Recording],
    out: Path,
    name: str,
    clip: int,
) -> LabelledFeatures:
    """Labels and feature maps of a clip's people, whose clips are numbered from ``clip`` on."""
    frames = np.unique(np.concatenate([recording.frame for recording in recordings]))
    first = recordings[0]
    period_s = 1 / (first.rate_hz * (np.median(np.diff(first.frame)) if len(first) > 1 else 1))
    out.mkdir(parents=True, exist_ok=True)
    maps = FeatureMapFile(out, name)
    try:
        images = (
            (
                read_image(image_path(folder, first, frame), first.camera.size),
                round((frame - frames[0]) * period_s * 1e9),
            )
            for frame in frames.tolist()
        )
        observed = run_detector(detector, first.name, first.camera, images, maps)
        return labelled_features(
            first.camera,
            observed.images,
            labels_of(recordings, first.camera, frames, observed.images),
            maps,
            clip,
        )
    finally:
        maps.close()


def labels_of(
    recordings: Sequence[Recording],
    camera: Camera,
    frames: np.ndarray,
    images: Sequence[People2D],
) -> list[ImageLabels]:
    """Labels of the people in the images of ``frames`` (T,); ``person`` is the number of the
    recording.
    """
    truth_m = [completed(recording.joints_camera_m) for recording in recordings]
    rows = [
        {
            int(recording.frame[row]): row
            for row in np.flatnonzero(recording.valid & enough(joints_m))
        }
        for recording, joints_m in zip(recordings, truth_m, strict=True)
    ]
    labels = []
    for number, (frame, people) in enumerate(zip(frames.tolist(), images, strict=True)):
        there = [person for person, of in enumerate(rows) if frame in of]
        if not there:
            continue
        joints_m = np.stack([truth_m[person][rows[person][frame]] for person in there])
        own = own_detections(people, camera.project(joints_m, "camera"))
        found = own >= 0
        labels.append(ImageLabels(0, number, own[found], np.array(there)[found], joints_m[found]))
    return labels
