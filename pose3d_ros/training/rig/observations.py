"""What each camera of a rig saw of people: in its video, or in a rosbag2 with pictures or 2D
poses.
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
from pose3d_ros.io.videos import frames
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.tracking import IdentityTracker
from pose3d_ros.training.rig.samples import Maps


@dataclass
class Watched:
    """What one camera saw: each picture's people in order of time, and if asked for, their feature
    maps.
    """

    name: str
    camera: Camera
    pictures: list[People2D]
    maps: Maps | None = None


def watch(
    name: str, camera: Camera, pictures: Iterable[tuple[np.ndarray, int]], out: Path | None
) -> Watched:
    """Run the detector over pictures (H, W, 3) and their stamps; with a folder ``out``, keep
    feature maps there.
    """
    settings = PipelineSettings()
    detector = create(settings, out is not None)
    try:
        return look(
            detector,
            name,
            camera,
            tqdm(pictures, desc=name, unit=" pictures", disable=None),
            Maps(out, settings.detector) if out else None,
        )
    finally:
        detector.close()


def look(
    detector: Detector,
    name: str,
    camera: Camera,
    pictures: Iterable[tuple[np.ndarray, int]],
    maps: Maps | None,
) -> Watched:
    """Run a detector over pictures (H, W, 3) and their stamps, as the node does; feature maps go
    to ``maps``.
    """
    detector.reset()
    identity = IdentityTracker()
    watched = Watched(name, camera, [], maps)
    for number, (image, stamp_ns) in enumerate(pictures):
        if not number:
            watched.camera = camera.at_resolution(image.shape[1], image.shape[0])
        people = identity(detector(image, stamp_ns).to(H36M17))
        if maps is not None:
            maps.add(number, people)
        watched.pictures.append(replace(people, features=()))
    return watched


def video(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Pictures and stamps, of which the first is 0; raises ``ValueError``."""
    first_ns = None
    for image, stamp_ns in frames(path):
        first_ns = stamp_ns if first_ns is None else first_ns
        yield image, stamp_ns - first_ns


def in_videos(path: Path, rig: RigFile, out: Path | None) -> list[Watched]:
    """Watch the videos that a rig file at ``path`` names, which begin in the same moment.

    Relative ones are beside the rig file. Raises ``ValueError`` if fewer than two cameras have
    one.
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
    return [watch(name, rig.cameras[name], video(file), out) for name, file in found.items()]


def in_bag(path: Path, rig: RigFile, out: Path | None) -> list[Watched]:
    """What the cameras of a rig saw in a rosbag2: by their 2D poses, and where there are none, by
    their pictures.

    With ``out``, always by their pictures, for feature maps. Raises ``ValueError`` if fewer than
    two have any.
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
    heard: dict[str, list[People2D]] = {name: [] for name in clouds}
    for _, camera, people in bags.read_keypoints(path, list(clouds.values())) if clouds else ():
        heard[list(clouds)[camera]].append(people)
    silent = [name for name, people in heard.items() if not people]
    if silent:
        raise ValueError(
            f"{path}: expected 2D poses of camera {silent[0]}, got no message on its topic; take "
            f"the "
            f"camera out of the rig file to do without it"
        )
    return [
        _listened(name, rig.cameras[name], heard[name])
        if name in heard
        else watch(name, rig.cameras[name], usable(name, _images(path, shown[name])), out)
        for name in rig.cameras
        if name in heard or name in shown
    ]


def _images(path: Path, topic: str) -> Iterator[tuple[np.ndarray | ImageError, int]]:
    return ((image.image_bgr, image.stamp_ns) for image in bags.read_images(path, topic))


def _check(
    path: Path, rig: RigFile, found: list[str], offered: dict[str, str], pictures_only: bool
) -> None:
    """That two cameras or more are in the bag, and say which are not."""
    topics = [
        topic for topic, kind in offered.items() if kind in (*bags.IMAGE_TYPES, bags.CLOUD_TYPE)
    ]
    for name in rig.cameras:
        if name in found:
            continue
        sources = rig.sources.get(name, {})
        wanted = (
            f"pictures on {' or '.join(bags.image_names(name, sources))}, perhaps with /compressed"
        )
        wanted += (
            ", for this lifter looks at them"
            if pictures_only
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
    name: str, pictures: Iterable[tuple[np.ndarray | ImageError, int]]
) -> Iterator[tuple[np.ndarray, int]]:
    """The pictures of a camera that are some and later than the one before; says how many others
    there were, and why.

    Raises ``ValueError`` in the end when there was none.
    """
    good, bad, first, last_ns = 0, 0, "its topic has no message", 0
    for picture, stamp_ns in pictures:
        if isinstance(picture, np.ndarray) and stamp_ns > last_ns:
            good, last_ns = good + 1, stamp_ns
            yield picture, stamp_ns
            continue
        if not bad:
            first = (
                str(picture)
                if isinstance(picture, ImageError)
                else (
                    f"expected stamps that rise, got {stamp_ns * 1e-9:.3f} s after "
                    f"{last_ns * 1e-9:.3f} s; the camera's "
                    f"driver must stamp its images"
                )
            )
        bad += 1
    if not good:
        raise ValueError(f"camera {name}: none of {bad} pictures can be used: {first}")
    if bad:
        say(f"camera {name}: {bad} of {good + bad} pictures left out; the first: {first}")


def _listened(name: str, camera: Camera, pictures: list[People2D]) -> Watched:
    size = pictures[0].image_size
    return Watched(
        name,
        camera.at_resolution(*size) if all(size) else camera,
        sorted(pictures, key=lambda people: people.stamp_ns),
    )


def say(text: str) -> None:
    """A line for who trains."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
