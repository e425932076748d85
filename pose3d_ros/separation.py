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

"""Distance between people and parts of a robot. What is not known counts as possibly near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import transform_points
from pose3d_ros.skeleton import H36M17
from pose3d_ros.text_files import TextFileError, read_mapping, shortened

Float = npt.NDArray[np.float64]
MOST_SHAPES = 1000

_BONES = H36M17.limb_indices
# Longest bone of a tall person (m), by its outer joint: how far from a known joint an unknown one
# may be.
_LONGEST_M = {
    "hip": 0.2, "knee": 0.55, "ankle": 0.52, "spine": 0.35, "thorax": 0.35, "neck": 0.25,
    "head": 0.3, "shoulder": 0.3, "elbow": 0.42, "wrist": 0.35,
}  # fmt: skip
# Flesh around a joint, and hands, feet and the skull beyond it (m).
_FLESH_M = {"head": 0.18, "wrist": 0.22, "ankle": 0.25}
_TRUNK_M, _LIMB_M = 0.18, 0.10
_TRUNK = ("pelvis", "spine", "thorax", "neck", "hip", "shoulder")


def _by_joint(of: Mapping[str, float], others: float) -> Float:
    return np.array([of.get(joint.split("_")[-1], others) for joint in H36M17.joints])


FLESH_M = _by_joint({**dict.fromkeys(_TRUNK, _TRUNK_M), **_FLESH_M}, _LIMB_M)
"""(17,) radius around each joint within which all of the body about it is."""


def _reaches() -> Float:
    """(17, 17) longest way in metres along the bones from each joint to each other one."""
    longest, reach = _by_joint(_LONGEST_M, 0.0), np.full((len(H36M17),) * 2, np.inf)
    np.fill_diagonal(reach, 0)
    for inner, outer in _BONES:
        reach[inner, outer] = reach[outer, inner] = longest[outer]
    for via in range(len(H36M17)):  # Floyd and Warshall
        reach = np.minimum(reach, reach[:, via, None] + reach[via])
    return reach


REACH_M = _reaches()


class ShapesError(Pose3dError, ValueError):
    """A file of shapes that cannot be used."""


@dataclass(frozen=True)
class Shape:
    """A capsule around a part of the robot: all points within ``radius_m`` of the line between two
    ``ends_m`` (2, 3) of ``frame_id``; a sphere where the two are one.
    """

    name: str
    frame_id: str
    ends_m: Float
    radius_m: float


def read_shapes(path: str | Path) -> list[Shape]:
    """Shapes of a YAML file: a list ``shapes`` of ``{name, frame_id, radius_m, center_m}``, or
    with ``from_m`` and ``to_m`` instead of ``center_m``. Raises ``ShapesError`` in one line.
    """
    try:
        listed = read_mapping(path).get("shapes")
        if not isinstance(listed, list) or not 0 < len(listed) <= MOST_SHAPES:
            raise ShapesError(f"expected a list 'shapes' of 1 to {MOST_SHAPES}")
        return [_shape(number, entry) for number, entry in enumerate(listed)]
    except (TextFileError, ShapesError) as error:
        raise ShapesError(f"shapes {path}: {error}") from None


def _shape(number: int, entry: Any) -> Shape:
    try:
        ends = [entry["center_m"]] * 2 if "center_m" in entry else [entry["from_m"], entry["to_m"]]
        ends_m, radius_m = np.array(ends, float), float(entry["radius_m"])
        frame_id = str(entry["frame_id"])
        fits = ends_m.shape == (2, 3) and np.isfinite(ends_m).all() and 0 <= radius_m < np.inf
    except (KeyError, TypeError, ValueError, OverflowError):
        fits = False
    if not fits or not frame_id:
        raise ShapesError(
            f"entry {number}: expected frame_id, radius_m and center_m [x, y, z], or from_m and "
            f"to_m; got {shortened(entry, 200)}"
        )
    return Shape(str(entry.get("name", number)), frame_id, ends_m, radius_m)


def ends_in(shapes: Sequence[Shape], into: Mapping[str, Float]) -> Float:
    """Ends (S, 2, 3) of the shapes in another frame, by its transform (4, 4) from each shape's
    frame; NaN where there is none.
    """
    unknown = np.full((4, 4), np.nan)
    return np.array([transform_points(into.get(s.frame_id, unknown), s.ends_m) for s in shapes])


@dataclass(frozen=True)
class Separation:
    """The nearest that one person may be to the robot.

    ``distance_m`` between the surfaces, 0 where they may touch or nothing is known; ``sigma_m``,
    one standard deviation of it; ``closing_mps``, positive while they approach, NaN where speeds
    are not known; ``joint`` of the person (index) and ``shape`` of the robot (index) that are
    nearest, -1 where nothing is known; ``measured``: False where an unknown joint may be the
    nearest.
    """

    distance_m: float
    sigma_m: float
    closing_mps: float
    joint: int
    shape: int
    measured: bool


UNKNOWN = Separation(0.0, 0.0, np.nan, -1, -1, False)


def separation(
    joints_m: Float,
    sigma_m: Float,
    velocity_mps: Float,
    ends_m: Float,
    radii_m: Float,
    end_velocities_mps: Float | None = None,
) -> Separation:
    """Of a person (17, 3) from shapes with ``ends_m`` (S, 2, 3) and ``radii_m`` (S,), all in one
    frame.

    ``sigma_m`` (17,) and ``velocity_mps`` (17, 3) of the person's joints, which may be NaN;
    ``end_velocities_mps`` (S, 2, 3) of the shapes, at rest without. Bones are measured from end to
    end, with the flesh about them. An unknown joint is taken to be as near as the body allows,
    from the known joint that is nearest along the skeleton; a person of whom nothing is known, or
    a shape whose place is not, is at distance 0.
    """
    known = np.asarray(np.isfinite(joints_m).all(1))
    if not known.any() or not np.isfinite(ends_m).all():
        return UNKNOWN
    # Bones between known joints, known joints alone, and unknown ones as balls about known ones.
    bones = _BONES[known[_BONES].all(1)]
    lonely, missing = np.flatnonzero(known), np.flatnonzero(~known)
    reach = np.where(known, REACH_M[missing], np.inf)
    around = reach.argmin(1)
    first = np.concatenate([bones[:, 0], lonely, around])
    second = np.concatenate([bones[:, 1], lonely, around])
    ball = FLESH_M[missing] + reach.min(1, initial=np.inf) - FLESH_M[around]
    extra = np.concatenate([np.zeros(len(bones) + len(lonely)), ball])

    share, along, gap = _nearest(joints_m[first], joints_m[second], ends_m[:, 0], ends_m[:, 1])
    flesh = (1 - share) * FLESH_M[first][:, None] + share * FLESH_M[second][:, None]
    distance = np.linalg.norm(gap, axis=-1) - flesh - extra[:, None] - radii_m
    part, shape = np.unravel_index(distance.argmin(), distance.shape)
    a, b, s, t = first[part], second[part], share[part, shape], along[part, shape]
    velocity = (1 - s) * velocity_mps[a] + s * velocity_mps[b]
    if end_velocities_mps is not None:
        velocity = velocity - (1 - t) * end_velocities_mps[shape, 0]
        velocity = velocity - t * end_velocities_mps[shape, 1]
    direction = gap[part, shape] / max(float(np.linalg.norm(gap[part, shape])), 1e-9)
    measured = bool(part < len(bones) + len(lonely))
    unknown = missing[part - len(bones) - len(lonely)] if not measured else 0
    sigma = float(max(sigma_m[a], sigma_m[b]))
    return Separation(
        max(float(distance[part, shape]), 0.0),
        sigma if np.isfinite(sigma) else np.inf,
        float(-direction @ velocity),
        int((b if s > 0.5 else a) if measured else unknown),
        int(shape),
        measured,
    )


def _nearest(p1: Float, q1: Float, p2: Float, q2: Float) -> tuple[Float, Float, Float]:
    """Nearest points of N lines from p1 to q1 (N, 3) and S lines from p2 to q2 (S, 3): how far
    along each they are (N, S), 0 to 1, and from the second to the first (N, S, 3).

    C. Ericson, Real-Time Collision Detection (2005), 5.1.9.
    """
    d1, d2 = (q1 - p1)[:, None], (q2 - p2)[None]
    r = p1[:, None] - p2[None]
    a, e, b = (d1 * d1).sum(-1), (d2 * d2).sum(-1), (d1 * d2).sum(-1)
    c, f = (d1 * r).sum(-1), (d2 * r).sum(-1)
    determinant = a * e - b * b
    apart = determinant > 1e-9
    s = np.where(apart, np.clip((b * f - c * e) / np.where(apart, determinant, 1), 0, 1), 0)
    t = np.clip((b * s + f) / np.maximum(e, 1e-12), 0, 1)
    s = np.clip((b * t - c) / np.maximum(a, 1e-12), 0, 1)
    return s, t, r + s[..., None] * d1 - t[..., None] * d2
