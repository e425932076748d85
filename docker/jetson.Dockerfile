# A Jetson with JetPack 6 (L4T 36, Ubuntu 22.04, TensorRT 10.3). Written from documentation: not run by us yet.
#   docker build --file docker/jetson.Dockerfile --tag pose3d_ros:jetson .
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# models and engines, of whichever user: compose.yaml keeps them in a volume
ENV XDG_CACHE_HOME=/cache
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
# ROS 2 Humble, as docs.ros.org installs it; versions are those of the repositories
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl python3-libnvinfer && \
    curl --fail --silent --show-error --location --output /usr/share/keyrings/ros-archive-keyring.gpg \
        https://raw.githubusercontent.com/ros/rosdistro/master/ros.key && \
    echo "deb [signed-by=/usr/share/keyrings/ros-archive-keyring.gpg] http://packages.ros.org/ros2/ubuntu jammy main" \
        > /etc/apt/sources.list.d/ros2.list && \
    apt-get update && apt-get install -y --no-install-recommends ros-humble-ros-base && rm -rf /var/lib/apt/lists/*
# onnx: the newest that works with Ubuntu's numpy, which pip finds
# hadolint ignore=DL3013
RUN pip3 install --no-cache-dir cuda-bindings==12.9.10 onnx 'numpy<1.25'
COPY . /ws/src/pose3d_ros
RUN /ws/src/pose3d_ros/docker/install.sh
ENTRYPOINT ["/ws/src/pose3d_ros/docker/entrypoint.sh"]
CMD ["ros2", "launch", "pose3d_ros", "monocular.launch.py", "viewer:=true"]
