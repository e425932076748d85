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

"""Programs of the nodes, for ``ros2 run`` and the launch files. Ctrl-C ends them quietly from the
first moment: what takes seconds is imported after that.
"""

from __future__ import annotations

import signal
import threading
from importlib import import_module


def quiet_signals() -> None:
    """Let Ctrl-C end this process without Python's traceback, until ROS has its own handler."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def humans() -> int:
    """Run the humans node."""
    return _run("humans")


def monocular() -> int:
    """Run the monocular node."""
    return _run("monocular")


def multiview() -> int:
    """Run the multi-view node."""
    return _run("multiview")


def recorder() -> int:
    """Run the recorder node."""
    return _run("recorder")


def separation() -> int:
    """Run the separation node."""
    return _run("separation")


def video() -> int:
    """Run the video node."""
    return _run("video")


def viewer() -> int:
    """Run the viewer node."""
    return _run("viewer")


def _run(node: str) -> int:
    quiet_signals()
    return int(import_module(f"pose3d_ros.nodes.{node}").main())
