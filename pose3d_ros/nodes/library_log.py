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

"""What the library logs, in the log of a node: on its console and on /rosout."""

from __future__ import annotations

import logging
from typing import Any

PACKAGE = logging.getLogger("pose3d_ros")


class NodeHandler(logging.Handler):
    """Hands records of ``pose3d_ros`` to the logger of a node; of several nodes in one process to
    that of the first.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at its severity."""
        first = next(handler for handler in PACKAGE.handlers if isinstance(handler, NodeHandler))
        if first is not self:
            return
        text = " ".join(record.getMessage().split())
        # a call for each severity: rclpy allows a line of code no other than its first
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def attach(logger: Any) -> NodeHandler:
    """Begin to hand records to the logger of a node."""
    handler = NodeHandler(logger)
    PACKAGE.addHandler(handler)
    if PACKAGE.level == logging.NOTSET:
        PACKAGE.setLevel(logging.INFO)
    return handler


def detach(handler: NodeHandler) -> None:
    """Stop that, before the node goes."""
    PACKAGE.removeHandler(handler)
