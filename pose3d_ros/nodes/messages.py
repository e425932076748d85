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

"""People and cameras to and from standard messages. The layout of the clouds is the package's
contract.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, TransformStamped
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from pose3d_ros.camera import Camera
from pose3d_ros.drawing import colour, limb_colours
from pose3d_ros.geometry import quaternion_from_rotation
from pose3d_ros.io.joints_cloud import joints_layout
from pose3d_ros.io.keypoints_cloud import CloudLayout, keypoints_layout, organised
from pose3d_ros.people import People2D, People3D, guessed
from pose3d_ros.place.orientation import body_rotation
from pose3d_ros.separation import Separation
from pose3d_ros.skeleton import EXTRA_JOINTS, Skeleton

SEPARATION = np.dtype(
    [(name, "<f4") for name in ("distance", "sigma", "closing_speed", "age")]
    + [(name, "<i4") for name in ("person", "joint", "shape", "measured")]
)
MARKER_LIFETIME_S = 1
GUESSED_ALPHA = 0.3
ELLIPSOID_ALPHA = 0.15
HEAD_AND_TRUNK = ("head", "neck", "thorax", "spine", "pelvis")
ABOVE_HEAD_M = 0.25
LOWER_BODY = ("", "pelvis", "hip", "knee", "ankle", "heel", "foot", "spine")


def _cloud(layout: CloudLayout, header: Header) -> PointCloud2:
    """Organised cloud message."""
    data = array("B")
    data.frombytes(layout.data)
    return PointCloud2(
        header=header,
        height=layout.height,
        width=layout.width,
        is_bigendian=layout.is_bigendian,
        is_dense=layout.is_dense,
        fields=[
            PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count)
            for f in layout.fields
        ],
        point_step=layout.point_step,
        row_step=layout.row_step,
        data=data,
    )


def joints_cloud(people: People3D, header: Header, covariance: bool = False) -> PointCloud2:
    """``joints``: height people, width joints of the skeleton (``io.joints_cloud``)."""
    return _cloud(joints_layout(people, covariance), header)


def separation_cloud(
    rows: Sequence[Separation], ids: npt.NDArray[np.integer[Any]], age_s: float, header: Header
) -> PointCloud2:
    """``separation``: a point for each person, with the fields of ``SEPARATION``."""
    points = np.empty((1, len(rows)), SEPARATION)
    for column, (row, person) in enumerate(zip(rows, ids.tolist(), strict=True)):
        points[0, column] = (
            row.distance_m,
            row.sigma_m,
            row.closing_mps,
            age_s,
            person,
            row.joint,
            row.shape,
            row.measured,
        )
    return _cloud(organised(points), header)


def keypoints_cloud(people: People2D, header: Header) -> PointCloud2:
    """``keypoints``: height people, width joints, in pixels (``io.keypoints_cloud``)."""
    return _cloud(keypoints_layout(people), header)


def stamp_ns(header: Header) -> int:
    """Acquisition time of a message in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def time_of(stamp_ns: int) -> Time:
    """Inverse of ``stamp_ns``."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def _points(positions: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in positions.tolist()]


OPTICAL_UP, FIXED_UP = (
    (0.0, -1.0, 0.0),
    (0.0, 0.0, 1.0),
)  # REP-103: y points down in an optical frame, else z up


def markers(
    people: People3D,
    header: Header,
    gone: Iterable[int] = (),
    up: tuple[float, float, float] = OPTICAL_UP,
    covariance: bool = False,
) -> MarkerArray:
    """RViz skeletons: namespaces ``limbs``, ``joints`` and ``id``, each with the track id as
    marker id.

    Limbs have the person's colour, the left ones bright, the right ones dark; limbs and people who
    are not seen but guessed are translucent. Face, hands and feet have limbs, but no balls.
    ``gone``: ids of people whose markers are to be deleted. The id floats above the head, in the
    direction ``up``. With ``covariance`` also ``covariance_ID``, an ellipsoid of one sigma for
    each joint, which is the marker's id.
    """
    array_ = MarkerArray()
    for person in gone:
        array_.markers += [
            Marker(header=header, ns=ns, id=person, action=Marker.DELETE)
            for ns in ("limbs", "joints", "id")
        ]
    unseen = guessed(people.confidence, people.sigma_m, people.states)
    extra = np.isin(people.skeleton.joints, EXTRA_JOINTS)
    for person, vague, joints in zip(
        people.ids.tolist(), unseen, people.joints_m.astype(float), strict=True
    ):
        known = np.isfinite(joints).all(-1)
        if not known.any():
            continue
        alphas = np.where(vague, GUESSED_ALPHA, 1.0)

        def marker(ns: str, kind: int, size: float, person: int = person) -> Marker:
            made = Marker(
                header=header,
                ns=ns,
                id=person,
                type=kind,
                action=Marker.ADD,
                lifetime=Duration(sec=MARKER_LIFETIME_S),
            )
            made.pose.orientation.w = 1.0
            made.scale.x = made.scale.y = made.scale.z = size
            made.color = _colour(colour(person), 1.0)
            return made

        limbs = people.skeleton.limb_indices
        drawn = known[limbs].all(1)
        lines = marker("limbs", Marker.LINE_LIST, 0.03)
        # An object for each joint and each colour: one for each end of each limb takes twice as
        # long.
        points = _points(joints)
        lines.points = [points[joint] for joint in limbs[drawn].ravel().tolist()]
        rgba = np.column_stack([limb_colours(people.skeleton, person), alphas[limbs].min(1)])
        shown = [tuple(limb) for limb in rgba.tolist()]
        shades = {limb: _colour(limb[:3], limb[3]) for limb in set(shown)}
        lines.colors = [shades[shown[limb]] for limb in np.flatnonzero(drawn).repeat(2).tolist()]
        spheres = marker("joints", Marker.SPHERE_LIST, 0.05)
        balls = {alpha: _colour(colour(person), alpha) for alpha in (GUESSED_ALPHA, 1.0)}
        shown_joints = known & ~extra
        spheres.points = [points[joint] for joint in np.flatnonzero(shown_joints).tolist()]
        spheres.colors = [balls[alpha] for alpha in alphas[shown_joints].tolist()]
        text = marker("id", Marker.TEXT_VIEW_FACING, 0.2)
        text.text = str(person)
        x, y, z = _above_head(people.skeleton, joints, known, np.array(up))
        text.pose.position = Point(x=x, y=y, z=z)
        array_.markers += [lines, spheres, text]
    if covariance and people.covariance_m2 is not None:
        array_.markers += _ellipsoids(people, people.covariance_m2, header)
    return array_


def _ellipsoids(
    people: People3D, covariance_m2: npt.NDArray[np.floating[Any]], header: Header
) -> list[Marker]:
    """An ellipsoid of one sigma at each known joint, whose lifetime ends it."""
    made = []
    known = np.isfinite(covariance_m2).all((-2, -1)) & np.isfinite(people.joints_m).all(-1)
    for row, joint in np.argwhere(known).tolist():
        person = int(people.ids[row])
        variances, axes = np.linalg.eigh(covariance_m2[row, joint].astype(float))
        axes[:, 0] *= np.sign(np.linalg.det(axes))  # a rotation
        ball = Marker(header=header, ns=f"covariance_{person}", id=joint, type=Marker.SPHERE)
        ball.lifetime = Duration(sec=MARKER_LIFETIME_S)
        place, turn = ball.pose.position, ball.pose.orientation
        place.x, place.y, place.z = people.joints_m[row, joint].tolist()
        turn.x, turn.y, turn.z, turn.w = quaternion_from_rotation(axes).tolist()
        scale = 2 * np.sqrt(np.maximum(variances, 1e-8))  # RViz draws nothing that is flat
        ball.scale.x, ball.scale.y, ball.scale.z = scale.tolist()
        ball.color = _colour(colour(person), ELLIPSOID_ALPHA)
        made.append(ball)
    return made


def _above_head(
    skeleton: Skeleton,
    joints: npt.NDArray[np.float64],
    known: npt.NDArray[np.bool_],
    up: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Place of the id: above the head, or the uppermost part of the trunk that is known."""
    trunk = [skeleton.index(name) for name in HEAD_AND_TRUNK if name in skeleton.joints]
    upper = next((index for index in trunk if known[index]), None)
    at = joints[known][(joints[known] @ up).argmax()] if upper is None else joints[upper]
    return np.asarray(at + ABOVE_HEAD_M * up)


