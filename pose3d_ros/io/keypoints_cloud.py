"""2D poses out of ``keypoints`` clouds, without ROS: whatever has the attributes of a
sensor_msgs/PointCloud2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pose3d_ros.people import People2D
from pose3d_ros.skeleton import Skeleton

# By the numbers of sensor_msgs/PointField.
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
MOST_PX = 1e6  # no picture is that large


class CloudError(ValueError):
    """A cloud that does not hold what it should."""


def people_2d(cloud: Any, skeleton: Skeleton) -> People2D:
    """People of a ``keypoints`` cloud, whoever made it: ``x``, ``y`` and ``confidence`` are
    needed, in any layout.

    What is not a number, or has no confidence, is unknown: NaN with confidence 0. ``image_size``
    is (0, 0) where the cloud does not tell. Raises ``CloudError``.
    """
    if cloud.width != len(skeleton) and cloud.height:
        raise CloudError(
            f"expected a cloud of width {len(skeleton)}, one column for each joint of "
            f"{skeleton.name}, "
            f"got {cloud.width}x{cloud.height}"
        )
    names = {field.name for field in cloud.fields}
    if missing := [name for name in ("x", "y", "confidence") if name not in names]:
        raise CloudError(
            f"expected the fields x, y and confidence, got {', '.join(sorted(names)) or 'none'}: "
            f"{', '.join(missing)} missing"
        )
    order = ">" if cloud.is_bigendian else "<"
    try:
        dtype = np.dtype(
            {
                "names": [field.name for field in cloud.fields],
                "formats": [order + _DTYPES[field.datatype] for field in cloud.fields],
                "offsets": [field.offset for field in cloud.fields],
                "itemsize": cloud.point_step,
            }
        )
        points: np.ndarray = np.ndarray(
            (cloud.height, len(skeleton)), dtype, cloud.data, 0, (cloud.row_step, cloud.point_step)
        )
    except (KeyError, ValueError, TypeError) as error:
        raise CloudError(
            f"expected {cloud.height} rows of {cloud.row_step} bytes as the fields tell, got "
            f"{len(cloud.data)} bytes ({' '.join(str(error).split())})"
        ) from None
    pixels = np.stack([points["x"], points["y"]], -1).astype(np.float32)
    confidence = np.nan_to_num(
        points["confidence"].astype(np.float32), nan=0, posinf=0, neginf=0
    ).clip(0, 1)
    with np.errstate(invalid="ignore"):
        unknown = ~((np.abs(pixels) < MOST_PX).all(-1) & (confidence > 0))
    pixels[unknown], confidence[unknown] = np.nan, 0
    size = (0, 0)
    if cloud.height and {"image_width", "image_height"} <= names:
        size = int(points["image_width"][0, 0]), int(points["image_height"][0, 0])
    ids = points["person"][:, 0].astype(np.int32) if "person" in names else np.zeros(0, np.int32)
    depth = sigma = None
    if {"depth", "depth_sigma"} <= names and np.isfinite(points["depth"]).any():
        told = (points["depth"] > 0) & (points["depth_sigma"] > 0)
        depth, sigma = (np.where(told, points[name], np.nan) for name in ("depth", "depth_sigma"))
    stamp_ns = int(cloud.header.stamp.sec) * 1_000_000_000 + int(cloud.header.stamp.nanosec)
    return People2D(
        skeleton, pixels, confidence, stamp_ns, size, ids, depth_m=depth, depth_sigma_m=sigma
    )
