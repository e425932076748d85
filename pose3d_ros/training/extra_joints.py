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

"""Training of the network of the extra joints (``lifting.extra_joints``) on MakeHuman bodies in
captured motion.

Bodies move before simulated cameras; their keypoints have the errors and the confidence that the
embedded detector has on rendered people who face the same way; their poses are what a shipped
lifter of one frame makes of these keypoints, wrong as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose3d_ros.detection import create
from pose3d_ros.geometry import transform_points
from pose3d_ros.inference import Engine
from pose3d_ros.lifting.extra_joints import ANCHORS, ExtraInputs, units_m
from pose3d_ros.lifting.lifter import LiftedPoses, load_network
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.networks import onnx_export
from pose3d_ros.networks.extra_joints import ExtraJointsNetwork
from pose3d_ros.place.root import solve_root
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BODY30, EXTRA_JOINTS, H36M17
from pose3d_ros.training.data.detector_noise import (
    facing_alike,
    facing_angle,
    rig_offsets,
    rms_size,
)
from pose3d_ros.training.data.mocap import before_random_cameras
from pose3d_ros.training.rendering import images
from pose3d_ros.training.rendering.body import Assets
from pose3d_ros.training.rendering.extra_points import body30_m
from pose3d_ros.training.rendering.measure_noise import FRAME_NS, own_detection
from pose3d_ros.training.rendering.motions import Motions, lean, vary
from pose3d_ros.training.rendering.retarget import retarget
from pose3d_ros.training.rendering.scene import Cast
from pose3d_ros.training.rendering.studio import Studio
from pose3d_ros.training.settings import TrainSettings

BODY_JOINTS = len(H36M17)
LIFTER = "lifter-martinez"
SIZE = 640, 480
CLIPS, CLIP_FRAMES = 150, 6  # rendered, to see what the detector does
FRAMES, STEP = 60, 6  # of a motion, and from one pose that is taken to the next
LEAST_CONFIDENCE = PipelineSettings.min_confidence
VALIDATION_CLIPS = 6  # one recorded clip in so many


@dataclass(frozen=True)
class DetectorErrors:
    """What a detector did on N rendered people: ``residual`` (N, 30, 2), keypoints less their
    truth, in units of the person's size in the picture (``rms_size`` of the 17), ``confidence``
    (N, 30), and the angle (N,) of their ``facing``.
    """

    residual: np.ndarray
    confidence: np.ndarray
    facing: np.ndarray

    def __call__(
        self, rng: np.random.Generator, facing: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Residuals (B, 30, 2) and confidence (B, 30) of people who faced about alike."""
        chosen, flip = facing_alike(rng, self.facing, facing)
        residual, confidence = self.residual[chosen], self.confidence[chosen]
        residual[flip] = residual[flip][:, BODY30.flip] * [-1, 1]
        confidence[flip] = confidence[flip][:, BODY30.flip]
        return residual, confidence


def record(
    makehuman: Path, mocap: Sequence[Path], clips: int, frames: int, seed: int
) -> dict[str, np.ndarray]:
    """What the embedded detector sees of ``clips`` random people: ``keypoints_px`` (N, 30, 2),
    ``confidence`` (N, 30), true ``joints_m`` (N, 30, 3) in the camera's frame and ``joints_px``,
    and the ``clip`` (N,) of each.
    """
    studio = Studio(makehuman, mocap, "train", SIZE)
    studio.renew(seed)
    detector = create(PipelineSettings())
    rows: dict[str, list[np.ndarray | int]] = {}
    for clip in range(clips):
        rng = np.random.default_rng((seed, clip))
        shot = studio.shot(rng, frames, size=SIZE)
        studio.renderer.load(shot.scene)
        actor, view = shot.scene.actors[0], images.view_of(shot.camera)
        joints_m = transform_points(
            shot.camera.camera_from_world, body30_m(actor.posed, actor.body)
        )
        detector.reset()
        for number in range(frames):
            image = images.whole(rng, studio.renderer, shot, number, view)[0]
            people = detector(image, number * FRAME_NS).to(BODY30)
            joints_px = shot.camera.project(joints_m[number], "camera")
            inside = ((joints_px >= 0) & (joints_px < SIZE)).all(-1)
            own = own_detection(people.to(H36M17), joints_px[:BODY_JOINTS])
            if own is None or inside.mean() < 0.5:
                continue
            values = {
                "keypoints_px": people.keypoints_px[own],
                "confidence": people.confidence[own],
                "joints_m": joints_m[number],
                "joints_px": joints_px,
                "clip": clip,
            }
            for name, value in values.items():
                rows.setdefault(name, []).append(value)
    studio.close()
    detector.close()
    return {name: np.array(value, np.float32) for name, value in rows.items()}


