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

"""Sources of images: video file, folder of images, bag, camera device, network stream."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera
from pose3d_ros.io import bags, videos
from pose3d_ros.io.errors import SourceError
from pose3d_ros.io.image_encodings import BitDepth, ImageError, read_image
from pose3d_ros.stamps import Order, StampOrder

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
ASSUMED_HZ = 30.0  # of folders whose names tell no times
STAMP_DIGITS = {19: 1, 16: 1_000, 13: 1_000_000}  # of whole numbers since 1970: ns, us, ms

log = logging.getLogger(__name__)

__all__ = ["Frame", "SourceError", "camera_of", "check_exists", "frames", "is_device"]


class Frame(NamedTuple):
    """A (H, W, 3) uint8 BGR image and when it is due, in seconds from the first; None for live
    images.
    """

    image_bgr: npt.NDArray[np.uint8]
    due_s: float | None


def is_device(source: str) -> bool:
    """Whether a source is a camera, there or not: a number, a URL, a device or a link to one."""
    if source.isdecimal() or "://" in source:
        return True
    path = Path(source).expanduser()
    if source.startswith("/dev/") and not source.startswith("/dev/shm/"):
        return not (path.is_file() or path.is_dir())
    return bool(source) and path.is_char_device()


def frames(
    source: str,
    rate_hz: float = 0.0,
    bag_topic: str = "",
    size: tuple[int, int] = (0, 0),
) -> Iterator[Frame]:
    """Images of ``source`` from its beginning to its end, at ``rate_hz`` or, if 0, at their own
    times.

    A camera device is asked for ``rate_hz`` and ``size`` (width, height), where they are not 0.
    Raises ``SourceError`` in one line, at once or at the first image; of a live source also when
    it stops. A broken image is left out, which is logged once.
    """
    if "://" in source:
        return _stream(source)
    if is_device(source):
        return _device(source, rate_hz, size)
    check_exists(source)
    path = Path(source).expanduser()
    if bags.is_bag(path):
        return _bag(path, rate_hz, bag_topic)
    return _folder(path, rate_hz) if path.is_dir() else _video(path, rate_hz)


def check_exists(source: str) -> None:
    """Raise ``SourceError`` for a recording that is not there; a camera may come later."""
    path = Path(source).expanduser()
    if not (is_device(source) or source and (path.is_file() or path.is_dir())):
        piped = source and path.exists()
        what = "is neither (a pipe or a socket)" if piped else "does not exist"
        raise SourceError(
            f"source: expected a video file, a folder of images, a bag, /dev/videoN or a URL, got "
            f"'{source}', which {what}"
        )


def camera_of(source: str, bag_topic: str = "") -> Camera | None:
    """Camera that a source tells of itself: a bag's camera_info beside the images; None where
    there is none.

    Raises ``SourceError``, or ``CameraError`` when the camera_info is that of no camera.
    """
    path = Path(source).expanduser()
    if is_device(source) or not path.exists() or not bags.is_bag(path):
        return None
    return bags.read_camera(path, bags.only_image_topic(path, bag_topic))


def _video(path: Path, rate_hz: float) -> Iterator[Frame]:
    for index, (image, time_ns) in enumerate(videos.frames(path)):
        yield Frame(image, index / rate_hz if rate_hz else time_ns * 1e-9)


def _stream(url: str) -> Iterator[Frame]:
    return (Frame(image, due_s) for image, due_s in videos.stream_frames(url))


def _device(source: str, rate_hz: float, size: tuple[int, int]) -> Iterator[Frame]:
    # Opened by the name that OpenCV knows, not by that of a link to it.
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else os.path.realpath(source))
    try:
        if not capture.isOpened():
            raise SourceError(_reason_of_absence(source))
        if rate_hz or all(size):
            _ask(capture, source, rate_hz, size)
        while True:
            good, image = capture.read()
            if not good:
                raise SourceError(
                    f"camera {source} stopped delivering images; see whether it is unplugged"
                )
            yield Frame(np.asarray(image, np.uint8), None)
    finally:
        capture.release()


def _ask(capture: cv2.VideoCapture, source: str, rate_hz: float, size: tuple[int, int]) -> None:
    """Ask a device for a size and a rate, and log when it delivers others."""
    # Raw images of more than VGA do not fit through USB 2 at a usual rate.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    if all(size):
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    if rate_hz:
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
    width, height = (
        int(capture.get(of)) for of in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    rate = capture.get(cv2.CAP_PROP_FPS)
    if all(size) and (width, height) != size or rate_hz and rate and abs(rate - rate_hz) > 1:
        log.warning(
            "camera %s delivers %dx%d at %g Hz, asked for %dx%d at %g: "
            "'v4l2-ctl --list-formats-ext' lists what it can do",
            source,
            width,
            height,
            rate,
            *(size if all(size) else (width, height)),
            rate_hz or rate,
        )


def _reason_of_absence(source: str) -> str:
    """Reason why a camera device cannot be opened, with the remedy."""
    path = Path(f"/dev/video{source}" if source.isdecimal() else source)
    if not path.exists():
        others = ", ".join(str(other) for other in sorted(Path("/dev").glob("video*")))
        return (
            f"camera {source} cannot be opened: {path} does not exist; expected a camera that is "
            f"plugged in, there is {others or 'none'}"
        )
    return (
        f"camera {source} cannot be opened: expected a camera that no other process uses and that "
        f"this user may read (group video)"
    )


def _folder(path: Path, rate_hz: float) -> Iterator[Frame]:
    files = sorted(
        (f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.is_fifo()),
        key=lambda file: natural_key(file.name),
    )
    if not files:
        raise SourceError(
            f"source: folder {path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}), nor a "
            f"bag's metadata.yaml"
        )
    times_ns = None if rate_hz else _times_in_names(path, files)
    losses, depth = _Losses(str(path)), BitDepth()
    for index, file in enumerate(files):
        try:
            image = read_image(file, depth)
        except ImageError as error:
            losses.add(str(error))
            continue
        losses.good += 1
        due_s = (
            index / (rate_hz or ASSUMED_HZ)
            if times_ns is None
            else (times_ns[index] - times_ns[0]) * 1e-9
        )
        yield Frame(image, due_s)
    losses.report()


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Key of a natural order: numbers in names by their value, 2 before 10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _times_in_names(folder: Path, files: list[Path]) -> list[int] | None:
    """Nanoseconds that the names end in: whole ones since 1970 (EuRoC; us and ms too), or seconds
    and a fraction (TUM). None, which is logged, where some do not or they do not rise.
    """
    times = [_time_in_name(file.stem) for file in files]
    known = [time_ns for time_ns in times if time_ns is not None]
    rising = all(a < b for a, b in zip(known, known[1:], strict=False))
    if known and len(known) == len(times) and rising:
        return known
    log.warning(
        "%s: %g images per second are assumed, because %s; rate_hz sets another rate",
        folder,
        ASSUMED_HZ,
        f"the time stamps in the names of {len(known)} of {len(times)} images do not rise"
        if known
        else "the names tell no times",
    )
    return None


def _time_in_name(stem: str) -> int | None:
    if match := re.search(r"(?<!\d)(\d{10})\.(\d{1,9})$", stem):
        return int(match[1]) * 1_000_000_000 + int(match[2].ljust(9, "0"))
    match = re.search(r"(?<!\d)(\d+)$", stem)
    unit_ns = STAMP_DIGITS.get(len(match[1])) if match else None
    return int(match[1]) * unit_ns if match and unit_ns else None


def _bag(path: Path, rate_hz: float, topic: str) -> Iterator[Frame]:
    topic = bags.only_image_topic(path, topic)
    losses, times = _Losses(f"{path}: {topic}"), _HeaderTimes(f"{path}: {topic}")
    for image in bags.read_images(path, topic):
        if isinstance(image.image_bgr, ImageError):
            losses.add(str(image.image_bgr))
            continue
        time_ns = times(image.stamp_ns, image.arrival_ns)
        if time_ns is None:
            losses.add("its stamp is not later than the one before")
            continue
        yield Frame(image.image_bgr, losses.good / rate_hz if rate_hz else time_ns * 1e-9)
        losses.good += 1
    losses.report()


class _HeaderTimes:
    """Nanoseconds from the first image of a bag by its images' stamps, or by their arrival where
    they have none.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._order = StampOrder()
        self._arrival: bool | None = None
        self._first_ns = self._newest_ns = 0
        self._newest_arrival_ns = 0

    def __call__(self, stamp_ns: int, arrival_ns: int) -> int | None:
        """Time of an image, None when it is not later than the one before; a jump back (which is
        logged) goes on by the time between arrivals.
        """
        if self._arrival is None:
            self._arrival = stamp_ns == 0
            self._first_ns = arrival_ns if self._arrival else stamp_ns
            if self._arrival:
                log.warning(
                    "%s: images have no stamp, so the times of their arrival are taken; the "
                    "camera's driver must stamp its images",
                    self._name,
                )
        time_ns = arrival_ns if self._arrival else stamp_ns
        order = self._order(time_ns)
        if order is Order.LATE:
            return None
        if order is Order.JUMPED_BACK:
            step_ns = max(arrival_ns - self._newest_arrival_ns, 1)
            log.warning(
                "%s: stamps jump back by %.3f s; playing goes on",
                self._name,
                (self._newest_ns + self._first_ns - time_ns) * 1e-9,
            )
            self._first_ns = time_ns - self._newest_ns - step_ns
        self._newest_ns, self._newest_arrival_ns = time_ns - self._first_ns, arrival_ns
        return self._newest_ns


class _Losses:
    """Counts images that cannot be used; says the first at once, all of them at the end."""

    def __init__(self, name: str) -> None:
        self.name, self.good, self.bad, self.first = name, 0, 0, ""

    def add(self, reason: str) -> None:
        """An image that cannot be used, and why."""
        if not self.bad:
            self.first = reason
            log.warning("%s: an image is left out: %s", self.name, reason)
        self.bad += 1

    def report(self) -> None:
        """Log how many there were; raises ``SourceError`` when there was no other image."""
        if not self.good:
            raise SourceError(
                f"{self.name}: expected images, got {self.bad} that cannot be used: {self.first}"
                if self.bad
                else f"{self.name}: expected images, got no message on this topic"
            )
        if self.bad > 1:
            log.warning("%s: %d of %d images left out", self.name, self.bad, self.bad + self.good)
