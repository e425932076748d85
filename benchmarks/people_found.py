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

"""People found in pictures whose number of people and joints are annotated, near and far.

Needs a folder with ``pictures`` and ``samples`` (their READMEs tell what was annotated). Each
picture is shown to a new detector ``FRAMES`` times, as a film that stands still; what it says of
the last is judged:

- found: annotated people whose limb joints (both known) are within 0.2 of the person's height on
  average; matched one to one
- false: detections that are near nobody, annotated or not
- pck: share of all annotated limb joints within 0.2 of the torso (COCO: hip to opposite shoulder);
  those of people who were not found count as missed
- px: median distance of the limb joints of people who were found
- swapped: of people who were found, those whose limbs fit better with left and right exchanged

    python benchmarks/people_found.py FOLDER [--detector NAME ...] [--sheets FOLDER]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros import detection
from pose3d_ros.drawing import draw_people
from pose3d_ros.evaluation.table import table
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17

FRAMES, FRAME_NS = 30, 66_666_667
LIMBS = COCO17.indices(
    *(
        f"{side}_{name}"
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in "lr"
    )
)
FOUND, RIGHT = 0.2, 0.2  # of the person's height; of the torso
CANVAS = (1280, 720)
HEIGHTS_PX = (200, 120, 90, 60)


class Scene(NamedTuple):
    """A picture (H, W, 3), its annotated people ``keypoints_px`` (P, 17, 2), NaN where unknown,
    with ``height_px`` (P,), and ``boxes_px`` (B, 4) x0 y0 x1 y1 of everybody.
    """

    name: str
    image: np.ndarray
    keypoints_px: np.ndarray
    height_px: np.ndarray
    boxes_px: np.ndarray


def coco(annotations: Path, images: Path, prefix: str = "") -> Iterator[Scene]:
    """Scenes of a COCO keypoints file whose pictures are in a folder."""
    data = json.loads(annotations.read_text())
    for entry in data["images"]:
        people = [a for a in data["annotations"] if a["image_id"] == entry["id"]]
        image = cv2.imread(str(images / entry["file_name"]))
        assert image is not None
        keypoints = np.array([a["keypoints"] for a in people], float).reshape(-1, 17, 3)
        known = keypoints[..., 2] > 0
        boxes = np.array([a["bbox"] for a in people], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        judged = known[:, LIMBS].any(1)
        points = np.where(known[..., None], keypoints[..., :2], np.nan)
        yield Scene(
            f"{prefix}{entry['file_name']}",
            image,
            points[judged],
            (boxes[:, 3] - boxes[:, 1])[judged],
            boxes,
        )


def shrunk(scene: Scene, height_px: float) -> Iterator[Scene]:
    """The scene once for each of its people, small enough that the person is ``height_px`` high,
    on grey; only that person is judged.
    """
    for person, height in enumerate(scene.height_px):
        scale = height_px / height
        if scale > 1:
            continue
        size = (
            max(1, round(scene.image.shape[1] * scale)),
            max(1, round(scene.image.shape[0] * scale)),
        )
        canvas = np.full((CANVAS[1], CANVAS[0], 3), 114, np.uint8)
        small = cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA)
        x, y = (CANVAS[0] - size[0]) // 2, (CANVAS[1] - size[1]) // 2
        if x < 0 or y < 0:
            continue
        canvas[y : y + size[1], x : x + size[0]] = small
        offset = np.array([x, y])
        yield Scene(
            f"{scene.name} {person} at {height_px}",
            canvas,
            (scene.keypoints_px[[person]] + 0.5) * scale - 0.5 + offset,
            np.array([height_px]),
            scene.boxes_px * scale + np.tile(offset, 2),
        )


def people_of(detector: Any, image: np.ndarray) -> People2D:
    """What a detector says of a picture that it was shown for a while."""
    detector.reset()
    for frame in range(FRAMES):
        people = detector(image, frame * FRAME_NS)
    return people.to(COCO17)


def judge(scene: Scene, people: People2D) -> dict[str, Any]:
    """Counts of one scene."""
    truth = scene.keypoints_px[:, LIMBS]
    ours = np.where(people.confidence[..., None] > 0, people.keypoints_px, np.nan)[:, LIMBS]
    apart = np.linalg.norm(ours[:, None] - truth, axis=-1)  # (D, P, 12)
    known = np.isfinite(truth).all(-1)
    both = np.isfinite(apart)
    mean = np.where(both, apart, 0).sum(-1) / np.maximum(both.sum(-1), 1) / scene.height_px
    mean[both.sum(-1) < 0.5 * known.sum(-1)] = np.inf
    rows, columns = linear_sum_assignment(np.minimum(mean, 1e3))
    matched = [(r, c) for r, c in zip(rows, columns, strict=True) if mean[r, c] < FOUND]
    torso = np.nanmax(
        np.linalg.norm(
            scene.keypoints_px[:, [COCO17.index("l_shoulder"), COCO17.index("r_shoulder")]]
            - scene.keypoints_px[:, [COCO17.index("r_hip"), COCO17.index("l_hip")]],
            axis=-1,
        ),
        axis=1,
        initial=0,
    )
    torso = np.where(torso > 0, torso, 0.25 * scene.height_px)
    right = sum(int((apart[r, c] < RIGHT * torso[c]).sum()) for r, c in matched)
    swapped = 0
    for r, c in matched:
        pairs = np.arange(len(LIMBS)).reshape(-1, 2)[:, ::-1].ravel()
        exchanged = np.linalg.norm(ours[r, pairs] - truth[c], axis=-1)
        use = np.isfinite(apart[r, c]) & np.isfinite(exchanged)
        swapped += bool(use.sum() >= 4 and exchanged[use].mean() < 0.5 * apart[r, c][use].mean())
    taken = {r for r, _ in matched}
    false = 0
    for row in range(len(people)):
        if row in taken:
            continue
        points = people.keypoints_px[row][people.confidence[row] > 0.2]
        centre = np.nanmedian(points, axis=0) if len(points) else np.full(2, np.nan)
        margin = 0.1 * (scene.boxes_px[:, 2:] - scene.boxes_px[:, :2])
        inside = (centre >= scene.boxes_px[:, :2] - margin) & (
            centre <= scene.boxes_px[:, 2:] + margin
        )
        false += not inside.all(1).any()
    distances = [apart[r, c][np.isfinite(apart[r, c])] for r, c in matched]
    return {
        "people": len(truth),
        "found": len(matched),
        "false": false,
        "more": len(people) - len(matched) - false,
        "joints": int(known.sum()),
        "right": right,
        "swapped": swapped,
        "px": np.concatenate(distances) if distances else np.zeros(0),
    }


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of scenes together, as the table shows them."""
    total = {
        key: sum(row[key] for row in rows)
        for key in ("people", "found", "false", "more", "joints", "right", "swapped")
    }
    px = np.concatenate([row["px"] for row in rows]) if rows else np.zeros(0)
    return {
        "found": f"{total['found']} of {total['people']}",
        "false": total["false"],
        "twice": total["more"],
        "pck": total["right"] / max(total["joints"], 1),
        "px": float(np.median(px)) if len(px) else float("nan"),
        "swapped": total["swapped"],
    }


