"""MoveNet: MultiPose finds people in whole pictures, Thunder reads the keypoints of one."""
