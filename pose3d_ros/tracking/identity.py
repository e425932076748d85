"""Who is who from image to image: 2D poses matched by motion and pose similarity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.people import People2D, TrackState
from pose3d_ros.tracking.sides import Continuity

MEMORY_S = 2.0            # an id is kept this long for somebody who may come back
CONFIRM_FRAMES = 3        # frames in which a newcomer is seen before being believed
GATE_SIZES = 1.0          # a match lies within this many body sizes of the prediction ...
GATE_GROWTH = 1.5         # ... and as many more for each second unseen
VELOCITY_MEMORY_S = 0.15
_IDS = count()


@dataclass
class _Track:
    id: int
    keypoints_px: np.ndarray  # (J, 2), last known place of each keypoint
    size_px: float
    velocity_px_s: np.ndarray  # (2,)
    seen_ns: int
    frames: int
    continuity: Continuity

    def predicted(self, stamp_ns: int) -> np.ndarray:
        """Where the keypoints (J, 2) should be: moved with the body's velocity, which fades while unseen."""
        elapsed = (stamp_ns - self.seen_ns) * 1e-9
        return self.keypoints_px + self.velocity_px_s * 0.5 * (1 - np.exp(-elapsed / 0.5))


def _body_size(keypoints_px: np.ndarray, known: np.ndarray) -> float:
    """Root mean square distance in pixels of the known keypoints from their mean; at least one pixel."""
    points = keypoints_px[known]
    if len(points) < 2:
        return 1.0
    return max(float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean())), 1.0)


class IdentityTracker:
    """Gives every person an id that stays theirs; ids are never used twice in a process."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []

    def reset(self) -> None:
        """Forget everybody; ids go on counting."""
        self._tracks = []

    @property
    def known_ids(self) -> np.ndarray:
        """Ids that may still come back, those in view included."""
        return np.array([track.id for track in self._tracks], np.int32)

    def state(self, person: int) -> TrackState:
        """State of somebody who was in the last update."""
        frames = next(track.frames for track in self._tracks if track.id == person)
        return TrackState.CONFIRMED if frames >= CONFIRM_FRAMES else TrackState.TENTATIVE

    def __call__(self, people: People2D) -> People2D:
        """The same people with ids, with left and right as they were before and confidence lowered at leaps."""
        stamp_ns = people.stamp_ns
        known = (people.confidence > 0) & np.isfinite(people.keypoints_px).all(-1)
        people = people[known.sum(1) >= 3]
        known = (people.confidence > 0) & np.isfinite(people.keypoints_px).all(-1)
        keypoints, confidence = people.keypoints_px.copy(), people.confidence.copy()
        ids = np.empty(len(people), np.int32)
        matches = self._match(keypoints, confidence, known, stamp_ns)
        for row in range(len(people)):
            track = matches.get(row)
            if track is None:
                track = _Track(next(_IDS), keypoints[row].copy(), _body_size(keypoints[row], known[row]),
                               np.zeros(2), stamp_ns, 0, Continuity())
                self._tracks.append(track)
            keypoints[row], confidence[row] = track.continuity(keypoints[row], confidence[row], track.size_px, stamp_ns)
            self._update(track, keypoints[row], confidence[row], stamp_ns)
            ids[row] = track.id
        self._drop(stamp_ns, people.image_size)
        return replace(people, keypoints_px=keypoints, confidence=confidence, ids=ids)

    def _match(
        self, keypoints: np.ndarray, confidence: np.ndarray, known: np.ndarray, stamp_ns: int
    ) -> dict[int, _Track]:
        """Row of the people -> track, of least total distance (Hungarian method)."""
        if not self._tracks or not len(keypoints):
            return {}
        cost = np.empty((len(keypoints), len(self._tracks)))
        sizes = np.array([_body_size(k, m) for k, m in zip(keypoints, known, strict=True)])
        for column, track in enumerate(self._tracks):
            predicted = track.predicted(stamp_ns)
            weight = np.where(known & np.isfinite(predicted).all(-1), confidence, 0)
            # Somebody who crouched or tumbled is larger when they stand again: the larger size counts.
            unit = np.maximum(sizes, track.size_px)[:, None]
            distance = np.nan_to_num(np.linalg.norm(keypoints - predicted, axis=-1)) / unit
            # A capped distance compares the pose: a leg that is elsewhere does not make another person.
            mean = (weight * np.minimum(distance, 3)).sum(1) / np.maximum(weight.sum(1), 1e-6)
            unlike = np.abs(np.log(sizes / track.size_px))
            gate = GATE_SIZES + GATE_GROWTH * (stamp_ns - track.seen_ns) * 1e-9
            cost[:, column] = np.where((weight.sum(1) > 0) & (mean < gate) & (unlike < 1.0), mean + 0.3 * unlike, 1e3)
            # Of two who could be the same, the one in view before the one remembered.
            cost[:, column] += 0.1 * (track.frames < CONFIRM_FRAMES)
        rows, columns = linear_sum_assignment(cost)
        return {int(r): self._tracks[c] for r, c in zip(rows, columns, strict=True) if cost[r, c] < 1e3}

    @staticmethod
    def _update(track: _Track, keypoints: np.ndarray, confidence: np.ndarray, stamp_ns: int) -> None:
        known = (confidence > 0) & np.isfinite(keypoints).all(-1)
        elapsed = (stamp_ns - track.seen_ns) * 1e-9
        if elapsed > 0 and known.any():
            step = np.median((keypoints - track.keypoints_px)[known], axis=0) / elapsed
            share = 1 - np.exp(-elapsed / VELOCITY_MEMORY_S)
            if np.isfinite(step).all():
                track.velocity_px_s = track.velocity_px_s + share * (step - track.velocity_px_s)
        track.keypoints_px = np.where(known[:, None], keypoints, track.keypoints_px)
        track.size_px = 0.8 * track.size_px + 0.2 * _body_size(keypoints, known)
        track.seen_ns = stamp_ns
        track.frames += 1

    def _drop(self, stamp_ns: int, image_size: tuple[int, int]) -> None:
        """Forget who is gone: unseen for too long, never confirmed, or walked out of the picture."""
        kept = []
        for track in self._tracks:
            unseen = (stamp_ns - track.seen_ns) * 1e-9
            predicted = track.predicted(stamp_ns)
            centre = predicted[np.isfinite(predicted).all(-1)].mean(0)
            outside = (centre < 0).any() or (centre > image_size).any()
            if unseen == 0 or unseen <= MEMORY_S and track.frames >= CONFIRM_FRAMES and not outside:
                kept.append(track)
        self._tracks = kept
