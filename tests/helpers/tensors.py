"""Reading a file in the safetensors format."""

from pathlib import Path

import numpy as np

from genrec.storage.safetensors import parse_tensors


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    return parse_tensors(path.read_bytes(), path)
