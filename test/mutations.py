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

"""Damaged copies of files, for the fuzzers: how many, from which seed, and their bounds.

``FUZZ_CASES`` and ``FUZZ_SEED`` of the environment set the first two; by hand::

    FUZZ_CASES=20000 FUZZ_SEED=7 python -m pytest test/fuzz -rP
"""

import logging
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

CASES = int(os.environ.get("FUZZ_CASES", "150"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SLOWEST_S = 5.0  # of processor time for one file
MOST_MB = 300  # that all of them together add


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The bytes with some replaced, deleted, inserted, or the end cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 50])):
        at = rng.randrange(len(changed))
        kind = rng.randrange(5)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"])
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 20)]
        elif kind == 3:
            changed[at:at] = rng.randbytes(rng.randrange(1, 10))
        elif rng.random() < 0.1:
            del changed[at:]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def run_all(
    load: Callable[[Any], object],
    cases: Iterable[Any],
    allowed: type[Exception] | tuple[type[Exception], ...],
    named: str = "",
) -> Counter[str]:
    """Count what came of each case: ``load``, or an allowed error of one line that has ``named``
    in it. Time and memory stay within their bounds.
    """
    outcomes: Counter[str] = Counter()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest_s = 0.0
    for number, case in enumerate(cases):
        began_s = time.process_time()
        try:
            load(case)
            outcomes["loaded"] += 1
        except allowed as error:
            text = str(error)
            assert "\n" not in text and len(text) < 2000 and named in text, (number, text)
            outcomes[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"case {number}: {error!r} of {case!r:.3000}") from error
        slowest_s = max(slowest_s, time.process_time() - began_s)
        assert slowest_s < SLOWEST_S, f"case {number} takes {slowest_s:.1f} s"
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    logging.warning("%s, slowest %.2f s, %.0f MB more", dict(outcomes), slowest_s, grown_mb)
    assert grown_mb < MOST_MB
    return outcomes
