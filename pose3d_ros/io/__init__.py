"""Files, messages and devices in and out: images, videos, bags, 2D poses as clouds, rig files;
without ROS.
"""
