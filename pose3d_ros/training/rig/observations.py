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

"""2D poses, and feature maps, of people in the cameras of a rig: from videos, or from a rosbag2
with images or 2D poses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pose3d_ros.camera import Camera
from pose3d_ros.detection import Detector, create
from pose3d_ros.io import bags
from pose3d_ros.io.image_encodings import ImageError
from pose3d_ros.io.rig_file import RigFile, namespace_of
from pose3d_ros.io.rig_time import film_start_s, stamp_offset_ns
from pose3d_ros.io.videos import frames
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.tracking import IdentityTracker
from pose3d_ros.training.rig.samples import FeatureMapFile


@dataclass
class CameraObservations:
    """People in each image of one camera in order of time and, for lifters of features, their
    feature maps.
    """

    name: str
    camera: Camera
    images: list[People2D]
    maps: FeatureMapFile | None = None


def detect_in(
    name: str, camera: Camera, images: Iterable[tuple[np.ndarray, int]], out: Path | None
) -> CameraObservations:
    """Run the detector over images (H, W, 3) and their stamps; with a folder ``out``, keep
    feature maps there.
    """
    settings = PipelineSettings()
    detector = create(settings, out is not None)
    try:
        return run_detector(
            detector,
            name,
            camera,
            tqdm(images, desc=name, unit=" images", disable=None),
            FeatureMapFile(out, settings.detector) if out else None,
        )
    finally:
        detector.close()


def run_detector(
    detector: Detector,
    name: str,
    camera: Camera,
    images: Iterable[tuple[np.ndarray, int]],
    maps: FeatureMapFile | None,
) -> CameraObservations:
    """Run a detector over images (H, W, 3) and their stamps, as the node does; feature maps go
    to ``maps``.
    """
    detector.reset()
    identity = IdentityTracker()
    observed = CameraObservations(name, camera, [], maps)
    for number, (image, stamp_ns) in enumerate(images):
        if not number:
            observed.camera = camera.at_resolution(image.shape[1], image.shape[0])
        people = identity(detector(image, stamp_ns).to(H36M17))
        if maps is not None:
            maps.add(number, people)
        observed.images.append(replace(people, features=()))
    return observed


def video(path: Path, start_s: float = 0.0) -> Iterator[tuple[np.ndarray, int]]:
    """Images and stamps, of which the first is ``start_s``; raises ``ValueError``."""
    first_ns = None
    for image, stamp_ns in frames(path):
        first_ns = stamp_ns - round(start_s * 1e9) if first_ns is None else first_ns
        yield image, stamp_ns - first_ns


def in_videos(path: Path, rig: RigFile, out: Path | None) -> list[CameraObservations]:
    """Run the detector on the videos that a rig file at ``path`` names.

    They begin in the same moment, or as their ``time_offset_s`` says. Relative paths are beside
    the rig file.
    Raises ``ValueError`` if fewer than two cameras have one.
    """
    found = {
        name: path.parent / Path(sources["video"]).expanduser()
        for name, sources in rig.sources.items()
        if sources.get("video")
    }
    if len(found) < 2:
        raise ValueError(
            f"{path}: expected the file of a video in the entries of two cameras or more, got "
            f"{', '.join(found) or 'none'}; write 'video: left.mp4' beside 'camera_matrix'"
        )
    return [
        detect_in(name, rig.cameras[name], video(file, film_start_s(rig, name)), out)
        for name, file in found.items()
    ]


def in_bag(path: Path, rig: RigFile, out: Path | None) -> list[CameraObservations]:
    """Observations of the cameras of a rig in a rosbag2: their 2D poses or, of cameras without,
    those in their images.

    With ``out``, always those in their images, with feature maps. Raises ``ValueError`` if fewer
    than two have any.
    """
    offered = bags.topics(path)
    clouds, shown = {}, {}
    for name in rig.cameras:
        sources = rig.sources.get(name, {})
        namespace = namespace_of(name, sources)
        if out is None and any(
            kind == bags.CLOUD_TYPE and bags.is_called(topic, f"{namespace}/keypoints")
            for topic, kind in offered.items()
        ):
            clouds[name] = namespace
        elif (topic := bags.image_topic(offered, name, sources)) is not None:
            shown[name] = topic
    _check(path, rig, [*clouds, *shown], offered, out is not None)
    recorded_poses: dict[str, list[People2D]] = {name: [] for name in clouds}
    for _, camera, people in bags.read_keypoints(path, list(clouds.values())) if clouds else ():
        name = list(clouds)[camera]
        recorded_poses[name].append(people.later(stamp_offset_ns(rig, name)))
    silent = [name for name, people in recorded_poses.items() if not people]
    if silent:
        raise ValueError(
            f"{path}: expected 2D poses of camera {silent[0]}, got no message on its topic; take "
            "the camera out of the rig file to do without it"
        )
    return [
        _recorded(name, rig.cameras[name], recorded_poses[name])
        if name in recorded_poses
        else detect_in(
            name,
            rig.cameras[name],
            usable(name, _images(path, shown[name], stamp_offset_ns(rig, name))),
            out,
        )
        for name in rig.cameras
        if name in recorded_poses or name in shown
    ]


def _images(
    path: Path, topic: str, offset_ns: int
) -> Iterator[tuple[np.ndarray | ImageError, int]]:
    return (
        (image.image_bgr, image.stamp_ns + offset_ns) for image in bags.read_images(path, topic)
    )


def _check(
    path: Path, rig: RigFile, found: list[str], offered: dict[str, str], images_only: bool
) -> None:
    """Print the cameras that are not in the bag. Raises ``ValueError`` if fewer than two are."""
    topics = [
        topic for topic, kind in offered.items() if kind in (*bags.IMAGE_TYPES, bags.CLOUD_TYPE)
    ]
    for name in rig.cameras:
        if name in found:
            continue
        sources = rig.sources.get(name, {})
        wanted = (
            f"images on {' or '.join(bags.image_names(name, sources))}, perhaps with /compressed"
        )
        wanted += (
            "; this lifter takes their feature maps"
            if images_only
            else (f", or 2D poses on {namespace_of(name, sources)}/keypoints")
        )
        text = (
            f"camera {name}: expected {wanted}; got none among "
            f"{', '.join(topics) or 'no topic at all'}: the rig "
            f"file may say 'image: TOPIC' or 'namespace: NAME'"
        )
        if len(found) < 2:
            raise ValueError(f"{path}: {text}")
        say(f"{text}; left out")


def usable(
    name: str, images: Iterable[tuple[np.ndarray | ImageError, int]]
) -> Iterator[tuple[np.ndarray, int]]:
    """The images of a camera that are some and later than the one before; says how many others
    there were, and why.

    Raises ``ValueError`` in the end when there was none.
    """
    good, bad, first, last_ns = 0, 0, "its topic has no message", 0
    for image, stamp_ns in images:
        if isinstance(image, np.ndarray) and stamp_ns > last_ns:
            good, last_ns = good + 1, stamp_ns
            yield image, stamp_ns
            continue
        if not bad:
            first = (
                str(image)
                if isinstance(image, ImageError)
                else (
                    f"expected stamps that rise, got {stamp_ns * 1e-9:.3f} s after "
                    f"{last_ns * 1e-9:.3f} s; the camera's "
                    f"driver must stamp its images"
                )
            )
        bad += 1
    if not good:
        raise ValueError(f"camera {name}: none of {bad} images can be used: {first}")
    if bad:
        say(f"camera {name}: {bad} of {good + bad} images left out; the first: {first}")


def _recorded(name: str, camera: Camera, images: list[People2D]) -> CameraObservations:
    size = images[0].image_size
    return CameraObservations(
        name,
        camera.at_resolution(*size) if all(size) else camera,
        sorted(images, key=lambda people: people.stamp_ns),
    )


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
