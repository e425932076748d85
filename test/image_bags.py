"""Bags of pictures, as a camera's driver and a recorder leave them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_HUMBLE)
DELAY_NS = 30_000_000  # from the stamp to the recorder
TYPES = STORE.types


def header(stamp_ns: int) -> Any:
    time = TYPES["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return TYPES["std_msgs/msg/Header"](time, "camera")


def raw(
    pixels: np.ndarray, stamp_ns: int, encoding: str = "bgr8", size: tuple[int, int] | None = None
) -> Any:
    """sensor_msgs/Image whose rows are those of ``pixels``; ``size``: width and height, where they
    are not its own.
    """
    width, height = size or pixels.shape[1::-1]
    data = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    return TYPES["sensor_msgs/msg/Image"](
        header(stamp_ns), height, width, encoding, 0, data.shape[1], data.ravel()
    )


def jpeg(image_bgr: np.ndarray, stamp_ns: int) -> Any:
    """sensor_msgs/CompressedImage."""
    return compressed(cv2.imencode(".jpg", image_bgr)[1].ravel(), stamp_ns)


def compressed(data: np.ndarray, stamp_ns: int) -> Any:
    return TYPES["sensor_msgs/msg/CompressedImage"](
        header(stamp_ns), "bgr8; jpeg compressed bgr8", data
    )


def write_bag(
    path: Path, topics: dict[str, Iterable[Any]], storage: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """A rosbag2 of stamped messages, one topic after the other, which arrive later than their
    stamps.
    """
    with Writer(path, version=8, storage_plugin=storage) as writer:
        for topic, messages in topics.items():
            connection = None
            for message in messages:
                kind = message.__msgtype__
                connection = connection or writer.add_connection(topic, kind, typestore=STORE)
                stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
                writer.write(connection, stamp_ns + DELAY_NS, STORE.serialize_cdr(message, kind))
    return path
