"""What the package's nodes have in common: parameters, lifecycle, problems said once, and running
in a process.
"""

from __future__ import annotations

import math
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any, Generic, TypeVar

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from pose3d_ros.errors import one_line
from pose3d_ros.nodes import parameters, process_tuning
from pose3d_ros.settings import Settings, SettingsError

S = TypeVar("S", bound=Settings)
N = TypeVar("N", bound=Node)
OTHER_CLOCK_S = 10.0  # no image is that late


class ManagedNode(LifecycleNode, Generic[S]):
    """Lifecycle node with settings; subclasses work in ``configure``, ``activate``, ``deactivate``
    and ``cleanup``.

    Whatever these raise becomes one line in the log and a refused transition. ``finished``: the
    node has nothing more to do, and its process may end; ``failed``: not because its work is done.
    """

    def __init__(self, name: str, settings_type: type[S], **options: Any) -> None:
        super().__init__(name, **options)
        self.problems: dict[str, str] = {}
        self._said: dict[str, tuple[str, float]] = {}
        self.finished = self.failed = False
        self.settings = parameters.declare(self, settings_type, self._settings_changed)

    def configure(self) -> None:
        """Acquire what the node needs."""

    def activate(self) -> None:
        """Start to work."""

    def deactivate(self) -> None:
        """Stop to work; may be called twice."""

    def cleanup(self) -> None:
        """Release what ``configure`` acquired; may be called twice."""

    def _settings_changed(self, settings: S) -> None:
        self.settings = settings

    def problem(self, key: str, text: str) -> None:
        """Log a problem in one line, unless its ``key`` said the same last or anything within the
        last second.
        """
        self.problems[key] = text
        said, at = self._said.get(key, ("", -math.inf))
        if text != said and (now := time.monotonic()) - at > 1.0:
            self._said[key] = (text, now)
            self.get_logger().warning(text)

    def solved(self, *keys: str) -> None:
        """These problems are over: each is logged again when it returns."""
        for key in keys:
            if self.problems.pop(key, None):
                self._said[key] = ("", self._said.get(key, ("", -math.inf))[1])

    def every(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Timer in real time, also while simulated time stands still."""
        return self.create_timer(seconds, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def age_s(self, acquired_ns: int) -> float | None:
        """Time since acquisition; None when another clock stamped the image."""
        age_s = (self.get_clock().now().nanoseconds - acquired_ns) * 1e-9
        return age_s if abs(age_s) < OTHER_CLOCK_S else None

    def latency_s(self, acquired_ns: int) -> float | None:
        """``age_s``, but None is said in a line."""
        if (age_s := self.age_s(acquired_ns)) is not None:
            self.solved("clock")
            return age_s
        self.problem(
            "clock",
            f"latency unknown: expected images stamped within {OTHER_CLOCK_S:g} s of this node's "
            f"clock, got another time; set use_sim_time:=true and play the bag with --clock, or "
            f"synchronise the clocks",
        )
        return None

    def start(self) -> bool:
        """Configure and activate, unless a lifecycle manager is to do it. False when the node
        refused.
        """
        return not getattr(self.settings, "autostart", True) or all(
            step() == TransitionCallbackReturn.SUCCESS
            for step in (self.trigger_configure, self.trigger_activate)
        )

    def _try(self, what: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - rclpy would swallow it
            self.get_logger().error(f"cannot {what}: {in_one_line(error)}")
            self.get_logger().debug(traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to inactive."""
        done = self._try("configure", self.configure)
        if done != TransitionCallbackReturn.SUCCESS:
            self.cleanup()
        return done

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to active."""
        super().on_activate(state)  # the publishers first
        return self._try("activate", self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to inactive."""
        done = self._try("deactivate", self.deactivate)
        super().on_deactivate(state)
        self.problems.clear()
        return done

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to unconfigured."""
        return self._try("clean up", self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to finalized."""
        return self._try("shut down", self._stop)

    def _stop(self) -> None:
        self.deactivate()
        self.cleanup()

    def destroy_node(self) -> None:
        """Stop and release everything."""
        self._stop()
        super().destroy_node()


def in_one_line(error: BaseException) -> str:
    """An exception's message without line breaks; errors that are not written for users say their
    type and place.
    """
    text = one_line(error)
    if (
        isinstance(error, (ValueError, OSError))
        and text
        or type(error).__module__.startswith("pose3d_ros")
    ):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


@contextmanager
def in_background(make: Callable[[], N]) -> Iterator[N]:
    """A node in this process, which another thread spins until the end of the block."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node, executor = make(), SingleThreadedExecutor()
    executor.add_node(node)
    spinning = Thread(target=executor.spin, daemon=True)
    spinning.start()
    try:
        yield node
    finally:
        executor.shutdown()
        spinning.join()
        node.destroy_node()
        rclpy.shutdown()


def run(
    factories: Sequence[Callable[[], ManagedNode[Any]]], args: Sequence[str] | None = None
) -> int:
    """Run nodes in this process until Ctrl-C or until one has finished. Returns the exit code: 1
    when one has failed.

    ``args``: ROS arguments for every node; the command line by default.
    """
    process_tuning.tune()
    nodes: list[ManagedNode[Any]] = []
    try:
        rclpy.init(args=None if args is None else list(args))
        executor = SingleThreadedExecutor()
        for make in factories:
            nodes.append(make())
            executor.add_node(nodes[-1])
        if not all(node.start() for node in nodes):
            return 1
        while rclpy.ok() and not any(node.finished for node in nodes):
            try:
                executor.spin_once(timeout_sec=0.2)
            # rclpy's RCLError: a request for a transition that the state does not have
            except RuntimeError as error:
                if rclpy.ok():
                    nodes[0].get_logger().error(f"a request was refused: {in_one_line(error)}")
        return int(any(node.failed for node in nodes))
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except (
        SettingsError,
        RuntimeError,
    ) as error:  # rclpy's RCLError: arguments or a parameter file with a mistake
        sys.stderr.write(f"pose3d: {one_line(error)}\n")
        return 1
    finally:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # a second Ctrl-C, or the launch system's, finds us leaving
        for node in nodes:
            node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()
