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

"""The interface of all lifters: 2D keypoints in, root-relative poses in the camera's axes out, a
memory for each person.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pose3d_ros import inference
from pose3d_ros.arrays import ImageBgr
from pose3d_ros.camera import Camera
from pose3d_ros.inference import Engine, EngineError
from pose3d_ros.model_store.store import locate
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings, SettingsError

LATENCY_FRAMES = 0  # all lifters are causal: the answer is of the newest frame
DEPTH_INPUTS = frozenset({"root_relative_depth", "relief"})
"""Names of a network's input of the detector's root-relative depth; the second, of models that
were written before it got the first, is taken for one release.
"""
MOST_FRAMES, MOST_PIXELS, MOST_STATE = 1000, 1024, 1 << 20
"""Bounds of what a lifter's file may ask for: a window, a side of a crop, a state per person."""
CANONICAL_HEIGHT_M = 1.70  # stature of the bodies that lifters are trained on


@dataclass(frozen=True)
class LiftedPoses:
    """``joints_m`` (P, 17, 3) relative to the pelvis in the camera's axes; ``sigma_m`` (P, 17) per
    axis. With ``ExtraJoints`` they are 30.
    """

    joints_m: np.ndarray
    sigma_m: np.ndarray


class Lifter(ABC):
    """Lifts all people of an image at once; causal, without delay.

    A new one is a subclass, made from the ``PipelineSettings`` (``create``), and a line in
    ``registry.LIFTERS``; this class keeps no engine, ``NetworkLifter`` does.
    """

    name: ClassVar[str] = ""
    """For people: the name it is registered under."""
    reads_features: bool = False
    """Whether people must come with the detector's feature maps."""
    reads_depth: bool = False
    """Whether people must come with ``root_relative_depth_px``."""
    reads_images: bool = False
    """Whether it looks at the image."""

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """Names or paths of the networks that it runs (``model_store.store.locate``)."""
        return ()

    @classmethod
    def create(cls, settings: PipelineSettings) -> Lifter:
        """Made as the settings say. Raises ``ModelError``, ``EngineError``, ``SettingsError``."""
        return cls()

    @abstractmethod
    def __call__(
        self,
        people: People2D,
        camera: Camera,
        settings: PipelineSettings,
        image_bgr: ImageBgr | None = None,
        rays: npt.NDArray[np.floating] | None = None,
        up: npt.NDArray[np.floating] | None = None,
    ) -> LiftedPoses:
        """Poses of ``people`` (H36M17, with ids, confidence 0 where a keypoint is not to be
        used), who are remembered as they are in this frame.

        ``rays`` (P, 17, 2): ``camera.rays`` of the keypoints, where the caller has them already.
        ``up`` (3,): the unit vector against gravity in the camera's axes, where it is known.
        ``image_bgr`` (H, W, 3) uint8 is for lifters of pictures, which raise ``ValueError``
        without.
        """

    def check(self, maps: Sequence[tuple[int | None, ...]], source: str) -> None:  # noqa: B027
        """See that the feature maps (C, H, W) of a detector called ``source`` are those that the
        network looks at.

        Raises ``SettingsError``.
        """

    def forget(self, keep: npt.NDArray[np.integer]) -> None:  # noqa: B027 - some keep nothing
        """Drop the memory of everybody whose id is not in ``keep``."""

    def close(self) -> None:  # noqa: B027 - some have no engine
        """Release the engine."""


