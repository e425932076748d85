"""The ``pose3d`` command. Each subcommand lives in a module with ``add_arguments(parser)`` and
``command(options)``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "up": ("pose3d_ros.nodes.up", "run nodes in one process, without a launch system"),
    "demo": (
        "pose3d_ros.nodes.demo",
        "play a video through the nodes and make a film of the result",
    ),
    "models": ("pose3d_ros.cli.models", "list, fetch, verify, build, locate and import models"),
    "doctor": (
        "pose3d_ros.cli.doctor",
        "try every inference engine of this machine on every model: a report",
    ),
    "evaluate": (
        "pose3d_ros.cli.evaluate",
        "measure the pipeline on videos, lifters and rigs on recordings",
    ),
    "benchmark": (
        "pose3d_ros.cli.benchmark",
        "measure where the milliseconds of a frame go on this machine",
    ),
    "dataset": ("pose3d_ros.cli.dataset", "make a dataset of recordings with 3D truth"),
    "calibrate": (
        "pose3d_ros.cli.calibrate",
        "where cameras stand and what they see: from boards and people",
    ),
    "render": ("pose3d_ros.cli.render", "render labelled people: a clip, or a detector's errors"),
    "networks": (
        "pose3d_ros.cli.networks",
        "what the networks cost: parameters and multiply-adds",
    ),
    "train": (
        "pose3d_ros.training.loop",
        "train a lifter on motion capture, or on recordings with 3D truth",
    ),
    "export": ("pose3d_ros.training.export", "write a trained lifter as ONNX"),
}
REMEDIES = {
    "rclpy": (
        "source a ROS distribution, or pip install 'ros-jazzy-rclpy[fastrtps]' and the message "
        "packages"
    ),
    "torch": "pip install torch",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, dispatch, and tell what went wrong in one line. Returns the exit code: 1 failure, 2
    wrong usage.
    """
    listing = "\n".join(f"  {name:10} {help_}" for name, (_, help_) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="pose3d",
        description="3D human pose in ROS 2.",
        epilog=f"commands:\n{listing}\n\n'pose3d COMMAND --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below"
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the command")
    chosen = parser.parse_args(argv)
    name = chosen.command
    try:
        module = import_module(COMMANDS[name][0])
        subparser = argparse.ArgumentParser(prog=f"pose3d {name}", description=module.__doc__)
        module.add_arguments(subparser)
        return int(module.command(subparser.parse_args(chosen.arguments)))
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        remedy = REMEDIES.get(package, f"pip install {package}")
        return _fail(name, f"needs {package}, which is not installed: {remedy}")
    except (
        ValueError,
        OSError,
        RuntimeError,
    ) as error:  # what the package raises when something is not as expected
        return _fail(name, " ".join(str(error).split()))
    except KeyboardInterrupt:
        return 130


def _fail(command: str, text: str) -> int:
    sys.stderr.write(f"pose3d {command}: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
