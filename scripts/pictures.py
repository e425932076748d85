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

"""Make the pictures of the documentation anew, from the demo's clip: docs/pictures/*.webp.

    python scripts/pictures.py [FOLDER]

Every frame of the clip is used, whatever the speed of the machine. The browser views are
photographed in Chromium, which has to be on PATH, by playwright (`scripts/venv test` brings it).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from pose3d_ros.browser_view import BrowserView
from pose3d_ros.camera import Camera
from pose3d_ros.drawing import draw_people, render_view, viewpoint
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.offline import people_of_rig, recorded
from pose3d_ros.people import guessed
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17

CLIP_HZ, FILM_BEGIN, FILM_END, FILM_STEP = 30, 15, 165, 3  # images a second, and of the clip
MOMENT = 125  # both people are whole in both pictures
PANE = (400, 225)
PAGE, ZOOM = {"width": 1120, "height": 630}, 300
DRAWING = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader")
PATIENCE_MS = 120_000  # a busy machine draws without a GPU
DRAWN_MS = 5_000


def main(folder: Path) -> None:
    """Write every picture into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    one_camera(folder)
    two_cameras(folder / "cameras.webp")
    for path in sorted(folder.glob("*.webp")):
        sys.stdout.write(f"{path}: {path.stat().st_size / 1e3:.0f} KB\n")


def one_camera(folder: Path) -> None:
    """The film (the picture beside the people in space), what the topic ``overlay`` shows, and the
    browser view.
    """
    camera = Camera.from_yaml(share("demo", "cam0.yaml"))
    clip, film = list(recorded(str(share("demo", "cam0.mp4")), camera)), []
    floor = Floor.from_pose(read_rig(share("demo", "rig.yaml")).cameras["cam0"].camera_from_world)
    side = viewpoint(np.array([0.0, 0.0, 3.8]), 5.8, PANE)
    view = BrowserView(port=0, optical=True)
    with opened(view) as page, MonocularPipeline() as pipeline:
        for number, (image, seen_by, stamp_ns) in enumerate(clip[:FILM_END]):
            people = pipeline(image, seen_by, stamp_ns).without_tentative()
            overlay = draw_people(image, people.as_seen())
            if number >= FILM_BEGIN and number % FILM_STEP == 0:
                unseen = guessed(people.confidence, people.sigma_m, people.states)
                upright_m = people.joints_m @ floor.upright_from_camera.T
                space = render_view(upright_m, people.ids, H36M17, side, floor.height_m, unseen)
                film.append(picture(np.hstack([cv2.resize(overlay, PANE), space])))
            if number <= MOMENT:
                view.show(people)
            if number == MOMENT:
                view.show_camera("camera", seen_by, overlay)
                page.mouse.move(PAGE["width"] / 3, PAGE["height"] / 2)
                page.mouse.wheel(0, -ZOOM)
                photograph(page, folder / "browser.webp")
                small = cv2.resize(overlay, None, fx=0.625, fy=0.625, interpolation=cv2.INTER_AREA)
                picture(small).save(folder / "overlay.webp", quality=80)
    shown_ms = round(1000 * FILM_STEP / CLIP_HZ)
    film[0].save(
        folder / "demo.webp",
        save_all=True,
        append_images=film[1:],
        duration=shown_ms,
        loop=0,
        quality=55,
    )


def two_cameras(path: Path) -> None:
    """The view of the demo's rig, with the cameras' pictures."""
    rig = read_rig(share("demo", "rig.yaml"))
    view = BrowserView(port=0, optical=False)
    with opened(view) as page:
        for people in islice(people_of_rig(rig, share("demo")), MOMENT):
            view.show(people)
        for name, camera in rig.cameras.items():
            clip = recorded(str(share("demo", f"{name}.mp4")))
            view.show_camera(name, camera, next(islice(clip, MOMENT, None))[0])
        page.mouse.move(PAGE["width"] / 3, PAGE["height"] / 2)
        page.mouse.wheel(0, ZOOM)
        photograph(page, path)


@contextmanager
def opened(view: BrowserView) -> Iterator[Page]:
    """The view's page in Chromium, and both closed at the end."""
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(
            executable_path=shutil.which("chromium"), args=DRAWING, timeout=PATIENCE_MS
        )
        page = browser.new_page(viewport=PAGE)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(view.url)
        page.get_by_text("waiting for people").wait_for()
        page.locator(".mantine-Notification-closeButton").click()  # that there is no GPU
        yield page
        browser.close()
    view.close()


def photograph(page: Page, path: Path) -> None:
    """The page as it is once it is drawn."""
    page.get_by_text("2 people in").wait_for()
    page.wait_for_timeout(DRAWN_MS)
    shot = np.frombuffer(page.screenshot(), np.uint8)
    picture(cv2.imdecode(shot, cv2.IMREAD_COLOR)).save(path, quality=80)


def picture(image_bgr: np.ndarray) -> Image.Image:
    """For what OpenCV cannot write: WebP that moves."""
    return Image.fromarray(image_bgr[..., ::-1])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures"))
