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

"""The data that flows through the package: people found in one image, and people in space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.arrays import EqualByValue, read_only
from pose3d_ros.camera import Camera
from pose3d_ros.skeleton import Skeleton, convert

NO_ID = -1
MAX_PEOPLE = 64  # of one image; more are no people, or an attack
Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]
_OPTIONAL = ("depth_m", "depth_sigma_m", "root_relative_depth_px")
_PER_JOINT = ("keypoints_px", "confidence", *_OPTIONAL)
"""Fields of ``People2D`` with a value, or a point, for each person's joint."""


class TrackState(IntEnum):
    """Life of a tracked person."""

    TENTATIVE = 0  # seen, but not yet for long enough to be believed, or by too few cameras
    CONFIRMED = 1  # seen in this frame
    OCCLUDED = 2  # not seen in this frame; joints are predicted


def _checked(name: str, value: np.ndarray, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    array: np.ndarray = np.asarray(value, dtype)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return read_only(array)


@dataclass(frozen=True, eq=False, repr=False)
class People2D(EqualByValue):
    """P people in one image.

    ``keypoints_px`` (P, J, 2) float32 pixels, the centre of the first pixel at (0, 0), NaN where
    unknown. ``confidence`` (P, J) float32, the probability that the keypoint is right. ``ids``
    (P,) int32 track ids, ``NO_ID`` before tracking. ``states`` (P,) of ``TrackState``, CONFIRMED
    where nobody tells. ``image_size`` (width, height). ``features``,
    if the detector was asked for them: per level a float32 array (P, C, H, W) of each person's
    crop; ``crop_from_image`` (P, 2, 3) maps pixels to the crop's [0, 1]. ``depth_m`` (P, J), if a
    depth image or a lifter tells it: the joints' distance along the optical axis, NaN where
    unknown, with one standard deviation ``depth_sigma_m`` (P, J). ``root_relative_depth_px`` (P,
    J), if the detector guesses it: how much further away than the middle of the hips each joint
    is, in pixels as they are at the person.
    """

    skeleton: Skeleton
    keypoints_px: np.ndarray
    confidence: np.ndarray
    stamp_ns: int
    image_size: tuple[int, int]
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    features: tuple[np.ndarray, ...] = ()
    crop_from_image: np.ndarray | None = None
    depth_m: np.ndarray | None = None
    depth_sigma_m: np.ndarray | None = None
    root_relative_depth_px: np.ndarray | None = None
    states: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))

    def __post_init__(self) -> None:
        people, joints = len(self.keypoints_px), len(self.skeleton)
        set_ = object.__setattr__
        set_(
            self,
            "keypoints_px",
            _checked("keypoints_px", self.keypoints_px, (people, joints, 2), np.float32),
        )
        set_(
            self,
            "confidence",
            _checked("confidence", self.confidence, (people, joints), np.float32),
        )
        if people and not len(self.ids):
            set_(self, "ids", np.full(people, NO_ID, np.int32))
        if people and not len(self.states):
            set_(self, "states", np.full(people, TrackState.CONFIRMED, np.int8))
        set_(self, "ids", _checked("ids", self.ids, (people,), np.int32))
        set_(self, "states", _checked("states", self.states, (people,), np.int8))
        if (self.depth_m is None) != (self.depth_sigma_m is None):
            raise ValueError("expected depth_m and depth_sigma_m together, got one of them")
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                set_(self, name, _checked(name, getattr(self, name), (people, joints), np.float32))

    @classmethod
    def empty(cls, skeleton: Skeleton, stamp_ns: int, image_size: tuple[int, int]) -> People2D:
        """Nobody in view."""
        return cls(
            skeleton,
            np.zeros((0, len(skeleton), 2)),
            np.zeros((0, len(skeleton))),
            stamp_ns,
            image_size,
        )

    def __len__(self) -> int:
        return len(self.keypoints_px)

    def __repr__(self) -> str:
        return (
            f"People2D({len(self)} of {self.skeleton.name}, ids {self.ids.tolist()}, stamp_ns "
            f"{self.stamp_ns}, image {self.image_size[0]}x{self.image_size[1]})"
        )

    def joint(self, name: str) -> Floats:
        """Pixels (P, 2) of a keypoint by name; ``KeyError`` names those that exist."""
        return self.keypoints_px[:, self.skeleton.index(name)]

    def later(self, by_ns: int) -> People2D:
        """The same people with a stamp that is later by some nanoseconds."""
        return replace(self, stamp_ns=self.stamp_ns + by_ns) if by_ns else self

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> People2D:
        """The people chosen by a mask, indices or a slice."""
        rows = np.asarray(rows, int) if isinstance(rows, list) else rows
        return replace(
            self,
            ids=self.ids[rows],
            states=self.states[rows],
            features=tuple(level[rows] for level in self.features),
            crop_from_image=None if self.crop_from_image is None else self.crop_from_image[rows],
            **self._known(_PER_JOINT, lambda value: value[rows]),
        )

    def _known(
        self, names: Sequence[str], change: Callable[[np.ndarray], np.ndarray]
    ) -> dict[str, Any]:
        """Those of the fields that are not None, each changed."""
        return {
            name: change(value) for name in names if (value := getattr(self, name)) is not None
        }

    def with_joint_order(self, order: np.ndarray) -> People2D:
        """The same people with their joints in another order: joint j is the one that was
        ``order[person, j]``.

        ``order`` (P, J) int: a permutation for each person. Every field with a value per joint
        follows it. Raises ``ValueError`` for another shape.
        """
        if order.shape != self.confidence.shape:
            raise ValueError(f"order: expected shape {self.confidence.shape}, got {order.shape}")
        rows = np.arange(len(self))[:, None]
        return replace(self, **self._known(_PER_JOINT, lambda value: value[rows, order]))

    def most_confident(self, count: int) -> People2D:
        """At most ``count`` people, those of the highest mean confidence, in the same order."""
        if len(self) <= count:
            return self
        best = np.argsort(-self.confidence.mean(1), kind="stable")[:count]
        return self[np.sort(best)]

    def without_tentative(self) -> People2D:
        """The people who are believed: seen for long enough to be no mistake of the detector."""
        known = self.states != TrackState.TENTATIVE
        return self if known.all() else self[known]

    def to(self, skeleton: Skeleton) -> People2D:
        """The same people with another skeleton's joints."""
        if skeleton is self.skeleton:
            return self
        keypoints, confidence = convert(
            self.keypoints_px, self.confidence, self.skeleton, skeleton
        )
        others = self._known(
            _OPTIONAL,
            lambda value: convert(value[..., None], self.confidence, self.skeleton, skeleton)[0][
                ..., 0
            ],
        )
        return replace(
            self, skeleton=skeleton, keypoints_px=keypoints, confidence=confidence, **others
        )

    def confident(self, least: float) -> People2D:
        """The same people with confidence 0 where it is below ``least``: not to be used."""
        return replace(self, confidence=np.where(self.confidence >= least, self.confidence, 0))

    def boxes_px(self, threshold: float = 0.0) -> np.ndarray:
        """(P, 4) boxes x0 y0 x1 y1 around keypoints with confidence above ``threshold``; NaN when
        there is none.
        """
        known = (self.confidence > threshold) & np.isfinite(self.keypoints_px).all(-1)
        low = np.where(known[..., None], self.keypoints_px, np.inf).min(1)
        high = np.where(known[..., None], self.keypoints_px, -np.inf).max(1)
        return np.where(known.any(1)[:, None], np.concatenate([low, high], 1), np.nan).astype(
            np.float32
        )


