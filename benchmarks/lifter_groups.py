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

"""Where lifters err, and whether their sigma says so: by kind of person and by joint.

Rendered people of the validation subjects, of whom the detector reads what it can (``pose3d render
features``), and validation motion before simulated cameras with the detector's held-out errors;
half a second each, the newest frame is scored. MPJPE / PA-MPJPE in mm, sigma in mm, shares of
joints within 1, 2 and 3 sigma of the truth (of honest ones .20, .74 and .97).

    python benchmarks/lifter_groups.py FEATURES MOCAP... [--lifter NAME_OR_ONNX ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from which_way_is_up import VIEW, lifted

from pose3d_ros import lifting
from pose3d_ros.evaluation.table import table
from pose3d_ros.lifting import LiftedPoses
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.feature_samples import FeatureSamples, read_noise
from pose3d_ros.training.data.mocap import Mocap
from pose3d_ros.training.data.windows import Clips

SAMPLES, SEED = 2000, 7
BENT_DEG, LOOKS_DOWN_DEG = 50, 20
NEAR_M, FAR_M = 1.6, 5.0
CHILD = 1.25  # head and neck beside the legs, times the usual
KNEES = H36M17.indices("l_knee", "r_knee")
PAIRS = ("head", "neck", "thorax", "spine", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def bone(joints_m: np.ndarray, start: str, end: str) -> np.ndarray:
    """Vectors (N, 3) from joint to joint."""
    return np.asarray(joints_m[:, H36M17.index(end)] - joints_m[:, H36M17.index(start)])


def angle_deg(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles (N,) between vectors (N, 3)."""
    cosine = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def seated(joints_m: np.ndarray) -> np.ndarray:
    """Who (N,) has both hips and both knees bent."""
    bent = np.ones(len(joints_m), bool)
    for side in ("l", "r"):
        thigh = bone(joints_m, f"{side}_hip", f"{side}_knee")
        shank = bone(joints_m, f"{side}_knee", f"{side}_ankle")
        bent &= angle_deg(thigh, bone(joints_m, "thorax", "pelvis")) > BENT_DEG
        bent &= angle_deg(thigh, shank) > BENT_DEG
    return bent


def head_to_legs(joints_m: np.ndarray) -> np.ndarray:
    """Length (N,) of neck and head beside a leg's."""
    head, leg = (
        sum(np.linalg.norm(bone(joints_m, *ends), axis=-1) for ends in chain)
        for chain in (
            (("thorax", "neck"), ("neck", "head")),
            (("l_hip", "l_knee"), ("l_knee", "l_ankle")),
        )
    )
    return np.asarray(head / leg)


def rendered(folder: Path) -> tuple[Clips, dict[str, np.ndarray]]:
    """Rendered people whom the detector goes on following, and which of them are in each group."""
    samples = FeatureSamples.load(folder, "val", VIEW.frames, found=0.0)
    clips = samples.sample(np.random.default_rng(SEED), SAMPLES, varied=False)
    # Drawn as ``sample`` draws.
    chosen = np.random.default_rng(SEED).choice(
        len(samples.rows), min(SAMPLES, len(samples.rows)), replace=False
    )
    newest = samples.rows[chosen, -1]
    visible = np.concatenate(
        [np.load(path)["visible"] for path in sorted((folder / "val").glob("*.npz"))]
    )[samples.first[newest[:, 0]] + newest[:, 1]].mean(1)
    joints_m = clips.joints_m[:, -1]
    sits, depth_m = seated(joints_m), joints_m[:, 0, 2]
    whole = visible > 0.6
    return clips, {
        "renders: all": np.ones(len(sits), bool),
        "stands, mostly visible": ~sits & whole,
        "sits, mostly visible": sits & whole,
        "half hidden or beyond the border": visible < 0.5,
        f"farther than {FAR_M:g} m": depth_m > FAR_M,
        f"nearer than {NEAR_M:g} m": depth_m < NEAR_M,
    }


def simulated(folder: Path, noise: Path) -> tuple[Clips, dict[str, np.ndarray]]:
    """Validation motion before simulated cameras, and who is in each group."""
    mocap = Mocap.load(folder, "val", VIEW.offsets, read_noise(noise, "val"))
    clips = mocap.sample(np.random.default_rng(SEED), SAMPLES, varied=False)
    joints_m = clips.joints_m[:, -1]
    ratio, seen = head_to_legs(joints_m), clips.confidence[:, -1] > 0
    assert clips.up is not None
    down_deg = angle_deg(joints_m[:, 0], -clips.up)
    child = ratio > CHILD * np.median(ratio)
    return clips, {
        f"{folder.name}: all": np.ones(len(child), bool),
        "adults' proportions": ~child,
        "children's": child,
        "knees not seen": ~seen[:, KNEES].any(1),
        "camera looks down at them": down_deg < 90 - LOOKS_DOWN_DEG,
        f"farther than {FAR_M:g} m": joints_m[:, 0, 2] > FAR_M,
    }


def row(name: str, poses: LiftedPoses, truth_m: np.ndarray) -> dict[str, Any]:
    """Errors of a group of people; the pelvis, to which all is relative, is left out."""
    off = np.linalg.norm(poses.joints_m - truth_m, axis=-1)[:, 1:]
    sigmas = off / poses.sigma_m[:, 1:]
    return {
        "group": name,
        "n": len(off),
        "mpjpe": f"{1e3 * mpjpe(poses.joints_m, truth_m).mean():.0f}",
        "pa_mpjpe": f"{1e3 * pa_mpjpe(poses.joints_m, truth_m).mean():.0f}",
        "sigma": f"{1e3 * poses.sigma_m[:, 1:].mean():.0f}",
        **{f"within_{n}": f"{(sigmas < n).mean():.2f}" for n in (1, 2, 3)},
    }


def by_joint(poses: LiftedPoses, truth_m: np.ndarray) -> dict[str, str]:
    """Raw error and mean sigma of each kind of joint."""
    off = 1e3 * np.linalg.norm(poses.joints_m - truth_m, axis=-1)
    of = {
        name: [row for row, joint in enumerate(H36M17.joints) if joint.split("_")[-1] == name]
        for name in PAIRS
    }
    return {
        name: f"{off[:, joints].mean():.0f} ({1e3 * poses.sigma_m[:, joints].mean():.0f})"
        for name, joints in of.items()
    }


def main() -> None:
    """Print a table for each lifter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("mocap", type=Path, nargs="+")
    parser.add_argument("--lifter", nargs="+", default=["rpsm-context", "rpsm", "martinez"])
    options = parser.parse_args()
    sets = [
        rendered(options.features),
        *(simulated(folder, options.features) for folder in options.mocap),
    ]
    for name in options.lifter:
        lifter = lifting.create(
            PipelineSettings(**{"lifter_model" if name.endswith(".onnx") else "lifter": name})
        )
        rows, joints = [], []
        for clips, groups in sets:
            poses = lifted(lifter, clips, None)
            truth_m = clips.joints_m[:, -1] - clips.joints_m[:, -1, :1]
            for group, chosen in groups.items():
                part = LiftedPoses(poses.joints_m[chosen], poses.sigma_m[chosen])
                rows.append(row(group, part, truth_m[chosen]))
            joints.append({"set": next(iter(groups)), **by_joint(poses, truth_m)})
        lifter.close()
        print(name, table(rows), table(joints), sep="\n")


if __name__ == "__main__":
    main()
