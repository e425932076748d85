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

"""Pickles of plain containers and numbers, read without running any code in them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any


class RestrictedUnpickler(pickle._Unpickler):
    """Unpickler that calls nothing but the values of ``allowed``, by module and name.

    ``other``: what stands for all other classes and functions; without it, a pickle that names one
    raises ``pickle.UnpicklingError``. In Python, for the one in C allocates as much memory as a
    damaged file tells it to. A damaged pickle can raise any exception.
    """

    def __init__(
        self,
        file: IO[bytes],
        allowed: Mapping[tuple[str, str], Any],
        other: Callable[..., Any] | None = None,
        encoding: str = "ASCII",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._allowed, self._other = allowed, other

    def find_class(self, module: str, name: str) -> Any:
        """The value that is allowed under this name."""
        if (module, name) in self._allowed:
            return self._allowed[module, name]
        if self._other is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:200])
        return self._other
