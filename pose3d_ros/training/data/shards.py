"""What a detector saw of labelled people, on disk: ``NAME.npz`` and, of as many people,
``NAME.features.npy``.

``synthetic.features.look`` says what the labels are; ``training.context.SeenPeople`` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

NOT_STORED = {"blazepose": 1}
"""How many of a detector's feature maps, the finest first, are not stored: BlazePose's is 3/4 of
the bytes.
"""

Look = tuple[dict[str, np.ndarray], np.ndarray]
"""Labels of N people and their feature maps (N, V) float16, one after the other."""


def write(path: Path, seen: Sequence[Look]) -> None:
    """Write looks, one after the other, to ``NAME.npz`` and ``NAME.features.npy``.

    Whoever lists the folder meanwhile finds ``NAME.npz`` once both are whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".features.npy"), np.concatenate([maps for _, maps in seen]))
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            **{
                # type: ignore[arg-type]
                name: np.concatenate([labels[name] for labels, _ in seen])
                for name in seen[0][0]
            },
        )
    partial.rename(path)
