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

"""Reports side by side, as text."""

from __future__ import annotations

from typing import Any


def table(reports: list[dict[str, Any]]) -> str:
    """The reports' numbers side by side, a column per video."""
    rows = [key for key in reports[0] if not isinstance(reports[0][key], dict)]

    def cell(value: object) -> str:
        return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [[key, *(cell(report.get(key)) for report in reports)] for key in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(reports) + 1)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
