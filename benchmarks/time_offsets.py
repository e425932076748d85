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

"""Films cut at known frames, put in step by ``pose3d calibrate time``'s estimate: errors in ms.

    python benchmarks/time_offsets.py [FOLDER]

The demo's clip and, with FOLDER, Pose2Sim's balancing man (``pose2sim_single``) and caliscope's
seated man (``caliscope_charuco``), whose films begin together but for part of a frame. Then, with
FOLDER, what a tracker at work makes up for on Shelf (``shelf``), as it is and with the last
camera's pictures a frame (40 ms) late.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pose3d_ros.calibration import time_offsets
from pose3d_ros.errors import CalibrationError
from pose3d_ros.evaluation.shelf import FRAME_RATE_HZ, ShelfRecording
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.multiview import MultiViewTracker
from pose3d_ros.offline import seen_in
from pose3d_ros.resources import share

CUTS = ((0, 0, 0, 0), (0, 7, 3, 11), (5, 0, 9, 2), (0, 30, 20, 10), (0, 45, 10, 30))


def at_work(folder: Path, views: list[int], late: int) -> str:
    """What is added to the stamps of Shelf's ``views`` after 12 s, in ms, beside their mean; the
    last one's pictures are so many frames ``late``.
    """
    recording = ShelfRecording.load(folder)
    tracker = MultiViewTracker([recording.cameras[v] for v in views], recording.skeleton)
    for frame in range(300, 600):
        stamp_ns = round(frame / FRAME_RATE_HZ * 1e9)
        taken = [frame + late * (v == views[-1]) for v in views]
        tracker.update(
            [recording.people(f, v, stamp_ns) for f, v in zip(taken, views, strict=True)], stamp_ns
        )
    return " ".join(f"{1e3 * used_s:+.0f}" for used_s in tracker.clocks.used_s)


def main(words: list[str]) -> int:
    """Print a row for each film and cut."""
    demo = share("demo", "rig.yaml")
    films = {demo: [demo.parent / f"cam{i}.mp4" for i in range(2)]}
    if words:
        single, seated = (
            Path(words[0], name) for name in ("pose2sim_single", "caliscope_charuco")
        )
        films[single / "calibration.toml"] = sorted(single.glob("video_balancing_*.mp4"))
        films[seated / "camera_array.toml"] = sorted(seated.glob("cam_*.mp4"))
    for rig_path, paths in films.items():
        cameras = read_rig(rig_path).cameras
        whole = [list(seen_in(str(path))) for path in paths]
        for cut in CUTS:
            seen = [images[first:] for images, first in zip(whole, cut, strict=False)]
            begin_s = np.array([images[0].stamp_ns * 1e-9 for images in seen])
            seen = [[p.later(-images[0].stamp_ns) for p in images] for images in seen]
            try:
                found = time_offsets.estimate(list(cameras.values()), list(cameras), seen)
                error_ms = 1e3 * (found.offset_s - (begin_s - begin_s[0]))[1:]
                said = " ".join(
                    f"{ms:+.1f} ± {1e3 * sigma_s:.1f}"
                    for ms, sigma_s in zip(error_ms, found.sigma_s[1:], strict=True)
                )
            except CalibrationError as error:
                said = f"refused: {error}"
            sys.stdout.write(f"{rig_path.parent.name} {cut[: len(paths)]}: {said}\n")
    for views, late in (([0, 1, 2, 3, 4], 0), ([0, 1, 2, 3, 4], 1), ([1, 3], 0), ([1, 3], 1)):
        if words:
            added = at_work(Path(words[0], "shelf"), views, late)
            sys.stdout.write(f"at work, views {views}, the last {late} frames late: {added} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
