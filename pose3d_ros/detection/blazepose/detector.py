"""The embedded detector: BlazePose, for several people, with a region of interest that follows
each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose3d_ros import inference
from pose3d_ros.detection import regions
from pose3d_ros.detection.blazepose import landmarks, person_detector
from pose3d_ros.detection.blazepose.landmarks import LEVELS, Landmarks
from pose3d_ros.detection.detector import Detector
from pose3d_ros.model_store.store import locate
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BLAZEPOSE33
from pose3d_ros.stopwatch import Stopwatch

MODELS = "blazepose-detector", "blazepose-full"
MIN_PRESENCE = 0.5
MIN_PRESENCE_FOLLOWED = 0.1
"""It is about the head, which another person may hide; without anybody in the crop it is below
0.01.
"""
MIN_HEAT = 0.45
"""Below this mean heat the pose is a guess: a head alone in the picture, a table's foot. People
have 0.6 to 0.9.
"""
COVERED = 0.15
"""A person whose mid-hip is within this share of a followed person's region is that person."""
SAME_POINT = 0.05
SAME_SHARE = 0.4
"""Two poses are of one person when this share of their keypoints is within ``SAME_POINT`` of the
region's side.
"""
NEAR = 0.25
NEAR_MIN_HEAT = 0.66
"""A newcomer nearer to somebody than ``NEAR`` of the region's side on average must be seen this
sharply: vaguer ones are mixtures of people that stand close together.
"""
SEARCH_LOST_S = 2.0
"""Seconds of looking for somebody who was lost, most often behind somebody else."""


class BlazePose(Detector):
    """MediaPipe's two networks: one finds people, the other reads 33 keypoints from a crop that
    follows each person.

    The person detector sweeps the image's views, one a frame: always while nobody is followed or
    somebody was lost, and otherwise every ``detect_interval_s`` if there may be newcomers. Where
    somebody is being lost it looks at once. With ``features``, people carry the encoder's
    maps: 48, 48, 48 and 144 channels with sides 64, 32, 16 and 8.
    """

    name = "blazepose"
    gives_maps = gives_depth = True
    skeleton = BLAZEPOSE33

    def __init__(self, settings: PipelineSettings, features: bool = False) -> None:
        self.settings = settings
        outputs = ["landmarks", "presence", "heatmap", *(LEVELS if features else ())]
        self._person, self._landmark = (
            inference.load(
                locate(model),
                settings.engine,
                settings.threads,
                wanted,
                settings.precision,
                settings.max_people,
            )
            for model, wanted in zip(MODELS, (None, outputs), strict=True)
        )
        self.maps = (
            tuple(self._landmark.outputs[level][1:] for level in LEVELS) if features else ()
        )
        self.reset()

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """The person detector and the landmark network, which the package fetches."""
        return MODELS

    @property
    def engine_name(self) -> str:
        """Name of the landmark engine, as it is now."""
        return self._landmark.name

    def reset(self) -> None:
        """Forget where people were."""
        self._regions = np.zeros((0, 4))
        self._views = np.zeros((0, 4))  # of the sweep that goes on
        self._sweep_ns: int | None = None
        self._search_until_ns = 0

    def close(self) -> None:
        """Free the engines."""
        self._person.close()
        self._landmark.close()

    def __call__(
        self, image_bgr: np.ndarray, stamp_ns: int, stopwatch: Stopwatch | None = None
    ) -> People2D:
        """People in the image (H, W, 3) uint8, at most ``max_people``, without ids."""
        stopwatch = stopwatch or Stopwatch()
        size = (image_bgr.shape[1], image_bgr.shape[0])
        followed = self._regions
        searched = self._search_regions(size, stamp_ns)
        where, found = self._read(image_bgr, followed, searched, stopwatch)
        lost = np.array(
            [region for region in followed if not (where == region).all(1).any()]
        ).reshape(-1, 4)
        if len(lost):
            self._search_until_ns = stamp_ns + int(SEARCH_LOST_S * 1e9)
            where, found = self._read(image_bgr, where, lost * [1, 1, 2, 0], stopwatch)
        if found is None:
            self._regions = where
            return People2D.empty(self.skeleton, stamp_ns, size)
        self._regions = regions.from_alignment(
            found.auxiliary_px[:, 0], found.auxiliary_px[:, 1], person_detector.REGION_SCALE
        )
        return People2D(
            self.skeleton,
            found.keypoints_px,
            found.confidence,
            stamp_ns,
            size,
            features=found.features,
            crop_from_image=regions.region_from_image(where) if found.features else None,
            root_relative_depth_px=found.root_relative_depth_px,
        )

    def _search_regions(self, size: tuple[int, int], stamp_ns: int) -> np.ndarray:
        """Regions (V, 4) in which to look for newcomers in this frame."""
        if len(self._regions) >= self.settings.max_people:
            return self._views[:0]
        first = self._sweep_ns is None
        if not len(self._views) and (
            self._sweep_ns is None
            or not len(self._regions)
            or stamp_ns < self._search_until_ns
            or stamp_ns - self._sweep_ns >= self.settings.detect_interval_s * 1e9
        ):
            self._views, self._sweep_ns = person_detector.views(*size), stamp_ns
        now = len(self._views) if first else 1
        search_regions, self._views = self._views[:now], self._views[now:]
        return search_regions

    def _read(
        self,
        image_bgr: np.ndarray,
        followed: np.ndarray,
        search_regions: np.ndarray,
        stopwatch: Stopwatch,
    ) -> tuple[np.ndarray, Landmarks | None]:
        """The regions (P, 4) that show a person each, and what is seen in them.

        Of the regions ``followed``, and of those that the person detector finds in the regions
        ``search_regions``.
        """
        where = followed
        if len(search_regions):
            with stopwatch("detect"):
                new = person_detector.find(self._person, image_bgr, search_regions)
            distance = np.linalg.norm(new[:, None, :2] - followed[None, :, :2], axis=-1)
            covered = (distance < COVERED * followed[None, :, 2]).any(1)
            where = np.concatenate([followed, new[~covered]])[: self.settings.max_people]
        if not len(where):
            return where, None
        with stopwatch("pose"):
            found = landmarks.read(self._landmark, image_bgr, where)
            kept = distinct_people(found, where[:, 2], len(followed))
        if len(kept) == len(where):  # as nearly always; feature maps need not be copied
            return where, found
        return (where[kept], found[kept]) if len(kept) else (where[:0], None)


def distinct_people(found: Landmarks, sides_px: np.ndarray, followed: int) -> np.ndarray:
    """Indices of the crops that show a person, each a different one, of whom the first
    ``followed`` are known already.

    Of two crops with the same pose the one seen more sharply stays.
    """
    kept: list[int] = []
    for row in np.argsort(-found.heat, kind="stable"):
        known = row < followed
        if (
            found.presence[row] < (MIN_PRESENCE_FOLLOWED if known else MIN_PRESENCE)
            or found.heat[row] < MIN_HEAT
        ):
            continue
        apart = np.linalg.norm(found.keypoints_px[kept] - found.keypoints_px[row], axis=-1)
        apart /= np.minimum(sides_px[kept], sides_px[row])[:, None]
        weight = found.confidence[kept] * found.confidence[row]
        weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
        same = (weight * (apart < SAME_POINT)).sum(1) > SAME_SHARE
        if not known and found.heat[row] < NEAR_MIN_HEAT:
            same |= (weight * apart).sum(1) < NEAR
        if not same.any():
            kept.append(int(row))
    return np.sort(np.array(kept, int))
