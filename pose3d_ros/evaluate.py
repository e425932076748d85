"""How well the monocular pipeline does on videos, and several cameras on recorded 2D poses."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.camera import Camera
from pose3d_ros.multiview.evaluation import Recording
from pose3d_ros.multiview.evaluation import evaluate as evaluate_recording
from pose3d_ros.people import People3D, jitter_mm
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17, SKELETONS
from pose3d_ros.training.metrics import mpjpe, pa_mpjpe

LIMB_JOINTS = tuple(f"{side}_{name}" for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                    for side in "lr")
ASSUMED_FOV_RAD = math.radians(60)


@dataclass(frozen=True)
class Truth:
    """Reference poses of one camera: limb joints (T, P, 12, 3) in metres in its frame, NaN where not known."""

    joints_m: np.ndarray

    @classmethod
    def load(cls, path: Path, camera: int) -> Truth:
        """From an npz with ``joints_m`` (T, P, J, 3) in the world and ``camera_from_world`` (C, 4, 4).

        The entry ``skeleton`` names the joint set; without it, it is h36m17.
        """
        try:
            with np.load(path) as data:
                skeleton = SKELETONS[str(data["skeleton"])] if "skeleton" in data else H36M17
                joints, transforms = data["joints_m"], data["camera_from_world"]
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"truth {path}: expected an npz with joints_m, camera_from_world and perhaps skeleton; "
                             f"{error}") from None
        if camera >= len(transforms):
            raise ValueError(f"truth {path}: expected a camera for each video, got {len(transforms)}")
        joints = joints[:, :, skeleton.indices(*LIMB_JOINTS)]
        return cls(joints @ transforms[camera][:3, :3].T + transforms[camera][:3, 3])


def frames(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Images and stamps in nanoseconds of a video; ``ValueError`` when it cannot be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not capture.isOpened() or rate <= 0:
            raise ValueError(f"video {path}: expected a video that OpenCV can read")
        number = 0
        while True:
            ok, image = capture.read()
            if not ok:
                return
            number += 1
            yield image, round(number / rate * 1e9)
    finally:
        capture.release()


def evaluate_video(
    path: Path, camera: Camera | None, truth: Truth | None, settings: PipelineSettings
) -> dict[str, Any]:
    """Run a fresh pipeline over a video; without a camera a field of view of 60 degrees is assumed."""
    pipeline = MonocularPipeline(settings)
    results: list[People3D] = []
    seconds: list[dict[str, float]] = []
    try:
        for image, stamp_ns in frames(path):
            camera = camera or Camera.from_fov(image.shape[1], image.shape[0], ASSUMED_FOV_RAD)
            results.append(pipeline(image, camera, stamp_ns))
            seconds.append(dict(pipeline.seconds))
    finally:
        pipeline.close()
    if not results:
        raise ValueError(f"video {path}: no frame could be read")
    seen = [person for result in results if result.people_2d is not None for person in result.people_2d.ids]
    report: dict[str, Any] = {
        "video": path.name,
        "frames": len(results),
        "found": float(np.mean([result.people_2d is not None and len(result.people_2d) > 0 for result in results])),
        "people_per_frame": len(seen) / len(results),
        "ids": len(set(seen)),
        "ms_per_frame": float(np.median([sum(s.values()) for s in seconds]) * 1e3),
        "ms_per_stage": {stage: float(np.median([s.get(stage, 0.0) for s in seconds]) * 1e3) for stage in seconds[0]},
        "jitter_mm": jitter_mm(results, H36M17.index("pelvis")),
    }
    if truth is not None:
        report.update(errors(results, truth))
    return report


def errors(results: list[People3D], truth: Truth) -> dict[str, Any]:
    """Errors on the 12 limb joints in millimetres, relative to the middle of the hips; people matched per frame."""
    limbs = H36M17.indices(*LIMB_JOINTS)
    hips = [LIMB_JOINTS.index("l_hip"), LIMB_JOINTS.index("r_hip")]
    relative, absolute, aligned, velocity, owner = [], [], [], [], []
    before: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}
    expected = 0
    for frame, (result, people) in enumerate(zip(results, truth.joints_m, strict=False)):
        known = np.flatnonzero(np.isfinite(people).all((1, 2)))
        expected += len(known)
        predicted = result.joints_m[:, limbs].astype(float)
        # Compared as the camera sees them: two people in line with it differ less in space than depth is uncertain.
        rays, true_rays = predicted[..., :2] / predicted[..., 2:], people[known][..., :2] / people[known][..., 2:]
        distance = np.linalg.norm(rays[:, None] - true_rays, axis=-1).mean(-1)
        for row, column in zip(*linear_sum_assignment(distance), strict=True):
            person = int(known[column])
            p, t = predicted[row], people[person]
            absolute.append(np.linalg.norm(p[hips].mean(0) - t[hips].mean(0)))
            p, t = p - p[hips].mean(0), t - t[hips].mean(0)
            relative.append(mpjpe(p, t))
            aligned.append(pa_mpjpe(p, t))
            if person in before and before[person][0] == frame - 1:
                velocity.append(mpjpe(p - before[person][1], t - before[person][2]))
            before[person] = (frame, p, t)
            owner.append((person, int(result.ids[row])))
    switches = sum(len({i for q, i in owner if q == person}) - 1 for person in {q for q, _ in owner})
    mm = {name: float(np.mean(values) * 1e3) if values else None for name, values in
          (("pa_mpjpe_mm", aligned), ("mpjpe_mm", relative), ("velocity_error_mm", velocity), ("root_mm", absolute))}
    return {**mm, "recall": len(aligned) / max(expected, 1), "id_switches": switches}


def table(reports: list[dict[str, Any]]) -> str:
    """The reports' numbers side by side, a column per video."""
    rows = [key for key in reports[0] if not isinstance(reports[0][key], dict)]
    def cell(value: object) -> str:
        return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [[key, *(cell(report.get(key)) for report in reports)] for key in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(reports) + 1)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d evaluate``."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="monocular|multiview", help="what to evaluate")
    one = kinds.add_parser("monocular", help="the monocular pipeline on videos")
    one.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="video files")
    one.add_argument("--calibration", action="append", type=Path, default=[], metavar="YAML",
                     help="camera_calibration YAML, once for each video; without, 60 degrees of view are assumed")
    one.add_argument("--truth", type=Path, metavar="NPZ", help="reference poses: joints_m "
                     "(T, P, J, 3) in the world, camera_from_world (C, 4, 4) of the videos, and optionally skeleton")
    add_options(one, PipelineSettings)
    several = kinds.add_parser("multiview", help="several cameras on recorded 2D poses")
    several.add_argument("folder", type=Path, metavar="DIR", help="calibration.json (K, R, t of each camera), gt.npz "
                         "(actor, frame, joints3d, eval_frames), detections_openpose_body25.npz (poses, frame, view)")
    several.add_argument("--frames", type=_frame_range, metavar="A-B", help="first and last frame; all by default")
    several.add_argument("--views", type=_numbers, metavar="0,1,2", help="cameras to use; all by default")
    several.add_argument("--detections", type=Path, metavar="FILE", help="other 2D poses than the folder's")
    for kind in (one, several):
        kind.add_argument("--json", type=Path, metavar="FILE", help="write the reports here as well")


