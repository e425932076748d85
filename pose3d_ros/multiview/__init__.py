"""Several cameras: triangulation, matching people across views, tracking them in space."""

from __future__ import annotations

from pose3d_ros.multiview.pose_buffer import PoseBuffer
from pose3d_ros.multiview.tracker import MultiViewTracker
from pose3d_ros.multiview.triangulation import triangulate

__all__ = ["MultiViewTracker", "PoseBuffer", "triangulate"]
