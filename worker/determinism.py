"""Makes torch repeat itself bit for bit. Import this before anything computes: MKL and cuBLAS read their settings at their first call.

MKL picks its kernels by processor model, finer than any capability that torch reports; COMPATIBLE pins one path for all of them, so that
an honest worker is not found wrong because its processor has another name (Intel oneMKL guide, "Conditional Numerical Reproducibility").
"""

import os

os.environ["MKL_CBWR"] = "COMPATIBLE"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch


def configure(threads: int) -> None:
    """Fixes threads and algorithms for this process. Raises RuntimeError later, at any operation that has no deterministic form."""
    torch.set_num_threads(threads)
    # The same flag as use_deterministic_algorithms(True), which would load torch's compiler: seconds, and a cache folder left behind.
    torch.set_deterministic_debug_mode("error")
    torch.set_default_dtype(torch.float32)
    torch.set_flush_denormal(False)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def choose_device(wanted: str) -> torch.device:
    """The device for "auto" (CUDA when there is one), "cpu" or "cuda". ValueError when it is not there."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise ValueError(f'device is "{wanted}", must be "auto", "cpu" or "cuda"')
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError('device is "cuda", but torch finds no CUDA device here')
    return torch.device("cuda")