def sigma_of(covariance_m2: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """One standard deviation (...) per axis, the root mean square over the three axes, of
    ``covariance_m2`` (..., 3, 3).
    """
    return np.asarray(np.sqrt(np.trace(covariance_m2, axis1=-2, axis2=-1) / 3))


SEEN_CONFIDENCE = 0.3  # of a joint that is taken for seen
GUESSED_SIGMAS = 2.0


def guessed(
    confidence: npt.ArrayLike, sigma_m: npt.ArrayLike, states: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Joints (P, J) that were not seen, hidden or outside the picture, and are guesses: of low
    ``confidence`` (P, J), of a ``sigma_m`` (P, J) of ``GUESSED_SIGMAS`` times the person's median,
    or of somebody who is predicted altogether by their ``states`` (P,).
    """
    sigma = np.asarray(sigma_m)
    usual = np.nanmedian(np.where(np.isfinite(sigma), sigma, np.inf), axis=1, keepdims=True)
    unseen = (np.asarray(confidence) < SEEN_CONFIDENCE) | (sigma > GUESSED_SIGMAS * usual)
    return np.asarray(unseen | (np.asarray(states) == TrackState.OCCLUDED)[:, None])


@dataclass(frozen=True, eq=False, repr=False)
class People3D(EqualByValue):
    """P tracked people in space, at one acquisition time, in the frame of ``frame_id``.

    ``joints_m`` (P, J, 3) float32 metres, NaN where unknown. ``confidence`` (P, J) in 0..1.
    ``sigma_m`` (P, J): one standard deviation per axis, the root mean square over the three axes.
    ``velocity_mps`` (P, J, 3). ``ids`` (P,) track ids, unique during a run. ``states`` (P,) of
    ``TrackState``. ``people_2d``: what was seen in the image, with the same ids and with the depth
    that the joints have (predicted people are not in it). ``covariance_m2`` (P, J, 3, 3) of the
    joints, in the axes of the frame, where it is known: most of it is along a camera's line of
    sight.
    """

    skeleton: Skeleton
    joints_m: np.ndarray
    confidence: np.ndarray
    sigma_m: np.ndarray
    velocity_mps: np.ndarray
    ids: np.ndarray
    states: np.ndarray
    stamp_ns: int
    frame_id: str
    people_2d: People2D | None = None
    covariance_m2: np.ndarray | None = None

    def __post_init__(self) -> None:
        people, joints = len(self.joints_m), len(self.skeleton)
        for name, shape, dtype in (
            ("joints_m", (people, joints, 3), np.float32),
            ("confidence", (people, joints), np.float32),
            ("sigma_m", (people, joints), np.float32),
            ("velocity_mps", (people, joints, 3), np.float32),
            ("ids", (people,), np.int32),
            ("states", (people,), np.int8),
            ("covariance_m2", (people, joints, 3, 3), np.float32),
        ):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _checked(name, getattr(self, name), shape, dtype))

    @classmethod
    def empty(cls, skeleton: Skeleton, stamp_ns: int, frame_id: str) -> People3D:
        """Nobody."""
        joints = np.zeros((0, len(skeleton), 3))
        known, ids = joints[..., 0], np.zeros(0)
        return cls(skeleton, joints, known, known, joints, ids, ids, stamp_ns, frame_id)

    def __len__(self) -> int:
        return len(self.joints_m)

    def __repr__(self) -> str:
        return (
            f"People3D({len(self)} of {self.skeleton.name}, ids {self.ids.tolist()}, stamp_ns "
            f"{self.stamp_ns}, frame '{self.frame_id}')"
        )

    def joint(self, name: str) -> Floats:
        """Places (P, 3) of a joint by name, metres; ``KeyError`` names those that exist."""
        return self.joints_m[:, self.skeleton.index(name)]

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> People3D:
        """The people chosen by a mask, indices or a slice; what was seen in the image stays
        whole.
        """
        rows = np.asarray(rows, int) if isinstance(rows, list) else rows
        return replace(
            self,
            joints_m=self.joints_m[rows],
            confidence=self.confidence[rows],
            sigma_m=self.sigma_m[rows],
            velocity_mps=self.velocity_mps[rows],
            ids=self.ids[rows],
            states=self.states[rows],
            covariance_m2=None if self.covariance_m2 is None else self.covariance_m2[rows],
        )

    def to(self, skeleton: Skeleton) -> People3D:
        """The same people with the joints of another skeleton that have the same names; those
        that they lack are NaN with confidence 0. What was seen in the image stays as it is.
        """
        if skeleton is self.skeleton:
            return self
        has = {joint: index for index, joint in enumerate(self.skeleton.joints)}
        columns = [has.get(joint, len(has)) for joint in skeleton.joints]

        def chosen(values: np.ndarray, missing: float = np.nan) -> np.ndarray:
            none = np.full((len(values), 1, *values.shape[2:]), missing, values.dtype)
            return np.concatenate([values, none], 1)[:, columns]

        return replace(
            self,
            skeleton=skeleton,
            joints_m=chosen(self.joints_m),
            confidence=chosen(self.confidence, 0),
            sigma_m=chosen(self.sigma_m),
            velocity_mps=chosen(self.velocity_mps),
            covariance_m2=None if self.covariance_m2 is None else chosen(self.covariance_m2),
        )

    def without_tentative(self) -> People3D:
        """The people who are believed, here and in the image."""
        known = self.states != TrackState.TENTATIVE
        seen = None if self.people_2d is None else self.people_2d.without_tentative()
        return replace(self if known.all() else self[known], people_2d=seen)

    def as_seen(self, camera: Camera | None = None) -> People2D:
        """``people_2d`` with the depth that these joints have along the optical axis: one camera's
        share of a view by several.

        For people in the frame in which ``camera`` stands, or, without one, in its optical frame.
        Without ``covariance_m2`` all of ``sigma_m`` is counted along the line of sight.
        """
        if self.people_2d is None:
            raise ValueError("expected people with their people_2d, got None")
        row = {person: i for i, person in enumerate(self.ids.tolist())}
        rows = np.array(
            [row.get(person, len(self)) for person in self.people_2d.ids.tolist()], int
        )
        axis, offset = np.array([0.0, 0.0, 1.0]), 0.0
        if camera is not None:
            axis, offset = camera.camera_from_world[2, :3], camera.camera_from_world[2, 3]
        if self.covariance_m2 is None:
            sigma_m = np.sqrt(3) * self.sigma_m
        else:
            sigma_m = np.sqrt(np.einsum("a,pjab,b->pj", axis, self.covariance_m2, axis))
        depth, sigma = (
            np.concatenate([value, np.full((1, len(self.skeleton)), np.nan)])[rows]
            for value in (self.joints_m @ axis + offset, sigma_m)
        )
        return replace(self.people_2d, depth_m=depth, depth_sigma_m=sigma)
