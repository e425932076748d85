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

"""Procedural textures of cloth, floors, walls and pictures: squares that repeat, (N, 256, 256, 3)
uint8.

A texture says how much of a surface's second colour there is, channel by channel; one in colour
between black and white is a picture.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIDE = 256
GRAIN, FOLDS, PLANKS, TILES, BRICKS, PLAIN, STRIPES, CHECKS, VARIED = range(9)
"""Contents of the first layers, always the same; from ``VARIED`` on they differ with the seed."""


def grey_noise(
    rng: np.random.Generator, slope: float, stretch: float = 1.0, channels: int = 1
) -> np.ndarray:
    """(256, 256, channels) noise 0..1 whose amplitude falls with the frequency to the power
    ``slope``.
    """
    x, y = np.fft.rfftfreq(SIDE)[None], np.fft.fftfreq(SIDE)[:, None]
    frequency = np.hypot(x * stretch, y / stretch)
    frequency[0, 0] = np.inf
    layers = []
    for _ in range(channels):
        values = np.fft.irfft2(
            np.fft.rfft2(rng.normal(size=(SIDE, SIDE))) * frequency**-slope, s=(SIDE, SIDE)
        )
        layers.append(np.clip(0.5 + values / (5 * values.std()), 0, 1))
    return np.stack(layers, -1)


def make(seed: int, count: int = 64, pictures: Path | None = None) -> np.ndarray:
    """``count`` textures; up to a quarter of them squares of the pictures (.jpg, .png) in a
    folder.
    """
    rng = np.random.default_rng((seed, 7))
    fixed = np.random.default_rng(0)
    across = np.arange(SIDE)[None, :, None] / SIDE
    down = np.arange(SIDE)[:, None, None] / SIDE
    whole = np.ones((SIDE, SIDE, 1))
    layers = [
        grey_noise(fixed, 0.9),
        grey_noise(fixed, 1.7, 0.6, 3),
        _planks(fixed, 6, 0.06),
        _tiles(fixed, 4, 0.03),
        _bricks(fixed, 12, 4),
        whole * 0,
        whole * (down * 8 % 1 < 0.5),
        whole * ((across * 8 % 1 < 0.4) * 0.5 + (down * 8 % 1 < 0.4) * 0.5),
    ]
    paths = (
        sorted(
            path for path in pictures.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")
        )
        if pictures is not None
        else []
    )
    for path in rng.permutation(np.array(paths, object))[: count // 4]:
        layers.append(_square(rng, path))
    kinds = (
        _clouds,
        _clouds,
        _blotches,
        _stripes,
        _plaid,
        _dots,
        _collage,
        _collage,
        _print,
        _weave,
        lambda r: _planks(r, int(r.integers(3, 12)), 0.05),
        lambda r: _tiles(r, int(r.integers(2, 9)), 0.03),
        lambda r: _bricks(r, int(r.integers(6, 20)), int(r.integers(2, 6))),
    )
    for number in range(count - len(layers)):
        layers.append(kinds[number % len(kinds)](rng))
    return np.stack(
        [np.broadcast_to(layer * 255, (SIDE, SIDE, 3)).astype(np.uint8) for layer in layers]
    )


def _square(rng: np.random.Generator, path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"{path}: expected a picture, OpenCV cannot read it")
    side = min(image.shape[:2])
    row, column = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
    square = image[row : row + side, column : column + side, ::-1]
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / 255


def _clouds(rng: np.random.Generator) -> np.ndarray:
    colour = int(rng.choice((1, 3)))
    return grey_noise(rng, rng.uniform(0.3, 2.0), np.exp(rng.normal(0, 0.6)), colour)


def _blotches(rng: np.random.Generator) -> np.ndarray:
    values = grey_noise(
        rng, rng.uniform(1.2, 2.2), np.exp(rng.normal(0, 0.3)), int(rng.choice((1, 3)))
    )
    return np.clip((values - rng.uniform(0.4, 0.6)) * rng.uniform(8, 60) + 0.5, 0, 1)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    position = np.arange(SIDE) / SIDE * int(rng.integers(2, 20)) % 1
    edges = np.sort(rng.random(int(rng.integers(1, 5))))
    line = rng.random((len(edges) + 1, int(rng.choice((1, 3)))))[np.searchsorted(edges, position)]
    line = (line - line.min()) / max(float(np.ptp(line)), 1e-6)
    return np.broadcast_to(
        line[:, None] if rng.random() < 0.5 else line[None], (SIDE, SIDE, line.shape[-1])
    )


def _plaid(rng: np.random.Generator) -> np.ndarray:
    return np.asarray((_stripes(rng) + np.swapaxes(_stripes(rng), 0, 1)[..., :1]) / 2)


def _dots(rng: np.random.Generator) -> np.ndarray:
    per_side = int(rng.integers(2, 16))
    cell = (np.indices((SIDE, SIDE)).transpose(1, 2, 0) * per_side / SIDE) % 1 - 0.5
    return np.asarray(
        np.clip(
            (rng.uniform(0.15, 0.45) - np.linalg.norm(cell, axis=-1, keepdims=True)) * 12, 0, 1
        )
    )


def _collage(rng: np.random.Generator) -> np.ndarray:
    """Shapes in colours over each other: shelves, posters, windows, clutter."""
    image = (np.ones((SIDE, SIDE, 3)) * rng.random(3) * 255).astype(np.uint8)
    for _ in range(int(rng.integers(5, 60))):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        a, b = (tuple(int(v) for v in rng.integers(0, SIDE, 2)) for _ in range(2))
        kind = rng.integers(4)
        if kind == 0:
            cv2.rectangle(
                image,
                a,
                (a[0] + int(rng.integers(5, 90)), a[1] + int(rng.integers(5, 90))),
                colour,
                -1,
            )
        elif kind == 1:
            cv2.circle(image, a, int(rng.integers(3, 45)), colour, -1, cv2.LINE_AA)
        elif kind == 2:
            cv2.line(image, a, b, colour, int(rng.integers(1, 8)), cv2.LINE_AA)
        else:
            cv2.fillPoly(
                image,
                [rng.integers(0, SIDE, (int(rng.integers(3, 6)), 2)).astype(np.int32)],
                colour,
                cv2.LINE_AA,
            )
    return np.clip(image / 255 * (0.7 + 0.6 * grey_noise(rng, 1.2)), 0, 1)


def _print(rng: np.random.Generator) -> np.ndarray:
    """Letters and marks on cloth or paper."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(rng.integers(1, 20))):
        text = "".join(chr(code) for code in rng.integers(48, 91, int(rng.integers(1, 7))))
        where = int(rng.integers(0, 200)), int(rng.integers(20, 250))
        cv2.putText(
            image,
            text,
            where,
            int(rng.integers(0, 8)),
            rng.uniform(0.5, 3),
            int(rng.integers(100, 256)),
            int(rng.integers(1, 6)),
            cv2.LINE_AA,
        )
    return image[..., None] / 255


