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

"""How much more motion, and how many more people, help a small one-frame lifter.

Trains ``martinez`` of 256 channels with one budget on parts of the motion capture: of all clips of
all folders, as many minutes as a point of the curve says, and the same number of minutes of more
and more people of the last folder, who all do the same movements. Scored on the validation people
of every folder that has some, with the detector's held-out errors: single frames, MPJPE / PA-MPJPE
in mm.

    python benchmarks/learning_curve.py NOISE FOLDER... --data-weights 1:1:1:0.28 [--minutes 20 50]
        [--people 1 3 8] [--output FOLDER]

The curve's lifters are left in the output folder, as ``minutes50/run/martinez.onnx``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from component_analysis import answers

from pose3d_ros.evaluation.table import table
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.training.checkpoint import load
from pose3d_ros.training.data.feature_samples import read_noise
from pose3d_ros.training.data.mocap import Mocap
from pose3d_ros.training.data.motion_capture import INDEX, read_motion_capture, replaced
from pose3d_ros.training.data.source import lifter_inputs
from pose3d_ros.training.loop import train
from pose3d_ros.training.settings import TrainSettings

RATE_HZ, PEOPLE, SEED = 30, 2048, 7
Take = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def part(folder: Path, mocap: list[Path], take: Take, to: Path) -> Path:
    """A folder ``to`` with those training clips of ``folder`` that ``take`` takes, and its
    validation clips; clips that another folder of ``mocap`` has better copies of are none.
    """
    without = replaced(folder, mocap)
    positions, clips = read_motion_capture(folder, "train", without)
    index = json.loads((folder / INDEX).read_text())["clips"]
    held_out = [entry for entry in index if entry["split"] == "val"]
    chosen = take(
        [entry for entry in index if entry["split"] == "train" and entry["id"] not in without]
    )
    place = {clip.name: clip for clip in clips}
    parts = [positions[place[entry["id"]].start : place[entry["id"]].stop] for entry in chosen]
    length = np.array([len(rows) for rows in parts])
    to.mkdir(parents=True, exist_ok=True)
    np.savez(
        to / "train.npz",
        positions=np.concatenate(parts),
        clip_start=np.cumsum(length) - length,
        clip_len=length,
    )
    if held_out:
        shutil.copy(folder / "val.npz", to)
    (to / INDEX).write_text(json.dumps({"clips": chosen + held_out}))
    return to


def up_to(clips: list[dict[str, Any]], minutes: float) -> list[dict[str, Any]]:
    """The first clips, of so many minutes together; at least one."""
    before = np.cumsum([0, *(entry["frames"] / RATE_HZ / 60 for entry in clips[:-1])])
    return [entry for entry, past in zip(clips, before, strict=True) if past < minutes]


def minutes_of(folder: Path, mocap: list[Path]) -> float:
    """Minutes of training motion."""
    _, clips = read_motion_capture(folder, "train", replaced(folder, mocap))
    return sum(clip.stop - clip.start for clip in clips) / RATE_HZ / 60


def share_of_all(share: float) -> Take:
    """Clips drawn at random until they are this share of the minutes."""

    def take(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
        drawn = [clips[row] for row in np.random.default_rng(SEED).permutation(len(clips))]
        return up_to(drawn, share * sum(entry["frames"] for entry in clips) / RATE_HZ / 60)

    return take


def of_people(count: int) -> Take:
    """As many minutes as the person with the fewest has, of ``count`` people alike."""

    def take(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rng = np.random.default_rng(SEED)
        shuffled = [clips[row] for row in rng.permutation(len(clips))]
        people = list(rng.permutation(sorted({entry["subject"] for entry in clips})))
        of = {name: [entry for entry in shuffled if entry["subject"] == name] for name in people}
        fewest = min(sum(entry["frames"] for entry in own) for own in of.values()) / RATE_HZ / 60
        return [entry for name in people[:count] for entry in up_to(of[name], fewest / count)]

    return take


def trained(data: list[Path], weights: str, noise: Path, output: Path, steps: int) -> Path:
    """The folder of the training of one point; one that is there is taken."""
    if not (output / "martinez.onnx").exists():
        train(
            TrainSettings(
                lifter="martinez",
                data=os.pathsep.join(map(str, data)),
                data_weights=weights,
                noise=str(noise),
                output=str(output),
                steps=steps,
                batch=128,
                channels=256,
                validation=2,
            )
        )
    return output


def score(folder: Path, people: dict[str, Mocap]) -> dict[str, str]:
    """MPJPE / PA-MPJPE of a training's lifter on the validation people of each folder."""
    network, settings = load(folder)
    row = {}
    for name, mocap in people.items():
        clips = mocap.sample(np.random.default_rng(SEED), PEOPLE, varied=False)
        predicted, truth = answers(network, lifter_inputs(settings), clips)
        errors = (1e3 * float(of(predicted, truth).mean()) for of in (mpjpe, pa_mpjpe))
        row[name] = " / ".join(f"{error:.1f}" for error in errors)
    return row


def main() -> None:
    """Print a row for each point, as soon as it is trained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("noise", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--data-weights", required=True)
    parser.add_argument("--minutes", type=float, nargs="*", default=[20, 50, 108])
    parser.add_argument("--people", type=int, nargs="*", default=[1, 3, 8])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--output", type=Path, default=Path("output/learning_curve"))
    options = parser.parse_args()
    folders, output = options.folders, options.output
    held_out = read_noise(options.noise, "val")
    people = {
        folder.name: Mocap.load(folder, "val", np.array([0]), held_out)
        for folder in folders
        if (folder / "val.npz").is_file()
    }
    total = sum(minutes_of(folder, folders) for folder in folders)
    rows = []
    for minutes in options.minutes:
        name = f"minutes{minutes:g}"
        data = [
            part(
                folder, folders, share_of_all(min(minutes / total, 1)), output / name / folder.name
            )
            for folder in folders
        ]
        rows.append((name, data, options.data_weights))
    for count in options.people:
        name = f"people{count}"
        rows.append((name, [part(folders[-1], [], of_people(count), output / name / "data")], ""))
    reports = []
    for name, data, weights in rows:
        folder = trained(data, weights, options.noise, output / name / "run", options.steps)
        known = sum(minutes_of(one, []) for one in data)
        reports.append({"point": name, "minutes": known, **score(folder, people)})
        print(table(reports), flush=True)


if __name__ == "__main__":
    main()
