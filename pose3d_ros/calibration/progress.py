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

"""A line of progress on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PERIOD_S = 0.2


def counted(items: Iterable[T], name: str, total: int = 0) -> Iterator[T]:
    """The items, with their number and rate on one line of a terminal's stderr; of ``total``
    where that is known.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    began_s = shown_s = time.monotonic()
    number = 0
    for number, item in enumerate(items, 1):
        if time.monotonic() - shown_s > PERIOD_S:
            shown_s = time.monotonic()
            of = f" of {total}" if total else ""
            rate = number / (shown_s - began_s)
            sys.stderr.write(f"\r\033[K{name}: {number}{of} images, {rate:.1f} images/s")
            sys.stderr.flush()
        yield item
    sys.stderr.write("\r\033[K")
    sys.stderr.flush()