def _weave(rng: np.random.Generator) -> np.ndarray:
    row, column = np.indices((SIDE, SIDE)) * int(rng.integers(20, 60)) / SIDE
    return np.asarray(
        (
            0.5
            + 0.25 * (np.sin(2 * np.pi * row) + np.sin(2 * np.pi * column)) * rng.uniform(0.3, 1)
        )[..., None]
    )


def _planks(rng: np.random.Generator, rows: int, joint: float) -> np.ndarray:
    row = np.arange(SIDE) * rows // SIDE
    tone = np.repeat(rng.uniform(0.3, 0.8, (rows, 1)), SIDE, 1)[row]
    tone = tone * (0.6 + 0.8 * grey_noise(rng, 1.2, 0.25)[..., 0])
    tone[np.arange(SIDE) * rows / SIDE % 1 < joint] *= 0.4
    return np.clip(tone, 0, 1)[..., None]


def _tiles(rng: np.random.Generator, per_side: int, joint: float) -> np.ndarray:
    place = np.arange(SIDE) * per_side // SIDE
    tone = rng.uniform(0.6, 0.9, (per_side, per_side))[place][:, place] * (
        0.85 + 0.3 * grey_noise(rng, 1.0)[..., 0]
    )
    at_joint = np.arange(SIDE) * per_side / SIDE % 1 < joint * per_side / 3
    tone[at_joint] = tone[:, at_joint] = rng.uniform(0, 0.5)
    return np.clip(tone, 0, 1)[..., None]


