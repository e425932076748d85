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

"""Rate of the whole monocular pipeline beside mediapipe's own Pose (full model, video mode) on the
same frames.

mediapipe 0.10.21 needs numpy 1, so it runs in an environment of its own, whose interpreter is
given:

    python -m venv mp && mp/bin/pip install mediapipe==0.10.21
    python benchmarks/beside_mediapipe.py VIDEO --mediapipe mp/bin/python

Both get the same frames, resized to 1280x720 beforehand, one person each; rounds alternate,
medians are compared. With `--detector blazepose-heavy` mediapipe runs its heavy network too, which
it fetches at first use.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.camera import Camera
from pose3d_ros.io.videos import frames as read
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.stopwatch import Stopwatch, summaries

SIZE = (1280, 720)
WARM_UP = 10
MEDIAPIPE = """
import json, sys, time
import cv2, numpy as np, mediapipe
frames = np.load(sys.argv[1], mmap_mode="r")
pose = mediapipe.solutions.pose.Pose(model_complexity=int(sys.argv[2]))
seconds = []
for frame in frames:
    start = time.perf_counter()
    pose.process(cv2.cvtColor(np.asarray(frame), cv2.COLOR_BGR2RGB))
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def ours(frames: np.ndarray, settings: PipelineSettings) -> list[Stopwatch]:
    """Where the time of each frame went."""
    pipeline = MonocularPipeline(settings)
    camera = Camera.from_fov(*SIZE, 1.0)
    stopwatches = [Stopwatch() for _ in frames]
    for number, (frame, stopwatch) in enumerate(zip(frames, stopwatches, strict=True), 1):
        pipeline(frame, camera, number * 33_333_333, stopwatch=stopwatch)
    pipeline.close()
    return stopwatches


def mediapipe(frames_file: Path, python: Path, complexity: int) -> list[float]:
    """Seconds of each frame."""
    done = subprocess.run(
        [python, "-c", MEDIAPIPE, frames_file, str(complexity)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds


def main() -> None:
    """Print medians and the ratio of the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("--mediapipe", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    add_options(parser, PipelineSettings)
    arguments = parser.parse_args()
    settings = from_options(arguments, PipelineSettings).changed(max_people=1)
    complexity = 2 if settings.detector == "blazepose-heavy" else 1
    frames = np.stack(
        [cv2.resize(image, SIZE) for image, _ in islice(read(arguments.video), arguments.frames)]
    )
    ours_ms, theirs_ms, stopwatches = [], [], []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "frames.npy"
        np.save(file, frames)
        for number in range(arguments.rounds):
            measured = ours(frames, settings)[WARM_UP:]
            stopwatches += measured
            ours_ms.append(float(np.median([stopwatch.total_s for stopwatch in measured]) * 1e3))
            theirs_ms.append(
                float(np.median(mediapipe(file, arguments.mediapipe, complexity)[WARM_UP:]) * 1e3)
            )
            print(
                f"round {number + 1}: ours {ours_ms[-1]:.2f} ms, mediapipe {theirs_ms[-1]:.2f} ms "
                f"per frame"
            )
    print(
        "stages, p50 in ms (in frames): "
        + ", ".join(
            f"{stage} {taken.p50_ms:.2f} ({taken.frames:.0%})"
            for stage, taken in summaries(stopwatches).items()
        )
    )
    print(
        f"median: ours {np.median(ours_ms):.2f} ms, mediapipe {np.median(theirs_ms):.2f} ms; "
        f"our rate is {np.median(theirs_ms) / np.median(ours_ms):.2f} of mediapipe's"
    )


if __name__ == "__main__":
    main()
