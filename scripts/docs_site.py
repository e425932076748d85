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

"""Pages of the documentation site that are made of the package itself, when mkdocs builds it: the
README as the first page, parameters from the settings classes, commands from their `--help`.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from pose3d_ros.arguments import NODES, describe
from pose3d_ros.cli.main import COMMANDS

README = Path(__file__).resolve().parents[1] / "README.md"
WIDTH = 100


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated."""
    pages = {
        "index.md": README.read_text(encoding="utf-8").replace("](docs/", "]("),
        "reference/parameters.md": parameters(),
        "reference/commands.md": commands(),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside of docs/ lead to the repository."""

    def link(match: re.Match[str]) -> str:
        target = match.group(1)
        below = posixpath.dirname(page.file.src_uri)
        path = posixpath.normpath(posixpath.join("docs", below, target))
        if page.file.src_uri == "index.md" and not files.get_file_from_path(target.split("#")[0]):
            path = posixpath.normpath(target)  # the README stands at the root
        elif path.startswith("docs/"):
            return match.group()
        return f"]({config.repo_url}/blob/main/{path})"

    return re.sub(r"\]\((?![a-z]+:|#)([^)\s]+)\)", link, markdown)


def parameters() -> str:
    """A table of the parameters of each node."""
    lines = [
        "# Parameters",
        "",
        "Each node's, as its settings class has them. They are arguments of the launch files and "
        "of `pose3d up` (`NAME:=VALUE`), keys of a YAML file (`config:=FILE`; "
        "[config/](../../config/) has one with everything), and `ros2 param set` changes those "
        "marked *live* while the node runs. Wrong values are refused with the reason, also then.",
    ]
    for node, settings in NODES.items():
        lines += ["", f"## Node `{node}`", "", "| parameter | what |", "| --- | --- |"]
        for spec in fields(settings):
            live = " *live*" if spec.metadata["live"] else ""
            lines.append(f"| `{spec.name}`{live} | {describe(spec)} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """The `--help` of each command and of the actions below it."""
    os.environ["COLUMNS"] = str(WIDTH)  # argparse asks it
    lines = ["# Commands", "", "`pose3d COMMAND --help` prints the same.", ""]
    lines += ["| command | |", "| --- | --- |"]
    lines += [
        f"| [`pose3d {name}`](#pose3d-{name}) | {help_} |" for name, help_ in COMMANDS.items()
    ]
    for name in COMMANDS:
        module = import_module(f"pose3d_ros.cli.{name}")
        parser = argparse.ArgumentParser(prog=f"pose3d {name}", description=module.__doc__)
        module.add_arguments(parser)
        lines += ["", f"## pose3d {name}", "", "```text", parser.format_help().rstrip(), "```"]
        for action, below in actions(parser):
            lines += [
                "",
                f"### pose3d {name} {action}",
                "",
                "```text",
                below.format_help().rstrip(),
                "```",
            ]
    return "\n".join(lines) + "\n"


def actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, Any]]:
    """Names and parsers of a command's actions, such as ``fetch`` of ``pose3d models``."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()
