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
