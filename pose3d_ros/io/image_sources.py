"""Where the video node gets its pictures from: video file, folder of images, camera device,
rosbag2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pose3d_ros.evaluation.multiview_bag import opened
from pose3d_ros.io import image_encodings
from pose3d_ros.io.bag_images import IMAGE_TYPES
from pose3d_ros.nodes import image_messages

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
ASSUMED_HZ = 30.0  # of folders, and of files that do not tell


class SourceError(ValueError):
    """Nothing that pictures can be read from."""


class Frame(NamedTuple):
    """A (H, W, 3) uint8 BGR picture and when it is due, in seconds from the first; None for live
    pictures.
    """

    image_bgr: np.ndarray
    due_s: float | None


def frames(source: str, rate_hz: float = 0.0, bag_topic: str = "") -> Iterator[Frame]:
    """Pictures of ``source`` from its beginning to its end, at ``rate_hz`` or, if 0, at its own
    rate.

    Raises ``SourceError``, or ``ValueError`` for a bag that cannot be read, in one line, at once
    or at the first picture.
    """
    path = Path(source).expanduser()
    if source.isdecimal() or source.startswith("/dev/video"):
        return _device(source, rate_hz)
    if not source or not path.exists():
        raise SourceError(
            f"source: expected a video file, a folder of images, /dev/videoN or a rosbag2, got "
            f"'{source}', which does not exist"
        )
    if (path / "metadata.yaml").exists():
        return _bag(path, rate_hz, bag_topic)
    return _folder(path, rate_hz) if path.is_dir() else _video(path, rate_hz)


def _video(path: Path, rate_hz: float) -> Iterator[Frame]:
    with _opened(str(path)) as capture:
        rate = rate_hz or capture.get(cv2.CAP_PROP_FPS) or ASSUMED_HZ
        index = 0
        while True:
            ok, image = capture.read()
            if not ok:
                break
            yield Frame(image, index / rate)
            index += 1
    if not index:
        raise SourceError(f"source: {path} holds no picture that this OpenCV can decode")


def _device(source: str, rate_hz: float) -> Iterator[Frame]:
    with _opened(int(source) if source.isdecimal() else source) as capture:
        if rate_hz:
            capture.set(cv2.CAP_PROP_FPS, rate_hz)
        while True:
            ok, image = capture.read()
            if not ok:
                raise SourceError(
                    f"source: camera {source} stopped delivering pictures; see whether it is "
                    f"unplugged"
                )
            yield Frame(image, None)


@contextmanager
def _opened(source: str | int) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            raise SourceError(
                f"source: {source} cannot be opened as a video; expected a file that this OpenCV "
                f"can "
                f"decode, or a camera that no other process uses"
            )
        yield capture
    finally:
        capture.release()


def _folder(path: Path, rate_hz: float) -> Iterator[Frame]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SourceError(
            f"source: folder {path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}), nor a "
            f"rosbag2's "
            f"metadata.yaml"
        )
    for index, file in enumerate(files):
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise SourceError(
                f"source: {file} cannot be decoded as an image; remove it from the folder"
            )
        yield Frame(image, index / (rate_hz or ASSUMED_HZ))


def _bag(path: Path, rate_hz: float, topic: str) -> Iterator[Frame]:
    with opened(path) as reader:
        offered = {c.topic: c for c in reader.connections if c.msgtype in IMAGE_TYPES}
        if not topic and len(offered) == 1:
            topic = next(iter(offered))
        if topic not in offered:
            raise SourceError(
                f"bag_topic: expected one of {', '.join(offered) or 'no image topic at all'} in "
                f"{path}, "
                f"got '{topic}'"
            )
        first_ns: int | None = None
        for index, (connection, time_ns, raw) in enumerate(reader.messages([offered[topic]])):
            message = reader.deserialize(raw, connection.msgtype)
            compressed = connection.msgtype == IMAGE_TYPES[1]
            image = (
                image_encodings.compressed_to_bgr(message)
                if compressed
                else image_messages.to_bgr(message)
            )
            first_ns = time_ns if first_ns is None else first_ns
            yield Frame(image, index / rate_hz if rate_hz else (time_ns - first_ns) * 1e-9)