class NetworkLifter(Lifter):
    """Lifters that run an ONNX network, one call for all people.

    The network answers (P, 17, 4): metres relative to the pelvis at the canonical height in the
    axes of a virtual camera (``normalise``), and the logarithm of sigma.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.reads_depth = bool(DEPTH_INPUTS & engine.inputs.keys())
        self._memory: dict[int, Any] = {}
        """Memory of each person, by track id."""

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """The shipped network of this name, or the user's own."""
        return (settings.lifter_model or f"lifter-{cls.name}",)

    @classmethod
    def create(cls, settings: PipelineSettings) -> Lifter:
        """With the shipped network of this name."""
        return cls(load_network(cls.models(settings)[0], settings))

    def __call__(
        self,
        people: People2D,
        camera: Camera,
        settings: PipelineSettings,
        image_bgr: ImageBgr | None = None,
        rays: npt.NDArray[np.floating] | None = None,
        up: npt.NDArray[np.floating] | None = None,
    ) -> LiftedPoses:
        """See ``Lifter``."""
        if not len(people):
            return LiftedPoses(np.zeros((0, 17, 3), np.float32), np.zeros((0, 17), np.float32))
        rays = camera.rays(people.keypoints_px) if rays is None else rays
        seen = people.confidence > 0
        rays = np.where(seen[..., None], rays, np.nan).astype(np.float32)
        confidence = np.where(seen, people.confidence, 0)
        output, rotation = self._answer(people, camera, rays, confidence, image_bgr, up)
        scale = np.float32(settings.person_height_m / CANONICAL_HEIGHT_M)
        joints = np.einsum("pji,pkj->pki", rotation, output[..., :3]) * scale
        joints -= joints[:, :1]
        return LiftedPoses(joints, np.exp(output[..., 3]) * scale)

    @abstractmethod
    def _answer(
        self,
        people: People2D,
        camera: Camera,
        rays: np.ndarray,
        confidence: np.ndarray,
        image_bgr: np.ndarray | None,
        up: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The network's output (P, 17, 4) for rays (P, 17, 2), NaN where ``confidence`` (P, 17) is
        0, and the rotation (P, 3, 3) from the camera to the virtual one in whose axes it is.
        """

    def check(self, maps: Sequence[tuple[int | None, ...]], source: str) -> None:
        """See ``Lifter``."""
        wanted = {
            name: shape[1:]
            for name, shape in self._engine.inputs.items()
            if name.startswith("features")
        }
        given = {f"features{level}": tuple(shape) for level, shape in enumerate(maps)}
        if any(given.get(name) != shape for name, shape in wanted.items()):
            found, expected = (
                ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in of.items())
                or "none"
                for of in (given, wanted)
            )
            raise SettingsError(
                f"lifter: expected a detector with the feature maps that it was trained on "
                f"({expected}), got {source} with {found}; take that detector, or train a "
                f"lifter on what this one sees ('pose3d dataset features')"
            )

    def forget(self, keep: np.ndarray) -> None:
        """See ``Lifter``."""
        ids = set(keep.tolist())
        self._memory = {person: memory for person, memory in self._memory.items() if person in ids}

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def load_network(model: str, settings: PipelineSettings) -> Engine:
    """The engine of a lifter's network, known by name or path.

    Raises ``ModelError``, or ``EngineError`` for a network that is no lifter.
    """
    # Coarse arithmetic costs a lifter millimetres and saves nothing: it is for networks of
    # pictures.
    precision = "auto" if settings.precision in ("bf16", "int8") else settings.precision
    engine = inference.load(
        locate(model),
        settings.engine,
        settings.threads,
        precision=precision,
        max_people=settings.max_people,
    )
    if not engine.inputs.keys() & {"keypoints", "images"} or "joints" not in engine.outputs:
        inputs, outputs = ", ".join(engine.inputs), ", ".join(engine.outputs)
        engine.close()
        raise EngineError(
            f"lifter_model {model}: expected an ONNX lifter as 'pose3d export' writes it, from "
            f"keypoints or images to joints, got one from {inputs[:200]} to {outputs[:200]}"
        )
    for name, shape in engine.inputs.items():
        if (expected := _wrong_shape(name, shape, engine.outputs)) is not None:
            engine.close()
            raise EngineError(
                f"lifter_model {model}: expected {name[:60]} {expected}, got {list(shape)}; "
                f"export it with 'pose3d export'"
            )
    return engine


def _wrong_shape(
    name: str,
    shape: tuple[int | None, ...],
    outputs: Mapping[str, tuple[int | None, ...]],
) -> str | None:
    """The shape that an input of a lifter should have, where it has another."""
    rest = shape[1:]
    if name == "keypoints":
        right = len(shape) == 4 and rest[1:] == (18, 3) and 0 < (rest[0] or 0) <= MOST_FRAMES
        return None if right else f"[people, 1 to {MOST_FRAMES}, 18, 3]"
    if name == "images":
        side = rest[-1] if rest else None
        right = rest == (1, 3, side, side) and 0 < (side or 0) <= MOST_PIXELS
        return None if right else f"[people, 1, 3, S, S] with S up to {MOST_PIXELS}"
    if name == "state":
        after = outputs.get("next_state", ())[1:]
        known = [n for n in rest if n is not None]
        right = 0 < len(known) == len(rest) == len(after) and math.prod(known) <= MOST_STATE
        right = right and all(b in (a, None) for a, b in zip(rest, after, strict=True))
        return None if right else f"of at most {MOST_STATE} numbers, and next_state of its shape"
    if name in DEPTH_INPUTS:
        return None if rest == (17,) else "[people, 17]"
    if name == "up":
        return None if rest == (3,) else "[people, 3]"
    if name == "crop_keypoints":
        return None if rest == (17, 2) else "[people, 17, 2]"
    if name.startswith("features"):
        return None if len(shape) == 4 else "[people, channels, height, width]"
    return "nowhere"
