"""Fashion-MNIST from the files of a Debian package, row by row or pixel by pixel."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.data.examples import Examples
from inn.data.tasks.base import Task
from inn.data.tasks.own import at_last_step
from inn.system.errors import InputError

PACKAGE = "dataset-fashion-mnist"
CLASSES = "t-shirt trouser pullover dress coat sandal shirt sneaker bag ankle-boot".split()


@dataclass
class FashionOptions(Options):
    """Images of clothes, 28 by 28, as sequences."""

    folder: str = "/usr/share/datasets/fashion-mnist"
    """Where the four files train-… and t10k-…-ubyte.gz are: the place of the Debian package dataset-fashion-mnist."""
    form: Literal["rows", "pixels"] = "rows"
    """rows: 28 steps of 28 channels; pixels: 784 steps of one."""
    held: int = 5000
    """Images of the training file that are held out for validation, its last ones."""
    skip: int = 0
    """Images at the start of the training file that are not trained on."""
    images: int = 0
    """Images behind those to train on; 0: all that are there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "held")
        check_at_least(self, 0, "skip", "images")


class Fashion(Task):
    """Which of ten sorts of clothing an image shows, at its last step: 60,000 images to train and 10,000 to test."""

    Options = FashionOptions
    signal = True

    @property
    def channels(self) -> list[str]:
        return [f"column{i}" for i in range(28)] if self.options.form == "rows" else ["grey"]

    @property
    def classes(self) -> list[str]:
        return [*CLASSES]

    def part(self, name: str) -> Examples:
        file = "t10k" if name == "test" else "train"
        images, labels = self._read(f"{file}-images-idx3-ubyte.gz", 3), self._read(f"{file}-labels-idx1-ubyte.gz", 1)
        if len(images) != len(labels) or images.shape[1:] != (28, 28) or not len(labels) or labels.max() > 9:
            raise InputError(f"{self.options.folder}: the {file} files do not fit each other; take all of {PACKAGE}")
        if name != "test":
            if self.options.held >= len(images):
                raise InputError(f"held must be less than the {len(images)} images there are, not {self.options.held}")
            there, o = len(images) - self.options.held, self.options
            if max(o.skip + 1, o.skip + o.images) > there:
                raise InputError(
                    f"skip {o.skip} and images {o.images} are more than the {there} images there are to train on; "
                    "set fewer"
                )
            cut = slice(there, None) if name == "valid" else slice(o.skip, o.skip + o.images if o.images else there)
            images, labels = images[cut], labels[cut]
        inputs = images.reshape(-1, len(self.channels)).astype(np.float32) / 255
        starts = np.arange(len(images) + 1, dtype=np.int64) * (784 // len(self.channels))
        return Examples(inputs, at_last_step(labels.astype(np.int64), starts), starts)

    def _read(self, name: str, dimensions: int) -> np.ndarray:
        """An idx file: two zeros, the type (8: bytes), the number of dimensions, their sizes, and the bytes."""
        path = Path(self.options.folder) / name
        if not path.is_file():
            raise InputError(f"{path} is not there; install it: apt install {PACKAGE}, or set data.task.folder")
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise InputError(f"{path} cannot be read: {error}; take it from {PACKAGE} again") from error
        head = 4 + 4 * dimensions
        sizes = np.frombuffer(content[4:head], ">u4").astype(int)
        if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) != head + sizes.prod():
            raise InputError(f"{path} is no idx file of {dimensions} dimensions; take it from {PACKAGE} again")
        return np.frombuffer(content, np.uint8, offset=head).reshape(sizes)
