"""Camera images in, tracked metric 3D people out. Usable without ROS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pose3d_ros import detection, lifting
from pose3d_ros.camera import Camera
from pose3d_ros.lifting import metric_scale
from pose3d_ros.lifting.root import solve_root
from pose3d_ros.people import People2D, People3D
from pose3d_ros.settings import PipelineSettings, SettingsError
from pose3d_ros.skeleton import H36M17
from pose3d_ros.stopwatch import Stopwatch
from pose3d_ros.tracking import IdentityTracker, PoseFilter
from pose3d_ros.tracking.filter import Measurements


class MonocularPipeline:
    """Detector, identity, lifter, metric root and filter of one camera.

    >>> pipeline = MonocularPipeline(lifter="rpsm")
    >>> people = pipeline(image_bgr, Camera.from_fov(1280, 720, 1.2), stamp_ns)

    Raises ``SettingsError``, ``ModelError`` or ``EngineError`` on construction, each in one line
    that says what to do.
    """

    def __init__(self, settings: PipelineSettings | None = None, **overrides: Any) -> None:
        self.settings = (settings or PipelineSettings()).changed(**overrides)
        self._lifter = lifting.create(self.settings) if self.settings.lift else None
        self._detector = detection.create(
            self.settings, self._lifter is not None and self._lifter.reads_features
        )
        if self._lifter is not None:
            try:
                self._lifter.check(self._detector.maps, f"detector '{self.settings.detector}'")
            except SettingsError:
                self.close()
                raise
        self._identity = IdentityTracker()
        self._filter = PoseFilter()
        self._statures = metric_scale.Statures()
        self._stamp_ns: int | None = None

    def reconfigure(self, settings: PipelineSettings) -> None:
        """Take over the live settings (those marked so in ``settings``) from the next image on."""
        if settings.person_height_m != self.settings.person_height_m:
            self._statures = metric_scale.Statures()  # they are relative to the height assumed
        self.settings = self._detector.settings = settings

    @property
    def engine_name(self) -> str:
        """What runs the detector just now: the name of an engine, and what it is about to
        become.
        """
        return self._detector.engine_name

    def __call__(
        self,
        image_bgr: np.ndarray,
        camera: Camera | None,
        stamp_ns: int,
        depth_m: np.ndarray | Callable[[], np.ndarray | None] | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> People3D:
        """People in ``image_bgr`` (H, W, 3) uint8, in the camera's optical frame at ``stamp_ns``.

        ``camera`` may be None only when ``settings.lift`` is false. ``depth_m`` (H, W) metres,
        registered to the image, or what gives it, called after detection: depth often arrives
        later than its image. ``stopwatch`` is told when each stage ran. Stamps must rise; call
        ``reset`` when time jumps back. Raises ``ValueError`` for an image of the wrong form.
        """
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
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            raise ValueError(
                f"expected a stamp after {self._stamp_ns} ns, got {stamp_ns} ns; call reset() "
                f"first"
            )
        self._stamp_ns = stamp_ns
        stopwatch = stopwatch or Stopwatch()
        found = self._detector(image_bgr, stamp_ns, stopwatch)
        with stopwatch("track"):
            people = self._identity(found.to(H36M17))
        depth = depth_m() if callable(depth_m) else depth_m
        if self._lifter is None:
            if depth is not None:
                confidence = np.where(
                    people.confidence >= self.settings.min_confidence, people.confidence, 0
                )
                depths = metric_scale.joint_depths(people.keypoints_px, confidence, depth)
                sigma = np.where(np.isfinite(depths), metric_scale.DEPTH_SIGMA_M, np.nan)
                people = replace(people, depth_m=depths, depth_sigma_m=sigma)
            return _nobody(people, stamp_ns, camera.frame_id if camera else "")
        if camera is None:
            raise ValueError("expected a camera, got None: 3D needs intrinsics")
        camera = camera.at_resolution(image_bgr.shape[1], image_bgr.shape[0])
        with stopwatch("lift"):
            measured = self._measure(people, camera, image_bgr, depth)
            people = replace(
                people, features=()
            )  # a megabyte each, which nobody who keeps the result asked for
        with stopwatch("filter"):
            return self._filtered(people, measured, camera)

    def reset(self) -> None:
        """Forget everybody: time jumped back, or the camera was changed. Ids go on counting."""
        self._detector.reset()
        self._identity.reset()
        self._filter = PoseFilter()
        self._statures = metric_scale.Statures()
        self._stamp_ns = None
        if self._lifter is not None:
            self._lifter.forget(np.zeros(0, int))

    def close(self) -> None:
        """Release the engines."""
        self._detector.close()
        if self._lifter is not None:
            self._lifter.close()

    def _measure(
        self, people: People2D, camera: Camera, image_bgr: np.ndarray, depth_m: np.ndarray | None
    ) -> Measurements:
        """Poses in space of this frame; people whose place cannot be told are left out."""
        assert self._lifter is not None
        settings = self.settings
        poses = self._lifter(people, camera, settings, image_bgr)
        confidence = np.where(people.confidence >= settings.min_confidence, people.confidence, 0)
        root, covariance = solve_root(
            poses.joints_m, poses.sigma_m, camera.rays(people.keypoints_px), confidence
        )
        assumed = (settings.person_height_sigma_m / settings.person_height_m) ** 2
        depths = (
            None
            if depth_m is None
            else metric_scale.joint_depths(people.keypoints_px, confidence, depth_m)
        )
        if depths is not None:
            scale, variance = metric_scale.measure(root, poses.joints_m, depths)
            # Those measured for the first time are elsewhere than thought, but did not run there.
            self._filter.drop(self._statures.update(people.ids, scale, variance, assumed))
        scale, variance = self._statures(people.ids, assumed)
        root, joints_m = root * scale[:, None], poses.joints_m * scale[:, None, None]
        covariance = covariance * scale[:, None, None] ** 2
        # Distance is proportional to stature, and so is its uncertainty.
        total = covariance + variance[:, None, None] * np.einsum("pa,pb->pab", root, root)
        if depths is not None:
            root, total = metric_scale.refine(root, total, joints_m, depths)
        measured = Measurements(
            people.ids,
            root,
            covariance,
            total,
            joints_m,
            poses.sigma_m,
            people.confidence,
            self._identity.states(people.ids),
        )
        return measured[np.isfinite(root).all(1)]

    def _filtered(self, people: People2D, measured: Measurements, camera: Camera) -> People3D:
        known = self._identity.known_ids
        self._filter.predict(people.stamp_ns)
        self._filter.update(measured, self.settings.smoothing)
        self._filter.forget(known, self.settings.max_occlusion_s)
        assert self._lifter is not None
        self._lifter.forget(known)
        self._statures.forget(known)
        joints, velocities, sigma, confidence = self._filter.joints()
        return People3D(
            H36M17,
            joints,
            confidence,
            sigma,
            velocities,
            self._filter.ids,
            self._filter.states,
            people.stamp_ns,
            camera.frame_id,
            people,
        )


def _nobody(people: People2D, stamp_ns: int, frame_id: str) -> People3D:
    joints = np.zeros((0, len(H36M17), 3))
    return People3D(
        H36M17,
        joints,
        joints[..., 0],
        joints[..., 0],
        joints,
        np.zeros(0),
        np.zeros(0),
        stamp_ns,
        frame_id,
        people,
    )
