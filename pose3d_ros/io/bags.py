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

"""Bags of ROS 2 (folders, ``.mcap``, ``.db3``) and ROS 1 (``.bag``), read without ROS: images,
camera_info and 2D poses of cameras.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera
from pose3d_ros.errors import Pose3dError, quoted
from pose3d_ros.io.camera_info import camera_from_info
from pose3d_ros.io.errors import BagError
from pose3d_ros.io.image_encodings import BitDepth, ImageError, compressed_to_bgr, to_bgr
from pose3d_ros.io.keypoints_cloud import people_2d
from pose3d_ros.io.rig_file import topic_of
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17

CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
IMAGE_NAMES = ("image_raw", "image")  # of camera drivers, and of our nodes
DEPTH_ENCODINGS = ("16UC1", "32FC1")  # REP-118
BAG_SUFFIXES = {".mcap", ".db3", ".bag"}

log = logging.getLogger(__name__)


def is_bag(path: Path) -> bool:
    """Whether a path is a bag: one of its files, or a folder with such files."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(_files(path))
    return path.suffix.lower() in BAG_SUFFIXES


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in BAG_SUFFIXES)


@contextmanager
def open_bag(path: Path) -> Iterator[Any]:
    """Open a bag with ``rosbags.highlevel.AnyReader``; whatever that cannot read raises
    ``BagError`` in one line, also while messages are read inside.
    """
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        raise BagError("reading a bag needs the package rosbags: pip install rosbags") from None
    # The reader takes whatever is called .bag for a file of ROS 1.
    whole = not path.is_dir() or (path / "metadata.yaml").exists() and path.suffix != ".bag"
    paths = [path] if whole else _files(path)
    try:
        with AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader
    except (Pose3dError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001 - the reader fails in the ways of all its parsers
        remedy = (
            "'rosbag reindex' mends one"
            if path.suffix == ".bag"
            else "'ros2 bag reindex' mends one"
        )
        raise BagError(
            f"{path}: expected a bag that can be read, got "
            f"{quoted(error) or type(error).__name__}; {remedy} whose recording was cut off"
        ) from None


def topics(path: Path) -> dict[str, str]:
    """Every topic in the bag and its type."""
    with open_bag(path) as reader:
        return {connection.topic: connection.msgtype for connection in reader.connections}


def is_called(topic: str, name: str) -> bool:
    """Whether a topic has a name that is absolute, or one below any namespace."""
    return topic == name or not name.startswith("/") and f"/{topic}".endswith(f"/{name}")


def image_names(camera: str, sources: Mapping[str, str]) -> list[str]:
    """Names that a camera's images may have: as the rig file says, else ``NAMESPACE/image_raw`` or
    ``/image``.
    """
    usual = [sources["image"]] if "image" in sources else IMAGE_NAMES
    return [topic_of("image", camera, {**sources, "image": name}) for name in usual]


def image_topic(offered: Mapping[str, str], camera: str, sources: Mapping[str, str]) -> str | None:
    """Topic of a camera's images among those offered (topic: type), None if there is none.

    Raw rather than compressed (``NAME/compressed``). Raises ``BagError`` when several could be it.
    """
    for name in image_names(camera, sources):
        for transport, kind in zip(("", "/compressed"), IMAGE_TYPES, strict=True):
            found = [
                topic
                for topic, its in offered.items()
                if its == kind and is_called(topic, name + transport)
            ]
            if len(found) > 1:
                raise BagError(
                    f"camera {camera}: expected one topic of images, got {', '.join(found)}: "
                    f"write 'image: {found[0]}' in the camera's entry of the rig file"
                )
            if found:
                return found[0]
    return None


def only_image_topic(path: Path, topic: str = "") -> str:
    """``topic`` if it is one of images, or the only one of images where none is given: raw rather
    than compressed (``NAME/compressed``), and no depth (REP-118) where there are colours. Raises
    ``BagError`` that lists what there is.
    """
    with open_bag(path) as reader:
        offered = {c.topic: c for c in reader.connections if c.msgtype in IMAGE_TYPES}
        if not offered:
            raise BagError(f"{path}: expected a bag with images, got one without a topic of them")
        found = [topic] if topic in offered else []
        if not topic:
            twins = {f"{name}/compressed" for name in offered}
            found = [name for name in offered if name not in twins]
        if len(found) > 1:
            found = [name for name in found if not _is_depth(reader, offered[name])]
    if len(found) == 1:
        return found[0]
    raise BagError(f"bag_topic: expected one of {', '.join(offered)} in {path}, got '{topic}'")


def _is_depth(reader: Any, connection: Any) -> bool:
    """Whether the first image of a topic is one of depth (REP-118, or ``compressedDepth``)."""
    for _, _, raw in reader.messages([connection]):
        message = reader.deserialize(raw, connection.msgtype)
        encoding = message.encoding if connection.msgtype == IMAGE_TYPES[0] else message.format
        return str(encoding).startswith(DEPTH_ENCODINGS)
    return False


class BagImage(NamedTuple):
    """An image (H, W, 3) uint8 BGR, or why it is none, its header's stamp and its arrival."""

    image_bgr: npt.NDArray[np.uint8] | ImageError
    stamp_ns: int
    arrival_ns: int


def read_images(path: Path, topic: str) -> Iterator[BagImage]:
    """Images of a topic in order of arrival; raises ``BagError`` when the bag cannot be read."""
    depth = BitDepth()
    with open_bag(path) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        if not connections:
            return
        for connection, arrival_ns, raw in reader.messages(connections):
            try:
                message = reader.deserialize(raw, connection.msgtype)
            except Exception as error:  # noqa: BLE001 - so many bytes, so many ways to fail
                yield BagImage(ImageError(f"no {connection.msgtype}: {quoted(error)}"), 0, 0)
                continue
            image: npt.NDArray[np.uint8] | ImageError
            try:
                raw_image = connection.msgtype == IMAGE_TYPES[0]
                image = (to_bgr if raw_image else compressed_to_bgr)(message, depth)
            except ImageError as error:
                image = error
            yield BagImage(image, _stamp_ns(message), arrival_ns)


def info_topic(topic: str) -> str:
    """Topic of the camera_info beside a topic of images (``image_transport``'s rule)."""
    return topic.removesuffix("/compressed").rpartition("/")[0] + "/camera_info"


def read_camera(path: Path, topic: str) -> Camera | None:
    """Camera of the first camera_info beside a topic of images, None where there is none; raises
    ``CameraError`` when that is no camera.
    """
    with open_bag(path) as reader:
        connections = [
            c
            for c in reader.connections
            if c.topic == info_topic(topic) and c.msgtype == INFO_TYPE
        ]
        if not connections:
            return None
        for connection, _, raw in reader.messages(connections):
            info: Any = reader.deserialize(raw, connection.msgtype)
            return camera_from_info(info)
    return None


def read_keypoints(path: Path, namespaces: Sequence[str]) -> Iterator[tuple[int, int, People2D]]:
    """Arrival in nanoseconds, index of the camera and 2D poses of each message, in order of
    arrival.

    A camera's topic is ``NAMESPACE/keypoints``. Raises ``BagError`` that lists the bag's clouds
    for a camera without one, or with several, or when all clouds of a camera are no keypoints;
    single ones are skipped, which is logged.
    """
    with open_bag(path) as reader:
        clouds = [c for c in reader.connections if c.msgtype == CLOUD_TYPE]
        index_of = {}
        for index, namespace in enumerate(namespaces):
            found = {c.topic for c in clouds if is_called(c.topic, f"{namespace}/keypoints")}
            if len(found) != 1:
                raise BagError(
                    f"{path}: expected one topic .../{namespace.strip('/')}/keypoints of "
                    f"{CLOUD_TYPE}, got {', '.join(sorted(found)) or 'none'} among "
                    f"{', '.join(c.topic for c in clouds) or 'none'}: record the keypoints of "
                    f"every camera of the rig"
                )
            index_of[found.pop()] = index
        skipped, read = defaultdict[str, list[str]](list), set[str]()
        for connection, arrival_ns, raw in reader.messages(
            [c for c in clouds if c.topic in index_of]
        ):
            try:
                people = people_2d(reader.deserialize(raw, connection.msgtype), H36M17)
            except Exception as error:  # noqa: BLE001 - so many bytes, so many ways to fail
                skipped[connection.topic].append(quoted(error))
                continue
            read.add(connection.topic)
            yield arrival_ns, index_of[connection.topic], people
        for topic, errors in skipped.items():
            text = f"{path}: {topic}: {len(errors)} messages skipped; the first: {errors[0]}"
            if topic not in read:
                raise BagError(text)
            log.warning(text)


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
