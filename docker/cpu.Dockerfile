# Any x86-64 or ARM computer, without a GPU. Written from documentation: not run by us yet.
#   docker build --file docker/cpu.Dockerfile --tag pose3d_ros:cpu .
FROM ros:humble-ros-base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# models and engines, of whichever user: compose.yaml keeps them in a volume
ENV XDG_CACHE_HOME=/cache
COPY . /ws/src/pose3d_ros
RUN /ws/src/pose3d_ros/docker/install.sh
ENTRYPOINT ["/ws/src/pose3d_ros/docker/entrypoint.sh"]
CMD ["ros2", "launch", "pose3d_ros", "monocular.launch.py", "viewer:=true"]
