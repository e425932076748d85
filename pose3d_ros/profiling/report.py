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

"""Reports of measurements, as text, as JSON, and beside an earlier report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pose3d_ros.evaluation.table import table
from pose3d_ros.stopwatch import Stopwatch, by_stage, summary

Report = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """Frames of one scene in rounds, people found in each frame on average, the images' (width,
    height), the engine.
    """

    scene: str
    rounds: Sequence[Sequence[Stopwatch]]
    people: float
    size: tuple[int, int]
    engine: str


def scene_report(measured: Measured) -> Report:
    """Milliseconds of every stage, and of all together as ``total``; each with its median in every
    round.
    """
    rounds = [_seconds(stopwatches) for stopwatches in measured.rounds]
    frames = [stopwatch for stopwatches in measured.rounds for stopwatch in stopwatches]
    stages = {stage: summary(seconds, len(frames)) for stage, seconds in _seconds(frames).items()}
    return {
        "people": measured.people,
        "width": measured.size[0],
        "height": measured.size[1],
        "frames": len(frames),
        "engine": measured.engine,
        "stages": {
            stage: {
                **taken._asdict(),
                "rounds_ms": [
                    float(np.median(round_[stage])) * 1e3 for round_ in rounds if stage in round_
                ],
            }
            for stage, taken in stages.items()
        },
    }


def _seconds(stopwatches: Sequence[Stopwatch]) -> dict[str, list[float]]:
    return {**by_stage(stopwatches), "total": [stopwatch.total_s for stopwatch in stopwatches]}


def scene_table(name: str, report: Report) -> str:
    """A line per stage: its times in the frames in which it ran, these frames' share, its share of
    all the time.
    """
    stages: Mapping[str, Mapping[str, float]] = report["stages"]
    whole = stages["total"]["mean_ms"]

    def column(title: str, cells: Mapping[str, str]) -> dict[str, str]:
        return {f"{name}, ms": title, **cells}

    text = table(
        [
            *(
                column(title, {stage: f"{taken[key]:.2f}" for stage, taken in stages.items()})
                for title, key in (("p50", "p50_ms"), ("p95", "p95_ms"), ("max", "max_ms"))
            ),
            column(
                "in frames", {stage: f"{taken['frames']:.0%}" for stage, taken in stages.items()}
            ),
            column(
                "share",
                {stage: f"{taken['mean_ms'] / whole:.0%}" for stage, taken in stages.items()},
            ),
        ]
    )
    return (
        f"{text}\n{report['frames']} frames of {report['width']}x{report['height']}, "
        f"{report['people']:.1f} people found in each, on {report['engine']}"
    )


def comparison(before: Report, now: Report) -> str:
    """Ratios of the medians, and which stages have changed.

    Changed is what lies outside of the noise: the medians of the rounds of both reports do not
    overlap. With six rounds each, chance does that to one stage in 462.
    """
    lines = [
        f"{what}: {name} was {before[what].get(name, 'none')}, is {now[what].get(name, 'none')}"
        for what in ("machine", "settings")
        for name in {**before[what], **now[what]}
        if before[what].get(name) != now[what].get(name)
    ]
    shared = [scene for scene in now["scenes"] if scene in before["scenes"]]
    if not shared:
        raise ValueError(
            f"expected an earlier report of {', '.join(now['scenes'])}; it is of "
            f"{', '.join(before['scenes'])}: measure the same scenes"
        )
    for scene in shared:
        old, new = before["scenes"][scene], now["scenes"][scene]
        if old["engine"] != new["engine"]:
            lines.append(f"{scene}: engine was {old['engine']}, is {new['engine']}")
        stages = [stage for stage in new["stages"] if stage in old["stages"]]
        columns: dict[str, dict[str, str]] = {"before": {}, "now": {}, "ratio": {}, "": {}}
        for stage in stages:
            was, is_ = old["stages"][stage], new["stages"][stage]
            columns["before"][stage], columns["now"][stage] = (
                f"{was['p50_ms']:.2f}",
                f"{is_['p50_ms']:.2f}",
            )
            columns["ratio"][stage] = f"{is_['p50_ms'] / was['p50_ms']:.2f}"
            columns[""][stage] = _verdict(was["rounds_ms"], is_["rounds_ms"])
        lines.append(
            "\n"
            + table([{f"{scene}, p50 in ms": title, **cells} for title, cells in columns.items()])
        )
    return "\n".join(lines).lstrip("\n")


def _verdict(before_ms: Sequence[float], now_ms: Sequence[float]) -> str:
    if max(now_ms) < min(before_ms):
        return "faster"
    return "slower" if min(now_ms) > max(before_ms) else "as before"
