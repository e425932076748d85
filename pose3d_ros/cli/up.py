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

"""Run nodes in one process, with the arguments and configuration files of the launch files."""

from __future__ import annotations

import argparse

from pose3d_ros.arguments import NODES, ONE_CAMERA, arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d up``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "what",
        nargs="+",
        metavar="NODE|NAME:=VALUE",
        help=f"nodes ({', '.join(NODES)}) and arguments; video:=SOURCE also starts the video "
        "node, and multiview rig:=FILE the nodes of all its cameras",
    )
    sections = {
        "arguments:": arguments(ONE_CAMERA),
        "arguments of multiview:": arguments(("multiview",)),
    }
    parser.epilog = "\n".join(
        line
        for title, listed in sections.items()
        for line in (
            title,
            *(f"  {name}:=  {argument.description}" for name, argument in listed.items()),
        )
    )


def command(options: argparse.Namespace) -> int:
    """Run the nodes until Ctrl-C or the end of the video."""
    from pose3d_ros.nodes.entry import quiet_signals

    quiet_signals()
    from pose3d_ros.nodes import up

    return up.up(options.what)
