"""2D keypoints of followed people -> 3D joints relative to the pelvis.

A new lifter is one file with a subclass of ``Lifter`` and one line in ``registry.LIFTERS``.
"""

from __future__ import annotations

from pose3d_ros.lifting.lifter import LATENCY_FRAMES, LiftedPoses, Lifter
from pose3d_ros.lifting.selection import create, lifter_name

__all__ = ["LATENCY_FRAMES", "LiftedPoses", "Lifter", "create", "lifter_name"]
