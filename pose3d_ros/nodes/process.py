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

"""Nodes in this process: run until a signal or their end, or in the background of another task."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from pose3d_ros.errors import one_line
from pose3d_ros.nodes import process_tuning
from pose3d_ros.nodes.entry import quiet_signals
from pose3d_ros.nodes.managed_node import ManagedNode, in_one_line
from pose3d_ros.nodes.parameter_files import unused_files

N = TypeVar("N", bound=Node)
START_GRACE_S = 3.0  # for a start that a signal interrupts: networks may still be loading


def spin(executor: SingleThreadedExecutor, node: Node, until: Callable[[], bool]) -> None:
    """Spin until the condition or the end of ROS. Whatever a callback raises is one line of the
    node's log: nothing that anybody sends ends the process.
    """
    while rclpy.ok() and not until():
        try:
            executor.spin_once(timeout_sec=0.2)
        except ExternalShutdownException:
            return
        except Exception as error:  # noqa: BLE001 - of rclpy's own services; ours have a guard
            if rclpy.ok():
                node.get_logger().error(f"a request was refused: {in_one_line(error)}")


@contextmanager
def in_background(make: Callable[[], N]) -> Iterator[N]:
    """A node in this process, which another thread spins until the end of the block."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node, executor, ended = make(), SingleThreadedExecutor(), threading.Event()
    executor.add_node(node)
    spinning = threading.Thread(target=spin, args=(executor, node, ended.is_set), daemon=True)
    spinning.start()
    try:
        yield node
    finally:
        ended.set()
        spinning.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()


def run(
    factories: Sequence[Callable[[], ManagedNode[Any]]], args: Sequence[str] | None = None
) -> int:
    """Run nodes in this process until a signal or until one has finished. Returns the exit code: 1
    when one has failed.

    ``args``: ROS arguments for every node; the command line by default. A signal before ROS is up
    ends the process at once, as the system does it; a later one ends it with 0.
    """
    quiet_signals()
    process_tuning.tune()
    nodes: list[ManagedNode[Any]] = []
    initialised = False
    started = threading.Event()
    try:
        rclpy.init(args=None if args is None else list(args))
        initialised = True
        threading.Thread(target=_bound_start, args=(started,), daemon=True).start()
        executor = SingleThreadedExecutor()
        for make in factories:
            nodes.append(make())
            executor.add_node(nodes[-1])
        names = [node.get_fully_qualified_name() for node in nodes]
        for text in unused_files(sys.argv if args is None else args, names):
            nodes[0].get_logger().warning(text)
        started_well = all(node.start() for node in nodes)
        started.set()
        if not started_well:
            return int(rclpy.ok())
        spin(executor, nodes[0], lambda: any(node.finished for node in nodes))
        return int(any(node.failed for node in nodes))
    except KeyboardInterrupt:  # where another program keeps Python's handler
        return 0
    except Exception as error:  # noqa: BLE001 - what is not expected shall be one line as well
        if initialised and not rclpy.ok():  # a signal: ROS goes down under whatever was being done
            return 0
        sys.stderr.write(f"pose3d: {_line(error)}\n")
        return 1
    finally:
        started.set()
        for node in nodes:
            node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()


def _bound_start(started: threading.Event) -> None:
    """End the process when a start goes on for long after a signal, loading networks."""
    while not started.wait(0.1):
        if not rclpy.ok():
            if not started.wait(START_GRACE_S):
                os._exit(0)
            return


def _line(error: BaseException) -> str:
    # rclpy's RCLError (a RuntimeError): arguments or a parameter file with a mistake
    return one_line(error) if isinstance(error, RuntimeError) else in_one_line(error)
