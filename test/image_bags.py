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

"""Bags of pictures, as a camera's driver and a recorder leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
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
    path: Path,
    topics: Mapping[str, Iterable[Any]],
    storage: StoragePlugin = StoragePlugin.MCAP,
    jitter_ns: int = 0,
    step_ns: int = 0,
    arrivals_ns: Sequence[int] | None = None,
) -> Path:
    """A rosbag2 of stamped messages, one topic after the other, which arrive later than their
    stamps: each second one by ``jitter_ns`` more, each by ``step_ns`` more than the one before, or
    all when told.
    """
    with Writer(path, version=8, storage_plugin=storage) as writer:
        for topic, messages in ((topic, list(of)) for topic, of in topics.items()):
            kind = messages[0].__msgtype__ if messages else "sensor_msgs/msg/Image"
            connection = writer.add_connection(topic, kind, typestore=STORE)
            for index, message in enumerate(messages):
                arrival_ns = stamp_of(message) + DELAY_NS + jitter_ns * (index % 2)
                arrival_ns = arrivals_ns[index] if arrivals_ns else arrival_ns + index * step_ns
                writer.write(connection, arrival_ns, STORE.serialize_cdr(message, kind))
    return path


def stamp_of(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def write_ros1_bag(path: Path, topics: Mapping[str, Iterable[Any]]) -> Path:
    """The same messages in a bag of ROS 1, whose headers count and whose CameraInfo says K and
    D.
    """
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(path) as writer:
        for topic, messages in ((topic, list(of)) for topic, of in topics.items()):
            kind = messages[0].__msgtype__
            connection = writer.add_connection(topic, kind, typestore=store)
            for sequence, message in enumerate(messages):
                old = _ros1(message, store.types, sequence)
                arrival_ns = stamp_of(message) + DELAY_NS
                writer.write(connection, arrival_ns, store.serialize_ros1(old, kind))
    return path


def _ros1(message: Any, types: Any, sequence: int) -> Any:
    """A message in ROS 1's form: fields in their order, headers with a sequence number."""
    values = []
    for field in fields(types[message.__msgtype__]):
        if field.name == "__msgtype__":
            continue
        if field.name == "seq":
            values.append(sequence)
            continue
        named = field.name if hasattr(message, field.name) else field.name.lower()
        value = getattr(message, named)
        part = getattr(value, "__msgtype__", "")
        values.append(
            _ros1(value, types, sequence) if part.endswith(("Header", "Interest")) else value
        )
    return types[message.__msgtype__](*values)
