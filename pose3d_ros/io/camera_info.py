"""Cameras out of CameraInfo messages, without ROS: whatever has the attributes of a
sensor_msgs/CameraInfo.
"""

from __future__ import annotations

from typing import Any

from pose3d_ros.camera import Camera


def camera_from_info(info: Any) -> Camera:
    """Camera of the image that a CameraInfo describes: of its region of interest and with its
    binning, where it has them. Raises ``CameraError`` for what no real camera is.
    """
    ros2 = hasattr(info, "k")  # ROS 1 calls them K and D
    k, d = (info.k, info.d) if ros2 else (info.K, info.D)
    roi = info.roi
    return Camera.from_camera_info(
        info.width,
        info.height,
        list(map(float, k)),
        list(map(float, d)),
        info.distortion_model,
        info.header.frame_id,
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
        (info.binning_x, info.binning_y),
    )
