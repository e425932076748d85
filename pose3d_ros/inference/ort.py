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

"""ONNX Runtime's library, which tells nobody of its use."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from pose3d_ros.errors import MissingEngineError

MEMORY_SHARE = 0.5
"""Part of the machine's memory that the networks of a process may take together: what a network
allocates while it runs stands in no shape that could be checked before.
"""


@cache
def library() -> Any:
    """The module ``onnxruntime`` with its telemetry off: else it writes a device id and events
    below the user's cache. Sessions that are told to use the process' allocator
    (``session.use_env_allocators``) share one of ``memory_limit_bytes``.

    Raises ``MissingEngineError``.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingEngineError(
            f"ONNX Runtime is not installed ({error}); pip install onnxruntime"
        ) from None
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    cpu = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    defaults = -1, -1, -1  # how it grows and what it leaves unused
    onnxruntime.create_and_register_allocator(
        cpu, onnxruntime.OrtArenaCfg(memory_limit_bytes(), *defaults)
    )
    return onnxruntime


def memory_limit_bytes() -> int:
    """``MEMORY_SHARE`` of this machine's memory."""
    return int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
