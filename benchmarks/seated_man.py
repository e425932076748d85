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

"""Lifters on a real seated man before four webcams, to choose between them: the two halves of the
recording.

Needs caliscope's demo: a folder with cam_0.mp4 to cam_3.mp4, camera_array.toml and
timestamps.csv. Labels are triangulated from the detector's own keypoints, where two cameras or
more agree (``training.rig.labels``); legs are mostly unknown. Poses are not smoothed, and scaled
to the canonical stature by the labels' limbs.

    python benchmarks/seated_man.py FOLDER [--detector NAME] [--lifter NAME_OR_ONNX ...]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros import detection
from pose3d_ros.evaluation.table import table
from pose3d_ros.io.rig_file import read_cameras
from pose3d_ros.io.videos import frames
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.people import People2D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.training.data.augmentation import scale_of_person
from pose3d_ros.training.rig.labels import label
from pose3d_ros.training.rig.observations import CameraObservations, run_detector
from pose3d_ros.training.rig.samples import LabelledTrack, labelled_tracks


class Replay(detection.Detector):
    """People who were found before, image by image."""

    name, gives_depth = "replay", True

    def __init__(self, settings: PipelineSettings, images: list[People2D]) -> None:
        self.settings, self.skeleton = settings, images[0].skeleton
        self._images = iter(images)

    def __call__(self, image_bgr: Any, stamp_ns: int, stopwatch: Any = None) -> People2D:
        """The next image's."""
        return next(self._images)


def observe(folder: Path, settings: PipelineSettings) -> list[CameraObservations]:
    """What the detector sees in the four videos."""
    with (folder / "timestamps.csv").open() as file:
        times = [(int(row["cam_id"]), float(row["frame_time"])) for row in csv.DictReader(file)]
    observed = []
    for number, camera in enumerate(read_cameras(folder / "camera_array.toml").values()):
        stamps = sorted(round(time_s * 1e9) for of, time_s in times if of == number)
        images = (image for image, _ in frames(folder / f"cam_{number}.mp4"))
        detector = detection.create(settings)
        observed.append(
            run_detector(detector, str(number), camera, zip(images, stamps, strict=False), None)
        )
        detector.close()
    return observed


def errors_mm(
    settings: PipelineSettings, seen: CameraObservations, man: LabelledTrack
) -> dict[int, tuple[float, float]]:
    """PA-MPJPE and MPJPE of the images of one camera in which the man is labelled."""
    width, height = seen.camera.size
    black = np.zeros((height, width, 3), np.uint8)
    scale = scale_of_person(man.joints_m)
    with MonocularPipeline(settings, detector=Replay(settings, seen.images)) as pipeline:
        results = [pipeline(black, seen.camera, people.stamp_ns) for people in seen.images]
    errors = {}
    for image, truth in zip(man.image.tolist(), man.joints_m.astype(float), strict=True):
        poses = results[image].joints_m.astype(float)
        known = np.isfinite(truth).all(-1)
        if not len(poses):
            continue
        rays, true_rays = (p[..., :2] / p[..., 2:] for p in (poses, truth))
        nearest = np.linalg.norm(rays - true_rays, axis=-1)[:, known].mean(1).argmin()
        pose, truth = poses[nearest] - poses[nearest, 0], (truth - truth[0]) * scale
        known[0] = False  # the pelvis, to which all are relative
        errors[image] = (
            1e3 * float(pa_mpjpe(pose[known], truth[known])),
            1e3 * float(mpjpe(pose[known], truth[known])),
        )
    return errors


def main() -> None:
    """Print a row for each lifter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default=PipelineSettings.detector)
    parser.add_argument(
        "--lifter", nargs="+", default=["rpsm-context", "rpsm", "martinez", "videopose3d"]
    )
    arguments = parser.parse_args()
    settings = PipelineSettings(detector=arguments.detector, smoothing=0.0)
    observed = observe(arguments.folder, settings)
    labels = label([one.camera for one in observed], [one.images for one in observed])
    men = [
        max(
            labelled_tracks([one for one in labels if one.camera == number]),
            key=lambda track: len(track.image),
        )
        for number in range(len(observed))
    ]
    stamps = [people.stamp_ns for one in observed for people in one.images]
    middle_ns = (min(stamps) + max(stamps)) / 2
    reports = []
    for name in arguments.lifter:
        model = "lifter_model" if name.endswith(".onnx") else "lifter"
        halves: tuple[list[tuple[float, float]], ...] = ([], [])
        for seen, man in zip(observed, men, strict=True):
            for image, error in errors_mm(settings.changed(**{model: name}), seen, man).items():
                halves[seen.images[image].stamp_ns > middle_ns].append(error)
        reports.append(
            {"lifter": name}
            | {f"images {half + 1}": len(errors) for half, errors in enumerate(halves)}
            | {
                f"{metric} {half + 1}": float(np.mean([error[column] for error in errors]))
                for half, errors in enumerate(halves)
                for column, metric in enumerate(("pa_mpjpe_mm", "mpjpe_mm"))
            }
        )
    print(table(reports))


if __name__ == "__main__":
    main()
