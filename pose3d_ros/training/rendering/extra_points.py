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

"""Where MakeHuman's bodies have the extra joints of ``skeleton.BODY30``."""

from __future__ import annotations

import numpy as np

from pose3d_ros.skeleton import BODY30, EXTRA_JOINTS
from pose3d_ros.training.rendering.body import Body, Posed

# Vertices of the base mesh: the nose's tip, the middle of the left ear, the rear of the left heel,
# and the tip of the big toe. Its right side mirrors the left.
_NOSE, _EAR, _HEEL, _TOE = 297, 12038, 12815, 11551
_POINTS: dict[str, tuple[str, int]] = {"ear": ("head", _EAR), "heel": ("foot.L", _HEEL)}
_POINTS["foot"] = ("foot.L", _TOE)
# Bones that begin (head) or end (tail) at the point.
_ENDS = {"eye": "eye.L", "index": "finger2-1.L", "pinky": "finger5-1.L"}


def body30_m(posed: Posed, body: Body) -> np.ndarray:
    """Joints (T, 30, 3) float32 of a body in motion: those of ``Posed.joints_m``, and the nose's
    tip, the fronts of the eyeballs, the ears, the knuckles' joint centres, heels and big toes.
    """
    extra = [_carried(posed, *_at_rest(body, joint)) for joint in EXTRA_JOINTS]
    joints_m = np.concatenate([posed.joints_m, np.stack(extra, 1)], 1)
    assert joints_m.shape[1] == len(BODY30)
    return joints_m.astype(np.float32)


def _at_rest(body: Body, joint: str) -> tuple[str, np.ndarray]:
    """The bone that carries a joint, and the joint's place (3,) at rest."""
    if joint == "nose":
        return "head", body.base[_NOSE]
    side, point = joint[0].upper(), joint[2:]
    if point in _ENDS:
        bone = _ENDS[point].replace(".L", f".{side}")
        return bone, body.rig.tail(bone) if point == "eye" else body.rig.head(bone)
    bone, vertex = _POINTS[point]
    place = body.base[vertex] * (1 if side == "L" else [-1, 1, 1])
    return bone.replace(".L", f".{side}"), place


def _carried(posed: Posed, bone: str, place: np.ndarray) -> np.ndarray:
    """Where (T, 3) a bone carries a place (3,) at rest."""
    matrix = posed.matrices[:, posed.rig.index[bone]]
    return np.asarray(matrix[..., :3] @ place + matrix[..., 3])
