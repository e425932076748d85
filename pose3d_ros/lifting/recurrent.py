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

"""Lifters that look at one frame, at more of it than the keypoints if they want, and may carry a
state to the next.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.inference import Engine
from pose3d_ros.lifting.crops import pictures
from pose3d_ros.lifting.feature_maps import crop_keypoints, crop_rays, root_relative_depth, upright
from pose3d_ros.lifting.lifter import DEPTH_INPUTS, NetworkLifter
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.people import People2D

STEP_NS = 100_000_000  # between the frames of the clips that lifters with a state are trained on
MEMORY_NS = 500_000_000  # an older state is of another motion


class FrameLifter(NetworkLifter):
    """Feeds the model with what the names of its inputs ask for, of each person.

    ``keypoints`` (P, 1, 18, 3) as ``normalise`` makes them, or instead ``images`` (P, 1, 3, S, S)
    as ``pictures`` makes them. ``root_relative_depth`` (P, 17): as the
    function of that name (``feature_maps``) makes it of the detector's own. ``up`` (P, 3): against
    gravity, in the axes of the keypoints' virtual camera; zeros where nobody knows.
    ``crop_keypoints`` (P, 17, 2) and ``features0`` and on (P, C, H, W): the detector's feature
    maps; keypoints and answer are then rolled as ``upright`` tells. ``state`` (P, ...), with the
    output ``next_state``: every frame goes on from the person's state of about a tenth of a second
    ago, the step of the training, zeros for newcomers. So the camera's rate does not matter, and a
    missed frame is no more than another step; at 30 Hz three states take turns.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._memory: dict[int, deque[tuple[int, np.ndarray]]] = {}
        self.reads_features, self.reads_images = (
            "crop_keypoints" in engine.inputs,
            "images" in engine.inputs,
        )
        self._newcomer = np.zeros(
            [length or 0 for length in engine.inputs.get("state", [0, 0])[1:]], np.float32
        )

    def _answer(
        self,
        people: People2D,
        camera: Camera,
        rays: np.ndarray,
        confidence: np.ndarray,
        image_bgr: np.ndarray | None,
        up: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        keypoints, rotation = normalise(rays[:, None], confidence[:, None])
        wanted, feeds = self._engine.inputs.keys(), {}
        if self.reads_images:
            if image_bgr is None:
                raise ValueError("expected the image, which this lifter looks at, got None")
            feeds["images"] = pictures(
                image_bgr, camera, rotation, keypoints, self._engine.inputs["images"][-1] or 0
            )
        if self.reads_features:
            if people.crop_from_image is None:
                raise ValueError(
                    "expected people with the detector's feature maps, got none; "
                    "detection.create gives them when asked for features"
                )
            keypoints, rotation = upright(keypoints, rotation, crop_rays(camera, people))
            feeds["crop_keypoints"] = crop_keypoints(people)
            maps = {f"features{level}": values for level, values in enumerate(people.features)}
            feeds.update({name: values for name, values in maps.items() if name in wanted})
        if asked := DEPTH_INPUTS & wanted:
            if people.root_relative_depth_px is None:
                raise ValueError(
                    "expected people with root_relative_depth_px, which this lifter reads, got "
                    "None; take a detector that gives it"
                )
            feeds[next(iter(asked))] = root_relative_depth(
                people.keypoints_px, people.root_relative_depth_px
            )
        if "up" in wanted:
            feeds["up"] = (
                np.zeros((len(people), 3), np.float32)
                if up is None
                else (rotation @ up).astype(np.float32)
            )
        if "keypoints" in wanted:
            feeds["keypoints"] = keypoints
        if "state" not in wanted:
            return self._engine(feeds)["joints"], rotation
        memories = [self._memory.setdefault(person, deque()) for person in people.ids.tolist()]
        states = np.stack([self._past(memory, people.stamp_ns) for memory in memories])
        output = self._engine({**feeds, "state": states})
        for memory, state in zip(memories, output["next_state"], strict=True):
            memory.append((people.stamp_ns, state.copy()))
        return output["joints"], rotation

    def _past(self, memory: deque[tuple[int, np.ndarray]], stamp_ns: int) -> np.ndarray:
        """The state to go on from; those that no later frame will go on from are dropped."""
        wanted = stamp_ns - STEP_NS
        while memory and (
            len(memory) > 1 and memory[1][0] <= wanted or memory[0][0] < stamp_ns - MEMORY_NS
        ):
            memory.popleft()
        return (
            min(memory, key=lambda entry: abs(entry[0] - wanted))[1] if memory else self._newcomer
        )


class RpsmContext(FrameLifter):
    """RPSM on keypoints and the detector's root-relative depth."""

    name = "rpsm-context"


class Rpsm(FrameLifter):
    """RPSM on keypoints."""

    name = "rpsm"


class Context(FrameLifter):
    """Context-Aware PoseFormer on one frame and feature maps."""

    name = "context"


class ContextOverTime(FrameLifter):
    """Context-Aware PoseFormer on half a second of feature maps."""

    name = "context-t"
