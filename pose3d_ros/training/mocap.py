"""Lifter training samples from motion capture: random bodies before random cameras, seen by a noisy detector."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.lifting.temporal import CANONICAL_HEIGHT_M
from pose3d_ros.skeleton import CMU22, H36M17, convert

# Parent of each joint of H36M17, parents before children in this order.
_TREE = (("r_hip", "pelvis"), ("r_knee", "r_hip"), ("r_ankle", "r_knee"), ("l_hip", "pelvis"), ("l_knee", "l_hip"),
         ("l_ankle", "l_knee"), ("spine", "pelvis"), ("thorax", "spine"), ("neck", "thorax"), ("head", "neck"),
         ("l_shoulder", "thorax"), ("l_elbow", "l_shoulder"), ("l_wrist", "l_elbow"), ("r_shoulder", "thorax"),
         ("r_elbow", "r_shoulder"), ("r_wrist", "r_elbow"))
_CHILDREN = [H36M17.index(child) for child, _ in _TREE]
_PARENTS = [H36M17.index(parent) for _, parent in _TREE]
# Bones of equal length on both sides share a factor.
_KINDS, _KIND = np.unique([child.removeprefix("l_").removeprefix("r_") for child, _ in _TREE], return_inverse=True)
_STATURE = H36M17.indices("r_ankle", "r_knee", "r_hip", "spine", "thorax", "neck", "head")
_LARGEST_STEP_M = 0.5  # in 1/30 s: 15 m/s
_LIMB_CHAINS = tuple(H36M17.indices(*(f"{side}_{name}" for name in chain)) for side in "lr" for chain in
                     (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")))
_THORAX, _NECK, _HEAD = H36M17.indices("thorax", "neck", "head")
_UPPER = np.zeros(len(H36M17), bool)
_UPPER[H36M17.indices("spine", "thorax", "neck", "head", "l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow",
                      "r_wrist")] = True
# A detector's pelvis, thorax and spine are the middles of the joints that it finds.
_MIDDLES = (H36M17.indices("l_hip", "r_hip"), H36M17.indices("l_shoulder", "r_shoulder"),
            H36M17.indices("l_hip", "r_hip", "l_shoulder", "r_shoulder"))
_ANKLE_AND_CROWN_M = 0.18  # from the sole to the ankle joint, and from the head joint to the crown

# Limb lengths as parts of the stature, between joint centres (de Leva 1996, mean of women and men). The motion capture
# skeletons end the forearm 6 cm before the wrist.
_LIMB_OF_STATURE = {"elbow": 0.160, "wrist": 0.153, "knee": 0.235, "ankle": 0.249}


def stature(joints_m: np.ndarray) -> np.ndarray:
    """Standing height (...,) of poses (..., 17, 3): the length of the chain from sole to crown, posture apart."""
    chain = joints_m[..., _STATURE, :]
    steps = np.linalg.norm(np.diff(chain, axis=-2), axis=-1)
    pelvis_to_spine = np.linalg.norm(joints_m[..., H36M17.index("spine"), :] - joints_m[..., 0, :], axis=-1)
    # The hip is beside the spine's foot: the pelvis, level with it, takes its place in the chain.
    return steps.sum(-1) - steps[..., 2] + pelvis_to_spine + _ANKLE_AND_CROWN_M


def change_body(joints_m: np.ndarray, variation: np.ndarray) -> np.ndarray:
    """Poses (B, T, 17, 3) with limbs of average length and all bones multiplied by ``variation`` (B, kinds of bone), at
    the canonical stature.
    """
    bones = joints_m[:, :, _CHILDREN] - joints_m[:, :, _PARENTS]
    lengths = np.linalg.norm(bones, axis=-1).mean(1)
    factors = variation[:, _KIND]
    for kind, part in _LIMB_OF_STATURE.items():
        limb = _KINDS[_KIND] == kind
        factors[:, limb] *= part * CANONICAL_HEIGHT_M / np.maximum(lengths[:, limb], 1e-3)
    bones *= factors[:, None, :, None]
    changed = np.empty_like(joints_m)
    changed[:, :, 0] = joints_m[:, :, 0]
    for row, (child, parent) in enumerate(zip(_CHILDREN, _PARENTS, strict=True)):
        changed[:, :, child] = changed[:, :, parent] + bones[:, :, row]
    bones_m = stature(changed).mean(1) - _ANKLE_AND_CROWN_M
    return changed * ((CANONICAL_HEIGHT_M - _ANKLE_AND_CROWN_M) / bones_m)[:, None, None, None]


def heading(joints_m: np.ndarray) -> np.ndarray:
    """Angle (...,) of the hips' left-to-right axis about the vertical, for poses (..., 17, 3) with z up."""
    across = joints_m[..., H36M17.index("r_hip"), :] - joints_m[..., H36M17.index("l_hip"), :]
    return np.arctan2(across[..., 1], across[..., 0])


