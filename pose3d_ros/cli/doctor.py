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

"""Try every inference engine of this machine on every model, and print a report to attach to an
issue.

Exit code 1 when an engine that is installed fails: it does not load, crashes, or answers other
than the float32 references that are stored with the models. Engines that are not installed are
listed with the remedy. Without a GPU TensorRT for RTX builds every model, and none is run.
"""

from __future__ import annotations

import argparse
import sys

from pose3d_ros.settings import ENGINES

NAMED = tuple(engine for engine in ENGINES if engine != "auto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d doctor``."""
    parser.add_argument(
        "--engine", choices=NAMED, action="append", help="try this one only; may be repeated"
    )


def command(options: argparse.Namespace) -> int:
    """Try, and print as it goes."""
    from pose3d_ros.profiling import engine_trials, machine

    for name, value in machine.versions():
        _print(f"{name:22} {value}")
    _print("")
    _print(engine_trials.HEADING)
    failed = tried = not_run = 0
    for trial in engine_trials.trials(options.engine or NAMED):
        _print(engine_trials.line(trial))
        not_run += trial.not_run
        failed, tried = failed + trial.failed, tried + (not trial.missing and not trial.not_run)
    _print("")
    _print(
        f"{tried - failed} of {tried} passed"
        + (f", {not_run} more built and not run" if not_run else "")
        + (f", {failed} FAILED: please attach this text to an issue" if failed else "")
    )
    return int(failed > 0)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
