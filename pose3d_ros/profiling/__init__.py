"""Profiling of a frame's milliseconds on this machine: ``pose3d benchmark``."""