def _bricks(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    row = np.arange(SIDE) * rows / SIDE
    column = (
        np.arange(SIDE)[None] * columns / SIDE + 0.5 * (row.astype(int)[:, None] % 2)
    ) % columns
    tone = rng.uniform(0.2, 0.7, (rows, columns))[row.astype(int)[:, None], column.astype(int)]
    tone = tone * (0.8 + 0.4 * grey_noise(rng, 0.8)[..., 0])
    return np.where((row % 1 < 0.12)[:, None] | (column % 1 < 0.05), 0.95, tone)[..., None]


def backdrop(
    rng: np.random.Generator,
    textures: np.ndarray,
    size: tuple[int, int],
    horizon_px: float,
    sky: bool,
) -> np.ndarray:
    """(H, W, 3) uint8 of what is far away: with ``sky`` above a skyline, else a mixture of
    textures.
    """
    width, height = size
    low = (max(width // 4, 32), max(height // 4, 32))
    if not sky:
        names = rng.integers(VARIED, len(textures), 2)
        parts = []
        for name in names:
            zoom = int(rng.integers(1, 4))
            whole = np.tile(textures[name], (2, 2, 1))[:, :, rng.permutation(3)]
            start = rng.integers(0, SIDE, 2)
            parts.append(
                cv2.resize(
                    whole[start[0] : start[0] + SIDE // zoom, start[1] : start[1] + SIDE // zoom],
                    size,
                )
            )
        share = (
            cv2.resize(textures[GRAIN][..., :1], size)[..., None] / 255
            if rng.random() < 0.5
            else rng.random()
        )
        tint = rng.uniform(0.3, 1.0) * (1 + rng.uniform(-0.2, 0.2, 3))
        return np.clip((parts[0] * share + parts[1] * (1 - share)) * tint, 0, 255).astype(np.uint8)
    top, bottom = (
        rng.uniform(0.35, 0.9) * np.array([1, 0.9, 0.7]) * 255,
        np.full(3, rng.uniform(150, 250)),
    )
    share = np.clip(np.arange(low[1]) / max(horizon_px * low[1] / height, 1), 0, 1)[:, None, None]
    image = (
        np.broadcast_to(top[None, None] * (1 - share) + bottom * share, (low[1], low[0], 3))
    ).copy()
    cloud = cv2.resize(textures[GRAIN][..., 0].astype(np.float32), low)[..., None] / 255
    image += (255 - image) * np.clip((cloud - 0.5) * rng.uniform(0, 4), 0, 1)
    line = int(horizon_px * low[1] / height) + 2
    for _ in range(int(rng.integers(0, 14))):
        left, wide, tall = (
            int(rng.integers(-20, low[0])),
            int(rng.integers(6, 60)),
            int(rng.exponential(25)) + 4,
        )
        part = image[max(line - tall, 0) : max(line, 0), max(left, 0) : max(left + wide, 0)]
        if part.size:
            name = int(rng.integers(VARIED, len(textures)))
            tone = (
                cv2.resize(
                    textures[name], (part.shape[1], part.shape[0]), interpolation=cv2.INTER_AREA
                )
                / 255
            )
            paint = rng.uniform(20, 220) + rng.uniform(-35, 35, 3)
            part[:] = np.clip(paint * (0.5 + 0.6 * tone.mean(-1, keepdims=True)), 0, 255)
    return np.asarray(
        cv2.resize(np.clip(image, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    )
