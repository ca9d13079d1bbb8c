"""`fewshot env`: what was found of this machine."""

from __future__ import annotations

from fewshot.cli.files import OutputFile, check_outputs
from fewshot.cli.output import print_table
from fewshot.core.files import write_json

PACKAGES = (
    "torch", "torchvision", "torch-geometric", "lightning", "numpy", "scikit-learn", "timm", "learn2learn",
    "onnxruntime", "wandb", "gradio", "faiss-cpu",
)  # fmt: skip


def env(*, json: OutputFile | None = None) -> None:
    """Print the processor, precision, memory layout, versions and cache folder: what to paste into an issue.

    Precision and layout are measured if they are not known yet, which takes less than a second. All that was
    measured so far is printed with its times.

    Example: fewshot env

    Args:
        json: Also write all of it to this file.
    """
    check_outputs(json)
    found = {**_machine(), **_versions(), **_cache()}
    print_table(("what", "found"), list(found.items()))
    write_json(json, found)


def _machine() -> dict[str, str]:
    import os

    import torch

    from fewshot.core.fastest import measured, processor
    from fewshot.model.precision import layout, resolve

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "GPUs": ", ".join(gpus) or "none",
        "precision": f"{resolve('auto', kind)} on {kind}",
        "memory layout": str(layout(kind)).removeprefix("torch.").replace("_", " "),
        **measured(kind),
    }


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from fewshot.core.version import __version__

    found = {"fewshot": __version__, "python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _cache() -> dict[str, str]:
    from fewshot.core.files import cache_folder

    folder = cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"cache folder": str(folder), "cache size": f"{size / 2**20:.1f} MiB"}
