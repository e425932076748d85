"""Rate of the whole monocular pipeline beside mediapipe's own Pose (full model, video mode) on the same frames.

mediapipe 0.10.21 needs numpy 1, so it runs in an environment of its own, whose interpreter is given:

    python -m venv mp && mp/bin/pip install mediapipe==0.10.21
    python benchmarks/beside_mediapipe.py VIDEO --mediapipe mp/bin/python

Both get the same frames, resized to 1280x720 beforehand, one person each; rounds alternate, medians are compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

SIZE = (1280, 720)
MEDIAPIPE = """
import json, sys, time
import cv2, numpy as np, mediapipe
frames = np.load(sys.argv[1], mmap_mode="r")
pose = mediapipe.solutions.pose.Pose(model_complexity=1)
seconds = []
for frame in frames:
    start = time.perf_counter()
    pose.process(cv2.cvtColor(np.asarray(frame), cv2.COLOR_BGR2RGB))
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def ours(frames: np.ndarray) -> dict[str, list[float]]:
    """Seconds of each frame, in total and per stage."""
    from pose3d_ros.camera import Camera
    from pose3d_ros.pipeline import MonocularPipeline

    pipeline = MonocularPipeline(max_people=1)
    camera = Camera.from_fov(*SIZE, 1.0)
    rows: list[dict[str, float]] = []
    for number, frame in enumerate(frames):
        start = time.perf_counter()
        pipeline(frame, camera, number * 33_333_333)
        rows.append({"total": time.perf_counter() - start, **pipeline.seconds})
    pipeline.close()
    return {stage: [row[stage] for row in rows] for stage in rows[0]}


def mediapipe(frames_file: Path, python: Path) -> list[float]:
    """Seconds of each frame."""
    done = subprocess.run([python, "-c", MEDIAPIPE, frames_file], capture_output=True, text=True, check=True)
    seconds: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds


def main() -> None:
    """Print medians and the ratio of the rates."""
    from pose3d_ros.evaluation.monocular import frames as read

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--mediapipe", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    frames = np.stack([cv2.resize(image, SIZE) for image, _ in islice(read(arguments.video), arguments.frames)])
    file = Path("output") / "frames.npy"
    file.parent.mkdir(exist_ok=True)
    np.save(file, frames)
    our_ms, their_ms, stages = [], [], []
    for number in range(arguments.rounds):
        measured = ours(frames)
        warm = {stage: float(np.median(seconds[10:]) * 1e3) for stage, seconds in measured.items()}
        our_ms.append(warm.pop("total"))
        stages.append(warm)
        their_ms.append(float(np.median(mediapipe(file, arguments.mediapipe)[10:]) * 1e3))
        print(f"round {number + 1}: ours {our_ms[-1]:.2f} ms, mediapipe {their_ms[-1]:.2f} ms per frame")
    file.unlink()
    print("stages, ms: " + ", ".join(f"{stage} {np.median([s[stage] for s in stages]):.2f}" for stage in stages[0]))
    print(f"median: ours {np.median(our_ms):.2f} ms, mediapipe {np.median(their_ms):.2f} ms; "
          f"our rate is {np.median(their_ms) / np.median(our_ms):.2f} of mediapipe's")


if __name__ == "__main__":
    main()