def errors_of(recorded: dict[str, np.ndarray], split: str) -> DetectorErrors:
    """The detector's errors on the clips of a split. That the rig's joints are not the detector's
    is taken out of the 17, as for every lifter; the extra joints are to be the rig's.
    """
    rows = (recorded["clip"] % VALIDATION_CLIPS == 0) == (split == "val")
    joints_m, confidence = recorded["joints_m"][rows], recorded["confidence"][rows]
    joints_px = recorded["joints_px"][rows]
    size = rms_size(joints_px[:, :BODY_JOINTS])[:, None, None]
    residual = (recorded["keypoints_px"][rows] - joints_px) / size
    residual[:, :BODY_JOINTS] -= rig_offsets(
        joints_m[:, :BODY_JOINTS].astype(float),
        residual[:, :BODY_JOINTS],
        confidence[:, :BODY_JOINTS],
    )
    return DetectorErrors(residual, confidence, facing_angle(joints_m[:, :BODY_JOINTS]))


def captured(
    rng: np.random.Generator, makehuman: Path, mocap: Sequence[Path], split: str, clips: int
) -> np.ndarray:
    """Poses (N, 30, 3) with z up of random bodies in varied motions of a split."""
    cast, motions = Cast(Assets(makehuman)), Motions.load(mocap, split)
    poses = []
    for _ in range(clips):
        _, body = cast.pick(rng)
        posed = lean(rng, retarget(vary(rng, motions, FRAMES), body))
        poses.append(body30_m(posed, body)[::STEP])
    return np.concatenate(poses)


@dataclass(frozen=True)
class Samples:
    """Inputs of the network, and where the extra joints are: ``offsets`` (N, 13, 3) from their
    anchors in the inputs' axes and units. Whom nobody could place is left out.
    """

    body: np.ndarray
    points: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(
        cls,
        rng: np.random.Generator,
        poses: np.ndarray,
        errors: DetectorErrors,
        lifter: Engine,
    ) -> Samples:
        """Of poses (N, 30, 3), each before a random camera."""
        camera = before_random_cameras(rng, poses[:, None])[0][:, 0]
        camera = camera[camera[..., 2].min(1) > 0.3]
        facing = facing_angle(camera[:, :BODY_JOINTS])
        residual, confidence = errors(rng, facing)
        rays = camera[..., :2] / camera[..., 2:]
        size = rms_size(rays[:, :BODY_JOINTS])[:, None, None]
        strength = rng.uniform(0.3, 1.1, (len(rays), 1, 1))
        rays = (rays + residual * strength * size).astype(np.float32)
        confidence = np.where(confidence >= LEAST_CONFIDENCE, confidence, 0)
        confidence *= rng.random(confidence.shape) > 0.02
        # Detectors of COCO's keypoints see no hands and feet.
        limbs = ~np.isin(np.arange(len(BODY30)), BODY30.indices(*EXTRA_JOINTS[5:]))
        confidence *= limbs | (rng.random((len(rays), 1)) > 0.05)
        poses_m = _lifted(lifter, rays[:, :BODY_JOINTS], confidence[:, :BODY_JOINTS])
        root_m, _ = solve_root(
            poses_m.joints_m, poses_m.sigma_m, rays[:, :BODY_JOINTS], confidence[:, :BODY_JOINTS]
        )
        placed = np.isfinite(root_m).all(1)
        camera, rays, confidence = camera[placed], rays[placed], confidence[placed]
        inputs = ExtraInputs.of(poses_m.joints_m[placed], root_m[placed], rays, confidence)
        offsets = camera[:, BODY_JOINTS:] - camera[:, ANCHORS]
        offsets = offsets @ np.swapaxes(inputs.rotation, 1, 2)
        offsets /= units_m(camera[:, :BODY_JOINTS])[:, None, None]
        return cls(inputs.body, inputs.points, inputs.slopes, offsets.astype(np.float32))


def _lifted(lifter: Engine, rays: np.ndarray, confidence: np.ndarray) -> LiftedPoses:
    """What the lifter makes of rays (N, 17, 2), in the camera's axes."""
    joints, sigma = [], []
    for first in range(0, len(rays), 256):
        some = slice(first, first + 256)
        unknown = confidence[some, :, None] == 0
        features, rotation = normalise(
            np.where(unknown, np.nan, rays[some])[:, None], confidence[some][:, None]
        )
        answer = lifter({"keypoints": features})["joints"]
        pose = answer[..., :3] @ rotation
        joints.append(pose - pose[:, :1])
        sigma.append(np.exp(answer[..., 3]))
    return LiftedPoses(np.concatenate(joints), np.concatenate(sigma))


