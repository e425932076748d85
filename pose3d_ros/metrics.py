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

"""Errors of 3D poses, as the field reports them. Poses are (..., J, 3) in metres; results keep the
leading axes.

Protocols take poses relative to the root (Human3.6M's pelvis), which counts as a joint: its error
is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.people import People3D
from pose3d_ros.skeleton import H36M17

Floats = npt.NDArray[np.floating[Any]]

PCK_THRESHOLD_M = 0.150
AUC_THRESHOLDS_M = (
    np.arange(0, 151, 5) / 1000
)  # of mpii_compute_3d_pck.m, the test script of MPI-INF-3DHP
PCK_JOINTS = H36M17.indices(
    "head",
    "thorax",
    "l_shoulder",
    "r_shoulder",
    "l_elbow",
    "r_elbow",
    "l_wrist",
    "r_wrist",
    "l_hip",
    "r_hip",
    "l_knee",
    "r_knee",
    "l_ankle",
    "r_ankle",
)
"""The 14 joints that MPI-INF-3DHP's test script counts; its neck is our thorax."""


def mpjpe(predicted: Floats, truth: Floats) -> Floats:
    """Mean per-joint position error in metres: protocol 1 of Human3.6M (Ionescu et al., PAMI
    2014).
    """
    errors: Floats = np.linalg.norm(predicted - truth, axis=-1).mean(-1)
    return errors


def align(predicted: Floats, truth: Floats) -> Floats:
    """``predicted`` moved, turned and scaled to fit ``truth`` best in the least squares sense
    (Umeyama, 1991).
    """
    mean_p, mean_t = predicted.mean(-2, keepdims=True), truth.mean(-2, keepdims=True)
    p, t = predicted - mean_p, truth - mean_t
    u, s, vt = np.linalg.svd(np.swapaxes(p, -1, -2) @ t)
    sign = np.ones_like(s)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (s * sign).sum(-1) / np.maximum((p**2).sum((-1, -2)), 1e-12)
    aligned: Floats = scale[..., None, None] * (p @ rotation) + mean_t
    return aligned


def pa_mpjpe(predicted: Floats, truth: Floats) -> Floats:
    """MPJPE after ``align``: protocol 2, as Martinez et al. (ICCV 2017) define it."""
    return mpjpe(align(predicted, truth), truth)


def n_mpjpe(predicted: Floats, truth: Floats) -> Floats:
    """MPJPE after scaling about the root alone: protocol 3 (Rhodin et al., CVPR 2018)."""
    scale = (predicted * truth).sum((-1, -2)) / np.maximum((predicted**2).sum((-1, -2)), 1e-12)
    return mpjpe(scale[..., None, None] * predicted, truth)


def mpjve(predicted: Floats, truth: Floats) -> Floats:
    """Mean per-joint velocity error (T - 1,) of sequences (T, J, 3) in metres per frame: MPJPE of
    the differences from frame to frame (Pavllo et al., CVPR 2019). It depends on the frame rate.
    """
    return mpjpe(np.diff(predicted, axis=0), np.diff(truth, axis=0))


def pck(predicted: Floats, truth: Floats, threshold_m: float = PCK_THRESHOLD_M) -> Floats:
    """Share of joints with an error below 150 mm (3DPCK, Mehta et al., 3DV 2017); pass
    ``PCK_JOINTS`` only.
    """
    share: Floats = (np.linalg.norm(predicted - truth, axis=-1) < threshold_m).mean(-1)
    return share


def auc(predicted: Floats, truth: Floats) -> Floats:
    """Area under the curve of ``pck``: its mean over thresholds of 0, 5, ... 150 mm (Mehta et al.,
    3DV 2017).
    """
    errors = np.linalg.norm(predicted - truth, axis=-1)
    area: Floats = (errors[..., None] < AUC_THRESHOLDS_M).mean((-1, -2))
    return area


def protocols(predicted: Floats, truth: Floats) -> dict[str, Floats]:
    """Every protocol for T poses (T, 17, 3) of H36M17: name -> values (T,), and (T - 1,) of the
    velocity error.

    Millimetres and percent. Both are taken relative to the pelvis. A frame whose prediction has a
    NaN has NaN; joints that the truth lacks in any other frame do not count.
    """
    predicted, truth = predicted - predicted[:, :1], truth - truth[:, :1]
    seen = np.isfinite(predicted).all((1, 2))
    known = np.asarray(np.isfinite(truth[seen]).all((0, 2)))
    p, t = predicted[seen][:, known], truth[seen][:, known]
    counted = [int(known[:joint].sum()) for joint in PCK_JOINTS if known[joint]]
    scores = {
        "mpjpe_mm": mpjpe(p, t) * 1e3,
        "pa_mpjpe_mm": pa_mpjpe(p, t) * 1e3,
        "n_mpjpe_mm": n_mpjpe(p, t) * 1e3,
        "pck_percent": pck(p[:, counted], t[:, counted]) * 100,
        "auc_percent": auc(p[:, counted], t[:, counted]) * 100,
    }
    result = {name: np.full(len(truth), np.nan) for name in scores}
    for name, values in scores.items():
        result[name][seen] = values
    return {**result, "mpjve_mm": mpjve(predicted[:, known], truth[:, known]) * 1e3}


def jitter_mm(results: Sequence[People3D], origin: int | None = None) -> float | None:
    """Mean length of the second difference of people's joints, in millimetres per frame squared;
    None if nobody stays.

    ``origin``: index of the joint that the others are taken relative to; None leaves them where
    they are.
    """
    lengths = []
    for before, now, after in zip(results, results[1:], results[2:], strict=False):
        for person in set(before.ids) & set(now.ids) & set(after.ids):
            a, b, c = (
                r.joints_m[np.flatnonzero(r.ids == person)[0]] for r in (before, now, after)
            )
            second = a - 2 * b + c
            lengths.append(
                np.linalg.norm(second if origin is None else second - second[origin], axis=-1)
            )
    return float(np.nanmean(lengths) * 1e3) if lengths else None


def id_switches(matches: Iterable[tuple[int, int]]) -> int:
    """Number of times that the track that a true person is matched to changes, over (person, track
    id) in order of time.

    The mismatches of CLEAR MOT (Bernardin and Stiefelhagen, 2008): a change counts also after a
    gap without a match.
    """
    last: dict[int, int] = {}
    switches = 0
    for person, track in matches:
        switches += last.get(person, track) != track
        last[person] = track
    return switches
