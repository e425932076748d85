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

"""The ``pose3d`` command. Each subcommand is a module with ``add_arguments(parser)``, which needs
the standard library alone, and ``command(options)``, which imports what it runs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from pose3d_ros.errors import missing_package, one_line

COMMANDS = {
    "up": "run nodes in one process, without a launch system",
    "demo": "play a video through the nodes and make a film of the result",
    "track": "write the people of a recording to a file for analysis",
    "models": "list, fetch, verify, build, locate and import models",
    "doctor": "try every inference engine of this machine on every model: a report",
    "evaluate": "measure the pipeline on videos, lifters and rigs on recordings",
    "benchmark": "measure where the milliseconds of a frame go on this machine",
    "dataset": "make a dataset of recordings with 3D truth",
    "calibrate": "where cameras stand and what they see: from boards and people",
    "render": "render labelled people: a clip, or a detector's errors",
    "networks": "what the networks cost: parameters and multiply-adds",
    "train": "train a lifter on motion capture, or on recordings with 3D truth",
    "export": "write a trained lifter as ONNX",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, dispatch, and tell what went wrong in one line. Returns the exit code: 1 failure, 2
    wrong usage, 130 after Ctrl-C.
    """
    listing = "\n".join(f"  {name:10} {help_}" for name, help_ in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="pose3d",
        description="3D human pose in ROS 2.",
        epilog=f"commands:\n{listing}\n\n'pose3d COMMAND --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pose3d_ros {_version()}")
    parser.add_argument(
        "command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below"
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the command")
    chosen = parser.parse_args(argv)
    name = chosen.command
    try:
        module = import_module(f"pose3d_ros.cli.{name}")
        subparser = argparse.ArgumentParser(prog=f"pose3d {name}", description=module.__doc__)
        module.add_arguments(subparser)
        code = int(module.command(subparser.parse_args(chosen.arguments)))
        sys.stdout.flush()
        return code
    except ModuleNotFoundError as error:
        return _fail(name, missing_package(error.name or str(error)))
    except BrokenPipeError:  # as of 'pose3d ... | head': nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        return 128 + signal.SIGPIPE
    except (
        ValueError,
        OSError,
        RuntimeError,
    ) as error:  # what the package raises when something is not as expected
        return _fail(name, one_line(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _version() -> str:
    try:
        return version("pose3d_ros")
    except PackageNotFoundError:
        return "(not installed)"


def _fail(command: str, text: str) -> int:
    sys.stderr.write(f"pose3d {command}: {text}\n")
    return 1
