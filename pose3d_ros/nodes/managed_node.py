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

"""Base of the package's nodes: parameters, lifecycle, callbacks that cannot end the process, and
problems that are said once.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from pose3d_ros.errors import Pose3dError, one_line
from pose3d_ros.nodes import library_log, parameters
from pose3d_ros.settings import NodeSettings
from pose3d_ros.text_files import shortened

S = TypeVar("S", bound=NodeSettings)
OTHER_CLOCK_S = 10.0  # no image is that late
OTHER_CLOCK_PATIENCE_S = 2.0  # where a recording begins again, its clock and images jump in turn
LONGEST_PROBLEM = 800  # characters


class ManagedNode(LifecycleNode, Generic[S]):
    """Lifecycle node with settings; subclasses work in ``configure``, ``activate``, ``deactivate``
    and ``cleanup``.

    Whatever these raise becomes one line in the log and a refused transition. ``finished``: the
    node has nothing more to do, and its process may end; ``failed``: not because its work is done.
    """

    def __init__(self, name: str, settings_type: type[S], **options: Any) -> None:
        super().__init__(name, **options)
        self._library_log = library_log.attach(self.get_logger())
        self.problems: dict[str, str] = {}
        self.configured = False
        self._right_clock_at: float | None = None
        self._said: dict[str, tuple[str, float]] = {}
        self.finished = self.failed = False
        try:
            self._parameters_of = parameters.NodeParameters(
                self, settings_type, self._settings_changed
            )
        except BaseException:
            library_log.detach(self._library_log)
            raise
        self.settings = self._parameters_of.settings
        service = self._service_change_state
        service.callback = self._answering(service.callback)

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

    def problem(self, key: str, text: str, cause: str = "") -> None:
        """Log a problem in one line, unless its ``key`` said the same last or anything within the
        last second. Texts of one ``cause`` are the same, whatever else they tell.
        """
        text = shortened(text, LONGEST_PROBLEM)  # frame ids may have megabytes
        self.problems[key] = text
        said, at = self._said.get(key, ("", -math.inf))
        cause = cause or text
        if cause != said and (now := time.monotonic()) - at > 1.0:
            self._said[key] = (cause, now)
            self.get_logger().warning(text)

    def solved(self, *keys: str) -> None:
        """These problems are over: each is logged again when it returns."""
        for key in keys:
            if self.problems.pop(key, None):
                self._said[key] = ("", self._said.get(key, ("", -math.inf))[1])

    def every(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Timer in real time, also while simulated time stands still."""
        name = getattr(callback, "__name__", "timer").strip("_")
        return self.create_timer(
            seconds,
            self.guarded(f"in {name}", callback),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def guarded(self, where: str, callback: Callable[..., Any]) -> Callable[..., None]:
        """The callback, whose exceptions become one line: rclpy would end the process."""

        def call(*arguments: Any) -> None:
            try:
                callback(*arguments)
                self.solved(f"callback {where}")
            except Exception as error:  # noqa: BLE001 - whatever was sent, the next one counts
                if self.context.ok():
                    self.problem(f"callback {where}", f"skipped {where}: {in_one_line(error)}")
                    self.get_logger().debug(traceback.format_exc())

        return call

    def _answering(self, change_state: Callable[..., Any]) -> Callable[..., Any]:
        """The lifecycle service, which also answers a request that its state does not have."""

        def answer(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except RuntimeError as error:  # rclpy's RCLError
                asked = request.transition.label or f"transition {request.transition.id}"
                self.get_logger().error(
                    f"change_state: {asked} was refused, because the node is "
                    f"{self._state_machine.current_state[1]}: {in_one_line(error)}"
                )
                response.success = False
                return response

        return answer

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, with a reason that names a parameter that does not exist, and with whole
        numbers for floating-point parameters.
        """
        if unknown := [p.name for p in parameter_list if not self.has_parameter(p.name)]:
            return SetParametersResult(
                successful=False, reason=self._parameters_of.unknown(unknown)
            )
        typed = [self._parameters_of.as_declared(parameter) for parameter in parameter_list]
        return super().set_parameters_atomically(typed)

    def age_s(self, acquired_ns: int) -> float | None:
        """Time since acquisition; None when another clock stamped the image."""
        age_s = (self.get_clock().now().nanoseconds - acquired_ns) * 1e-9
        return age_s if abs(age_s) < OTHER_CLOCK_S else None

    def latency_s(self, acquired_ns: int) -> float | None:
        """``age_s``, but None is said in a line."""
        now = time.monotonic()
        if (age_s := self.age_s(acquired_ns)) is not None:
            self._right_clock_at = now
            self.solved("clock")
        elif self._right_clock_at is None:  # simulated time may begin after the first image
            self._right_clock_at = now
        elif now - self._right_clock_at > OTHER_CLOCK_PATIENCE_S:
            self.problem(
                "clock",
                f"latency unknown: expected images stamped within {OTHER_CLOCK_S:g} s of this "
                f"node's clock, got another time; {self._clock_remedy(acquired_ns)}",
            )
        return age_s

    def _clock_remedy(self, acquired_ns: int) -> str:
        if self.get_parameter("use_sim_time").value:
            return "see whether /clock is of the same recording as the images"
        if abs(acquired_ns * 1e-9 - time.monotonic()) < OTHER_CLOCK_S:
            return "they have the time since boot: let the camera driver stamp with ROS time"
        return (
            "of a bag, set use_sim_time:=true and play it with --clock; of another computer, "
            "synchronise the clocks"
        )

    def start(self) -> bool:
        """Configure and activate, unless a lifecycle manager is to do it. False when the node
        refused.
        """
        return not self.settings.autostart or all(
            step() == TransitionCallbackReturn.SUCCESS
            for step in (self.trigger_configure, self.trigger_activate)
        )

    def enable(self, enabled: bool) -> str:
        """Activate or deactivate the configured node, and say so; ``Pose3dError`` where it
        refuses.
        """
        state, wanted = self._state_machine.current_state[1], "active" if enabled else "inactive"
        if state == wanted:
            return f"was {wanted} before"
        if state not in ("active", "inactive"):
            raise Pose3dError(f"expected the node active or inactive, it is {state}")
        step = self.trigger_activate if enabled else self.trigger_deactivate
        if step() != TransitionCallbackReturn.SUCCESS:
            raise Pose3dError(f"the node is not {wanted}: its last line in the log says why")
        return wanted

    def _try(self, what: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - rclpy would swallow it
            if self.context.ok():  # else a signal has ended ROS meanwhile: nothing is wrong
                self.get_logger().error(f"cannot {what}: {in_one_line(error)}")
                self.get_logger().debug(traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to inactive."""
        self.configured = True
        done = self._try("configure", self.configure)
        if done != TransitionCallbackReturn.SUCCESS:
            self.configured = False
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
        done = self._try("clean up", self.cleanup)
        self.configured = done != TransitionCallbackReturn.SUCCESS
        return done

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Transition to finalized."""
        return self._try("shut down", self._stop)

    def _stop(self) -> None:
        self.deactivate()
        self.cleanup()

    def destroy_node(self) -> None:
        """Stop and release everything."""
        self._stop()
        library_log.detach(self._library_log)
        super().destroy_node()


def in_one_line(error: BaseException) -> str:
    """An exception's message without line breaks; errors that are not written for users say their
    type and place.
    """
    text = one_line(error)
    if (
        isinstance(error, (Pose3dError, ValueError, OSError))
        and text
        or type(error).__module__.startswith("pose3d_ros")
    ):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"
