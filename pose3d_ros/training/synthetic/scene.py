"""What renders are made of: motions of the CMU data, random people, rooms and cameras."""

from __future__ import annotations

import colorsys
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pose3d_ros.camera import Camera
from pose3d_ros.skeleton import CMU22
from pose3d_ros.training.synthetic.body import Assets, Material, Shape, Wardrobe
from pose3d_ros.training.synthetic.render import Actor, Colour, Look, Room, Scene
from pose3d_ros.training.synthetic.retarget import retarget

_MALE_SUITS = ("male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit04", "male_casualsuit05",
               "male_casualsuit06", "male_elegantsuit01", "male_worksuit01")
_FEMALE_SUITS = ("female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01")
_MALE_HAIR = ("short02", "short02", "short03", "short04", "afro01", "")
_FEMALE_HAIR = ("bob01", "bob02", "long01", "ponytail01", "short02")
_SHOES = ("shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06")
_DARKEST_SKIN, _LIGHTEST_SKIN = (0.30, 0.19, 0.13), (0.93, 0.76, 0.66)
_LEAN_FRAMES = 15.0  # leaning for longer than this, at 30 Hz, is not walking
_GLITCH_M = 0.5  # no joint moves this far in a thirtieth of a second
_HAIR_COLOURS = ((0.08, 0.06, 0.05), (0.20, 0.13, 0.09), (0.36, 0.24, 0.15), (0.65, 0.50, 0.30), (0.55, 0.54, 0.52))


@dataclass(frozen=True)
class Motions:
    """Motion capture clips by name: (T, 22, 3) joints (CMU22) in metres, z up, 30 Hz."""

    clips: dict[str, np.ndarray]

    @classmethod
    def load(cls, folder: Path, split: str) -> Motions:
        """From the CMU data's ``train.npz`` or ``val.npz`` and ``index.json``."""
        with np.load(folder / f"{split}.npz") as data:
            positions = data["positions"]
        index = json.loads((folder / "index.json").read_text())["clips"]
        return cls({clip["id"]: positions[clip["start"] : clip["start"] + clip["frames"]]
                    for clip in index if clip["split"] == split})

    def random(self, rng: np.random.Generator, frames: int) -> tuple[str, np.ndarray]:
        """Name and ``frames`` consecutive frames, without a glitch, of any clip; each window is equally likely."""
        names = [name for name, clip in self.clips.items() if len(clip) >= frames]
        room = np.array([len(self.clips[name]) - frames + 1 for name in names])
        while True:
            name = names[rng.choice(len(names), p=room / room.sum())]
            start = int(rng.integers(len(self.clips[name]) - frames + 1))
            window = self.clips[name][start : start + frames]
            if np.nanmax(np.linalg.norm(np.diff(window, axis=0), axis=-1)) < _GLITCH_M:
                return name, window


def place(joints_m: np.ndarray, position_m: tuple[float, float], turn_rad: float) -> np.ndarray:
    """The motion (T, J, 3) turned about the vertical, with the middle of its path over the floor at ``position_m``."""
    c, s = math.cos(turn_rad), math.sin(turn_rad)
    turned = joints_m @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    path = turned[:, 0, :2]
    turned[..., :2] += np.array(position_m) - (path.min(0) + path.max(0)) / 2
    return turned


def level(joints_m: np.ndarray) -> np.ndarray:
    """The motion (T, 22, 3) of somebody upright with its slow lean taken out; some captures tilt as they turn."""
    left, right = CMU22.indices("l_hip", "l_shoulder"), CMU22.indices("r_hip", "r_shoulder")
    hips, shoulders = ((joints_m[:, a] + joints_m[:, b]) / 2 for a, b in zip(left, right, strict=True))
    trunk = gaussian_filter1d((shoulders - hips).astype(float), _LEAN_FRAMES, axis=0, mode="nearest")
    trunk /= np.linalg.norm(trunk, axis=1, keepdims=True)
    axis = np.cross(trunk, [0, 0, 1])
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    turn = Rotation.from_rotvec(axis / np.maximum(sine, 1e-9) * np.arcsin(sine.clip(0, 1))).as_matrix()
    root = joints_m[:, :1]
    return np.einsum("tij,tkj->tki", turn, joints_m - root) + root


def look_at(camera: Camera, position_m: np.ndarray, target_m: np.ndarray, roll_rad: float = 0.0) -> Camera:
    """The camera at a place in the world (z up) with its optical axis through ``target_m``."""
    forward = np.asarray(target_m, float) - position_m
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = math.cos(roll_rad), math.sin(roll_rad)
    pose = np.eye(4)
    pose[:3, :3] = [c * right + s * down, c * down - s * right, forward]
    pose[:3, 3] = -pose[:3, :3] @ position_m
    return replace(camera, camera_from_world=pose)


def random_shape(rng: np.random.Generator) -> Shape:
    """A build: sex, age, muscle, weight, ancestry and stature."""
    ancestry = rng.dirichlet((0.4, 0.4, 0.6))
    return Shape(float(rng.integers(2)), float(rng.beta(1, 2)), float(rng.beta(2, 2)), float(rng.beta(2, 2)),
                 (float(ancestry[0]), float(ancestry[1]), float(ancestry[2])), float(rng.normal(1, 0.04)))


