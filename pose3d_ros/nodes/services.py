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

"""Services of the pose nodes: ``~/enable``, ``~/reset`` and ``~/snapshot``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pose3d_ros.nodes.managed_node import ManagedNode, in_one_line

Act = Callable[[], str]


class Services:
    """``~/enable`` (std_srvs/SetBool) activates and deactivates a configured node, whose models
    stay loaded; ``triggers`` (std_srvs/Trigger) by their name below the node's.

    Each does its work and returns what the response tells; whatever it raises is the response's
    reason. Where std_srvs is not installed there are none.
    """

    def __init__(self, node: ManagedNode[Any], triggers: dict[str, Act]) -> None:
        self._node = node
        self._services: list[Any] = []
        try:
            from std_srvs.srv import SetBool, Trigger
        except ImportError as error:
            node.get_logger().info(f"no services {', '.join(('enable', *triggers))}: {error}")
            return
        self._services = [
            node.create_service(SetBool, "~/enable", self._enable),
            *(
                node.create_service(Trigger, f"~/{name}", partial(_answered, act))
                for name, act in triggers.items()
            ),
        ]

    def _enable(self, request: Any, response: Any) -> Any:
        return _answered(lambda: self._node.enable(request.data), request, response)

    def close(self) -> None:
        """Remove the services."""
        for service in self._services:
            self._node.destroy_service(service)
        self._services = []


def _answered(act: Act, _: Any, response: Any) -> Any:
    try:
        response.message, response.success = act(), True
    except Exception as error:  # noqa: BLE001 - a request without an answer waits for ever
        response.message, response.success = in_one_line(error), False
    return response
