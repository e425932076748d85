"""2D keypoints of followed people -> 3D joints relative to the pelvis."""

from __future__ import annotations

from pose3d_ros.lifting.temporal import LiftedPoses, TemporalLifter
from pose3d_ros.model_store import locate
from pose3d_ros.settings import PipelineSettings

__all__ = ["LiftedPoses", "TemporalLifter", "create"]


def create(settings: PipelineSettings) -> TemporalLifter:
    """The lifter that the settings name. Raises ``ModelError`` or ``EngineError``."""
    return TemporalLifter(locate(f"lifter-{settings.lifter}"), settings)
