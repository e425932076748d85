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

"""Evaluation of the multi-view tracker on a bag with the ``keypoints`` of several cameras, played
as they arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.evaluation.monocular import truth_joints_of
from pose3d_ros.evaluation.shelf import PERSON_M
from pose3d_ros.io.bags import read_keypoints
from pose3d_ros.io.npz import NpzError, read_npz
from pose3d_ros.io.rig_file import RigFile, namespace_of
from pose3d_ros.io.rig_time import stamp_offset_ns
from pose3d_ros.metrics import id_switches, jitter_mm
from pose3d_ros.multiview.replay import replay
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.skeleton import H36M17, convert

MAX_GAP_S = 0.2  # the truth is interpolated over no more than this
# Parts of the PCP protocol whose ends a skeleton of 17 joints has.
PARTS = (
    *(
        (f"{side}_{a}", f"{side}_{b}")
        for side in "lr"
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    ),
    ("pelvis", "thorax"),
    ("neck", "head"),
)


@dataclass(frozen=True)
class RigTruth:
    """Reference poses (T, P, 17, 3) in metres in the rig's frame, NaN where unknown, at
    ``stamp_ns`` (T,), rising.
    """

    joints_m: np.ndarray
    stamp_ns: np.ndarray

    @classmethod
    def load(cls, path: Path) -> RigTruth:
        """Read an npz with ``joints_m`` (T, P, J, 3), ``stamp_ns`` (T,) and perhaps ``skeleton``,
        the name of the joint set (H36M17 without it). Raises ``NpzError``.
        """
        try:
            data = read_npz(path, ("joints_m", "stamp_ns"), ("skeleton",))
            skeleton, joints = truth_joints_of(data)
            stamps = data["stamp_ns"]
            if stamps.shape != joints.shape[:1] or stamps.dtype.kind not in "iu":
                raise NpzError(f"got stamp_ns {stamps.dtype} {stamps.shape}")
            stamps = stamps.astype(np.int64)
            if len(stamps) < 2 or (np.diff(stamps) <= 0).any():
                raise NpzError(f"got {len(stamps)} stamps, expected at least 2 that rise")
        except NpzError as error:
            raise NpzError(
                f"truth {path}: expected an npz with joints_m (T, P, J, 3), stamp_ns (T,) of "
                f"whole nanoseconds, rising, and perhaps skeleton; {error}"
            ) from None
        joints, _ = convert(joints, np.ones(joints.shape[:-1]), skeleton, H36M17)
        return cls(joints, stamps)

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """People (P, 17, 3) at a time, interpolated; None outside of what is known."""
        after = int(
            np.searchsorted(self.stamp_ns, stamp_ns, "right").clip(1, len(self.stamp_ns) - 1)
        )
        first, last = self.stamp_ns[after - 1 : after + 1]
        if not first <= stamp_ns <= last or last - first > MAX_GAP_S * 1e9:
            return None
        share = (stamp_ns - first) / (last - first)
        return np.asarray((1 - share) * self.joints_m[after - 1] + share * self.joints_m[after])


def evaluate(
    path: Path, rig: RigFile, truth: RigTruth | None, views: list[int] | None = None
) -> dict[str, Any]:
    """Report of a bag: people, ids, jitter, speed and, with a ``truth``, its scores; ``views``:
    numbers of cameras.
    """
    if not rig.posed:
        raise ValueError("expected a rig file with the cameras' poses, got intrinsics only")
    names = list(rig.cameras)
    absent = sorted(set(views or []) - set(range(len(names))))
    if absent:
        raise ValueError(f"expected views among 0 to {len(names) - 1}, got {absent}")
    names = [names[v] for v in views] if views is not None else names
    namespaces = [namespace_of(name, rig.sources.get(name, {})) for name in names]
    offsets_ns = [stamp_offset_ns(rig, name) for name in names]
    results, seconds = replay(
        (
            (arrival_ns, camera, people.later(offsets_ns[camera]))
            for arrival_ns, camera, people in read_keypoints(path, namespaces)
        ),
        [rig.cameras[name] for name in names],
    )
    if not results:
        raise ValueError(
            f"{path}: expected 2D poses on the topics of {', '.join(names)}, got no message"
        )
    shown = [result.ids[result.states != TrackState.TENTATIVE] for result in results]
    return {
        "cameras": ",".join(names),
        "frames": len(results),
        "people_per_frame": float(np.mean([len(ids) for ids in shown])),
        "ids": len(set(np.concatenate(shown))),
        "jitter_mm": jitter_mm(results),
        **({} if truth is None else scores(results, truth)),
        "ms_per_frame": float(np.median(seconds) * 1e3),
        "ms_p99": float(np.quantile(seconds, 0.99) * 1e3),
    }


def scores(results: list[People3D], truth: RigTruth) -> dict[str, Any]:
    """PCP, MPJPE, recall, false people and id switches; people are matched one to one within
    ``PERSON_M``.
    """
    matches: list[tuple[int, int]] = []
    errors, right, found, expected, false, judged = [], 0, 0, 0, 0, 0
    first, second = (H36M17.indices(*ends) for ends in zip(*PARTS, strict=True))
    for result in results:
        people = truth.at(result.stamp_ns)
        if people is None:
            continue
        present = np.flatnonzero(np.isfinite(people).all(-1).any(-1))
        shown = result.states != TrackState.TENTATIVE
        each = np.linalg.norm(result.joints_m[shown] - people[present][:, None], axis=-1)
        known = np.isfinite(each)
        average = np.where(known, each, 0).sum(-1) / np.maximum(known.sum(-1), 1)
        average[~known.any(-1)] = np.inf
        own = 0
        for row, column in zip(*linear_sum_assignment(np.minimum(average, 1e3)), strict=True):
            if average[row, column] < PERSON_M:
                own += 1
                person, error = people[present[row]], each[row, column]
                matches.append((int(present[row]), int(result.ids[shown][column])))
                errors.append(error[np.isfinite(error)])
                length = np.linalg.norm(person[first] - person[second], axis=-1)
                right += int(((error[first] + error[second]) / 2 <= 0.5 * length).sum())
        judged, expected, found = judged + 1, expected + len(present), found + own
        false += int(shown.sum()) - own
    return {
        "judged_frames": judged,
        "pcp": 100 * right / max(expected * len(PARTS), 1),
        "mpjpe_mm": float(np.concatenate(errors).mean() * 1e3) if errors else None,
        "recall": found / max(expected, 1),
        "false_people_per_frame": false / max(judged, 1),
        "id_switches": id_switches(matches),
    }
