"""People before several calibrated cameras: what the cameras agree on in space is each one's
truth.

In the manner of EpipolarPose (Kocabas et al., CVPR 2019), with the package's own fusion for the
triangulation: the cameras' 2D poses are followed through the rig as ever, and of the poses in
space only the joints count of which two cameras say where they are. Moved into a camera's frame
they label what that camera saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import transform_points
from pose3d_ros.multiview.replay import replay
from pose3d_ros.people import People2D, People3D, TrackState

AGREE_M = 0.06  # a camera tells where a joint is if the ray of its keypoint passes this near,
SURE = 0.5  # and if it is this sure of the keypoint
MOST_SIGMA_M = 0.05
OWN_M = 0.15  # the median ray of somebody's 2D pose passes this near to their joints
MOST_SHIFT_S = 0.02  # between a picture and the moment whose people are moved to it


@dataclass(frozen=True)
class Label:
    """Where the people of one picture are: camera and number of the picture, ``rows`` (P,) of its
    2D poses, the ``person`` (P,) that each is, and ``joints_m`` (P, 17, 3) in the camera's frame,
    NaN where the cameras do not agree.
    """

    camera: int
    picture: int
    rows: np.ndarray
    person: np.ndarray
    joints_m: np.ndarray


def label(cameras: Sequence[Camera], pictures: Sequence[Sequence[People2D]]) -> list[Label]:
    """Labels of the people (H36M17) that each camera has in each of its pictures, in order of
    time.

    The cameras need not be synchronised, nor equally fast.
    """
    seen = sorted(
        (
            (people.stamp_ns, c, i)
            for c, sights in enumerate(pictures)
            for i, people in enumerate(sights)
        )
    )
    results, _ = replay([(stamp, c, pictures[c][i]) for stamp, c, i in seen], list(cameras))
    stamps = np.array([result.stamp_ns for result in results])
    near = [(c, i, _nearest(stamps, stamp)) for stamp, c, i in seen]
    sights: list[dict[int, People2D]] = [{} for _ in results]
    for c, i, moment in near:
        if moment is not None:
            sights[moment].setdefault(c, pictures[c][i])
    agreed = [_agreed(cameras, *of) for of in zip(results, sights, strict=True)]
    labels = []
    for c, i, moment in near:
        if moment is None:
            continue
        people, joints_m = agreed[moment]
        moved = joints_m + (pictures[c][i].stamp_ns - people.stamp_ns) * 1e-9 * people.velocity_mps
        rows, person = _own(cameras[c], pictures[c][i], moved)
        labels.append(
            Label(
                c,
                i,
                rows,
                people.ids[person],
                transform_points(cameras[c].camera_from_world, moved[person]),
            )
        )
    return labels


def _nearest(stamps: np.ndarray, stamp_ns: int) -> int | None:
    """The moment to which a picture belongs, None where there is none near enough."""
    best = int(np.abs(stamps - stamp_ns).argmin()) if len(stamps) else 0
    return best if len(stamps) and abs(stamps[best] - stamp_ns) <= MOST_SHIFT_S * 1e9 else None


def _miss_m(camera: Camera, people: People2D, joints_m: np.ndarray) -> np.ndarray:
    """Metres (P, Q, 17) by which the rays of P 2D poses pass the joints (Q, 17, 3) of Q people in
    the world.
    """
    joints = transform_points(camera.camera_from_world, joints_m)
    depth = joints[..., 2]
    apart = camera.rays(people.keypoints_px)[:, None] - joints[..., :2] / depth[..., None]
    return np.where(depth > 0, np.linalg.norm(apart, axis=-1) * depth, np.inf)


def _own(camera: Camera, people: People2D, joints_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the 2D poses that are of people with ``joints_m`` (Q, 17, 3), and of which."""
    if not len(people) or not len(joints_m):
        return np.zeros(0, int), np.zeros(0, int)
    miss = _miss_m(camera, people, joints_m)
    miss[np.broadcast_to(people.confidence[:, None] < SURE, miss.shape)] = np.nan
    known = np.isfinite(miss)
    middle = np.nanmedian(
        np.where(known, miss, np.where(known.any(-1, keepdims=True), np.nan, np.inf)), -1
    )
    rows, columns = linear_sum_assignment(np.minimum(middle, 1e3))
    near = middle[rows, columns] < OWN_M
    return rows[near], columns[near]


def _agreed(
    cameras: Sequence[Camera], result: People3D, sights: dict[int, People2D]
) -> tuple[People3D, np.ndarray]:
    """The confirmed people of a moment, and their joints (P, 17, 3) in the world, NaN where fewer
    than two of the cameras' pictures of the moment say the same.
    """
    people = result[result.states == TrackState.CONFIRMED]
    views = np.zeros(people.joints_m.shape[:2], int)
    for c, seen in sights.items():
        moved = people.joints_m + (seen.stamp_ns - people.stamp_ns) * 1e-9 * people.velocity_mps
        rows, columns = _own(cameras[c], seen, moved)
        miss = _miss_m(cameras[c], seen[rows], moved[columns])[
            np.arange(len(rows)), np.arange(len(rows))
        ]
        views[columns] += (miss < AGREE_M) & (seen.confidence[rows] >= SURE)
    sure = (views >= 2) & (people.sigma_m < MOST_SIGMA_M)
    return people, np.where(sure[..., None], people.joints_m, np.nan)
