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

"""2D poses to and from ``keypoints`` clouds, without ROS: read from whatever has the attributes of
a sensor_msgs/PointCloud2, written as the fields and bytes of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import Pose3dError
from pose3d_ros.people import MAX_PEOPLE, People2D, TrackState
from pose3d_ros.skeleton import PUBLISHED, SKELETONS, Skeleton

KEYPOINTS = np.dtype(
    [(name, "<f4") for name in ("x", "y", "confidence")]
    + [(name, "<i4") for name in ("person", "joint", "image_width", "image_height")]
    + [(name, "<f4") for name in ("depth", "depth_sigma")]
    + [("state", "<i4")]
)
MAX_PX = 1e6  # no image is that large
MAX_DEPTH_M = 1e3
_MAX_FIELDS = 64
_INT32 = np.iinfo(np.int32)
# By the numbers of sensor_msgs/PointField.
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_NUMBERS = {kind: number for number, kind in _DTYPES.items()}


class CloudError(Pose3dError, ValueError):
    """A cloud that does not hold what it should."""


@dataclass(frozen=True)
class Field:
    """The attributes of a sensor_msgs/PointField."""

    name: str
    offset: int
    datatype: int
    count: int = 1


@dataclass(frozen=True)
class CloudLayout:
    """The attributes of a sensor_msgs/PointCloud2, its header excepted: ``height`` people of
    ``width`` joints.
    """

    height: int
    width: int
    fields: tuple[Field, ...]
    point_step: int
    row_step: int
    data: bytes
    is_bigendian: bool = False
    is_dense: bool = False


def organised(points: npt.NDArray[Any]) -> CloudLayout:
    """Layout and bytes of a structured array (people, joints), little-endian."""
    dtype = points.dtype
    assert dtype.fields is not None
    return CloudLayout(
        height=points.shape[0],
        width=points.shape[1],
        fields=tuple(
            Field(name, offset, _NUMBERS[kind.str[1:]])
            for name, (kind, offset, *_) in dtype.fields.items()
        ),
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * points.shape[1],
        data=points.tobytes(),
    )


def keypoints_layout(people: People2D) -> CloudLayout:
    """``keypoints`` of ``people_2d``'s inverse: pixels of an image of the size that each point
    tells (``KEYPOINTS``).

    ``depth`` along the optical axis in metres, with one standard deviation, is NaN where unknown.
    """
    points = np.empty(people.confidence.shape, KEYPOINTS)
    points["x"], points["y"] = people.keypoints_px[..., 0], people.keypoints_px[..., 1]
    points["confidence"] = people.confidence
    points["person"], points["joint"] = people.ids[:, None], np.arange(len(people.skeleton))
    points["image_width"], points["image_height"] = people.image_size
    points["depth"] = np.nan if people.depth_m is None else people.depth_m
    points["depth_sigma"] = np.nan if people.depth_sigma_m is None else people.depth_sigma_m
    points["state"] = people.states[:, None]
    return organised(points)


def skeleton_of(cloud: Any, expected: Skeleton) -> Skeleton:
    """The joints of a cloud, by its width: those that are expected, or, where these are more or
    fewer, one of those that are ``PUBLISHED``, if any is as wide.
    """
    by_width = {len(skeleton): skeleton for skeleton in (*PUBLISHED.values(), expected)}
    return by_width.get(int(cloud.width), expected)


def people_2d(cloud: Any, skeleton: Skeleton) -> People2D:
    """People of a ``keypoints`` cloud, whoever made it: ``x``, ``y`` and ``confidence`` are
    needed, in any layout. A cloud of another skeleton that is ``PUBLISHED`` is converted.

    What is not a number, or has no confidence, is unknown: NaN with confidence 0. ``image_size``
    is (0, 0) and ``states`` are CONFIRMED where the cloud does not tell. Of more than
    ``MAX_PEOPLE`` the most confident are kept, in the cloud's order. Raises ``CloudError``; no
    number of the message reaches numpy unchecked.
    """
    wanted, skeleton = skeleton, skeleton_of(cloud, skeleton)
    points = fields_of(cloud, skeleton)
    joints = points.get("joint")
    if joints is not None and joints.any() and (joints != np.arange(len(skeleton))).any():
        raise CloudError(
            f"expected the joints of {skeleton.name} in their order, 0 to {len(skeleton) - 1} in "
            f"the field joint, got {joints[0].tolist()} in the first row: is it another skeleton?"
        )
    size = _image_size(points)
    pixels = np.stack([points["x"], points["y"]], -1)
    with np.errstate(invalid="ignore", over="ignore"):
        confidence = np.nan_to_num(
            points["confidence"].astype(np.float32), nan=0, posinf=0, neginf=0
        ).clip(0, 1)
        unknown = ~((np.abs(pixels) < MAX_PX).all(-1) & (confidence > 0))
        pixels = np.where(unknown[..., None], np.nan, pixels).astype(np.float32)
    confidence[unknown] = 0
    kept = np.arange(len(confidence))
    if len(kept) > MAX_PEOPLE:
        kept = np.sort(np.argsort(-confidence.mean(1), kind="stable")[:MAX_PEOPLE])
    depth = sigma = None
    if {"depth", "depth_sigma"} <= points.keys():
        with np.errstate(invalid="ignore"):
            told = (points["depth"] > 0) & (points["depth"] < MAX_DEPTH_M)
            told &= (points["depth_sigma"] > 0) & (points["depth_sigma"] < MAX_DEPTH_M)
        if told[kept].any():
            depth, sigma = (
                np.where(told, points[name], np.nan)[kept] for name in ("depth", "depth_sigma")
            )
    return People2D(
        skeleton,
        pixels[kept],
        confidence[kept],
        int(cloud.header.stamp.sec) * 1_000_000_000 + int(cloud.header.stamp.nanosec),
        size,
        of_people(points, "person", _INT32.min, _INT32.max)[kept]
        if "person" in points
        else np.zeros(0, np.int32),
        depth_m=depth,
        depth_sigma_m=sigma,
        states=of_people(points, "state", min(TrackState), max(TrackState))[kept]
        if "state" in points
        else np.zeros(0, np.int8),
    ).to(wanted)


def fields_of(
    cloud: Any,
    skeleton: Skeleton,
    needed: Sequence[str] = ("x", "y", "confidence"),
    known: Sequence[str] = KEYPOINTS.names or (),
) -> dict[str, npt.NDArray[Any]]:
    """Those of the ``known`` fields that a cloud has, by name, each (people, joints) in its own
    type.

    Raises ``CloudError`` where one that is ``needed`` is missing, and for sizes, offsets and steps
    that the data does not bear out.
    """
    rows, columns = int(cloud.height), int(cloud.width)
    if rows and columns != len(skeleton):
        others = [name for name, other in SKELETONS.items() if len(other) == columns]
        raise CloudError(
            f"expected a cloud of width {len(skeleton)}, one column for each joint of "
            f"{skeleton.name}, got {columns}x{rows}"
            f"{f', as of {others[0]}; convert it to {skeleton.name} first' if others else ''}"
        )
    fields = {field.name: field for field in cloud.fields[: _MAX_FIELDS + 1]}
    if len(cloud.fields) > _MAX_FIELDS:
        raise CloudError(f"expected at most {_MAX_FIELDS} fields, got {len(cloud.fields)}")
    if missing := [name for name in needed if name not in fields]:
        raise CloudError(
            f"expected the fields {', '.join(needed[:-1])} and {needed[-1]}, got "
            f"{', '.join(sorted(fields)) or 'none'}: {', '.join(missing)} missing"
        )
    step, row_step, size = int(cloud.point_step), int(cloud.row_step), len(cloud.data)
    least = (rows - 1) * row_step + columns * step
    if rows and (step < 1 or row_step < columns * step or size < least):
        raise CloudError(
            f"expected {rows} rows of {row_step} bytes with {columns} points of {step} bytes, as "
            f"the message says of itself, got {size} bytes; its publisher's row_step, point_step "
            f"or data is wrong"
        )
    points = {}
    for name in known:
        if name not in fields:
            continue
        offset, number = int(fields[name].offset), int(fields[name].datatype)
        item = np.dtype(_DTYPES[number]).itemsize if number in _DTYPES else 0
        if not item or int(fields[name].count) != 1 or not 0 <= offset <= step - item:
            raise CloudError(
                f"expected one number (datatype 1 to 8) within {step} bytes as the field {name}, "
                f"got count {fields[name].count}, datatype {number}, offset {offset}"
            )
        dtype = np.dtype(_DTYPES[number]).newbyteorder(">" if cloud.is_bigendian else "<")
        points[name] = (
            np.ndarray((rows, columns), dtype, cloud.data, offset, (row_step, step)).astype(
                dtype.newbyteorder("=")
            )
            if rows
            else np.zeros((0, len(skeleton)), dtype.newbyteorder("="))
        )
    return points


def _image_size(points: dict[str, npt.NDArray[Any]]) -> tuple[int, int]:
    """Width and height that the first point tells, (0, 0) where none does."""
    if not {"image_width", "image_height"} <= points.keys() or not len(points["x"]):
        return 0, 0
    width, height = (float(points[name][0, 0]) for name in ("image_width", "image_height"))
    if (width, height) == (0, 0):
        return 0, 0
    if not (1 <= width < MAX_PX and 1 <= height < MAX_PX):  # NaN neither
        raise CloudError(
            f"expected image_width and image_height in pixels, got {width:g}x{height:g}"
        )
    return int(width), int(height)


def of_people(
    points: dict[str, npt.NDArray[Any]], name: str, low: int, high: int
) -> npt.NDArray[np.int32]:
    """Whole numbers (people,) from ``low`` to ``high``: those of the first joint of each row."""
    values = points[name][:, 0]
    with np.errstate(invalid="ignore"):
        if not ((values >= low) & (values <= high)).all():
            raise CloudError(
                f"expected the field {name} to be an int32 from {low} to {high}, got "
                f"{values[:5].tolist()} in the first rows"
            )
    return values.astype(np.int32)