def _colour(rgb: Iterable[float], alpha: float) -> ColorRGBA:
    r, g, b = (float(c) for c in rgb)
    return ColorRGBA(r=r, g=g, b=b, a=alpha)


def camera_info(camera: Camera, header: Header) -> CameraInfo:
    """CameraInfo of an unrectified image."""
    k = camera.matrix
    distortion = camera.distortion if len(camera.distortion) else np.zeros(5)
    return CameraInfo(
        header=header,
        width=camera.size[0],
        height=camera.size[1],
        distortion_model=camera.distortion_model,
        d=distortion.tolist(),
        k=k.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel().tolist(),
    )


class Part(NamedTuple):
    """A node, or a part of it, in /diagnostics: its name, the device that it is about (a topic),
    its problems and its values. ``works``: whether anything came of it since the last report.
    """

    name: str
    device: str
    problems: Sequence[str]
    values: Mapping[str, object]
    works: bool


def diagnostics(stamp: Time, *parts: Part) -> DiagnosticArray:
    """/diagnostics of a node and its parts: OK without problems, WARN with some, ERROR where
    nothing comes of it because of them.
    """
    array_ = DiagnosticArray(header=Header(stamp=stamp))
    for part in parts:
        level = DiagnosticStatus.OK
        if part.problems:
            level = DiagnosticStatus.WARN if part.works else DiagnosticStatus.ERROR
        array_.status.append(
            DiagnosticStatus(
                level=level,
                name=part.name,
                hardware_id=part.device,
                message="; ".join(part.problems) or "OK",
                values=[
                    KeyValue(
                        key=key, value=f"{value:.4g}" if isinstance(value, float) else str(value)
                    )
                    for key, value in part.values.items()
                ],
            )
        )
    return array_


