"""Lifters with a state that goes on from frame to frame: RPSM."""

from __future__ import annotations

from collections import deque

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.inference import Engine
from pose3d_ros.lifting.lifter import Lifter
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.people import People2D

STEP_NS = 100_000_000    # between the frames of the clips that the lifter is trained on
MEMORY_NS = 500_000_000  # an older state is of another motion


class RecurrentLifter(Lifter):
    """Every frame goes on from the person's state of about a tenth of a second ago, the step of the training.

    So the camera's rate does not matter, and a missed frame is no more than another step. At 30 Hz three states take
    turns. The model's inputs are ``keypoints`` (P, 1, 18, 3) as ``normalise`` makes them and ``state`` (P, ...), zeros
    for newcomers; its outputs ``joints`` (P, 17, 4) and ``next_state``.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._memory: dict[int, deque[tuple[int, np.ndarray]]] = {}
        self._newcomer = np.zeros([length or 0 for length in engine.inputs["state"][1:]], np.float32)

    def _answer(
        self, people: People2D, camera: Camera, rays: np.ndarray, confidence: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        features, rotation = normalise(rays[:, None], confidence[:, None])
        memories = [self._memory.setdefault(person, deque()) for person in people.ids.tolist()]
        states = np.stack([self._past(memory, people.stamp_ns) for memory in memories])
        output = self._engine({"keypoints": features, "state": states})
        for memory, state in zip(memories, output["next_state"], strict=True):
            memory.append((people.stamp_ns, state.copy()))
        return output["joints"], rotation

    def _past(self, memory: deque[tuple[int, np.ndarray]], stamp_ns: int) -> np.ndarray:
        """The state to go on from; those that no later frame will go on from are dropped."""
        wanted = stamp_ns - STEP_NS
        while memory and (len(memory) > 1 and memory[1][0] <= wanted or memory[0][0] < stamp_ns - MEMORY_NS):
            memory.popleft()
        return min(memory, key=lambda entry: abs(entry[0] - wanted))[1] if memory else self._newcomer
