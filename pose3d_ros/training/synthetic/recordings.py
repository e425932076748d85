"""Labelled pictures for anybody: rendered people as a dataset of recordings (``training/dataset.py``) with JPEGs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.training.dataset import Recording, write
from pose3d_ros.training.synthetic.detector_noise import Frame, random_clips

RATE_HZ = 30.0
_JPEG_QUALITY = 92
_HIDDEN = 0.5  # confidence of joints behind something; detectors often guess them


def render(makehuman: Path, cmu_mocap: Path, out: Path, clips: int, frames: int, seed: int,
           progress: Callable[[int], object] = lambda clip: None) -> list[Path]:
    """Write ``clips`` recordings of the train split's motions and a quarter as many of the val split's; returns them.

    Each is of one random person before one random camera at 30 Hz. Keypoints are the projected joints. Raises
    ``AssetError``, ``RenderError`` or ``ValueError``.
    """
    if clips < 1 or frames < 1:
        raise ValueError(f"expected one clip and one frame or more, got {clips} clips of {frames} frames")
    written: list[Path] = []
    for number, (split, count) in enumerate((("train", clips), ("val", max(clips // 4, 1)))):
        for clip, rendered in enumerate(random_clips(makehuman, cmu_mocap, count, frames, 2 * seed + number,
                                                     split=split)):
            recording = _recording(f"{split}_{clip:05d}", rendered)
            for frame, picture in zip(recording.frame, rendered, strict=True):
                path = out / recording.images.format(frame=frame)
                path.parent.mkdir(parents=True, exist_ok=True)
                if not cv2.imwrite(str(path), picture.image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
                    raise OSError(f"{path}: cannot write the picture")
            written.append(write(out, split, recording))
            progress(len(written))
    return written


def _recording(name: str, frames: list[Frame]) -> Recording:
    """Frames in which less than half of the joints are in the picture do not count."""
    camera = frames[0].camera
    rotation, translation = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    joints_m = (np.stack([frame.joints_m for frame in frames]) - translation) @ rotation
    joints_px = np.stack([frame.joints_px for frame in frames])
    inside = ((joints_px >= 0) & (joints_px <= np.array(camera.size) - 1)).all(-1)
    visible = np.stack([frame.visible for frame in frames])
    return Recording(name, joints_m, joints_px, np.where(visible, 1.0, _HIDDEN * inside), camera, RATE_HZ, subject=name,
                     action="motion", images=f"images/{name}/{{frame:05d}}.jpg", valid=inside.mean(-1) >= 0.5)
