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

"""Make the float32 references of models anew (all, or those named), after one of them changed:
models/*.reference.npz.

    python scripts/references.py [NAME ...]

Inputs: what the pipeline feeds the networks in the demo clip (two frames, half a second apart).
Outputs: what the reference implementation of the ONNX project answers, operator by operator in
numpy, which is no engine of ours. Rewrites models/SHA256SUMS as well.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from onnx.reference import ReferenceEvaluator

from pose3d_ros.camera import Camera
from pose3d_ros.inference.reference_check import reference_path, sample
from pose3d_ros.inference.shared import listening
from pose3d_ros.model_store import store
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.resources import share
from pose3d_ros.settings import LIFTERS, PipelineSettings

FRAMES = (45, 60)
ROWS = 4
LARGE = 100_000
"""A row with more values is the only one, and its floats are stored (and fed) as float16 has them.
"""


def record(shipped: set[str]) -> dict[Path, list[Mapping[str, np.ndarray]]]:
    """Each model -> what it was fed at ``FRAMES``, with every lifter that is shipped and every
    detector that needs no file of the user's.
    """
    kept: dict[Path, list[Mapping[str, np.ndarray]]] = {}
    last: dict[Path, Mapping[str, np.ndarray]] = {}

    def heard(key: Any, feeds: Mapping[str, np.ndarray]) -> None:
        last[key[0]] = {name: array.copy() for name, array in feeds.items()}

    lifters = [name for name in LIFTERS if f"lifter-{name}" in shipped]
    pairs = [(PipelineSettings.detector, lifter) for lifter in lifters]
    pairs += [(detector, "rpsm") for detector in ("blazepose-heavy", "movenet")]
    for detector, lifter in pairs:
        clip = cv2.VideoCapture(str(share("demo", "cam0.mp4")))
        pipeline = MonocularPipeline(
            detector=detector,
            lifter=lifter,
            skeleton="body30",
            engine="cpu",
            threads=1,
            detect_interval_s=0.0,
        )
        camera = Camera.from_fov(
            int(clip.get(cv2.CAP_PROP_FRAME_WIDTH)), int(clip.get(cv2.CAP_PROP_FRAME_HEIGHT)), 1.2
        )
        for frame in range(max(FRAMES) + 1):
            with listening(heard):
                pipeline(clip.read()[1], camera, frame * 33_000_000)
            if frame in FRAMES:
                for path, feeds in last.items():
                    kept.setdefault(path, []).append(feeds)
                last.clear()
        pipeline.close()
    return kept


def write(name: str, path: Path, calls: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Store the reference of one model."""
    inputs = {key: np.concatenate([call[key] for call in calls]) for key in calls[0]}
    size = sum(array[0].size for array in inputs.values())
    rows = (
        1 if size > LARGE and any(array.dtype == np.float32 for array in inputs.values()) else ROWS
    )
    rows = min(rows, 2) if size > LARGE else rows
    inputs = {key: array[:rows] for key, array in inputs.items()}
    stored = {
        key: array.astype(np.float16)
        if array[0].size > LARGE and array.dtype == np.float32
        else array
        for key, array in inputs.items()
    }
    evaluator = ReferenceEvaluator(str(path))
    answers = [
        evaluator.run(
            None,
            {key: array[row : row + 1].astype(inputs[key].dtype) for key, array in stored.items()},
        )
        for row in range(rows)
    ]
    outputs = {
        key: sample(np.concatenate(parts))
        for key, parts in zip(evaluator.output_names, zip(*answers, strict=True), strict=True)
    }
    arrays: dict[str, Any] = {"model": store.sha256_of(path)}
    arrays |= {f"input:{key}": array for key, array in stored.items()}
    arrays |= {f"output:{key}": array for key, array in outputs.items()}
    np.savez_compressed(reference_path(name), **arrays)
    sys.stdout.write(f"{name}: {rows} rows, {reference_path(name).stat().st_size / 1e3:.0f} KB\n")


def main(names: Sequence[str]) -> None:
    """Of the models named, or of all."""
    known = {model.name: store.locate(model.name) for model in store.models()}
    fed = record(set(known))
    for name in names or known:
        write(name, known[name], fed[known[name].resolve()])
    folder = share("models")
    folder.joinpath("SHA256SUMS").write_text(
        "".join(
            f"{store.sha256_of(path)}  {path.name}\n"
            for path in sorted(folder.iterdir())
            if path.suffix in (".onnx", ".npz")
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
