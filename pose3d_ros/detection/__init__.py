"""2D pose detectors: images in, ``People2D`` out.

A new detector is one file with a subclass of ``Detector`` and one line in ``registry.DETECTORS``.
"""

from __future__ import annotations

from pose3d_ros.detection.detector import Detector, create, detector_class

__all__ = ["Detector", "create", "detector_class"]
