"""What the package reaches: on videos, on recordings with 3D truth, and with several cameras."""
