"""Each benchmark as files: its own format, all its classes, few images of each."""

from collections.abc import Callable
from pathlib import Path

import test_cifar
import test_cub
import test_miniimagenet
import test_omniglot
import test_tieredimagenet
from forms import as_folder, as_tar_gz


def _cifar(path: Path) -> Path:
    return as_tar_gz(test_cifar.cifar(), path / "cifar")


def _omniglot(path: Path) -> Path:
    return test_omniglot.as_zips(test_omniglot.parts(drawings=2, last=2), path / "zips")


# Omniglot's with the fixture `two_of_each` of test_omniglot; tieredImageNet's has three classes per split.
FILES: dict[str, Callable[[Path], Path]] = {
    "cifar-fs": _cifar,
    "cub": lambda path: as_folder(test_cub.birds(), path),
    "cub-cropped": lambda path: as_folder(test_cub.birds(), path),
    "fc100": _cifar,
    "miniimagenet": lambda path: as_folder(test_miniimagenet.cached(), path),
    "omniglot": _omniglot,
    "omniglot-lake": _omniglot,
    "omniglot-upright": _omniglot,
    "tieredimagenet": lambda path: as_folder(test_tieredimagenet.pickled(), path),
}
