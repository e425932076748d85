"""Try every inference engine of this machine on every model, and print a report to attach to an
issue.

Exit code 1 when an engine that is installed fails: it does not load, crashes, or answers other
than the float32 references that are stored with the models. Engines that are not installed are
listed with the remedy.
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
    failed = tried = 0
    for trial in engine_trials.trials(options.engine or NAMED):
        _print(engine_trials.line(trial))
        failed, tried = failed + trial.failed, tried + (not trial.missing)
    _print("")
    _print(
        f"{tried - failed} of {tried} passed"
        + (f", {failed} FAILED: please attach this text to an issue" if failed else "")
    )
    return int(failed > 0)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