def body_transforms(
    people: People3D,
    header: Header,
    per_joint: bool,
    prefix: str = "",
    up: tuple[float, float, float] = OPTICAL_UP,
) -> list[TransformStamped]:
    """A frame ``body_ID`` at each pelvis, x forward, z up (REP-155), or ``body_ID/JOINT`` at each
    known joint, parallel to that, and above the spine as the shoulders face; ``prefix`` before the
    names.
    """
    pelvis, skeleton = people.skeleton.index("pelvis"), people.skeleton
    transforms = []
    for person, joints in zip(people.ids.tolist(), people.joints_m, strict=True):
        lower = quaternion_from_rotation(body_rotation(joints, skeleton, up))
        upper = quaternion_from_rotation(body_rotation(joints, skeleton, up, ("shoulder", "hip")))
        named = enumerate(people.skeleton.joints) if per_joint else [(pelvis, "")]
        for index, joint in named:
            if np.isfinite(joints[index]).all():
                child = f"{prefix}body_{person}" + (f"/{joint}" if joint else "")
                turn = lower if joint.split("_")[-1] in LOWER_BODY else upper
                transforms.append(transform_stamped(header, child, joints[index], turn))
    return transforms


def camera_transforms(cameras: Iterable[Camera], header: Header) -> list[TransformStamped]:
    """The optical frame of each camera in the rig's world, the frame of ``header``."""
    return [
        transform_stamped(
            header,
            camera.frame_id,
            camera.position_m,
            quaternion_from_rotation(camera.camera_from_world[:3, :3].T),
        )
        for camera in cameras
    ]


def transform_stamped(
    header: Header, child: str, position_m: npt.ArrayLike, xyzw: npt.ArrayLike
) -> TransformStamped:
    """A frame in that of ``header``: its place in metres and its rotation as a quaternion."""
    made = TransformStamped(header=header, child_frame_id=child)
    place, turn = made.transform.translation, made.transform.rotation
    place.x, place.y, place.z = np.asarray(position_m, float).tolist()
    turn.x, turn.y, turn.z, turn.w = np.asarray(xyzw, float).tolist()
    return made


def tf_message(transforms: Sequence[TransformStamped]) -> object:
    """tf2_msgs/TFMessage; raises ``ImportError`` where tf2_msgs is not installed."""
    from tf2_msgs.msg import TFMessage

    return TFMessage(transforms=list(transforms))
