"""BlazePose's person detector: where people are, how large and how they lean.

After MediaPipe's published graph ``pose_detection_cpu``: anchors, decoding, weighted non-maximum
suppression, and the region of interest from the keypoints mid-hip and top of the body's circle.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import expit

from pose3d_ros.detection import regions
from pose3d_ros.inference import Engine

SIDE = 224
STRIDES = ((8, 2), (16, 2), (32, 6))  # stride in pixels, anchors at each place
MIN_SCORE = 0.5
MAX_OVERLAP = 0.3
MIN_SIDE_PX = 32
REGION_SCALE = 1.25


@cache
def anchors() -> np.ndarray:
    """(2254, 2) centres of the anchors in the unit square; all have the size 1."""
    rows = []
    for stride, repeats in STRIDES:
        places = (np.arange(SIDE // stride) + 0.5) * stride / SIDE
        y, x = np.meshgrid(places, places, indexing="ij")
        rows.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), repeats, axis=0))
    return np.concatenate(rows)


def decode(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (D, 6, 2) in the unit square and scores (D,) of detections, best first, one for each
    person.

    ``boxes`` (2254, 12) and ``scores`` (2254,) are the network's outputs. The points are the box's
    top left and bottom right corner, mid-hip, top of the circle around the whole body,
    mid-shoulder, top of the circle of the upper body.
    """
    scores = expit(scores.astype(float))
    rows = np.flatnonzero(scores >= MIN_SCORE)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    raw = boxes[rows].reshape(-1, 6, 2) / SIDE
    points = raw + anchors()[rows][:, None]
    points[:, 0], points[:, 1] = points[:, 0] - raw[:, 1] / 2, points[:, 0] + raw[:, 1] / 2
    return _merge(points, scores[rows])


def _merge(points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted non-maximum suppression: overlapping detections become their mean, weighted by
    score.
    """
    merged, best = [], []
    while len(points):
        same = overlap(points[0, :2], points[:, :2]) > MAX_OVERLAP
        same[0] = True
        merged.append(np.average(points[same], axis=0, weights=scores[same]))
        best.append(scores[0])
        points, scores = points[~same], scores[~same]
    return np.array(merged).reshape(-1, 6, 2), np.array(best)


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of a box (2, 2), given by two corners, with boxes (N, 2, 2)."""
    sides = np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0])
    common = np.prod(np.maximum(sides, 0), axis=-1)
    union = np.prod(box[1] - box[0]) + np.prod(boxes[:, 1] - boxes[:, 0], axis=-1) - common
    return np.asarray(common / np.maximum(union, 1e-9))


def views(width: int, height: int) -> np.ndarray:
    """Regions (V, 4) to look into: the whole image, then squares along its long side, each half
    over the next.

    The network sees 224 pixels: a person far away in a wide image is too small in the whole of it.
    The squares have the short side of the image, but at least a third of the long one.
    """
    short, long = sorted((width, height))
    whole = np.array([[(width - 1) / 2, (height - 1) / 2, long, 0]])
    if long <= 1.2 * short:
        return whole
    side = max(short, long / 3)
    along = np.linspace(
        (side - 1) / 2, long - 1 - (side - 1) / 2, int(np.ceil(2 * (long / side - 1))) + 1
    )
    squares = np.repeat(whole, len(along), axis=0)
    squares[:, 0 if width > height else 1] = along
    squares[:, 2] = side
    return np.concatenate([whole, squares])


def find(engine: Engine, image_bgr: np.ndarray, search_regions: np.ndarray) -> np.ndarray:
    """Regions (D, 4) of the people in the regions ``search_regions`` (V, 4) of an image (H, W, 3),
    best first.
    """
    raw = engine({"image": regions.crop(image_bgr, search_regions, SIDE)})
    maps = regions.image_from_region(search_regions)
    points, scores = [np.zeros((0, 6, 2))], [np.zeros(0)]
    for boxes, logits, map_ in zip(raw["boxes"], raw["scores"][..., 0], maps, strict=True):
        unit, score = decode(boxes, logits)
        points.append(regions.transform(map_[None], unit.reshape(1, -1, 2)).reshape(-1, 6, 2))
        scores.append(score)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    merged, _ = _merge(np.concatenate(points)[order], np.concatenate(scores)[order])
    found = regions.from_alignment(merged[:, 2], merged[:, 3], REGION_SCALE)
    return found[found[:, 2] >= MIN_SIDE_PX]
