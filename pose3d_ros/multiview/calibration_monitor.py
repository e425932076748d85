"""Tells from people's own residuals that a camera has moved, or that its calibration is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.people import People2D, People3D

LIMIT_M = (
    0.05  # joints are not seen further than this from where the others see them, most of the time
)
OTHERS = 2.0  # nor is the camera worse than the others by so much
WINDOW_S = (
    10.0  # "most of the time" is half of this: people who cross are seen wrongly for seconds
)
LEAST_SAMPLES = 50
# a pose that fits this well after a shift is the person's, seen by a camera that has turned
ALIKE_M = 0.10
MIN_JOINTS = 6


class Residual(NamedTuple):
    """How far a camera sees people from where they are thought: in pixels, and in metres at their
    distance.
    """

    px: float
    metres: float


class Moved(NamedTuple):
    """By how many pixels a camera is off, and since which stamp."""

    px: float
    since_ns: int


def residual(
    matched_px: float | None, camera: Camera, seen: People2D | None, people: People3D
) -> Residual | None:
    """Residual of a camera in one moment; None when it tells nothing.

    ``matched_px``: the tracker's, of people whom it has found in the camera's picture. Where it
    found none of the ``people``, because they are too far from where they should be, the pose that
    is theirs but for a shift counts.
    """
    if seen is None or not len(people) or not len(seen):
        return None
    joints = people.joints_m + people.velocity_mps * ((seen.stamp_ns - people.stamp_ns) * 1e-9)
    pixels = camera.project(joints)
    with np.errstate(invalid="ignore"):
        inside = np.all((pixels > 0) & (pixels < camera.size), -1)
    depth = joints @ camera.camera_from_world[2, :3] + camera.camera_from_world[2, 3]
    focal = np.sqrt(camera.matrix[0, 0] * camera.matrix[1, 1])
    if matched_px is not None:
        return (
            Residual(matched_px, matched_px * float(np.median(depth[inside])) / focal)
            if inside.any()
            else None
        )
    shifts = []
    for person in np.flatnonzero(inside.sum(1) >= MIN_JOINTS):
        away = float(np.median(depth[person, inside[person]]))
        for pose in seen.keypoints_px:
            offset = (pose - pixels[person])[np.isfinite(pose).all(-1) & inside[person]]
            if len(offset) >= MIN_JOINTS:
                shift = np.median(offset, 0)
                if np.median(np.linalg.norm(offset - shift, axis=-1)) < ALIKE_M * focal / away:
                    px = float(np.linalg.norm(shift))
                    shifts.append(Residual(px, px * away / focal))
    return min(shifts, default=None)


class RigWatch:
    """Remembers the residuals of C cameras over ``WINDOW_S`` and says which of them have moved."""

    def __init__(self, cameras: int) -> None:
        self._past: list[deque[tuple[int, Residual]]] = [deque() for _ in range(cameras)]
        self.moved: list[Moved | None] = [None] * cameras
        """The verdict, as of when the camera was first found to be off."""

    def update(self, residuals: Sequence[Residual | None], stamp_ns: int) -> None:
        """Take in one moment's residuals, None of a camera that tells nothing."""
        for past, new in zip(self._past, residuals, strict=True):
            if new is not None:
                past.append((stamp_ns, new))
            while past and not 0 <= stamp_ns - past[0][0] <= WINDOW_S * 1e9:
                past.popleft()
        usual = [
            float(np.median([r.metres for _, r in past])) if len(past) >= LEAST_SAMPLES else np.nan
            for past in self._past
        ]
        for c, mine in enumerate(usual):
            if np.isnan(mine):
                continue
            others = [u for i, u in enumerate(usual) if i != c and np.isfinite(u)]
            # Of two cameras that disagree either may be wrong; of several the one that stands out.
            pair = len(others) < 2
            worst = max([mine, *others]) if pair else mine
            if worst <= LIMIT_M:
                self.moved[c] = None
            elif self.moved[c] is None and (pair or mine > OTHERS * float(np.median(others))):
                kept = list(self._past[c])
                since = next((i for i, (_, r) in enumerate(kept) if r.metres > LIMIT_M), 0)
                self.moved[c] = Moved(
                    float(np.median([r.px for _, r in kept[since:]])), kept[since][0]
                )
