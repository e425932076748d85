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

"""RViz beside the nodes, for the launch files."""

from __future__ import annotations

from pathlib import Path

from pose3d_ros.errors import Pose3dError
from pose3d_ros.resources import share


class MissingRvizError(Pose3dError, RuntimeError):
    """RViz was asked for and is not installed."""


def rviz_arguments(config: str, fixed_frame: str = "") -> list[str]:
    """Arguments of rviz2 for a view of ``config/``, in ``fixed_frame`` if it is given.

    Raises ``MissingRvizError`` where rviz2 is not installed: before anything is started, for a
    launch that fails half-way leaves processes behind.
    """
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        installed = (Path(get_package_prefix("rviz2")) / "lib" / "rviz2" / "rviz2").exists()
    except PackageNotFoundError:
        installed = False
    if not installed:
        raise MissingRvizError(
            "rviz:=true needs rviz2, which is not installed: "
            "sudo apt install ros-$ROS_DISTRO-rviz2, or leave rviz:=true out"
        )
    frame = ["-f", fixed_frame] if fixed_frame else []
    return ["-d", str(share("config", config)), *frame]