def turn(joints_m: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Poses (..., 17, 3) turned about the vertical through the origin by ``angle`` (...,)."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y, z = (joints_m[..., i] for i in range(3))
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], -1)


def recombine(lower_m: np.ndarray, upper_m: np.ndarray) -> np.ndarray:
    """The legs of one motion (..., 17, 3) under the trunk and arms of another, which turns with the first's hips."""
    upper = turn(upper_m - upper_m[..., :1, :], heading(lower_m) - heading(upper_m)) + lower_m[..., :1, :]
    return np.where(_UPPER[:, None], upper, lower_m)


def lean(rng: np.random.Generator, joints_m: np.ndarray, sigma_rad: float, fallen_share: float) -> np.ndarray:
    """Windows (B, T, 17, 3) tilted about a horizontal axis through the last pelvis; a few as far as lying."""
    count = len(joints_m)
    angle = rng.normal(0, sigma_rad, count)
    angle = np.where(rng.random(count) < fallen_share, rng.uniform(-np.pi / 2, np.pi / 2, count), angle)
    direction = rng.uniform(0, 2 * np.pi, count)
    vector = np.stack([np.cos(direction), np.sin(direction), np.zeros(count)], 1) * angle[:, None]
    rotation = _rotations(vector)
    centre = joints_m[:, -1:, :1]
    return (joints_m - centre) @ np.swapaxes(rotation, 1, 2)[:, None] + centre


def move_limbs(rng: np.random.Generator, joints_m: np.ndarray, sigma_rad: float) -> np.ndarray:
    """Windows (B, T, 17, 3) in which each thigh, shank, upper arm and forearm is turned a little, alike throughout."""
    moved = joints_m.copy()
    for chain in _LIMB_CHAINS:
        for pivot in (0, 1):
            rotation = _rotations(rng.normal(0, sigma_rad, (len(joints_m), 3)))
            centre = moved[:, :, chain[pivot], None]
            outer = chain[pivot + 1 :]
            moved[:, :, outer] = (moved[:, :, outer] - centre) @ np.swapaxes(rotation, 1, 2)[:, None] + centre
    return moved


