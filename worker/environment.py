"""What a result's bits depend on besides the spec. A validator in another environment abstains instead of calling a difference a lie."""

from importlib.metadata import version
from typing import Any

import torch


def describe(device: torch.device) -> dict[str, Any]:
    """torch and safetensors version, device class ("cpu" or the CUDA device's name), CPU capability, thread count: what
    settlement.work.environment_hash is taken of. The CPU counts on CUDA too: initial weights and permutations are drawn there."""
    return {
        "torch": torch.__version__,
        "safetensors": version("safetensors"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
