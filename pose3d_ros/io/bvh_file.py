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

"""BVH: a skeleton of constant bone lengths and its rotations, for Blender and animation tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose3d_ros.io.motions import Motion
from pose3d_ros.kinematics import BONES, Array, offsets, place, rotations
from pose3d_ros.skeleton import H36M17

# BVH: x to the left, y up, z forward, as in the CMU motion capture data; centimetres.
BVH_FROM_Z_UP = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], float)
CM = 100.0


def write_bvh(path: Path, motion: Motion) -> str:
    """A BVH file (``kinematics.BONES``) at an even rate: centimetres, y up, facing z in the rest
    pose, rotations about z, y and x in turn (``Zrotation Yrotation Xrotation``, each about the
    axes that the ones before have turned).

    Bones have their median lengths. What is unknown is interpolated, and held before the first and
    after the last time it was seen. Tells how far that moves joints, on average.
    """
    whole = motion.whole()
    bone_offsets = offsets(whole.joints_m)
    bone_rotations = rotations(whole.joints_m, whole.times_s)
    root_m = whole.joints_m[:, 0]
    body_m = place(root_m, bone_rotations, bone_offsets)
    apart_m = np.linalg.norm(body_m - motion.evenly().joints_m[:, : len(H36M17)], axis=-1)
    channels = [CM * root_m @ BVH_FROM_Z_UP.T]
    for bone in BONES:
        rotation = bone_rotations[bone.name]
        if bone.parent:
            rotation = np.swapaxes(bone_rotations[bone.parent], -1, -2) @ rotation
        channels.append(euler_zyx_deg(BVH_FROM_Z_UP @ rotation @ BVH_FROM_Z_UP.T))
    lines = [
        "HIERARCHY",
        *_hierarchy("", bone_offsets, ""),
        "MOTION",
        f"Frames: {len(whole.times_s)}",
        f"Frame Time: {whole.step_s:.9f}",
        *(" ".join(f"{value:.5f}" for value in row) for row in np.concatenate(channels, 1)),
    ]
    path.write_text("\n".join(lines) + "\n")
    return (
        f"{path}: person {motion.person}; bones of constant length are "
        f"{1000 * np.nanmean(apart_m):.0f} mm off the joints on average"
    )


def euler_zyx_deg(matrices: npt.NDArray[np.float64]) -> Array:
    """Angles (T, 3) about z, the turned y and the twice turned x, in degrees, of rotations
    (T, 3, 3): of the two solutions the one that is nearest to the frame before, without jumps by
    360 degrees.
    """
    z = np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])
    x = np.arctan2(matrices[:, 2, 1], matrices[:, 2, 2])
    y = np.arctan2(-matrices[:, 2, 0], np.hypot(matrices[:, 2, 1], matrices[:, 2, 2]))
    both = np.degrees(
        np.stack([np.stack([z, y, x], -1), np.stack([z + np.pi, np.pi - y, x + np.pi], -1)], 1)
    )
    angles = np.empty((len(matrices), 3))
    last = both[0, 0]
    for frame, candidates in enumerate(both):
        candidates = last + (candidates - last + 180) % 360 - 180
        last = angles[frame] = candidates[np.abs(candidates - last).sum(-1).argmin()]
    return angles


def _hierarchy(parent: str, bone_offsets: dict[str, Array], indent: str) -> Iterator[str]:
    """Lines of the bones of ``parent``, the root's for none."""
    for bone in BONES:
        if bone.parent != parent:
            continue
        inner = indent + "\t"
        position = "" if parent else "Xposition Yposition Zposition "
        yield f"{indent}{'JOINT' if parent else 'ROOT'} {bone.name}"
        yield f"{indent}{{"
        yield f"{inner}OFFSET {_in_cm(bone_offsets[bone.name])}"
        yield (f"{inner}CHANNELS {3 if parent else 6} {position}Zrotation Yrotation Xrotation")
        yield from _hierarchy(bone.name, bone_offsets, inner)
        if not any(other.parent == bone.name for other in BONES):
            end = _in_cm(bone_offsets[f"{bone.name}/end"])
            yield from (f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {end}", f"{inner}}}")
        yield f"{indent}}}"


def _in_cm(offset_m: Array) -> str:
    return " ".join(f"{value:.5f}" for value in CM * BVH_FROM_Z_UP @ offset_m)