def _rotations(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices (B, 3, 3) float32 of rotation vectors (B, 3)."""
    matrices: np.ndarray = Rotation.from_rotvec(vectors).as_matrix().astype(np.float32)
    return matrices


def mirror(points: np.ndarray) -> np.ndarray:
    """Reflect poses (..., 17, D) in their first axis, exchanging left and right joints."""
    flipped = points[..., H36M17.flip, :].copy()
    flipped[..., 0] *= -1
    return flipped


@dataclass(frozen=True)
class Mocap:
    """Motion at 30 Hz: ``joints_m`` (N, 17, 3) with z up, and the ``starts`` of all windows of ``window`` frames."""

    joints_m: np.ndarray
    starts: np.ndarray
    window: int

    @classmethod
    def load(cls, folder: Path, split: str, window: int) -> Mocap:
        """From the CMU data's ``train.npz``/``val.npz`` and ``index.json``; windows with glitches are left out."""
        with np.load(folder / f"{split}.npz") as data:
            positions, starts, lengths = data["positions"], data["clip_start"], data["clip_len"]
        index = [clip for clip in json.loads((folder / "index.json").read_text())["clips"] if clip["split"] == split]
        joints_m, _ = convert(positions, np.isfinite(positions).all(-1).astype(np.float32), CMU22, H36M17)
        joints_m[:, _HEAD] = np.where(np.isfinite(joints_m[:, _HEAD]), joints_m[:, _HEAD],
                                      joints_m[:, _THORAX] + 1.7 * (joints_m[:, _NECK] - joints_m[:, _THORAX]))
        usable = np.isfinite(joints_m).all((1, 2))
        for clip, start in zip(index, starts, strict=True):
            for frame in clip.get("glitch_frames", ()):
                usable[max(start, start + frame - 1) : start + frame + 2] = False
        # Jumps that nobody listed, some of over a metre in one frame.
        usable[1:] &= np.linalg.norm(np.diff(joints_m, axis=0), axis=-1).max(-1) < _LARGEST_STEP_M
        windows = []
        for start, length in zip(starts, lengths, strict=True):
            candidates = np.arange(start, start + length - window + 1)
            bad = np.concatenate([[0], np.cumsum(~usable[start : start + length])])
            windows.append(candidates[bad[window:] == bad[: len(candidates)]])
        return cls(joints_m, np.concatenate(windows), window)


@dataclass(frozen=True)
class Batch:
    """``features`` (B, T, 18, 3) of ``normalise`` and the last frame's ``target_m`` (B, 17, 3), relative to the pelvis
    in the axes of the virtual camera, at the canonical height.
    """

    features: np.ndarray
    target_m: np.ndarray


def look(rng: np.random.Generator, poses: np.ndarray) -> np.ndarray:
    """Poses (B, T, 17, 3) with z up in the frame of a random camera each (z forward), as a robot would carry it."""
    count = len(poses)
    distance = np.exp(rng.uniform(np.log(1.3), np.log(8.0), count))
    height = rng.uniform(0.3, 2.5, count)
    azimuth = rng.uniform(0, 2 * np.pi, count)
    root = poses[:, -1, 0]
    floor = np.nanmin(poses[:, :, :, 2].reshape(count, -1), 1)
    position = np.stack([root[:, 0] + distance * np.cos(azimuth), root[:, 1] + distance * np.sin(azimuth),
                         floor + height], 1)
    forward = root - position
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    yaw, pitch, roll = rng.uniform(-0.5, 0.5, count), rng.normal(0, 0.2, count), rng.normal(0, 0.07, count)
    cos, sin = np.cos(yaw), np.sin(yaw)
    elevation = np.clip(np.arcsin(forward[:, 2]) + pitch, -1.2, 1.2)
    heading = np.stack([cos * forward[:, 0] - sin * forward[:, 1], sin * forward[:, 0] + cos * forward[:, 1]], 1)
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    z = np.concatenate([heading * np.cos(elevation)[:, None], np.sin(elevation)[:, None]], 1)
    right = np.stack([heading[:, 1], -heading[:, 0], np.zeros(count)], 1)
    down = np.cross(z, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    rotation = np.stack([c * right + s * down, c * down - s * right, z], 1)
    return ((poses - position[:, None, None]).astype(np.float32)
            @ np.swapaxes(rotation, 1, 2)[:, None].astype(np.float32))


class Detector:
    """The noise of a 2D detector, replayed from what the embedded detector did on labelled pictures.

    ``residual`` (N, 17, 2): detected minus true keypoints divided by the person's size (root mean square distance of
    the joints from their mean) in the picture; ``confidence`` (N, 17); ``facing`` (N,) the angle of the body about the
    vertical in the camera's frame; ``starts``: rows at which a window of consecutive frames begins.
    """

    def __init__(self, residual: np.ndarray, confidence: np.ndarray, facing: np.ndarray, starts: np.ndarray) -> None:
        self.residual, self.confidence, self.facing, self.starts = residual, confidence, facing, starts

    @classmethod
    def load(cls, path: Path, window: int) -> Detector:
        """From the npz that ``training.synthetic.detector_noise`` writes."""
        with np.load(path) as data:
            found = data["found"]
            joints_m, residual = data["joints_m"][found].astype(float), data["residual"][found]
            confidence, clip, frame = data["confidence"][found], data["clip"][found], data["frame"][found]
        residual = (residual - rig_offsets(joints_m, residual, confidence)).astype(np.float32)
        first = np.arange(len(clip) - window + 1)
        unbroken = (clip[first] == clip[first + window - 1]) & (frame[first + window - 1] - frame[first] == window - 1)
        return cls(residual, confidence, facing_angle(joints_m), first[unbroken])

    def __call__(
        self, rng: np.random.Generator, facing: np.ndarray, window: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Residuals (B, T, 17, 2) and confidence (B, T, 17) of somebody who faced about the same way."""
        tries = rng.choice(self.starts, (len(facing), 12))
        mirrored = rng.random((len(facing), 12)) < 0.5
        angle = self.facing[tries + window - 1]
        off = np.where(mirrored, -angle, angle) - facing[:, None]
        best = np.abs((off + np.pi) % (2 * np.pi) - np.pi).argmin(1)
        rows = np.arange(len(facing))
        frames = tries[rows, best][:, None] + np.arange(window)
        residual, confidence = self.residual[frames], self.confidence[frames]
        flip = mirrored[rows, best]
        residual[flip] = mirror(residual[flip])
        confidence[flip] = confidence[flip][:, :, H36M17.flip]
        return residual, confidence


def rig_offsets(joints_m: np.ndarray, residual: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The constant part (N, 17, 2) of residuals (N, 17, 2): where the rendered rig's joints are not the detector's.

    Every rig has its own idea of where a shoulder is. One offset per joint in the body's own axes (up, across,
    forward), the same for left and right, is fitted by least squares to poses (N, 17, 3) in the camera's frame.
    """
    trunk = joints_m[:, H36M17.index("thorax")] - joints_m[:, 0]
    left, right = H36M17.indices("l_hip", "l_shoulder"), H36M17.indices("r_hip", "r_shoulder")
    across = (joints_m[:, left] - joints_m[:, right]).mean(1)
    forward = np.cross(across, trunk)
    axes = np.stack([trunk, across, forward], 1)
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    rays = joints_m[..., :2] / joints_m[..., 2:]
    # What a metre along each axis is in the picture, in units of the person's size: (N, 17, 2, 3).
    slopes = (axes[:, None, :, :2] - rays[:, :, None] * axes[:, None, :, 2:]) / joints_m[:, :, 2, None, None]
    slopes = np.swapaxes(slopes, -1, -2) / rms_size(rays)[:, None, None, None]
    mirrored = np.ones((17, 3))
    mirrored[H36M17.symmetric_pairs[:, 1], 1] = -1
    slopes = slopes * mirrored[:, None]
    offsets = np.empty((17, 3))
    for joint in range(17):
        both = [joint, H36M17.flip[joint]]
        sure = confidence[:, both].reshape(-1) > 0.5
        offsets[joint] = np.linalg.lstsq(slopes[:, both].reshape(-1, 2, 3)[sure].reshape(-1, 3),
                                         residual[:, both].reshape(-1, 2)[sure].reshape(-1), rcond=None)[0]
    return np.einsum("njka,ja->njk", slopes, offsets)


def facing_angle(joints_camera_m: np.ndarray) -> np.ndarray:
    """Angle (...,) about the vertical of bodies (..., 17, 3) in camera axes; 0 faces away, pi the camera.

    It changes sign when the picture is mirrored.
    """
    left, right = H36M17.indices("l_hip", "l_shoulder"), H36M17.indices("r_hip", "r_shoulder")
    across = (joints_camera_m[..., right, :] - joints_camera_m[..., left, :]).mean(-2)
    return np.arctan2(-across[..., 2], across[..., 0])


def rms_size(points: np.ndarray) -> np.ndarray:
    """Root mean square distance (...,) of points (..., J, 2) from their mean."""
    return np.sqrt(((points - points.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1))


def sample(
    rng: np.random.Generator, mocap: Mocap, detector: Detector | None, size: int, varied: bool = True
) -> Batch:
    """A batch of windows: random body, camera, detector noise, frame rate, dropouts, truncation and short histories.

    ``varied`` also makes new motions of the captured ones, which are few: legs and trunks of different people, limbs
    moved, bodies leaning.
    """
    window = mocap.window
    frames = rng.choice(mocap.starts, size)[:, None] + np.arange(window)
    poses = mocap.joints_m[frames].astype(np.float32)
    if varied:
        mixed = np.flatnonzero(rng.random(size) < 0.5)
        others = mocap.joints_m[rng.choice(mocap.starts, len(mixed))[:, None] + np.arange(window)]
        poses[mixed] = recombine(poses[mixed], others)
        poses = lean(rng, move_limbs(rng, poses, 0.3), 0.15, 0.05)
    flip = rng.random(size) < 0.5
    poses[flip] = mirror(poses[flip])
    poses = change_body(poses, rng.normal(1, 0.06, (size, len(_KINDS))).astype(np.float32))
    camera = look(rng, poses).astype(np.float32)
    rays = camera[..., :2] / np.maximum(camera[..., 2:], 0.2)
    confidence = np.ones(rays.shape[:-1], np.float32)

    if detector is not None:
        residual, confidence = detector(rng, facing_angle(camera[:, -1]), window)
        residual = residual * rng.uniform(0.2, 1.0, (size, 1, 1, 1)).astype(np.float32)
        # Other detectors and other people: each places a joint a little elsewhere, always the same way.
        residual += rng.normal(0, 0.03, (size, 1, 17, 2)).astype(np.float32)
        rays = rays + residual * rms_size(rays).mean(1)[:, None, None, None]

    rays[..., H36M17.index("pelvis"), :], rays[..., H36M17.index("thorax"), :], rays[..., H36M17.index("spine"), :] = (
        rays[..., joints, :].mean(-2) for joints in _MIDDLES)

    # A slower camera: every 2nd or 3rd frame is seen, the rest is interpolated.
    for step, share in ((2, 0.2), (3, 0.2)):
        slow = np.flatnonzero(rng.random(size) < share)
        phase = (window - 1 - np.arange(window)) % step / step
        later = np.minimum(np.arange(window) + (phase * step).astype(int), window - 1)
        earlier = np.maximum(later - step, 0)
        weight = phase[:, None, None].astype(np.float32)
        rays[slow] = rays[slow][:, later] * (1 - weight) + rays[slow][:, earlier] * weight
        confidence[slow] = np.minimum(confidence[slow][:, later], confidence[slow][:, earlier])

    # Truncated by the picture's border or furniture: nothing below the waist, or below the knees; single limbs hidden.
    legs = H36M17.indices("r_knee", "r_ankle", "l_knee", "l_ankle")
    feet = H36M17.indices("r_ankle", "l_ankle")
    for joints, share in ((legs, 0.06), (feet, 0.06)):
        rows = np.flatnonzero(rng.random(size) < share)
        confidence[rows[:, None], :, joints] = 0
    hidden = rng.random((size, 17)) < 0.02
    begin, end = np.sort(rng.integers(0, window + 1, (2, size, 17)), axis=0)
    time = np.arange(window)[:, None]
    gone = hidden[:, None] & (time >= begin[:, None]) & ((time < end[:, None]) | (end[:, None] > window - 6))
    confidence[gone] = 0

    # Just met: before the first sight there is only its copy.
    young = rng.random(size) < 0.15
    first = np.where(young, rng.integers(0, window, size), 0)
    index = np.maximum(np.arange(window), first[:, None])
    rows = np.arange(size)[:, None]
    rays, confidence = rays[rows, index], confidence[rows, index]

    features, rotation = normalise(rays, confidence)
    last = camera[:, -1] - camera[:, -1, :1]
    return Batch(features, last @ np.swapaxes(rotation, 1, 2))