def main() -> None:
    """Print a table for each detector."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", action="append", metavar="NAME")
    parser.add_argument("--max-people", type=int, default=20)
    parser.add_argument("--sheets", type=Path, help="write each picture with its skeletons here")
    options = parser.parse_args()
    sets = {
        "samples": list(
            coco(
                options.folder / "samples/coco_mmpose/test_coco.json",
                options.folder / "samples/coco_mmpose",
            )
        ),
        "pictures": list(
            coco(
                options.folder / "pictures/coco_person_keypoints.json",
                options.folder / "pictures/images",
            )
        ),
    }
    for height in HEIGHTS_PX:
        sets[f"{height} px"] = [
            s
            for name in ("samples", "pictures")
            for scene in sets[name]
            for s in shrunk(scene, height)
        ]
    for name in options.detector or ["blazepose"]:
        detector = detection.create(
            PipelineSettings(detector=name, max_people=options.max_people, engine="cpu")
        )
        report = []
        for label, scenes in sets.items():
            rows = []
            for scene in scenes:
                people = people_of(detector, scene.image)
                rows.append(judge(scene, people))
                if options.sheets:
                    options.sheets.mkdir(parents=True, exist_ok=True)
                    picture = draw_people(scene.image, replace(people, ids=np.arange(len(people))))
                    cv2.imwrite(
                        str(options.sheets / f"{name} {scene.name.replace('/', '_')}.png"), picture
                    )
            report.append({"set": label, **summed(rows)})
        print(name)
        print(table(report))
        detector.close()


if __name__ == "__main__":
    main()
