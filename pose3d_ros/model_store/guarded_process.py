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

"""Child processes that end with this one, however it ends, and leave no files behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Runs a command until its own standard input ends, which the parent holds open as long as it
# lives: a parent that is killed cannot do anything any more.
_GUARD = """
import os, shutil, signal, subprocess, sys, threading
scratch, *command = sys.argv[1:]
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
orphaned = threading.Event()
def watch():
    sys.stdin.buffer.read()
    orphaned.set()
    child.kill()
    child.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)
thread = threading.Thread(target=watch, daemon=True)
thread.start()
status = child.wait()
if orphaned.is_set():
    thread.join()
os._exit(status if status >= 0 else 128 - status)
"""


def run(
    command: Sequence[str | Path], scratch: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its standard error is in the result.

    When this process dies first, the command is killed and the folder ``scratch`` removed.
    """
    words = [str(word) for word in command]
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _GUARD, str(scratch), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=env,
    ) as guard:
        assert guard.stderr is not None
        said = guard.stderr.read()
        return subprocess.CompletedProcess(words, guard.wait(), "", said)
