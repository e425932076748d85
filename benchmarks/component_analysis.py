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

"""Trained lifters on held-out motion capture: stages, length of clips, time; as RPSM's component
analysis.

All see the same people, cameras and detector noise, and answer at the same frame. The velocity
error is between that frame and the one before it, a thirtieth of a second earlier. RPSM is run
over its clip from the first state ("clip"), and with its state carried over 2.6 s ("carried"),
which is how the node runs it.

    python benchmarks/component_analysis.py MOCAP NOISE FOLDER...

FOLDER... are what 'pose3d train' wrote.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pose3d_ros.evaluation.table import table
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.networks.rpsm import PoseSequenceMachine
from pose3d_ros.training.checkpoint import load
from pose3d_ros.training.data.detector_noise import DetectorNoise
from pose3d_ros.training.data.mocap import Mocap
from pose3d_ros.training.data.source import lifter_inputs
from pose3d_ros.training.data.windows import Clips, LifterInputs
from pose3d_ros.training.export import flip_test

HISTORY = 80  # thirtieths of a second
BATCHES, SIZE = 8, 256


def answers(
    network: nn.Module, inputs: LifterInputs, clips: Clips
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true joints (B, 17, 3), both relative to the pelvis, at the clips' newest
    frame.
    """
    keypoints, target_m = inputs(clips.last(inputs.offsets))
    with torch.no_grad():
        joints = flip_test(network)(torch.from_numpy(keypoints)).numpy()
    return joints[..., :3] - joints[:, :1, :3], target_m[:, -1]


def score(network: nn.Module, inputs: LifterInputs, batches: list[Clips]) -> dict[str, float]:
    """Errors in millimetres over all batches."""
    predicted, truth = (
        np.concatenate(parts)
        for parts in zip(*(answers(network, inputs, b) for b in batches), strict=True)
    )
    earlier = [Clips(b.rays[:, :-1], b.confidence[:, :-1], b.joints_m[:, :-1]) for b in batches]
    before, truth_before = (
        np.concatenate(parts)
        for parts in zip(*(answers(network, inputs, b) for b in earlier), strict=True)
    )
    return {
        "mpjpe_mm": float(mpjpe(predicted, truth).mean() * 1e3),
        "pa_mpjpe_mm": float(pa_mpjpe(predicted, truth).mean() * 1e3),
        "velocity_error_mm": float(mpjpe(predicted - before, truth - truth_before).mean() * 1e3),
    }


def main() -> None:
    """Print the table, a column for each lifter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mocap", type=Path)
    parser.add_argument("noise", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    people = Mocap.load(
        arguments.mocap, "val", np.arange(-HISTORY, 1), DetectorNoise.load(arguments.noise, "val")
    )
    batches = [
        people.sample(np.random.default_rng([7, number]), SIZE, varied=False)
        for number in range(BATCHES)
    ]
    reports: list[dict[str, Any]] = []
    for folder in arguments.folders:
        network, settings = load(folder)
        inputs = lifter_inputs(settings)
        parameters = sum(p.numel() for p in network.parameters()) / 1e6
        reports.append(
            {
                "lifter": folder.name,
                "memory": "clip" if isinstance(network, PoseSequenceMachine) else "window",
                "million_parameters": parameters,
                **score(network, inputs, batches),
            }
        )
        if isinstance(network, PoseSequenceMachine) and inputs.frames > 1:
            carried = LifterInputs((HISTORY - 1) // inputs.step + 1, inputs.step, recurrent=True)
            reports.append(
                {**reports[-1], "memory": "carried", **score(network, carried, batches)}
            )
    print(table(reports))


if __name__ == "__main__":
    main()
