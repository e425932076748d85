"""Published checkpoints into files that hold nothing but numbers: safetensors to train on with,
ONNX to run.
"""

from __future__ import annotations

import json
import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pose3d_ros.networks import create
from pose3d_ros.networks.onnx_export import export

LEGACY_PICKLES = 4
"""Before the tensors, a checkpoint of torch before 1.6 has this many pickles one after the other.
"""


def convert(checkpoint: Path, output: Path, name: str, **options: Any) -> Path:
    """Write the network of a checkpoint to ``output``, a .safetensors or .onnx file.

    ``name`` and ``options`` are ``create``'s; HRNet keeps the heat maps of a checkpoint that has
    them. No code in the checkpoint is run. Raises ``ValueError``.
    """
    if output.suffix not in (".safetensors", ".onnx"):
        raise ValueError(f"{output}: expected a name that ends with .safetensors or .onnx")
    found = parameters(checkpoint)
    if name.startswith("hrnet") and (joints := _heatmaps(found)):
        options = {"joints": joints, **options}
    try:
        network: Any = create(name, **options)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    load_into(network, found)
    if output.suffix == ".onnx":
        return export(network, output, network.example(2), network.outputs)
    save_file(network.state_dict(), output, {"network": name, "options": json.dumps(options)})
    return output


def load(path: Path) -> nn.Module:
    """The network in a .safetensors file that ``convert`` wrote, in evaluation mode. Raises
    ``ValueError``.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        network = create(metadata["network"], **json.loads(metadata["options"]))
        load_into(network, load_file(path))
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path}: expected a file written by 'pose3d models import' ({error})"
        ) from None
    return network.eval()


def parameters(checkpoint: Path) -> dict[str, Tensor]:
    """Every tensor of a file that ``torch.save`` wrote, by its name; the names of dictionaries in
    it go before.
    """
    try:
        foreign = [(_Inert, name) for name in _globals(checkpoint)]
        with torch.serialization.safe_globals(foreign):  # type: ignore[arg-type]
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{checkpoint}: expected a checkpoint of torch ({reason})") from None
    return dict(_tensors(saved, ""))


def load_into(network: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Give ``network`` its parameters, below whatever prefix they are; ``ValueError`` lists what
    does not fit.
    """
    expected = network.state_dict()
    anchor = next(iter(expected))
    prefixes = {name.removesuffix(anchor) for name in found if f".{name}".endswith(f".{anchor}")}
    prefix = max(
        sorted(prefixes) or [""], key=lambda p: sum(p + name in found for name in expected)
    )
    given = {
        name.removeprefix(prefix): value
        for name, value in found.items()
        if name.startswith(prefix)
    }
    ignored = getattr(network, "ignored", ())
    given = {name: value for name, value in given.items() if not name.startswith(ignored)}
    wrong = [
        f"{name} {list(given[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    problems = [
        f"{what}: {_some(names)}"
        for what, names in [
            ("missing", sorted(expected.keys() - given.keys())),
            ("unexpected", sorted(given.keys() - expected.keys())),
            ("of another shape", wrong),
        ]
        if names
    ]
    if problems:
        raise ValueError(f"these are not the parameters of this network; {'; '.join(problems)}")
    network.load_state_dict(given)


def _heatmaps(found: Mapping[str, Tensor]) -> int:
    """Number of heat maps of the last layer of a published HRNet; 0 if it has none."""
    last = "final_layer.weight"
    return next(
        (
            len(value)
            for name, value in found.items()
            if name.endswith(last) and f"{name.removesuffix(last)}conv1.weight" in found
        ),
        0,
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _tensors(value: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix.removesuffix("."), value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _tensors(item, f"{prefix}{name}.")


class _Inert(dict[Any, Any]):
    """Stands for everything in a checkpoint that is no tensor, such as the state of a random
    number generator.
    """

    def __init__(self, *_arguments: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        pass


def _globals(checkpoint: Path) -> set[str]:
    """The names of all classes and functions that a checkpoint's pickles ask for, without asking
    for any.
    """

    def named(file: IO[bytes]) -> set[str]:
        return {
            str(argument).replace(" ", ".")
            for code, argument, _ in pickletools.genops(file)
            if code.name == "GLOBAL"
        }

    if zipfile.is_zipfile(checkpoint):
        with zipfile.ZipFile(checkpoint) as archive:
            return set().union(
                *(named(archive.open(n)) for n in archive.namelist() if n.endswith("/data.pkl"))
            )
    with checkpoint.open("rb") as file:
        return set().union(*(named(file) for _ in range(LEGACY_PICKLES)))
