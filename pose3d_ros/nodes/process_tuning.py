# Copyright 2026 pose3d_ros maintainers
# SPDX-License-Identifier: Apache-2.0
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Process-wide settings that make images travel fast; both leave alone what the user has set."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from pose3d_ros.resources import share

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
SEGMENT_BYTES = 64 << 20  # as in config/fastdds.xml
PROFILE_VARIABLES = (
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
)  # Kilted; Jazzy and Humble


def tune() -> None:
    """Prepare this process for images; to be called before ``rclpy.init``."""
    keep_image_memory()
    enlarge_shared_memory()


def keep_image_memory() -> None:
    """Let malloc keep freed image buffers: returning them to the kernel costs a page fault per 4
    kB of every image.
    """
    if (
        sys.platform != "linux"
        or "MALLOC_TRIM_THRESHOLD_" in os.environ
        or "MALLOC_MMAP_THRESHOLD_" in os.environ
    ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries than glibc lack it
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 64 << 20)
        mallopt(M_TRIM_THRESHOLD, 512 << 20)


def enlarge_shared_memory() -> None:
    """Give Fast DDS a segment that holds images: its default of 512 KB loses best-effort ones.

    Does nothing where /dev/shm is too small for it (64 MB in a container by default): a full one
    kills the process.
    """
    if any(name in os.environ for name in PROFILE_VARIABLES) or not os.path.isdir("/dev/shm"):
        return
    if shutil.disk_usage("/dev/shm").free > 4 * SEGMENT_BYTES:
        os.environ[PROFILE_VARIABLES[_rclpy_major() < 9]] = str(share("config", "fastdds.xml"))


def _rclpy_major() -> int:
    """Major version of rclpy, of a distribution or of wheels: Kilted, whose Fast DDS renamed the
    variable, has 9.
    """
    for name in ("rclpy", "ros-rclpy"):
        with suppress(PackageNotFoundError):
            return int(version(name).split(".")[0])
    return 9
