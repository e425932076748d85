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

"""Options that all engines share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pose3d_ros.errors import PrecisionError
from pose3d_ros.inference.engine import Engine

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class Options:
    """Options of an engine; each takes what concerns it and leaves the rest."""

    threads: int = 0
    """On the CPU; 0 for all cores."""
    precision: str = "auto"
    """One of ``PRECISIONS``, or auto for the engine's own default."""
    max_people: int = 16
    """Rows of the largest batch that an engine with fixed limits is built for; it splits larger
    ones.
    """
    wait: bool = False
    """Whether to wait for what is built for minutes; otherwise a quick engine serves meanwhile."""

    def precision_of(self, engine: str, *possible: str) -> str:
        """The precision to use, of those that are ``possible``, the default first. Raises
        ``PrecisionError``.
        """
        precision = possible[0] if self.precision == "auto" else self.precision
        if precision not in possible:
            raise PrecisionError(
                f"precision: expected auto, {', '.join(possible)} with engine {engine}, got "
                f"'{precision}'"
            )
        return precision


Factory = Callable[[Path, Options, Sequence[str] | None], Engine]
"""Makes an engine: the ONNX file, how, and the outputs to compute (None for all). Raises
``EngineError``, and ``MissingEngineError`` when its library or device is not there.
"""
