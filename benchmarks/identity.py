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

"""Ids that the tracker gives beside the number of people who are in a film.

The demo's clip is played at 30, 15, 10 and 7.5 Hz from every offset, both cameras; films of FOLDER
(``samples``, ``pictures``, ``caliscope_charuco``), whose people were counted by eye, as they are.
The same 2D poses go through a tracker that sees the picture and one that does not:

- people: by eye
- ids: of confirmed people, and without the picture (motion alone)
- frames: with anybody, and of the ids that are seen in fewer than ``BRIEF`` frames
- swaps (the clip): frames in which an id is nearer to the other person than to the one whom it
  began with, of those in which they are ``APART_PX`` apart
- ms: a person's share of the tracker's time in a frame, and without the picture

    python benchmarks/identity.py [FOLDER] [--detector NAME]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pose3d_ros import detection
from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.table import table
from pose3d_ros.io.videos import frames
from pose3d_ros.people import People2D
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.tracking import IdentityTracker

FILMS = {
    "samples/videos/intel_one_by_one_person.mp4": 6,
    "samples/videos/sports2d_demo.mp4": 2,
    "pictures/videos/intel_asl_help.mp4": 1,
    "pictures/videos/intel_preview_people-detection.mp4": 2,
    "pictures/videos/intel_preview_person-bicycle-car-detection.mp4": 2,
    "pictures/videos/intel_preview_worker-zone-detection.mp4": 1,
    **{f"caliscope_charuco/cam_{camera}.mp4": 1 for camera in range(4)},
}
"""People of each film, by eye."""
BRIEF = 10
APART_PX = 20.0
STEPS = (1, 2, 3, 4)  # of a film of 30 Hz


class Played(NamedTuple):
    """People of each frame, by number, with the picture and without, and the seconds of both
    trackers for each of them.
    """

    frames: list[tuple[int, tuple[People2D, People2D]]]
    seconds: tuple[float, float]
    people: int


def play(film: Path, detector: detection.Detector, step: int = 1, offset: int = 0) -> Played:
    """Every ``step``-th frame of a film from the one of number ``offset``."""
    detector.reset()
    seeing, blind = IdentityTracker(), IdentityTracker()
    played, seconds, people = [], [0.0, 0.0], 0
    for number, (image, stamp_ns) in enumerate(frames(film)):
        if number % step != offset:
            continue
        found = replace(detector(image, stamp_ns).to(H36M17), features=())
        begin = time.perf_counter()
        with_picture = seeing(found, image)
        middle = time.perf_counter()
        without = blind(found)
        seconds[0] += middle - begin
        seconds[1] += time.perf_counter() - middle
        people += len(found)
        both = with_picture.without_tentative(), without.without_tentative()
        played.append((number, both))
    return Played(played, (seconds[0], seconds[1]), people)


def row(name: str, people: int, played: Played) -> dict[str, Any]:
    """What a film gave, as a row of the table."""
    seen, blind = (
        Counter(person for _, both in played.frames for person in both[which].ids.tolist())
        for which in (0, 1)
    )
    brief = sum(count for count in seen.values() if count < BRIEF)
    share_of = [1000 * seconds / max(played.people, 1) for seconds in played.seconds]
    return {
        "film": name,
        "people": people,
        "ids": len(seen),
        "without picture": len(blind),
        "frames": f"{sum(len(both[0]) > 0 for _, both in played.frames)}, brief {brief}",
        "ms": f"{share_of[0]:.2f}, {share_of[1]:.2f}",
    }


def swaps(played: Played, truth_px: np.ndarray, which: int) -> int:
    """Frames in which an id is on another person than it began with; ``truth_px`` (T, 2, 17, 2)
    of the film's people.
    """
    owners: dict[int, list[int]] = {}
    for number, both in played.frames:
        people = both[which]
        for person, keypoints in zip(people.ids.tolist(), people.keypoints_px, strict=True):
            apart = np.linalg.norm(truth_px[number] - keypoints, axis=-1)
            distance = np.nanmedian(apart, axis=1)
            if abs(distance[0] - distance[1]) > APART_PX:
                owners.setdefault(person, []).append(int(distance.argmin()))
    return sum(sum(owner != of[0] for owner in of) for of in owners.values())


def demo(detector: detection.Detector) -> Iterator[dict[str, Any]]:
    """Rows of the shipped clip."""
    with np.load(share("demo", "truth.npz")) as truth:
        joints_m = truth["joints_m"]
        poses = truth["camera_from_world"]
    for name, pose in zip(("cam0", "cam1"), poses, strict=True):
        film = share("demo", f"{name}.mp4")
        lens = Camera.from_yaml(str(share("demo", f"{name}.yaml")))
        truth_px = replace(lens, camera_from_world=pose).project(joints_m)
        for step in STEPS:
            for offset in range(step):
                played = play(film, detector, step, offset)
                yield {
                    **row(f"{name}, {30 / step:g} Hz from {offset}", 2, played),
                    "swaps": f"{swaps(played, truth_px, 0)}, {swaps(played, truth_px, 1)}",
                }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="of films; default: the clip alone")
    parser.add_argument("--detector", default="blazepose", metavar="NAME")
    options = parser.parse_args(arguments)
    detector = detection.create(PipelineSettings(detector=options.detector, engine="cpu"))
    print(table(list(demo(detector))))
    if options.folder is not None:
        rows = [
            row(name, people, play(options.folder / name, detector))
            for name, people in FILMS.items()
        ]
        print(table(rows))
    detector.close()


if __name__ == "__main__":
    main()
