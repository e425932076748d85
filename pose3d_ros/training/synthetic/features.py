"""What the embedded detector sees of rendered people: keypoints and feature maps, with the truth, to train lifters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose3d_ros.detection import Detector, create
from pose3d_ros.lifting.context import crop_keypoints, crop_rays
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.bodies import canonical_scale, mirror, stature
from pose3d_ros.training.synthetic.detector_noise import FRAME_NS, Frame, own_detection, random_clips

VALIDATION = 6  # training clips for each one of the validation subjects


def record(makehuman: Path, cmu_mocap: Path, out: Path, clips: int, frames: int, seed: int,
           progress: Callable[[int], object] = lambda clip: None) -> dict[str, float]:
    """Look at ``clips`` rendered clips of the training subjects, and first at a sixth as many of the validation ones.

    Each clip is looked at twice, as it is and in a mirror: the features of a mirrored picture are not the mirrored
    features, so that training cannot mirror its samples itself. Writes ``out/train`` and ``out/val``, for each clip
    ``NAME.npz`` with what ``look`` returns and ``NAME.features.npy``, and returns how many frames and bytes they are.
    """
    detector = create(PipelineSettings(), features=True)
    total = {"frames": 0, "found": 0, "bytes": 0}
    done = 0
    for split, count in (("val", -(-clips // VALIDATION)), ("train", clips)):
        folder = out / split
        folder.mkdir(parents=True, exist_ok=True)
        # Another seed for validation, whose bodies and rooms would be those of the first training clips.
        rendering = random_clips(makehuman, cmu_mocap, count, frames, seed + 2**32 * (split == "val"), split=split)
        for number, rendered in enumerate(rendering):
            for name, seen in (("", rendered), ("m", mirrored(rendered))):
                labels, features = look(detector, seen)
                total["frames"] += len(seen)
                total["found"] += len(features)
                total["bytes"] += features.nbytes
                if len(features):
                    path = folder / f"{number:05d}{name}.npz"
                    np.save(path.with_suffix(".features.npy"), features)
                    np.savez(path, **labels)  # type: ignore[arg-type]
            progress(done)
            done += 1
    detector.close()
    return {name: float(value) for name, value in total.items()}


def mirrored(frames: list[Frame]) -> list[Frame]:
    """The same clip in a mirror."""
    width = frames[0].camera.size[0]
    matrix = frames[0].camera.matrix.copy()
    matrix[0, 2] = width - 1 - matrix[0, 2]
    camera = replace(frames[0].camera, matrix=matrix)
    return [Frame(np.ascontiguousarray(frame.image_bgr[:, ::-1]), camera, mirror(frame.joints_m),
                  camera.project(mirror(frame.joints_m), "camera"), frame.visible[H36M17.flip]) for frame in frames]


def look(detector: Detector, frames: list[Frame]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the detector finds in the N frames that show at least half of the person, and find them.

    Labels: ``rays`` (N, 17, 2) and ``confidence`` (N, 17) of the keypoints, ``crop_keypoints`` (N, 17, 2) and
    ``crop_rays`` (N, 2, 2) as in ``lifting.context``, ``joints_m`` (N, 17, 3) true, in the camera's frame and at the
    canonical stature, ``frame`` (N,). Features: (N, V) float16, the levels' maps one after the other.
    """
    detector.reset()
    rows: list[dict[str, np.ndarray]] = []
    features: list[np.ndarray] = []
    for number, frame in enumerate(frames):
        people = detector(frame.image_bgr, number * FRAME_NS).to(H36M17)
        inside = ((frame.joints_px >= 0) & (frame.joints_px < frame.camera.size)).all(-1).mean()
        own = own_detection(people, frame.joints_px) if inside >= 0.5 else None
        if own is None:
            continue
        person = people[[own]]
        scale = float(canonical_scale(stature(frame.joints_m)))
        rows.append({"rays": frame.camera.rays(person.keypoints_px)[0], "confidence": person.confidence[0],
                     "crop_keypoints": crop_keypoints(person)[0], "joints_m": scale * frame.joints_m,
                     "crop_rays": crop_rays(frame.camera, person)[0], "frame": np.array(number)})
        features.append(np.concatenate([level.ravel() for level in person.features]).astype(np.float16))
    labels = {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
    return ({name: value.astype(np.float32) if value.dtype == float else value for name, value in labels.items()},
            np.stack(features) if features else np.zeros((0, 0), np.float16))
