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

"""The ``joints`` topic as a bag: one MCAP file for ``ros2 bag play`` and Foxglove."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from pose3d_ros.io.bags import CLOUD_TYPE
from pose3d_ros.io.joints_cloud import joints_layout
from pose3d_ros.people import People3D

TOPIC = "/pose3d/joints"


class JointsBagWriter:
    """Writes the messages that the nodes publish, as bytes, at the frames' own times, in the
    people's own frame.
    """

    def __init__(self, path: Path) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        self._path = path
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        # rosbags writes a folder; the file in it is a bag by itself
        self._folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
        self._writer = Writer(self._folder / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._topic = self._writer.add_connection(TOPIC, CLOUD_TYPE, typestore=self._store)

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""
        types, layout = self._store.types, joints_layout(people)
        stamp = types["builtin_interfaces/msg/Time"](*divmod(people.stamp_ns, 1_000_000_000))
        make_field = types["sensor_msgs/msg/PointField"]
        cloud = types[CLOUD_TYPE](
            header=types["std_msgs/msg/Header"](stamp, people.frame_id),
            height=layout.height,
            width=layout.width,
            fields=[make_field(f.name, f.offset, f.datatype, f.count) for f in layout.fields],
            is_bigendian=layout.is_bigendian,
            point_step=layout.point_step,
            row_step=layout.row_step,
            data=np.frombuffer(layout.data, np.uint8),
            is_dense=layout.is_dense,
        )
        self._writer.write(
            self._topic, people.stamp_ns, self._store.serialize_cdr(cloud, CLOUD_TYPE)
        )

    def close(self, optical: bool) -> list[str]:
        """Finish the file."""
        self._writer.close()
        (self._folder / "bag" / "bag.mcap").replace(self._path)
        shutil.rmtree(self._folder)
        return [f"{self._path}: topic {TOPIC}"]
