"""Errors of what images and recordings are read from."""

from pose3d_ros.errors import Pose3dError


class SourceError(Pose3dError, ValueError):
    """A source that nothing can be read from, or no more."""


class VideoError(SourceError):
    """A video file or stream that cannot be opened or decoded."""


class BagError(SourceError):
    """A bag that cannot be read, or that lacks what is looked for."""