def train(settings: TrainSettings, clips: int = 2000, views: int = 6) -> Path:
    """Train the network as ``settings`` say (``data``: motion capture, ``makehuman``, ``output``,
    ``seed``, ``steps``, ``batch``, ``learning_rate``); returns the ONNX file. What the detector
    did is kept in the output folder. Raises ``ValueError``, ``OSError``.
    """
    out = Path(settings.output)
    out.mkdir(parents=True, exist_ok=True)
    makehuman, mocap = Path(settings.makehuman), [*map(Path, settings.data.split(os.pathsep))]
    library = out / "detector_errors.npz"
    if not library.is_file():
        arrays: dict[str, Any] = dict(record(makehuman, mocap, CLIPS, CLIP_FRAMES, settings.seed))
        np.savez_compressed(library, **arrays)
    recorded = dict(np.load(library))
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    lifter = load_network(LIFTER, PipelineSettings(max_people=64))
    samples = {}
    for split, count in (("val", clips // 10), ("train", clips)):
        poses = captured(rng, makehuman, mocap, split, count)
        poses = np.tile(poses, (views if split == "train" else 1, 1, 1))
        samples[split] = Samples.of(rng, poses, errors_of(recorded, split), lifter)
    lifter.close()
    network = ExtraJointsNetwork()
    _fit(network, samples["train"], settings)
    _calibrate(network, samples["val"])
    scores = scored(network, samples["val"])
    (out / "scores.json").write_text(json.dumps(scores, indent=1))
    network.eval()
    example = {
        "body": torch.zeros(2, BODY_JOINTS, 3),
        "points": torch.zeros(2, len(EXTRA_JOINTS), 3),
    }
    return onnx_export.export(
        network, out / "lifter-extra-joints.onnx", example, ["extra_joints"], True
    )


def _fit(network: ExtraJointsNetwork, samples: Samples, settings: TrainSettings) -> None:
    data = [
        torch.from_numpy(values)
        for values in (samples.body, samples.points, samples.slopes, samples.offsets)
    ]
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, settings.steps
    )
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.steps):
        rows = torch.randint(len(data[0]), (settings.batch,), generator=generator)
        body, points, slopes, offsets = (values[rows] for values in data)
        error, log_sigma = _errors(network, body, points, slopes, offsets)
        squared = error.square().sum(-1)
        distance = (squared + 1e-8).sqrt()
        # Places by their distance, sigma by the likelihood of these places.
        likelihood = 3 * log_sigma + squared.detach() / 2 * torch.exp(-2 * log_sigma)
        loss = (distance + 0.01 * likelihood).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _errors(
    network: ExtraJointsNetwork,
    body: torch.Tensor,
    points: torch.Tensor,
    slopes: torch.Tensor,
    offsets: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors (N, 13, 3) of the answers in units of the body, and the logarithms of their sigma."""
    answer = network(body, points)
    depth = answer[..., 2:3]
    place = torch.cat([points[..., :2] + answer[..., :2] + slopes * depth, depth], -1)
    return place - offsets, answer[..., 3]


def _errors_on(network: ExtraJointsNetwork, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Distances (N, 13) from the truth in units of the body, and the squared errors over the
    predicted variance.
    """
    values = (samples.body, samples.points, samples.slopes, samples.offsets)
    with torch.no_grad():
        error, log_sigma = _errors(network, *map(torch.from_numpy, values))
        ratio = error.square().mean(-1) * torch.exp(-2 * log_sigma)
    return error.norm(dim=-1).numpy(), ratio.numpy()


def _calibrate(network: ExtraJointsNetwork, samples: Samples) -> None:
    """Widen sigma of each joint to the errors on people who were not trained on."""
    ratio = torch.from_numpy(_errors_on(network, samples)[1]).mean(0)
    mirrored = BODY30.flip[BODY_JOINTS:] - BODY_JOINTS
    with torch.no_grad():
        network.exit.bias[3::4] += torch.log((ratio + ratio[mirrored]) / 2) / 2


def scored(network: ExtraJointsNetwork, samples: Samples) -> dict[str, dict[str, float]]:
    """For each extra joint, seen or not, the mean error relative to its anchor in mm of a body of
    1.70 m, and the squared error over the predicted variance.
    """
    distance, ratio = _errors_on(network, samples)
    distance = 1e3 * distance
    seen = samples.points[..., 2] > 0
    scores: dict[str, dict[str, float]] = {}
    for number, joint in enumerate(EXTRA_JOINTS):
        rows = {"seen": seen[:, number], "guessed": ~seen[:, number]}
        scores[joint] = {
            f"{name} {what}": round(float(of[which, number].mean()), 2)
            for name, which in rows.items()
            for what, of in (("mm", distance), ("normalised squared error", ratio))
            if which.any()
        }
    return scores
