"""Where the milliseconds of a frame go, on this machine: ``pose3d benchmark``."""
