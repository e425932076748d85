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

"""Print the networks' parameters and multiply-adds, of one person in one frame and with default
options.
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d networks``."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a network, as this lists them; default all"
    )


def command(options: argparse.Namespace) -> int:
    """Print one line for each network."""
    from pose3d_ros.networks import NETWORKS
    from pose3d_ros.networks.cost import cost_of

    sys.stdout.write(
        f"{'network':18} {'parameters/M':>12} {'multiply-adds/M':>15} {'attention/M':>11}\n"
    )
    for name in options.names or NETWORKS:
        found = cost_of(name)
        sys.stdout.write(
            f"{name:18} {found.parameters / 1e6:12.2f} {found.multiply_adds / 1e6:15.1f} "
            f"{found.attention / 1e6:11.1f}\n"
        )
    return 0