def _frame_range(text: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdigit() or not last.isdigit() or int(last) < int(first):
        raise argparse.ArgumentTypeError(f"expected FIRST-LAST, such as 300-600, got '{text}'")
    return range(int(first), int(last) + 1)


def _numbers(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.isdigit() for number in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"expected different numbers, such as 0,1,2, got '{text}'")
    return [int(number) for number in numbers]


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d evaluate``: a table with a column per video, or one for the cameras together."""
    reports = _monocular(options) if options.what == "monocular" else [_multiview(options)]
    sys.stdout.write(table(reports) + "\n")
    if options.json is not None:
        whole = {"videos": reports} if options.what == "monocular" else reports[0]
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    return 0


def _monocular(options: argparse.Namespace) -> list[dict[str, object]]:
    settings = from_options(options, PipelineSettings)
    if options.calibration and len(options.calibration) != len(options.videos):
        raise ValueError(f"expected one calibration for each of {len(options.videos)} videos, "
                         f"got {len(options.calibration)}")
    reports = []
    for number, video in enumerate(options.videos):
        camera = Camera.from_yaml(options.calibration[number]) if options.calibration else None
        truth = Truth.load(options.truth, number) if options.truth else None
        reports.append(evaluate_video(video, camera, truth, settings))
    return reports


def _multiview(options: argparse.Namespace) -> dict[str, object]:
    recording = Recording.load(options.folder, options.detections)
    frames = options.frames or range(int(recording.frame.min()), int(recording.frame.max()) + 1)
    views = options.views if options.views is not None else range(len(recording.cameras))
    return evaluate_recording(recording, frames, views)
