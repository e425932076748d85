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

"""The processor that engines run on."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

MOST_THREADS = 8
"""Networks of a few milliseconds do not gain from more."""


def cores() -> int:
    """Cores that this process may use."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def threads(wanted: int) -> int:
    """Threads for one network: those ``wanted``, or for 0 as many as help."""
    return wanted or min(cores(), MOST_THREADS)


def name() -> str:
    """Name of the processor, for people."""
    known = _known()
    return known.get("model name") or known.get("Hardware") or platform.processor() or "unknown"


def model() -> str:
    """Name of the processor with what it can do, as far as the system tells: two machines of one
    name may differ.
    """
    known = _known()
    parts = [known.get(key, "") for key in ("model name", "CPU part", "flags", "Features")]
    return " ".join(part for part in (platform.machine(), *parts) if part)


@cache
def _known() -> dict[str, str]:
    """Linux's description of the first core; nothing elsewhere."""
    file = Path("/proc/cpuinfo")
    told = file.read_text().splitlines() if file.is_file() else []
    lines = dict(line.split(":", 1) for line in reversed(told) if ":" in line)
    return {key.strip(): " ".join(value.split()) for key, value in lines.items()}
