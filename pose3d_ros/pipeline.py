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

"""Camera images in, tracked metric 3D people out. Usable without ROS."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from operator import index
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros import detection, lifting
from pose3d_ros.arrays import ImageBgr
from pose3d_ros.camera import Camera
from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import inverse_transform, transform_points
from pose3d_ros.lifting.extra_joints import ExtraJoints
from pose3d_ros.lifting.lifter import LiftedPoses
from pose3d_ros.lifting.selection import check_depth
from pose3d_ros.people import People2D, People3D, sigma_of
from pose3d_ros.place.depth_image import DEPTH_SIGMA_M, joint_depths
from pose3d_ros.place.floor import Floor
from pose3d_ros.place.placement import Placement
from pose3d_ros.place.stature import feet_seen
from pose3d_ros.settings import PipelineSettings, SettingsError
from pose3d_ros.skeleton import H36M17, PUBLISHED
from pose3d_ros.stamps import Order, StampOrder
from pose3d_ros.stopwatch import Stopwatch
from pose3d_ros.tracking import IdentityTracker, PoseFilter
from pose3d_ros.tracking.filter import Measurements

DepthImage = npt.NDArray[np.floating]
_log = logging.getLogger(__name__)


class LateFrameError(Pose3dError, ValueError):
    """A frame that is not newer than the one before, by less than a jump back in time
    (``stamps``): nothing was done with it, the next one goes on.
    """


DOUBT_SIGMAS = 4.0  # of the lifter, by which a joint is off whose keypoint is surely wrong
STILL_RAD = 1e-5  # a camera that turned less stood still
CAMERA_TOLERANCE = 0.05  # autofocus and stabilisation stay below; zoom does not


class MonocularPipeline:
    """Detector, identity, lifter, metric root and filter of one camera.

    ``detector`` and ``lifter``: names as in ``PipelineSettings``, or objects
    (``detection.Detector``, ``lifting.Lifter``), which are closed with the pipeline.

        >>> with MonocularPipeline(lifter="rpsm") as pipeline:
        ...     people = pipeline(image_bgr, Camera.from_fov(1280, 720, 1.2), stamp_ns)

    Raises ``SettingsError``, ``ModelError`` or ``EngineError`` on construction, each in one line
    that says what to do. An image, camera or stamp that is refused changes nothing.
    """

    def __init__(
        self,
        settings: PipelineSettings | None = None,
        *,
        detector: str | detection.Detector | None = None,
        lifter: str | lifting.Lifter | None = None,
        **overrides: Any,
    ) -> None:
        if isinstance(detector, str):
            overrides["detector"] = detector
        if isinstance(lifter, str):
            overrides["lifter"] = lifter
        self.settings = (settings or PipelineSettings()).changed(**overrides)
        given = None if detector is None or isinstance(detector, str) else detector
        self.skeleton = PUBLISHED[self.settings.skeleton]
        self._lifter: lifting.Lifter | None = None
        self._extra_joints: ExtraJoints | None = None
        self.lifter_name = ""
        """Name of the lifter, or the path of its model; empty without one."""
        if lifter is not None and not isinstance(lifter, str):
            self._lifter, self.lifter_name = lifter, lifter.name
        elif self.settings.lift:
            self._lifter = lifting.create(self.settings, given)
            self.lifter_name = lifting.lifter_name(
                self.settings, None if given is None else given.gives_depth
            )
        try:
            self._detector = given or detection.create(
                self.settings, self._lifter is not None and self._lifter.reads_features
            )
        except BaseException:
            if self._lifter is not None:
                self._lifter.close()
            raise
        self.detector_name = self._detector.name
        if self._lifter is not None:
            try:
                check_depth(self._lifter, self._detector)
                self._lifter.check(self._detector.maps, f"detector '{self.detector_name}'")
                if self.skeleton is not H36M17:
                    self._extra_joints = ExtraJoints.create(self.settings)
            except BaseException:
                self.close()
                raise
        self._identity = IdentityTracker()
        self._filter = PoseFilter(len(self.skeleton))
        self._placement = Placement()
        self._order = StampOrder()
        self._resized: tuple[Camera, Camera] | None = None
        self._reference: Camera | None = None  # the camera since when nothing was forgotten
        self._posed: Camera | None = None  # of the last image, in the fixed frame
        self._warned_of_people = False

    def __enter__(self) -> MonocularPipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"MonocularPipeline(detector={self.detector_name!r}, lifter={self.lifter_name!r}, "
            f"engine={self.engine_name!r})"
        )

    def reconfigure(self, settings: PipelineSettings) -> None:
        """Take over the live settings (those marked so in ``settings``) from the next image on."""
        if settings.person_height_m != self.settings.person_height_m:
            self._placement.reset()  # statures are relative to the height assumed
        self.settings = self._detector.settings = settings

    @property
    def engine_name(self) -> str:
        """Name of the engine that runs the detector just now, and what it is about to become."""
        return self._detector.engine_name

    @property
    def learned_floor(self) -> Floor | None:
        """The floor as people who stand and walk have told it; None while it is not sure, or given
        otherwise.
        """
        return self._placement.learned_floor

    def statures(
        self, ids: npt.NDArray[np.integer[Any]]
    ) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]:
        """Standing height (P,) in metres of the people with these ids, and its sigma (P,), as far
        as floor or depth have told it; else ``person_height_m``.
        """
        settings = self.settings
        return self._placement.statures(
            ids, settings.person_height_m, settings.person_height_sigma_m
        )

    def __call__(
        self,
        image_bgr: ImageBgr,
        camera: Camera,
        stamp_ns: int | None = None,
        depth_m: DepthImage | Callable[[], DepthImage | None] | None = None,
        stopwatch: Stopwatch | None = None,
        floor: Floor | None = None,
    ) -> People3D:
        """People in ``image_bgr`` (H, W, 3) uint8, in the camera's optical frame at ``stamp_ns``
        (the time of the call where it is left out), or in ``fixed_frame``.

        ``depth_m`` (H, W) metres, registered to the image, or what gives it, called after
        detection: depth often arrives later than its image. ``stopwatch`` is told when each stage
        ran. ``floor``: as the camera sees it now; without, that of ``camera_height_m``,
        ``camera_pitch_deg`` and ``camera_roll_deg``. With ``fixed_frame``, the camera's
        ``camera_from_world`` says where it is in that frame now, or, where it says nothing,
        ``camera_height_m`` and its companions. Both tell the lifter which way is up. A stamp that
        jumps back begins anew (``stamps``).

        Raises ``LateFrameError`` for a stamp that is a little back, ``ValueError`` for an image
        of the wrong form, ``CameraError`` for a camera of another picture, ``SettingsError``
        without a lifter, or without a camera's pose for ``fixed_frame``.
        """
        if self._lifter is None:
            raise SettingsError(
                "lift: expected a pipeline with a lifter, got one without; call detect(), or "
                "leave lift true"
            )
        if not isinstance(camera, Camera):
            raise ValueError(
                f"expected a camera, got {type(camera).__name__}: 3D needs intrinsics; call "
                f"detect() for 2D"
            )
        height, width = _checked_image(image_bgr)
        camera = self._at_resolution(camera, width, height)
        floor = floor or self._given_floor()
        if self.settings.fixed_frame:
            camera = self._in_fixed_frame(camera)
        stopwatch = stopwatch or Stopwatch()
        people = self._tracked(image_bgr, stamp_ns, stopwatch, camera)
        depth = _checked_depth(depth_m, (height, width))
        with stopwatch("lift"):
            measured = self._measure(people, camera, image_bgr, depth, floor)
            # A megabyte each, which nobody who keeps the result asked for.
            people = replace(people, features=())
        with stopwatch("filter"):
            return self._filtered(people, measured, camera)

    def detect(
        self,
        image_bgr: ImageBgr,
        stamp_ns: int | None = None,
        depth_m: DepthImage | Callable[[], DepthImage | None] | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> People2D:
        """People in the image alone, in the joints of ``skeleton``, with ids; otherwise as a
        call of the pipeline. ``depth_m`` gives them ``depth_m`` where it shows their joints.
        """
        height, width = _checked_image(image_bgr)
        people = self._tracked(image_bgr, stamp_ns, stopwatch or Stopwatch())
        people = replace(people, features=())
        depth = _checked_depth(depth_m, (height, width))
        if depth is None:
            return people
        body = people.confident(self.settings.min_confidence).to(H36M17)
        depths = np.full(people.confidence.shape, np.nan)
        depths[:, : len(H36M17)] = self._placement.depth_check.by_range(
            joint_depths(body.keypoints_px, body.confidence, depth, self.settings.depth_scale)
        )
        sigma = np.where(np.isfinite(depths), DEPTH_SIGMA_M, np.nan)
        return replace(people, depth_m=depths, depth_sigma_m=sigma)

    def reset(self) -> None:
        """Forget everybody: time jumped back, or the camera was changed. Ids go on counting."""
        self._detector.reset()
        self._identity.reset()
        self._filter = PoseFilter(len(self.skeleton))
        self._placement.reset()
        self._reference = self._posed = None
        self._order.reset()
        if self._lifter is not None:
            self._lifter.forget(np.zeros(0, int))

    def close(self) -> None:
        """Release the engines."""
        self._detector.close()
        for part in (self._lifter, self._extra_joints):
            if part is not None:
                part.close()

    def _tracked(
        self,
        image_bgr: ImageBgr,
        stamp_ns: int | None,
        stopwatch: Stopwatch,
        camera: Camera | None = None,
    ) -> People2D:
        """People of the image with ids, at most ``max_people``."""
        stamp_ns = self._advance(time.time_ns() if stamp_ns is None else _checked_stamp(stamp_ns))
        found = self._detector(image_bgr, stamp_ns, stopwatch)
        most = self.settings.max_people
        if len(found) > most:
            if not self._warned_of_people:
                self._warned_of_people = True
                _log.warning(
                    "%d people found, the best %d are followed; set max_people to follow more",
                    len(found),
                    most,
                )
            best = np.argsort(-found.confidence.mean(1), kind="stable")[:most]
            found = found[np.sort(best)]
        with stopwatch("track"):
            if camera is not None and self.settings.fixed_frame:
                self._turn(camera)
            return self._identity(found.to(self.skeleton), image_bgr)

    def _advance(self, stamp_ns: int) -> int:
        """The stamp, if time goes on with it; begins anew where it jumped back."""
        newest_ns, order = self._order.newest_ns, self._order.of(stamp_ns)
        if order is Order.LATE:
            assert newest_ns is not None
            raise LateFrameError(
                f"expected a stamp after {newest_ns} ns, got {stamp_ns} ns, "
                f"{(newest_ns - stamp_ns) * 1e-6:g} ms back; the frame was dropped"
            )
        if order is Order.JUMPED_BACK:
            self.reset()
        self._order(stamp_ns)
        return stamp_ns

    def _at_resolution(self, camera: Camera, width: int, height: int) -> Camera:
        """The camera at the image's size, made anew only when one of them changes; begins anew
        with a camera that differs by over ``CAMERA_TOLERANCE`` from the one before.
        """
        known = self._resized
        if known is not None and known[0] is camera and known[1].size == (width, height):
            self._reference = self._reference or known[1]
            return known[1]
        resized = camera.at_resolution(width, height)
        self._resized = camera, resized
        if self._reference is not None:
            change = resized.differs_from(self._reference, CAMERA_TOLERANCE)
            if change:
                _log.warning("camera changed, %s: tracking starts again", change)
                self.reset()
        self._reference = self._reference or resized
        return resized

    def _given_floor(self) -> Floor | None:
        """The floor of the settings."""
        settings = self.settings
        if not settings.camera_height_m:
            return None
        return Floor.from_tilt(
            settings.camera_height_m,
            math.radians(settings.camera_pitch_deg),
            math.radians(settings.camera_roll_deg),
        )

    def _in_fixed_frame(self, camera: Camera) -> Camera:
        """The camera with its pose in the fixed frame. Raises ``SettingsError`` without any."""
        if not np.array_equal(camera.camera_from_world, np.eye(4)):
            return camera
        floor = self._given_floor()
        if floor is None:
            raise SettingsError(
                f"fixed_frame '{self.settings.fixed_frame}': expected to know where the camera is "
                f"in it, got nothing; give the camera its camera_from_world, or set "
                f"camera_height_m, camera_pitch_deg and camera_roll_deg"
            )
        return replace(camera, camera_from_world=floor.camera_from_level)

    def _turn(self, camera: Camera) -> None:
        """Let the identities know how the camera has turned in the fixed frame."""
        before, self._posed = self._posed or camera, camera
        turn = camera.camera_from_world[:3, :3] @ before.camera_from_world[:3, :3].T
        if np.abs(turn - np.eye(3)).max() < STILL_RAD:
            return

        def moved(
            pixels: npt.NDArray[np.floating], turns: npt.NDArray[np.floating]
        ) -> npt.NDArray[np.floating]:
            rays = before.rays(pixels)
            rays = np.concatenate([rays, np.ones_like(rays[..., :1])], -1)
            return camera.project(rays @ turns.swapaxes(-1, -2), "camera")

        self._identity.carry(turn, moved)

    def _measure(
        self,
        people: People2D,
        camera: Camera,
        image_bgr: ImageBgr,
        depth_m: DepthImage | None,
        floor: Floor | None,
    ) -> Measurements:
        """Poses in space of this frame; people whose place cannot be told are left out."""
        assert self._lifter is not None
        settings = self.settings
        seen = people.confident(settings.min_confidence)
        rays = camera.rays(people.keypoints_px)
        body, body_rays = seen.to(H36M17), rays[:, : len(H36M17)]
        up = camera.camera_from_world[:3, 2] if settings.fixed_frame else None
        poses = self._lifter(
            body, camera, settings, image_bgr, body_rays, up if floor is None else floor.up
        )
        depths = (
            None
            if depth_m is None
            else joint_depths(body.keypoints_px, body.confidence, depth_m, settings.depth_scale)
        )
        placed = self._placement(
            people.ids,
            poses.joints_m,
            poses.sigma_m,
            body_rays,
            body.confidence,
            people.stamp_ns,
            stature_m=settings.person_height_m,
            stature_sigma_m=settings.person_height_sigma_m,
            floor=floor,
            feet=feet_seen(body.keypoints_px, body.confidence, people.image_size),
            depths_m=depths,
            learn_floor=settings.learn_floor,
        )
        # Those measured for the first time are elsewhere than thought, but did not run there.
        self._filter.drop(placed.resized)
        doubt = np.hypot(1, DOUBT_SIGMAS * (1 - people.to(H36M17).confidence))
        poses = LiftedPoses(placed.joints_m, poses.sigma_m * doubt)
        if self._extra_joints is not None:
            poses = self._extra_joints(poses, placed.root_m, rays, seen.confidence)
        root, rotation = placed.root_m, np.eye(3)
        if settings.fixed_frame:
            fixed_from_camera = inverse_transform(camera.camera_from_world)
            root, rotation = transform_points(fixed_from_camera, root), fixed_from_camera[:3, :3]
        measured = Measurements(
            people.ids,
            root,
            rotation @ placed.root_covariance @ rotation.T,
            rotation @ placed.total_covariance @ rotation.T,
            poses.joints_m @ rotation.T,
            poses.sigma_m,
            people.confidence,
            people.states,
            placed.root_m @ rotation.T,
        )
        return measured[np.asarray(np.isfinite(root).all(1))]

    def _filtered(self, people: People2D, measured: Measurements, camera: Camera) -> People3D:
        known = self._identity.known_ids
        self._filter.predict(people.stamp_ns)
        self._filter.update(measured, self.settings.smoothing)
        self._filter.forget(known, self.settings.max_occlusion_s)
        assert self._lifter is not None
        self._lifter.forget(known)
        self._placement.forget(known)
        joints, velocities, covariance, confidence = self._filter.joints()
        fixed_frame = self.settings.fixed_frame
        found = People3D(
            self.skeleton,
            joints,
            confidence,
            sigma_of(covariance),
            velocities,
            self._filter.ids,
            self._filter.states,
            people.stamp_ns,
            fixed_frame or camera.frame_id,
            people,
            covariance,
        )
        return replace(found, people_2d=found.as_seen(camera if fixed_frame else None))


def _checked_image(image_bgr: ImageBgr) -> tuple[int, int]:
    """Height and width of an image. Raises ``ValueError`` for what is none."""
    if not isinstance(image_bgr, np.ndarray):
        raise ValueError(
            f"expected an image of shape (height, width, 3) and type uint8, got "
            f"{type(image_bgr).__name__}; was the picture read?"
        )
    if (
        image_bgr.ndim != 3
        or image_bgr.shape[2] != 3
        or image_bgr.dtype != np.uint8
        or not image_bgr.size
    ):
        raise ValueError(
            f"expected an image of shape (height, width, 3) and type uint8, "
            f"got {image_bgr.shape} {image_bgr.dtype}"
        )
    return image_bgr.shape[0], image_bgr.shape[1]


def _checked_depth(
    depth_m: DepthImage | Callable[[], DepthImage | None] | None, shape: tuple[int, int]
) -> DepthImage | None:
    """The depth image, registered to one of this ``shape`` (H, W); None where there is none.
    Raises ``ValueError`` for another form.
    """
    depth = depth_m() if callable(depth_m) else depth_m
    if depth is not None and depth.shape != shape:
        raise ValueError(
            f"depth_m: expected the shape of the image, {shape}, got {depth.shape}; register "
            f"depth to the image"
        )
    return depth


def _checked_stamp(stamp_ns: int) -> int:
    """The stamp as Python's int. Raises ``ValueError`` for what is no whole number of 64 bits."""
    try:
        stamp = index(stamp_ns)
    except TypeError:
        stamp = None
    if stamp is None or not -(1 << 63) <= stamp < 1 << 63:
        raise ValueError(
            f"stamp_ns: expected a whole number of nanoseconds in 64 bits, got {stamp_ns!r}"
        )
    return stamp
