# A desktop with an RTX GPU, the driver for CUDA 12 or newer, and NVIDIA's container toolkit. Written from documentation: not run by
# us yet.
#   docker build --file docker/cpu.Dockerfile --tag pose3d_ros:cpu . && docker build --file docker/gpu.Dockerfile --tag pose3d_ros:gpu .
ARG BASE=pose3d_ros:cpu
FROM ${BASE}
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# TensorRT for RTX brings its libraries along; the engines are built at the first start and kept in the volume of compose.yaml
# onnx: the newest that works with Ubuntu's numpy, which pip finds
# hadolint ignore=DL3013
RUN pip install --no-cache-dir cuda-bindings==12.9.10 tensorrt-rtx-cu12-bindings==1.7.1.116 tensorrt-rtx-cu12-libs==1.7.1.116 \
    onnx 'numpy<1.25'
