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

"""Kinematic model of a person (REP-155): size, joint angles, and URDF.

Links and joints are REP-155's, with the axes of its reference model (ros4hri/human_description).
That one has stiff hips, shoulders and neck; five joints more let it take every pose: ``pelvis``
tilts the hips, ``y_torso`` and ``r_torso`` turn and tilt the shoulders, ``r_neck`` and ``p_neck``
bend the neck. ``waist`` stays 0, because ``body`` has z along the trunk, and so does ``y_head``:
17 joints do not tell where a face looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import numpy.typing as npt

from pose3d_ros.geometry import rotation_from_vector
from pose3d_ros.place.orientation import body_rotation
from pose3d_ros.skeleton import H36M17

Float = npt.NDArray[np.float64]
SIDES = {"l": 1, "r": -1}  # of y, which points to the left
SHOULDER_MIDDLE = 0.4  # rad, of the range that REP-155's model gives y_shoulder
STRAIGHT = 1e-3  # sine of the angle between two bones that do not tell how they are turned
X, Y, Z = np.eye(3)
LIMB_RADIUS_M, HEAD_RADIUS_M = 0.03, 0.1
PLACED = ("pelvis", "r_hip", "l_hip", "thorax")  # joints that tell where ``body`` is


@dataclass(frozen=True)
class BodySize:
    """Lengths in metres; of what has two sides their mean. By default of an adult of 1.70 m."""

    torso: float = 0.49
    half_hips: float = 0.13
    half_shoulders: float = 0.17
    neck: float = 0.14
    head: float = 0.11
    upper_arm: float = 0.28
    forearm: float = 0.25
    thigh: float = 0.42
    shin: float = 0.41


_BONES = {
    "torso": (("pelvis", "thorax"),),
    "half_hips": (("pelvis", "l_hip"), ("pelvis", "r_hip")),
    "half_shoulders": (("thorax", "l_shoulder"), ("thorax", "r_shoulder")),
    "neck": (("thorax", "neck"),),
    "head": (("neck", "head"),),
    "upper_arm": (("l_shoulder", "l_elbow"), ("r_shoulder", "r_elbow")),
    "forearm": (("l_elbow", "l_wrist"), ("r_elbow", "r_wrist")),
    "thigh": (("l_hip", "l_knee"), ("r_hip", "r_knee")),
    "shin": (("l_knee", "l_ankle"), ("r_knee", "r_ankle")),
}


def measured_size(joints_m: npt.NDArray[np.floating]) -> BodySize:
    """Medians over poses (T, 17, 3), NaN where unknown. What was never seen has the proportions of
    ``BodySize``.
    """
    points = np.asarray(joints_m, float)
    known = {}
    for name, bones in _BONES.items():
        ends = np.array([H36M17.indices(*bone) for bone in bones])
        lengths = np.linalg.norm(points[:, ends[:, 0]] - points[:, ends[:, 1]], axis=-1)
        if np.isfinite(lengths).any():
            known[name] = float(np.nanmedian(lengths))
    usual = asdict(BodySize())
    scale = sum(known.values()) / sum(usual[name] for name in known) if known else 1.0
    return BodySize(**{name: known.get(name, scale * length) for name, length in usual.items()})


def far_from(one: BodySize, other: BodySize) -> float:
    """Largest difference of two lengths, metres."""
    return float(np.abs(np.subtract(astuple(one), astuple(other))).max())


class ModelJoint(NamedTuple):
    """A joint between two links: its place in the parent's frame, metres, and its axis, or None
    where it is fixed.
    """

    name: str
    parent: str
    child: str
    origin_m: tuple[float, float, float]
    axis: tuple[int, int, int] | None


def model(size: BodySize) -> tuple[ModelJoint, ...]:
    """The joints of a person of that size, parents first; a child link has its joint's name,
    unless REP-155 calls it otherwise.
    """
    x, y, z, down, here = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, -1, 0), (0.0, 0.0, 0.0)

    def joint(
        name: str,
        parent: str,
        origin_m: tuple[float, float, float] = here,
        axis: tuple[int, int, int] | None = None,
        child: str = "",
    ) -> ModelJoint:
        return ModelJoint(name, parent, child or name, origin_m, axis)

    joints = [
        joint("waist", "body", axis=y),
        joint("y_torso", "waist", (0.0, 0.0, size.torso), z),
        joint("r_torso", "y_torso", axis=x),
        joint("torso", "r_torso"),
        joint("r_neck", "torso", axis=x),
        joint("p_neck", "r_neck", axis=y),
        joint("r_head", "p_neck", (0.0, 0.0, size.neck), x),
        joint("y_head", "r_head", axis=z),
        joint("p_head", "y_head", axis=down),
        joint("head", "p_head", (0.0, 0.0, size.head)),
        joint("pelvis", "body", axis=x),
    ]
    for s, sign in SIDES.items():
        shoulder, hip = (0.0, sign * size.half_shoulders, 0.0), (0.0, sign * size.half_hips, 0.0)
        joints += [
            joint(f"{s}_y_shoulder", "torso", shoulder, (0, 0, -sign)),
            joint(f"{s}_p_shoulder", f"{s}_y_shoulder", axis=(sign, 0, 0)),
            joint(f"{s}_r_shoulder", f"{s}_p_shoulder", axis=(0, 0, sign), child=f"{s}_shoulder"),
            joint(f"{s}_elbow", f"{s}_shoulder", (0.0, 0.0, -size.upper_arm), down),
            joint(f"{s}_wrist", f"{s}_elbow", (0.0, 0.0, -size.forearm)),
            joint(f"{s}_y_hip", "pelvis", hip, (0, 0, -1)),
            joint(f"{s}_p_hip", f"{s}_y_hip", axis=(sign, 0, 0)),
            joint(f"{s}_r_hip", f"{s}_p_hip", axis=down, child=f"{s}_hip"),
            joint(f"{s}_knee", f"{s}_hip", (0.0, 0.0, -size.thigh), down),
            joint(f"{s}_ankle", f"{s}_knee", (0.0, 0.0, -size.shin)),
        ]
    return tuple(joints)


def placed(joints: Iterable[ModelJoint], angles: Mapping[str, float]) -> Iterator[ModelJoint]:
    """The joints whose child link the angles place, all the way from the body."""
    links = {"body"}
    for joint in joints:
        if joint.parent in links and (joint.axis is None or joint.name in angles):
            links.add(joint.child)
            yield joint


def quaternion(joint: ModelJoint, angles: Mapping[str, float]) -> tuple[float, ...]:
    """x, y, z, w of a joint's child link in its parent, by the angles that ``joint_angles`` has
    for it.
    """
    if joint.axis is None:
        return 0.0, 0.0, 0.0, 1.0
    half = angles[joint.name] / 2
    return *(math.sin(half) * share for share in joint.axis), math.cos(half)


def joint_angles(
    joints_m: npt.NDArray[np.floating],
) -> tuple[Float, dict[str, float]] | None:
    """Rotation (3, 3) of the frame ``body``, as ``body_rotation`` has it, and the angles in
    radians of the joints of ``model``, of a pose (17, 3) that is NaN where unknown.

    Bones keep their directions exactly, whatever their lengths. Angles of limbs that are not known
    are left out; None where hips and thorax do not tell where the body is.
    """
    known = dict(zip(H36M17.joints, np.asarray(joints_m, float), strict=True))
    if not all(np.isfinite(known[name]).all() for name in PLACED):
        return None
    rotation = body_rotation(joints_m, H36M17, (0.0, 0.0, 1.0))

    def direction(start: str, end: str) -> Float:
        bone = (known[end] - known[start]) @ rotation
        return np.asarray(bone / max(float(np.linalg.norm(bone)), 1e-9))

    hips, shoulders = direction("r_hip", "l_hip"), direction("r_shoulder", "l_shoulder")
    angles = {"waist": 0.0, "pelvis": math.atan2(hips[2], hips[1])}
    pelvis = _about(X, angles["pelvis"])
    angles |= {
        "y_torso": math.atan2(-shoulders[0], shoulders[1]),
        "r_torso": math.asin(_sine(shoulders[2])),
    }
    torso = _about(Z, angles["y_torso"]) @ _about(X, angles["r_torso"])
    angles |= _of_head(direction("thorax", "neck") @ torso, direction("neck", "head") @ torso)
    for s, sign in SIDES.items():
        upper = direction(f"{s}_shoulder", f"{s}_elbow") @ torso
        angles |= _of_arm(s, sign, upper, direction(f"{s}_elbow", f"{s}_wrist") @ torso)
        thigh = direction(f"{s}_hip", f"{s}_knee") @ pelvis
        angles |= _of_leg(s, sign, thigh, direction(f"{s}_knee", f"{s}_ankle") @ pelvis)
    return rotation, {name: angle for name, angle in angles.items() if math.isfinite(angle)}


def _of_head(neck: Float, head: Float) -> dict[str, float]:
    """Rx(r_neck) Ry(p_neck) z is the neck, and behind it Rx(r_head) Ry(-p_head) z the head."""
    roll, pitch = math.atan2(-neck[1], neck[2]), math.asin(_sine(neck[0]))
    head = head @ _about(X, roll) @ _about(Y, pitch)
    return {
        "r_neck": roll,
        "p_neck": pitch,
        "r_head": math.atan2(-head[1], head[2]),
        "y_head": 0.0 * roll,  # not known where roll is not
        "p_head": -math.asin(_sine(head[0])),
    }


def _of_arm(s: str, sign: int, upper: Float, fore: Float) -> dict[str, float]:
    """Rz(-sign y) Rx(sign p) Rz(sign r) turns -z into the upper arm, and with Ry(-elbow) behind it
    into the forearm.

    Of the two ways to raise an arm (y and p, or y + pi and -p) the one within half a turn around
    ``SHOULDER_MIDDLE`` is taken: no other way to the same place of the arm is in reach of people.
    """
    outwards = sign * upper[1]
    yaw = math.atan2(upper[0], outwards)
    pitch = math.acos(_sine(-upper[2]))
    if abs(yaw - SHOULDER_MIDDLE) > math.pi / 2:
        yaw, pitch = math.remainder(yaw + math.pi, math.tau), -pitch
    fore = fore @ _about(Z, -sign * yaw) @ _about(X, sign * pitch)
    bent = math.hypot(fore[0], fore[1])
    return {
        f"{s}_y_shoulder": yaw,
        f"{s}_p_shoulder": pitch,
        f"{s}_r_shoulder": sign * math.atan2(fore[1], fore[0]) if bent > STRAIGHT else 0.0 * bent,
        f"{s}_elbow": math.atan2(bent, -fore[2]),
    }


def _of_leg(s: str, sign: int, thigh: Float, shin: Float) -> dict[str, float]:
    """Rz(-y) Rx(sign p) Ry(-r) turns -z into the thigh, and with Ry(-knee) behind it into the
    shin: both lie across the knee's axis, which is taken to point to the left.
    """
    axis = np.cross(thigh, shin)
    if np.linalg.norm(axis) < STRAIGHT:
        axis = np.array([0.0, -thigh[2], thigh[1]])  # no turn about the vertical
    if axis[1] < 0:
        axis = -axis
    axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
    yaw, pitch = math.atan2(axis[0], axis[1]), sign * math.asin(_sine(axis[2]))
    thigh_there = thigh @ _about(Z, -yaw) @ _about(X, sign * pitch)
    return {
        f"{s}_y_hip": yaw,
        f"{s}_p_hip": pitch,
        f"{s}_r_hip": math.atan2(thigh_there[0], -thigh_there[2]),
        f"{s}_knee": -math.atan2(float(np.cross(thigh, shin) @ axis), float(thigh @ shin)),
    }


def _sine(value: float) -> float:
    """A sine within [-1, 1]; NaN stays."""
    return min(max(value, -1.0), 1.0) if math.isfinite(value) else value


def _about(axis: Float, angle: float) -> Float:
    return rotation_from_vector(angle * axis)


def urdf(size: BodySize, body: str) -> str:
    """URDF of a person: links and joints have the suffix ``_BODY``, as REP-155 wants it. Angles
    are not limited: they are measured, not commanded.
    """
    robot = Element("robot", name=f"human_{body}")
    joints = model(size)
    for link in ("body", *(joint.child for joint in joints)):
        element = SubElement(robot, "link", name=f"{link}_{body}")
        for visual in _visuals(size).get(link, ()):
            element.append(visual)
    for joint in joints:
        kind = "fixed" if joint.axis is None else "continuous"
        element = SubElement(robot, "joint", name=f"{joint.name}_{body}", type=kind)
        SubElement(element, "parent", link=f"{joint.parent}_{body}")
        SubElement(element, "child", link=f"{joint.child}_{body}")
        SubElement(element, "origin", xyz=_numbers(joint.origin_m), rpy="0 0 0")
        if joint.axis is not None:
            SubElement(element, "axis", xyz=_numbers(joint.axis))
    return tostring(robot, encoding="unicode")


def _visuals(size: BodySize) -> dict[str, list[Element]]:
    """What is seen of each link: cylinders along its bones, and a ball for the head."""
    bones = {
        "pelvis": [(1, -size.half_hips, size.half_hips)],
        "torso": [(2, -size.torso, 0.0), (1, -size.half_shoulders, size.half_shoulders)],
        "p_neck": [(2, 0.0, size.neck)],
    }
    for s in SIDES:
        bones |= {
            f"{s}_shoulder": [(2, -size.upper_arm, 0.0)],
            f"{s}_elbow": [(2, -size.forearm, 0.0)],
            f"{s}_hip": [(2, -size.thigh, 0.0)],
            f"{s}_knee": [(2, -size.shin, 0.0)],
        }
    visuals = {
        link: [_cylinder(axis, start, end) for axis, start, end in shapes]
        for link, shapes in bones.items()
    }
    ball = Element("visual")
    shape = SubElement(ball, "geometry")
    SubElement(shape, "sphere", radius=f"{HEAD_RADIUS_M:g}")
    return visuals | {"head": [ball]}


def _cylinder(axis: int, start: float, end: float) -> Element:
    """Along y (1) or z (2), from one place on that axis to another."""
    visual = Element("visual")
    middle = (start + end) / 2 * np.eye(3)[axis]
    turned = f"{math.pi / 2:.6f} 0 0" if axis == 1 else "0 0 0"
    SubElement(visual, "origin", xyz=_numbers(middle), rpy=turned)
    shape = SubElement(visual, "geometry")
    SubElement(shape, "cylinder", length=f"{end - start:.6f}", radius=f"{LIMB_RADIUS_M:g}")
    return visual


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
