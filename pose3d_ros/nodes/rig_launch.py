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

"""Which nodes a rig of cameras needs: the same in one process (``pose3d up``) and in many (the
launch file).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pose3d_ros.arguments import BESIDE, parameters
from pose3d_ros.io.image_sources import check_exists, is_device
from pose3d_ros.io.rig_file import namespace_of, read_rig
from pose3d_ros.text_files import local_path

TOPICS = ("image", "camera_info")
OF_FUSION = ("fixed_frame", "publish_tf")


class NodeToStart(NamedTuple):
    """A node to start: its key in ``arguments.NODES``, where, and what it is told."""

    node: str
    namespace: str
    parameters: dict[str, Any]
    remappings: dict[str, str]


def beside(rig: str | Path, source: str) -> str:
    """The source as a path; a relative one counts from the rig file's folder."""
    return source if is_device(source) else str(local_path(rig).parent / Path(source).expanduser())


def nodes_of_rig(given: Mapping[str, str]) -> list[NodeToStart]:
    """Fusion, a node for each camera, and what plays the cameras' videos, from ``name:=value``
    arguments. What is told of people in space is the fusion's.

    Raises ``ValueError`` in one line.
    """
    if not given.get("rig"):
        raise ValueError(
            "rig: expected a rig file, which 'pose3d calibrate extrinsics' writes; got none"
        )
    rig, base = read_rig(given["rig"]), given["namespace"].strip("/")

    def below(namespace: str) -> str:
        return (
            namespace.strip("/")
            if namespace.startswith("/") or not base
            else f"{base}/{namespace}"
        )

    planned = [NodeToStart("multiview", base, parameters("multiview", given), {})]
    planned += [
        NodeToStart(node, base, parameters(node, given), {})
        for node in BESIDE
        if given.get(node) == "true"
    ]
    video = {
        "wait_for_subscribers": 1,
        **parameters("video", given),
    }  # a short video would be over too early
    files, of_cameras = False, parameters("monocular", given)
    for name in rig.cameras:
        sources = rig.sources.get(name, {})
        namespace = below(namespace_of(name, sources))
        renamed = {topic: sources[topic] for topic in TOPICS if topic in sources}
        camera = {key: value for key, value in of_cameras.items() if key not in OF_FUSION}
        planned.append(
            NodeToStart("monocular", namespace, {**camera, "rig_camera": name}, renamed)
        )
        played = sources.get("video", "")
        if is_device(played):
            device = {key: value for key, value in video.items() if key != "rig"}
            planned.append(
                NodeToStart(
                    "video",
                    namespace,
                    {**device, "source": played, "frame_id": rig.cameras[name].frame_id},
                    renamed,
                )
            )
        elif played:
            check_exists(beside(given["rig"], played))
            files = True
    return [*planned, NodeToStart("video", base, video, {})] if files else planned
