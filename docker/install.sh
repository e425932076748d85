#!/usr/bin/env bash
# Install the package from /ws/src/pose3d_ros, and what it needs, into an image that has ROS 2 Humble (Ubuntu 22.04, Python 3.10).
set -euo pipefail
apt-get update
apt-get install -y --no-install-recommends python3-colcon-common-extensions python3-pip python3-rosdep
[ -e /etc/ros/rosdep/sources.list.d/20-default.list ] || rosdep init
rosdep update --rosdistro humble
rosdep install --from-paths /ws/src --ignore-src --default-yes --rosdistro humble --skip-keys rviz2
rm -rf /var/lib/apt/lists/*
# --no-deps, and numpy below 1.25: Ubuntu's scipy and OpenCV are built for its own numpy
pip install --no-cache-dir --no-deps onnxruntime==1.23.2 av==17.1.0
pip install --no-cache-dir viser==1.1.1 'numpy<1.25'
cd /ws
set +u
. /opt/ros/humble/setup.sh
set -u
colcon build --packages-select pose3d_ros
install/pose3d_ros/bin/pose3d models fetch  # a robot may have no network
