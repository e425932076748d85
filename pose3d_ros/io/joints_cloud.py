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

"""People in space to and from ``joints`` clouds, without ROS, whoever publishes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pose3d_ros.io.keypoints_cloud import (
    CloudLayout,
    fields_of,
    of_people,
    organised,
    skeleton_of,
)
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.skeleton import H36M17, Skeleton

JOINTS = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "confidence", "sigma", "vx", "vy", "vz")]
    + [("person", "<i4"), ("joint", "<i4"), ("state", "<i4")]
)
COVARIANCE = ("cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz")
"""Fields of a symmetric matrix, line by line from the diagonal on (``np.triu_indices``)."""
JOINTS_WITH_COVARIANCE = np.dtype(JOINTS.descr + [(name, "<f4") for name in COVARIANCE])
_NEEDED = ("x", "y", "z", "sigma", "person")
_INT32 = np.iinfo(np.int32)
_KNOWN = (*_NEEDED, "confidence", "vx", "vy", "vz", "state", *COVARIANCE)


def joints_layout(people: People3D, covariance: bool = False) -> CloudLayout:
    """``joints`` of ``people_3d``'s inverse: height people, width joints of the skeleton, NaN
    where unknown (fields of ``JOINTS``, or ``JOINTS_WITH_COVARIANCE``).
    """
    points = np.empty(people.confidence.shape, JOINTS_WITH_COVARIANCE if covariance else JOINTS)
    for axis, (position, velocity) in enumerate((("x", "vx"), ("y", "vy"), ("z", "vz"))):
        points[position] = people.joints_m[..., axis]
        points[velocity] = people.velocity_mps[..., axis]
    points["confidence"], points["sigma"] = people.confidence, people.sigma_m
    points["person"], points["joint"] = people.ids[:, None], np.arange(len(people.skeleton))
    points["state"] = people.states[:, None]
    if covariance:
        known = people.covariance_m2
        for row, column, name in zip(*np.triu_indices(3), COVARIANCE, strict=True):
            points[name] = np.nan if known is None else known[..., row, column]
    return organised(points)


def people_3d(cloud: Any, skeleton: Skeleton | None = None) -> People3D:
    """People of a ``joints`` cloud: ``x y z``, ``sigma`` and ``person`` are needed, in any layout.
    With the cloud's own joints, or converted to those of a ``skeleton``.

    What is not there, or not finite, is NaN; ``states`` are CONFIRMED and ``covariance_m2`` is
    None where the cloud does not tell. Raises ``CloudError``; no number of the message
    reaches numpy unchecked.
    """
    wanted, skeleton = skeleton, skeleton_of(cloud, skeleton or H36M17)
    points = fields_of(cloud, skeleton, _NEEDED, _KNOWN)
    shape = points["x"].shape
    unknown = np.full(shape, np.nan, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        values = {
            name: np.where(np.isfinite(value := points.get(name, unknown)), value, np.nan).astype(
                np.float32
            )
            for name in _KNOWN
            if name not in ("person", "state")
        }
    covariance = None
    if points.keys() >= set(COVARIANCE):
        covariance = np.empty((*shape, 3, 3), np.float32)
        for row, column, name in zip(*np.triu_indices(3), COVARIANCE, strict=True):
            covariance[..., row, column] = covariance[..., column, row] = values[name]
    people = People3D(
        skeleton,
        np.stack([values[axis] for axis in "xyz"], -1),
        values["confidence"],
        values["sigma"],
        np.stack([values[f"v{axis}"] for axis in "xyz"], -1),
        of_people(points, "person", _INT32.min, _INT32.max)
        if len(points["x"])
        else np.zeros(0, np.int32),
        of_people(points, "state", min(TrackState), max(TrackState))
        if "state" in points
        else np.full(len(points["x"]), TrackState.CONFIRMED),
        int(cloud.header.stamp.sec) * 1_000_000_000 + int(cloud.header.stamp.nanosec),
        str(cloud.header.frame_id),
        covariance_m2=covariance,
    )
    return people if wanted is None else people.to(wanted)
