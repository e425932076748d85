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

"""Random scenes: people in clothes, rooms or the open air, light, and cameras."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import look_at, transform_points
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.rendering import textures
from pose3d_ros.training.rendering.body import Assets, Body, Shape, Wardrobe
from pose3d_ros.training.rendering.motions import Motions, cut, lean, placed, vary
from pose3d_ros.training.rendering.renderer import (
    OBJECT,
    Actor,
    Appearance,
    Colour,
    Room,
    Scene,
    Surface,
)
from pose3d_ros.training.rendering.retarget import retarget

_MALE_SUITS = (
    "male_casualsuit01",
    "male_casualsuit02",
    "male_casualsuit03",
    "male_casualsuit04",
    "male_casualsuit05",
    "male_casualsuit06",
    "male_elegantsuit01",
    "male_worksuit01",
)
_FEMALE_SUITS = (
    "female_casualsuit01",
    "female_casualsuit02",
    "female_elegantsuit01",
    "female_sportsuit01",
)
_MALE_HAIR = ("short01", "short02", "short03", "short04", "afro01", "")
_FEMALE_HAIR = ("bob01", "bob02", "long01", "ponytail01", "braid01", "short02")
_SHOES = ("shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06")
_DARKEST_SKIN, _LIGHTEST_SKIN = (0.30, 0.19, 0.13), (0.93, 0.76, 0.66)
_HAIR_COLOURS = (
    (0.08, 0.06, 0.05),
    (0.20, 0.13, 0.09),
    (0.36, 0.24, 0.15),
    (0.65, 0.50, 0.30),
    (0.55, 0.54, 0.52),
)
_SIZES = ((640, 480), (640, 480), (1280, 720), (1920, 1080))
_LEAST_PX = 50  # a person's height
_BACKDROP_PX = 640  # what is far away is seldom sharp
_HIPS, _KNEES = H36M17.indices("l_hip", "r_hip"), H36M17.indices("l_knee", "r_knee")
_UPPER = H36M17.indices(
    "pelvis",
    "spine",
    "thorax",
    "neck",
    "head",
    "l_shoulder",
    "l_elbow",
    "l_wrist",
    "r_shoulder",
    "r_elbow",
    "r_wrist",
)
_NEAR, _DESK_M = 0.15, 1.6  # share of cameras that are at most as far as from the edge of a desk


@dataclass(frozen=True)
class Sensor:
    """Effects of lens, sensor and compression on an image: blur in pixels (standard deviation, and
    a shake's length and direction), noise in grey levels (of darkness, and of light at full
    white), JPEG quality (0: none), and tones: white balance, gain, gamma, and share of colour
    that is left.
    """

    blur_px: float = 0.0
    shake_px: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, float] = (0.0, 0.0)
    jpeg: int = 0
    balance: Colour = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    colour: float = 1.0

    def __call__(
        self, rng: np.random.Generator, image: np.ndarray, scale: float = 1.0
    ) -> np.ndarray:
        """The picture (H, W, 3) uint8 BGR as it is delivered; one of its pixels is ``scale`` of
        the sensor's wide, of which as many whole ones are averaged (``regions.crop``).
        """
        levels = np.arange(256)[:, None] / 255
        table = 255 * np.clip(levels**self.gamma * np.array(self.balance)[::-1], 0, 1)
        image = cv2.LUT(image, np.rint(table).astype(np.uint8).reshape(256, 1, 3))
        if self.colour < 1:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            image = cv2.addWeighted(image, self.colour, grey, 1 - self.colour, 0)
        if self.blur_px / scale > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), self.blur_px / scale)
        length = np.hypot(*self.shake_px) / scale
        if length > 1:
            steps = np.linspace(-0.5, 0.5, 2 * int(np.ceil(length)) + 1)
            kernel = np.zeros((2 * int(length) + 3,) * 2, np.float32)
            middle = len(kernel) // 2
            at = np.rint(middle + steps[:, None] * np.array(self.shake_px) / scale).astype(int)
            np.add.at(kernel, (at[:, 1], at[:, 0]), 1)
            image = cv2.filter2D(image, -1, kernel / kernel.sum())
        if max(self.noise) > 0:
            dark, light = np.array(self.noise) / max(int(scale), 1)
            grain = rng.standard_normal(
                (*image.shape[:2], 1), np.float32
            ) + 0.5 * rng.standard_normal(image.shape, np.float32)
            image = np.clip(
                image + grain * (dark + light * np.sqrt(image / np.float32(255))), 0, 255
            ).astype(np.uint8)
        if self.jpeg and scale < 1.5:
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])[1]
            image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
        return image


@dataclass(frozen=True)
class Shot:
    """A scene before a camera: ``backdrop`` (h, w, 3) uint8 BGR is the image behind all that is
    modelled, of any size with the same ratio of sides.
    """

    scene: Scene
    camera: Camera
    backdrop: np.ndarray
    sensor: Sensor
    exposure_frames: float  # how long the shutter is open, in frames


def random_shape(rng: np.random.Generator) -> Shape:
    """A build: sex, age, muscle, weight, ancestry and stature."""
    ancestry = rng.dirichlet((0.4, 0.4, 0.6))
    return Shape(
        float(rng.integers(2)),
        float(rng.beta(1, 2)),
        float(rng.beta(1.5, 1.5)),
        float(rng.beta(1.5, 1.5)),
        (float(ancestry[0]), float(ancestry[1]), float(ancestry[2])),
        float(rng.normal(1, 0.05)),
    )


def random_wardrobe(rng: np.random.Generator, shape: Shape, assets: Assets) -> Wardrobe:
    """Clothes, shoes and hair, of those that the assets hold, by the shape's sex; a few go
    barefoot or wear a hat.
    """
    suits, hair = (_MALE_SUITS, _MALE_HAIR) if shape.male > 0.5 else (_FEMALE_SUITS, _FEMALE_HAIR)

    def pick(names: tuple[str, ...], kind: str) -> str:
        there = set(assets.names(kind)) | {""}
        return str(rng.choice([name for name in names if name in there]))

    clothes = [pick(suits, "clothes")]
    if rng.random() < 0.92:
        clothes.append(pick(_SHOES, "clothes"))
    if rng.random() < 0.06 and "fedora01" in assets.names("clothes"):
        clothes.append("fedora01")
    return Wardrobe(tuple(clothes), pick(hair, "hair"))


def _hsv(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def _cloth(rng: np.random.Generator, layers: int, patterned: float) -> Surface:
    """Plain cloth of any colour, dark and strong ones as often as pale, or with a pattern."""
    first = (
        _hsv(rng, (0, 1.0), (0.03, 1.0))
        if rng.random() < 0.7
        else _hsv(rng, (0, 0.1), (0.03, 1.0))
    )
    if rng.random() > patterned or layers <= textures.VARIED:
        shade = rng.uniform(0.75, 1.0)
        return Surface(
            first,
            (first[0] * shade, first[1] * shade, first[2] * shade),
            textures.GRAIN,
            rng.uniform(2, 12),
            rng.uniform(0, 0.12),
        )
    return Surface(
        first,
        _hsv(rng, (0, 1.0), (0.03, 1.0)),
        int(rng.integers(textures.VARIED, layers)),
        float(np.exp(rng.uniform(np.log(0.8), np.log(8)))),
        rng.uniform(0, 0.1),
    )


def random_look(rng: np.random.Generator, shape: Shape, layers: int) -> Appearance:
    """Skin by ancestry, hair, and cloth with patterns, of which there are ``layers``."""
    fair = np.clip(np.dot(shape.ancestry, (0.2, 0.75, 0.85)) + rng.normal(0, 0.1), 0, 1)
    tone = np.array(_DARKEST_SKIN) * (1 - fair) + np.array(_LIGHTEST_SKIN) * fair
    tone = tone * rng.uniform(0.9, 1.05) * (1 + rng.uniform(-0.04, 0.04, 3))
    skin, rough = (tuple(np.clip(factor * tone, 0, 1).tolist()) for factor in (1.04, 0.9))
    hair = np.array(_HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))]) * rng.uniform(0.7, 1.3)
    return Appearance(
        (
            Surface(skin, rough, textures.GRAIN, 6, rng.uniform(0.03, 0.25)),
            Surface(gloss=0.5),
            Surface(
                tuple((0.6 * hair).tolist()),
                tuple((1.4 * hair).clip(0, 1).tolist()),
                textures.GRAIN,
                rng.uniform(10, 30),
                rng.uniform(0.02, 0.2),
            ),
            _cloth(rng, layers, 0.5),
            _cloth(rng, layers, 0.25),
            _cloth(rng, layers, 0.2),
        ),
        rng.uniform(0.2, 1.6),
    )


def _any_surface(rng: np.random.Generator, layers: int, scale: tuple[float, float]) -> Surface:
    texture = int(
        rng.choice(
            (
                textures.GRAIN,
                textures.PLANKS,
                textures.TILES,
                textures.BRICKS,
                textures.PLAIN,
                int(rng.integers(textures.VARIED, max(layers, textures.VARIED + 1))),
            )
        )
    )
    texture = min(texture, layers - 1)
    strong = 0.75 * rng.beta(1, 2.5)  # colours of what surrounds people are pale, mostly
    first, second = _hsv(rng, (0, strong), (0.15, 0.95)), _hsv(rng, (0, strong), (0.15, 0.95))
    if rng.random() < 0.3 and texture != textures.PLAIN:
        first, second = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # the texture as it is
    return Surface(
        first,
        second,
        texture,
        float(np.exp(rng.uniform(*np.log(scale)))),
        rng.choice((0.0, 0.05, 0.3)),
    )


def random_room(
    rng: np.random.Generator, clear_m: np.ndarray, layers: int, camera_m: np.ndarray | None = None
) -> Room:
    """A room, the open air, or nothing but a backdrop; its light, and furniture, none where people
    (N, 2) go.

    With a camera, sometimes something stands between it and the people: a table, a post, a bar.
    """
    kind = rng.choice(("room", "open", "nothing"), p=(0.5, 0.3, 0.2))
    half = float(rng.uniform(3.0, 9.0)) if kind == "room" else 18.0
    reach = (
        np.abs(
            np.concatenate([clear_m, camera_m[None, :2]]) if camera_m is not None else clear_m
        ).max()
        + 0.3
    )
    half = max(half, reach)
    boxes, surfaces = [], []
    for _ in range(rng.integers(0, 14) if kind != "nothing" else 0):
        size, centre = rng.uniform(0.1, 0.6, 2), rng.uniform(-min(half, 7), min(half, 7), 2)
        height = rng.uniform(0.3, 2.2)
        away = np.linalg.norm(clear_m - centre, axis=1).min() - size.max()
        near_camera = (
            camera_m is not None and np.linalg.norm(camera_m[:2] - centre) < 0.6 + size.max()
        )
        if away > 0.6 and not near_camera:
            boxes.append([[*(centre - size), 0.0], [*(centre + size), height]])
            surfaces.append(OBJECT + int(rng.integers(5)))
    if camera_m is not None and rng.random() < (
        0.5 if np.linalg.norm(clear_m.mean(0) - camera_m[:2]) < _DESK_M else 0.18
    ):
        boxes.append(_in_front(rng, clear_m.mean(0), camera_m))
        surfaces.append(OBJECT + int(rng.integers(5)))
    bright = float(np.exp(rng.normal(0.25, 0.3)))
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.45)
    if camera_m is not None and rng.random() < 0.15:  # against the light
        x, y = clear_m.mean(0) - camera_m[:2]
        azimuth, elevation = math.atan2(y, x) + rng.normal(0, 0.4), rng.uniform(0.1, 0.7)
    share = rng.uniform(0.1, 0.85)  # of the light that comes from one side: overcast to low sun
    warm, cast = rng.normal(0, 0.08), rng.normal(0, 0.05)
    tint = (
        np.array([1 + warm, 1 + cast, 1 - warm])
        if rng.random() < 0.9
        else rng.uniform(0.3, 1.3, 3)
    )
    light = 1.5 * bright * share * tint
    sky = bright * (1 - share) * np.array([1 - 0.5 * warm, 1, 1 + 0.5 * warm])
    ground = sky * rng.uniform(0.3, 0.8) * (1 + rng.uniform(-0.1, 0.1, 3))
    floor = _any_surface(rng, layers, (0.15, 2.0))
    wall = _any_surface(rng, layers, (0.1, 1.5))
    ceiling = replace(_any_surface(rng, layers, (0.2, 2.0)), first=(0.9, 0.9, 0.9))
    objects = [_any_surface(rng, layers, (0.3, 4.0)) for _ in range(5)]
    return Room(
        (floor, wall, ceiling, *objects),
        np.array(boxes).reshape(-1, 2, 3),
        np.array(surfaces, int),
        (kind != "nothing", kind == "room", kind == "room" and bool(rng.random() < 0.8)),
        half,
        rng.uniform(2.3, 4.0),
        (
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ),
        _colour(light),
        _colour(sky),
        _colour(ground),
    )


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def _in_front(
    rng: np.random.Generator, person_m: np.ndarray, camera_m: np.ndarray
) -> list[list[float]]:
    """A box between person and camera: low and wide, thin and tall, or a bar across."""
    share = rng.uniform(0.25, 0.75)
    centre = (
        camera_m[:2]
        + (1 - share) * (person_m - camera_m[:2])
        + rng.normal(0, 0.3, 2) * (1 - share)
    )
    kind = rng.integers(3)
    if kind == 0:
        half, low, high = rng.uniform(0.2, 0.7, 2), 0.0, rng.uniform(0.4, 1.0)
    elif kind == 1:
        half, low, high = rng.uniform(0.02, 0.12, 2), 0.0, rng.uniform(1.5, 2.5)
    else:
        half, low = (
            np.array([rng.uniform(0.3, 1.0), rng.uniform(0.02, 0.05)]),
            rng.uniform(0.3, 1.4),
        )
        half, high = rng.permutation(half), low + rng.uniform(0.04, 0.25)
    return [[*(centre - half), low], [*(centre + half), high]]


def random_view(
    rng: np.random.Generator, joints_m: np.ndarray, size: tuple[int, int] | None = None
) -> Camera:
    """A robot's camera: 0.3 to 2.5 m high, 1 to 8 m from the joints (N, 17, 3), 25 to 110 degrees
    wide, aimed about at them, such that most of them are in the picture and the person is not
    tiny. Or one as near as on a desk, which sees the trunk and what else there is room for.
    """
    near = rng.random() < _NEAR
    least_inside = 0.55 if near else 0.99 if rng.random() < 0.7 else 0.7
    about = joints_m[:, _UPPER] if near else joints_m
    target_m = (about.min((0, 1)) + about.max((0, 1))) / 2
    while True:
        camera = Camera.from_fov(
            *(size or _SIZES[rng.integers(len(_SIZES))]), math.radians(rng.uniform(25, 110))
        )
        azimuth = rng.uniform(0, 2 * np.pi)
        distance = np.exp(rng.uniform(*np.log((0.7, _DESK_M) if near else (1.0, 8.0))))
        position = target_m + distance * np.array([math.cos(azimuth), math.sin(azimuth), 0])
        position[2] = (
            np.clip(target_m[2] + rng.normal(0, 0.35), 0.3, 2.5) if near else rng.uniform(0.3, 2.5)
        )
        aim = target_m + rng.normal(0, (0.35, 0.35, 0.2)) * distance / 3
        camera, reach = random_lens(rng, camera)
        camera = replace(
            camera, camera_from_world=look_at(position, aim, roll_rad=rng.normal(0, 0.05))
        )
        rays = transform_points(camera.camera_from_world, joints_m)
        if (np.hypot(rays[..., 0], rays[..., 1]) > reach * rays[..., 2]).any():
            continue
        if np.linalg.norm(joints_m - position, axis=-1).min() < (0.3 if near else 0.5):
            continue
        joints_px = camera.project(joints_m)
        inside = ((joints_px >= 0) & (joints_px < camera.size)).all(-1)
        height = (
            np.nanmean(np.ptp(joints_px, axis=1).max(-1)) if np.isfinite(joints_px).all() else 0
        )
        if inside.mean() > least_inside and height > _LEAST_PX:
            return camera


def random_lens(rng: np.random.Generator, camera: Camera) -> tuple[Camera, float]:
    """The camera with a lens that distorts, or not, and how far off the axis (x/z) the lens' model
    holds.
    """
    half = np.array(camera.size) / 2 / camera.matrix[0, 0]
    kind = rng.choice(("none", "plumb_bob", "equidistant"), p=(0.8, 0.12, 0.08))
    if kind == "none":
        return camera, np.inf
    if kind == "plumb_bob":
        # A corner must have a ray: r (1 + k1 r^2) reaches at most 0.385 / sqrt(-k1).
        k1 = rng.uniform(-0.12, 0.03) / max(0.4, float((half**2).sum()))
        distortion = np.array([k1, 0, *rng.normal(0, 5e-4, 2), 0])
        return replace(camera, distortion=distortion), 0.95 / math.sqrt(3 * max(-k1, 1e-3))
    matrix = camera.matrix.copy()
    matrix[[0, 1], [0, 1]] = camera.size[0] / 2 / math.atan(half[0])
    return replace(
        camera,
        matrix=matrix,
        distortion=np.array([*rng.normal(0, (0.02, 0.004)), 0, 0]),
        distortion_model="equidistant",
    ), np.inf


def random_sensor(rng: np.random.Generator) -> Sensor:
    """Sharp and blurred, clean and noisy, pale and vivid pictures."""
    bright = np.exp(rng.normal(0, 0.15)) * (1 + rng.normal(0, 0.06, 3))
    shake = rng.normal(0, 4, 2) if rng.random() < 0.12 else np.zeros(2)
    return Sensor(
        abs(rng.normal(0, 0.8)),
        (float(shake[0]), float(shake[1])),
        (abs(rng.normal(0, 3)), abs(rng.normal(0, 4))),
        int(rng.integers(40, 96)) if rng.random() < 0.6 else 0,
        _colour(bright),
        float(np.exp(rng.normal(0, 0.2))),
        float(rng.choice((1.0, rng.uniform(0.5, 1.0), 0.0), p=(0.5, 0.44, 0.06))),
    )


@dataclass
class Cast:
    """Random people; each body appears in several clips, because making one takes as long as some
    pictures.
    """

    assets: Assets
    bodies: int = 24
    renewed: float = 0.5  # bodies made anew for each clip, on average

    def __post_init__(self) -> None:
        self._known: list[tuple[Shape, Body]] = []

    def pick(self, rng: np.random.Generator) -> tuple[Shape, Body]:
        """Somebody new or known."""
        if len(self._known) >= self.bodies and rng.random() > self.renewed:
            return self._known[rng.integers(len(self._known))]
        shape = random_shape(rng)
        new = shape, self.assets.build(shape, random_wardrobe(rng, shape, self.assets))
        if len(self._known) < self.bodies:
            self._known.append(new)
        else:
            self._known[rng.integers(len(self._known))] = new
        return new


def random_shot(
    rng: np.random.Generator,
    cast: Cast,
    motions: Motions,
    frames: int,
    images: np.ndarray,
    others: float = 0.2,
    size: tuple[int, int] | None = None,
) -> Shot:
    """A person (the first actor) in a motion of ``frames`` frames before a camera, with textures
    ``images``; others stand about with the probability ``others`` each. ``size``: of the picture;
    one of the usual ones if None.
    """
    layers = len(images)
    actors = [_actor(rng, cast, motions, frames, layers, (0.0, 0.0))]
    joints_m = actors[0].posed.joints_m
    camera = random_view(rng, joints_m, size)
    for _ in range(2):
        if rng.random() < others:
            # Beside the line of sight, before or behind the person.
            towards = (camera.position_m - joints_m.mean((0, 1)))[:2]
            towards /= np.linalg.norm(towards)
            place_m = rng.uniform(-2.5, 1.2) * towards + rng.uniform(0.35, 1.2) * rng.choice(
                (-1, 1)
            ) * np.array([-towards[1], towards[0]])
            other = _actor(
                rng, cast, motions, frames, layers, (float(place_m[0]), float(place_m[1]))
            )
            if (
                np.linalg.norm(other.posed.heads[..., :2] - camera.position_m[:2], axis=-1).min()
                > 0.7
            ):
                actors.append(other)
    paths = np.concatenate([actor.posed.heads[:, 0, :2] for actor in actors])
    room = random_room(rng, paths, layers, camera.position_m)
    seats = [seat for actor in actors if (seat := _seat(actor.posed.joints_m)) is not None]
    if seats:
        room = replace(
            room,
            boxes=np.concatenate([room.boxes, np.array(seats)]),
            box_surfaces=np.concatenate(
                [room.box_surfaces, OBJECT + rng.integers(5, size=len(seats))]
            ),
        )
    forward = camera.camera_from_world[2, :3]
    horizon = camera.matrix[1, 2] + camera.matrix[1, 1] * forward[2] / max(
        float(np.hypot(*forward[:2])), 1e-3
    )
    reduced = max(camera.size[0] / _BACKDROP_PX, 1)
    backdrop = textures.backdrop(
        rng,
        images,
        (round(camera.size[0] / reduced), round(camera.size[1] / reduced)),
        horizon / reduced,
        room.shell[0],
    )
    exposure = rng.uniform(0, 1) if rng.random() < 0.08 else 0.0
    return Shot(Scene(tuple(actors), room), camera, backdrop, random_sensor(rng), exposure)


def _seat(joints_m: np.ndarray) -> list[list[float]] | None:
    """A box below somebody (T, 17, 3) who sits; None for others."""
    hip, knee = ((joints_m[:, left] + joints_m[:, right]) / 2 for left, right in (_HIPS, _KNEES))
    thigh = knee - hip
    if (-thigh[:, 2] > 0.5 * np.linalg.norm(thigh, axis=-1)).any() or np.ptp(
        hip[:, :2], axis=0
    ).max() > 0.2:
        return None
    centre, top = (hip + 0.3 * thigh).mean(0), float(np.minimum(hip, knee)[:, 2].min()) - 0.11
    return (
        [[centre[0] - 0.2, centre[1] - 0.2, 0.0], [centre[0] + 0.2, centre[1] + 0.2, top]]
        if top > 0.15
        else None
    )


def _actor(
    rng: np.random.Generator,
    cast: Cast,
    motions: Motions,
    frames: int,
    layers: int,
    position_m: tuple[float, float],
) -> Actor:
    shape, body = cast.pick(rng)
    joints_m = vary(rng, motions, frames)
    posed = retarget(joints_m, body)
    start = int(rng.integers(len(joints_m) - frames + 1))
    posed = lean(rng, cut(posed, slice(start, start + frames)))
    return Actor(
        body, placed(posed, position_m, rng.uniform(0, 2 * np.pi)), random_look(rng, shape, layers)
    )
