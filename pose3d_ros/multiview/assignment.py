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

"""Assignment of 2D poses to the tracks of known people, with swapped left and right corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose3d_ros.multiview.association import (
    GATE_M,
    MIN_JOINTS,
    NOBODY,
    RigDetections,
    agreement,
    assign,
)
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.tracks import MAX_EVIDENCE, Tracks

# A view that agrees better with the prediction than this has left and right as the track has.
SWAP_MAX_AGREEMENT = 0.5
# Left and right are swapped when that brings joints nearer by this on average, where no joint
# counts for more than the cap.
SWAP_GAIN_M = 0.1
SWAP_CAP_M = 0.5


@dataclass(frozen=True)
class Assignment:
    """Detections of T tracks in C views.

    ``chosen`` (T, C): row of the detection, or ``NOBODY``. ``owner`` (N,): the track of each
    detection, or ``NOBODY``. ``points`` (T, C, J, 2) in undistorted pixels and ``weight`` (T, C,
    J), left and right as the track has them. ``swapped`` (T, C): where the detection has them the
    other way round; its depths are to be exchanged as well.
    """

    chosen: np.ndarray
    owner: np.ndarray
    points: np.ndarray
    weight: np.ndarray
    swapped: np.ndarray


def assign_detections(
    rig: Rig,
    tracks: Tracks,
    detections: RigDetections,
    pixels: np.ndarray,
    depth: np.ndarray,
    flip: np.ndarray,
) -> Assignment:
    """Assign detections to tracks whose joints are predicted at ``pixels`` (C, T, J, 2) in
    undistorted pixels and ``depth`` (C, T, J) in metres.

    A detection that fits no track is tried with left and right swapped (``flip`` (J,)). One that
    is left over joins the track that it fits best where that one lacks its joints: a body that
    the detector found in two pieces. ``tracks`` counts the votes for its sides and may be swapped.
    """
    gate = GATE_M + np.minimum(tracks.sigma_m, GATE_M)
    # Of two tracks that a detection fits, the better established one gets it.
    established = 0.5 + 0.5 * tracks.evidence / MAX_EVIDENCE
    score = agreement(rig, detections, pixels, depth, tracks.known, gate)
    chosen = assign(score * established, detections.view, len(rig))
    swapped = np.zeros(chosen.shape, bool)
    owner = np.full(len(detections), NOBODY)
    owner[chosen[chosen != NOBODY]] = np.nonzero(chosen != NOBODY)[0]
    spare = np.flatnonzero((owner == NOBODY) & (score < 0).all(1))
    if len(spare):
        spare = spare[
            _near_missed_track(rig, tracks, detections[spare], pixels, depth, chosen == NOBODY)
        ]
    if len(spare):
        mirrored = detections[spare].swapped(flip)
        again = agreement(rig, mirrored, pixels, depth, tracks.known, gate)
        again[again < SWAP_MAX_AGREEMENT * mirrored.confidence.sum(1, keepdims=True)] = -1
        again[(chosen != NOBODY).T[detections.view[spare]]] = -1
        found = assign(again * established, detections.view[spare], len(rig))
        swapped = found != NOBODY
        chosen[swapped] = spare[found[swapped]]
        owner[chosen[swapped]] = np.nonzero(swapped)[0]
    points, weight = detections.of(chosen)
    for row in np.flatnonzero((owner == NOBODY) & (score > 0).any(1)):
        track, camera = score[row].argmax(), detections.view[row]
        gaps = (weight[track, camera] == 0) & (detections.confidence[row] > 0)
        if gaps.sum() > 0.5 * (detections.confidence[row] > 0).sum():
            points[track, camera, gaps] = detections.points[row, gaps]
            weight[track, camera, gaps] = detections.confidence[row, gaps]
            owner[row] = track
    best = np.concatenate([score, np.zeros((1, len(tracks)))])[
        chosen, np.arange(len(tracks))[:, None]
    ]
    suspect = (chosen != NOBODY) & ~swapped & (best < SWAP_MAX_AGREEMENT * weight.sum(-1))
    if suspect.any():
        swapped[suspect] = _swap_fits_better(
            rig, tracks, points, weight, pixels, depth, flip, *np.nonzero(suspect)
        )
    # Where most views have been swapped for a while, it is the track that started the wrong way
    # round.
    tracks.side_votes = np.minimum(
        tracks.side_votes + (chosen != NOBODY).sum(1), MAX_EVIDENCE
    ) - 2 * swapped.sum(1)
    outvoted = tracks.side_votes < 0
    if outvoted.any():
        tracks.swap_sides(outvoted, flip)
    swapped &= ~outvoted[:, None]
    points[swapped], weight[swapped] = points[swapped][:, flip], weight[swapped][:, flip]
    return Assignment(chosen, owner, points, weight, swapped)


def _near_missed_track(
    rig: Rig,
    tracks: Tracks,
    detections: RigDetections,
    pixels: np.ndarray,
    depth: np.ndarray,
    missing: np.ndarray,
) -> np.ndarray:
    """Mask (N,) of detections whose centre is near that of a track which their camera is
    ``missing`` (T, C).
    """
    seen = detections.confidence > 0
    centre = (detections.points * seen[..., None]).sum(1) / np.maximum(seen.sum(1), 1)[:, None]
    share = tracks.known / np.maximum(tracks.known.sum(1), 1)[:, None]
    expected, distance = (pixels * share[..., None]).sum(2), (depth * share).sum(2)
    view = detections.view
    apart_m = (
        np.sqrt(((centre[:, None] - expected[view]) ** 2).sum(-1))
        * distance[view]
        / rig.focal_px[view, None]
    )
    return np.asarray(((apart_m < GATE_M) & missing.T[view]).any(1))


def _swap_fits_better(
    rig: Rig,
    tracks: Tracks,
    points: np.ndarray,
    weight: np.ndarray,
    pixels: np.ndarray,
    depth: np.ndarray,
    flip: np.ndarray,
    track: np.ndarray,
    camera: np.ndarray,
) -> np.ndarray:
    """Mask (K,) of views, ``camera`` (K,) of ``track`` (K,), that fit better with left and right
    swapped.

    Turning round moves left and right through each other, so it takes a clear gain.
    """
    here, seen = points[track, camera], weight[track, camera] > 0
    px_per_m = rig.focal_px[camera, None] / np.maximum(depth[camera, track], NEAR_M)
    both = (flip != np.arange(len(flip))) & tracks.known[track] & seen & seen[:, flip]
    as_seen, mirrored = (
        np.minimum(np.sqrt(((side - pixels[camera, track]) ** 2).sum(-1)) / px_per_m, SWAP_CAP_M)
        for side in (here, here[:, flip])
    )
    return np.asarray(
        ((as_seen - mirrored) * both).sum(1) > SWAP_GAIN_M * np.maximum(both.sum(1), MIN_JOINTS)
    )
