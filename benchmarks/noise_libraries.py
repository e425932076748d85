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

"""What detectors do wrong on the same rendered people, and one on real ones: the noise that
lifters are trained with.

Folders of ``pose3d render features`` with the same seed and clips, of one detector each; compared
on the pictures of the training subjects that all of them kept. With ``--real``, the same of the
embedded detector on the balancing man (``pose2sim_single``), 12 limb joints, against the
reference seen again. Errors are in sizes of the person (root mean square distance of the joints
from their mean), on renders without each joint's constant offset in the body's axes.
``exchanged``: left and right of a pair are nearer to the truth when exchanged, and both wrong;
``lost``: a confidence below 0.2; ``wrong``: farther off than 0.2.

    python benchmarks/noise_libraries.py FEATURES... [--real FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from pose2sim_single import load_camera, load_truth

from pose3d_ros import detection
from pose3d_ros.evaluation.monocular import LIMB_JOINTS
from pose3d_ros.evaluation.table import table
from pose3d_ros.io.videos import frames
from pose3d_ros.lifting.feature_maps import root_relative_depth
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.detector_noise import (
    rig_offsets,
    rms_size,
    true_root_relative_depth,
)

WRONG, LOST = 0.2, 0.2
LIMBS = H36M17.indices(*LIMB_JOINTS)
LABELS = ("rays", "confidence", "joints_m", "crop_keypoints", "root_relative_depth")


def read(folder: Path) -> dict[str, np.ndarray]:
    """The labels of all training shards, with ``key`` (N,): which picture a row is of."""
    shards = [dict(np.load(path)) for path in sorted((folder / "train").glob("*.npz"))]
    labels = {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}
    return {**labels, "key": labels["clip"] * 1000 + labels["frame"]}


def row(
    name: str, residual: np.ndarray, confidence: np.ndarray, truth: np.ndarray
) -> dict[str, Any]:
    """Errors (N, 12, 2) of limb joints seen at ``truth`` (N, 12, 2), in sizes of the person."""
    off = np.linalg.norm(residual, axis=-1)
    flip = [LIMB_JOINTS.index(H36M17.joints[H36M17.flip[joint]]) for joint in LIMBS]
    crossed = np.linalg.norm(residual + truth - truth[:, flip], axis=-1)
    exchanged = (crossed + crossed[:, flip] < off + off[:, flip]) & (off > WRONG)
    quantiles = np.percentile(off, [50, 75, 90, 95])
    return {
        "detector": name,
        "people": len(off),
        "rms": float(np.sqrt((off**2).mean())),
        **{f"{q} %": float(value) for q, value in zip((50, 75, 90, 95), quantiles, strict=True)},
        "wrong": float((off > WRONG).mean()),
        "exchanged": float((exchanged & exchanged[:, flip]).mean()),
        "lost": float((confidence < LOST).mean()),
        "confidence": float(confidence.mean()),
        "right where confidence > .8": float((off < WRONG)[confidence > 0.8].mean()),
        "right where confidence < .5": float((off < WRONG)[confidence < 0.5].mean()),
    }


def of_renders(name: str, labels: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, Any]:
    """A library's row, and how well its root-relative depth goes with the truth at the limbs."""
    part = {label: labels[label][rows].astype(float) for label in LABELS}
    rays = part["joints_m"][..., :2] / part["joints_m"][..., 2:]
    size = rms_size(rays)[:, None, None]
    residual = (part["rays"] - rays) / size
    residual -= rig_offsets(part["joints_m"], residual, part["confidence"])
    depth = root_relative_depth(part["crop_keypoints"] / 2, part["root_relative_depth"])
    true = true_root_relative_depth(part["joints_m"])
    alike = [
        np.corrcoef(depth[:, [a, H36M17.flip[a]]].ravel(), true[:, [a, H36M17.flip[a]]].ravel())
        for a in H36M17.indices("l_hip", "l_shoulder", "l_wrist", "l_ankle")
    ]
    return {
        **row(name, residual[:, LIMBS], part["confidence"][:, LIMBS], (rays / size)[:, LIMBS]),
        "depth and truth (hip, shoulder, wrist, ankle)": " ".join(
            f"{float(one[0, 1]):.2f}" for one in alike
        ),
    }


def of_film(folder: Path) -> dict[str, Any]:
    """The embedded detector's row on four films of a real man."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for view in range(4):
        camera = load_camera(folder, view)
        truth = load_truth(folder, camera).joints_m[:, 0]
        detector = detection.create(PipelineSettings())
        film = frames(folder / f"video_balancing_cam{view + 1:02d}.mp4")
        for (image, stamp_ns), joints_m in zip(film, truth, strict=False):
            people = detector(image, stamp_ns).to(H36M17)
            if not len(people) or not np.isfinite(joints_m).all():
                continue
            true_px = camera.project(joints_m, "camera")
            off = people.keypoints_px[:, LIMBS] - true_px
            nearest = np.linalg.norm(off, axis=-1).mean(1).argmin()
            size = rms_size(true_px)
            parts.append((off[nearest] / size, people.confidence[nearest, LIMBS], true_px / size))
        detector.close()
    return row("blazepose, film", *(np.array(values) for values in zip(*parts, strict=True)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--real", type=Path)
    options = parser.parse_args()
    libraries = {folder.name: read(folder) for folder in options.features}
    keys = [set(labels["key"].tolist()) for labels in libraries.values()]
    common = np.array(sorted(set.intersection(*keys)))
    rows = [
        of_renders(name, labels, np.flatnonzero(np.isin(labels["key"], common)))
        for name, labels in libraries.items()
    ]
    for report, labels in zip(rows, libraries.values(), strict=True):
        within = labels["clip"] <= common.max() // 1000
        report["kept"] = int(within.sum())
    if options.real:
        film = of_film(options.real)
        rows.append({**dict.fromkeys(rows[0]), **film})
    print(table(rows))


if __name__ == "__main__":
    main()