def random_wardrobe(rng: np.random.Generator, shape: Shape, assets: Assets) -> Wardrobe:
    """Clothes, shoes and hair, of those that the assets hold, by the shape's sex."""
    suits, hair = (_MALE_SUITS, _MALE_HAIR) if shape.male > 0.5 else (_FEMALE_SUITS, _FEMALE_HAIR)

    def pick(names: tuple[str, ...], kind: str) -> str:
        there = set(assets.names(kind)) | {""}
        return str(rng.choice([name for name in names if name in there]))

    return Wardrobe((pick(suits, "clothes"), pick(_SHOES, "clothes")), pick(hair, "hair"))


def _hsv(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def random_look(rng: np.random.Generator, shape: Shape) -> Look:
    """Skin by ancestry, hair, and cloth with a pattern."""
    fair = np.clip(np.dot(shape.ancestry, (0.2, 0.75, 0.85)) + rng.normal(0, 0.1), 0, 1)
    red, green, blue = np.array(_DARKEST_SKIN) * (1 - fair) + np.array(_LIGHTEST_SKIN) * fair
    hair = _HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))]
    skin = float(red), float(green), float(blue)
    colours = (skin, (1.0, 1.0, 1.0), hair, _hsv(rng, (0, 0.9), (0.2, 0.95)), _hsv(rng, (0, 0.6), (0.1, 0.6)),
               _hsv(rng, (0, 0.5), (0.1, 0.9)))
    second = tuple(_hsv(rng, (0, 0.9), (0.1, 0.95)) for _ in Material)
    pattern = [0] * len(Material)
    pattern[Material.TOP] = int(rng.choice(6, p=(0.4, 0.15, 0.1, 0.15, 0.1, 0.1)))
    pattern[Material.BOTTOM] = int(rng.choice(5, p=(0.8, 0.02, 0.06, 0.06, 0.06)))
    scale = tuple(float(v) for v in rng.uniform(8, 30, len(Material)))
    return Look(colours, second, tuple(pattern), scale)


def random_room(rng: np.random.Generator, clear_m: np.ndarray) -> Room:
    """Floor, walls, light and some furniture, none within a metre of the places (N, 2) in ``clear_m``."""
    boxes = []
    for _ in range(rng.integers(0, 10)):
        half, centre, height = rng.uniform(0.15, 0.5, 2), rng.uniform(-5.5, 5.5, 2), rng.uniform(0.3, 2.0)
        if (np.linalg.norm(clear_m - centre, axis=1) > 1 + half.max()).all():
            boxes.append([[*(centre - half), 0.0], [*(centre + half), height]])
    bright = rng.uniform(0.8, 1.5)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.4)
    light = bright * rng.uniform(0.3, 0.9)
    warm = rng.uniform(-0.06, 0.06)
    ambient = bright * rng.uniform(0.3, 0.6)
    return Room(
        (_hsv(rng, (0, 0.35), (0.2, 0.8)), int(rng.integers(3))),
        (_hsv(rng, (0, 0.25), (0.4, 0.95)), int(rng.integers(3))),
        _hsv(rng, (0, 0.6), (0.15, 0.8)), np.array(boxes).reshape(-1, 2, 3),
        (math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation)),
        (light * (1 + warm), light, light * (1 - warm)), (ambient, ambient, ambient * (1 - warm)),
        (ambient * 0.5, ambient * 0.47, ambient * 0.43))


def random_view(rng: np.random.Generator, size: tuple[int, int], target_m: np.ndarray) -> Camera:
    """A robot's camera: 0.3 to 2.5 m high, 1.5 to 5.7 m from the target, 40 to 90 degrees wide, aimed about at it."""
    camera = Camera.from_fov(*size, math.radians(rng.uniform(40, 90)))
    azimuth, distance = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(1.5), np.log(5.7)))
    position = target_m + distance * np.array([math.cos(azimuth), math.sin(azimuth), 0])
    position[:2] = position[:2].clip(-5.8, 5.8)
    position[2] = rng.uniform(0.3, 2.5)
    aim = target_m + rng.normal(0, (0.2, 0.2, 0.12)) * distance / 3
    return look_at(camera, position, aim, rng.normal(0, 0.04))


def random_scene(
    rng: np.random.Generator, assets: Assets, motions: Motions, frames: int, size: tuple[int, int]
) -> tuple[Scene, Camera]:
    """One random person in a random motion and room, and a camera that looks at the middle of the path."""
    shape = random_shape(rng)
    body = assets.build(shape, random_wardrobe(rng, shape, assets))
    joints_m = place(motions.random(rng, frames)[1], (0.0, 0.0), rng.uniform(0, 2 * np.pi))
    posed = retarget(joints_m, body)
    target = posed.joints_m.reshape(-1, 3)
    camera = random_view(rng, size, (target.min(0) + target.max(0)) / 2)
    clear = np.concatenate([posed.heads[:, 0, :2], camera.position_m[None, :2]])
    return Scene((Actor(body, posed, random_look(rng, shape)),), random_room(rng, clear)), camera


def as_sensed(rng: np.random.Generator, image: np.ndarray, blur_px: float, noise: float) -> np.ndarray:
    """The picture (H, W, 3) uint8 as a lens of some blur and a sensor with noise (grey levels) deliver it."""
    if blur_px > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur_px)
    grain = rng.normal(0, noise, image.shape[:2]).astype(np.float32)[..., None]
    return (image + grain).clip(0, 255).astype(np.uint8)
