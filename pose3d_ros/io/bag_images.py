"""The pictures of a rig's cameras in a rosbag2, without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pose3d_ros.evaluation.multiview_bag import is_called, opened
from pose3d_ros.io.image_encodings import ImageError, compressed_to_bgr, to_bgr
from pose3d_ros.io.rig_file import topic_of

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
USUAL = ("image_raw", "image")  # of camera drivers, and of our nodes


def topics(path: Path) -> dict[str, str]:
    """Every topic in the bag and its type."""
    with opened(path) as reader:
        return {connection.topic: connection.msgtype for connection in reader.connections}


def names(camera: str, sources: Mapping[str, str]) -> list[str]:
    """What a camera's pictures may be called: as the rig file says, or ``NAMESPACE/image_raw`` or
    ``/image``.
    """
    usual = [sources["image"]] if "image" in sources else USUAL
    return [topic_of("image", camera, {**sources, "image": name}) for name in usual]


def image_topic(offered: Mapping[str, str], camera: str, sources: Mapping[str, str]) -> str | None:
    """The topic of a camera's pictures among those offered (topic: type), None if there is none.

    As they are rather than compressed (``NAME/compressed``). Raises ``ValueError`` when several
    could be it.
    """
    for name in names(camera, sources):
        for transport, kind in zip(("", "/compressed"), IMAGE_TYPES, strict=True):
            found = [
                topic
                for topic, its in offered.items()
                if its == kind and is_called(topic, name + transport)
            ]
            if len(found) > 1:
                raise ValueError(
                    f"camera {camera}: expected one topic of pictures, got {', '.join(found)}: "
                    f"write "
                    f"'image: {found[0]}' in the camera's entry of the rig file"
                )
            if found:
                return found[0]
    return None


def read(path: Path, topic: str) -> Iterator[tuple[np.ndarray | ImageError, int]]:
    """Each picture (H, W, 3) uint8 BGR, or why it is none, and its stamp in nanoseconds, in order
    of arrival.
    """
    with opened(path) as reader:
        for connection, _, raw in reader.messages(
            [c for c in reader.connections if c.topic == topic]
        ):
            message = reader.deserialize(raw, connection.msgtype)
            picture: np.ndarray | ImageError
            try:
                picture = (
                    to_bgr(message)
                    if connection.msgtype == IMAGE_TYPES[0]
                    else compressed_to_bgr(message)
                )
            except ImageError as error:
                picture = error
            yield (
                picture,
                int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec),
            )
