"""Identity over time, left and right, and filtering."""

from __future__ import annotations

from pose3d_ros.tracking.filter import PoseFilter
from pose3d_ros.tracking.identity import IdentityTracker

__all__ = ["IdentityTracker", "PoseFilter"]
