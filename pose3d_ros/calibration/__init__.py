"""Calibrating cameras: intrinsics and extrinsics from boards, extrinsics refined from people."""
