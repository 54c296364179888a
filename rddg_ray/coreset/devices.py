"""Which devices torch can train the coreset's networks on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TorchDevices:
    """What torch says of itself.

    Attributes:
        version: Torch's version.
        cuda_version: Version of CUDA it was built for, or None for a build without.
        gpus: Names of the GPUs it can use.
    """

    version: str
    cuda_version: str | None
    gpus: tuple[str, ...]


def torch_devices() -> TorchDevices:
    """Import torch and return what it finds.

    Raises:
        ImportError: If torch is absent.
        OSError: If one of its libraries cannot be loaded.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = tuple(torch.cuda.get_device_name(index) for index in range(n_gpus))
    return TorchDevices(torch.__version__, torch.version.cuda, names)
