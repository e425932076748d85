"""What all lifters have in common: rays in, root-relative poses in the camera's axes out, a memory
for each person.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.inference import Engine
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings, SettingsError

LATENCY_FRAMES = 0  # all lifters are causal: the answer is of the newest frame
DEPTH_INPUTS = frozenset({"root_relative_depth", "relief"})
"""Names of a network's input of the detector's root-relative depth; the second, of models that
were written before it got the first, is taken for one release.
"""
CANONICAL_HEIGHT_M = 1.70  # stature of the bodies that lifters are trained on


@dataclass(frozen=True)
class LiftedPoses:
    """``joints_m`` (P, 17, 3) relative to the pelvis in the camera's axes; ``sigma_m`` (P, 17) per
    axis.
    """

    joints_m: np.ndarray
    sigma_m: np.ndarray


class Lifter(ABC):
    """Lifts all people in one call of the network; causal, without delay.

    The network answers (P, 17, 4): metres relative to the pelvis at the canonical height in the
    axes of a virtual camera (``normalise``), and the logarithm of sigma.
    """

    reads_features = False
    """Whether people must come with the detector's feature maps."""
    reads_images = False
    """Whether it looks at the image."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._memory: dict[int, Any] = {}
        """What is kept of each person, by track id."""

    def __call__(
        self,
        people: People2D,
        camera: Camera,
        settings: PipelineSettings,
        image_bgr: np.ndarray | None = None,
    ) -> LiftedPoses:
        """Poses of ``people`` (H36M17, with ids), who are remembered as they are in this frame.

        ``image_bgr`` (H, W, 3) uint8 is for lifters of pictures, which raise ``ValueError``
        without.
        """
        if not len(people):
            return LiftedPoses(np.zeros((0, 17, 3), np.float32), np.zeros((0, 17), np.float32))
        rays = camera.rays(people.keypoints_px).astype(np.float32)
        confidence = np.where(people.confidence >= settings.min_confidence, people.confidence, 0)
        rays[confidence == 0] = np.nan
        output, rotation = self._answer(people, camera, rays, confidence, image_bgr)
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
    ) -> tuple[np.ndarray, np.ndarray]:
        """The network's output (P, 17, 4) for rays (P, 17, 2), NaN where ``confidence`` (P, 17) is
        0, and the rotation (P, 3, 3) from the camera to the virtual one in whose axes it is.
        """

    def check(self, maps: Sequence[tuple[int | None, ...]], source: str) -> None:
        """See that the feature maps (C, H, W) of a detector called ``source`` are those that the
        network looks at.

        Raises ``SettingsError``.
        """
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
        """Drop the memory of everybody whose id is not in ``keep``."""
        kept = set(keep.tolist())
        self._memory = {
            person: memory for person, memory in self._memory.items() if person in kept
        }

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()
