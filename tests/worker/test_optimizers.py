"""The functional optimizers against the classes of torch.optim, to the bit."""

import subprocess
import sys

import pytest
import torch

from settlement.spec import Adam, Sgd
from worker.tasks.optimizers import Optimizer

CHOICES = [Adam(learning_rate=0.003), Sgd(learning_rate=0.05, momentum=0.0), Sgd(learning_rate=0.05, momentum=0.9)]


def theirs(chosen: Adam | Sgd, weights: list[torch.Tensor]) -> torch.optim.Optimizer:
    if isinstance(chosen, Adam):
        return torch.optim.Adam(weights, lr=chosen.learning_rate, foreach=False, fused=False)
    return torch.optim.SGD(weights, lr=chosen.learning_rate, momentum=chosen.momentum, foreach=False, fused=False)


@pytest.mark.parametrize("chosen", CHOICES, ids=["adam", "sgd", "momentum"])
def test_bit_equal_to_torch_optim(chosen: Adam | Sgd) -> None:
    generator = torch.Generator().manual_seed(7)
    start = [torch.randn(shape, generator=generator) for shape in ((5, 3), (5,))]
    mine = [weight.clone().requires_grad_() for weight in start]
    other = [weight.clone().requires_grad_() for weight in start]
    optimizer, reference = Optimizer(chosen, mine), theirs(chosen, other)
    for _ in range(20):
        gradients = [torch.randn(weight.shape, generator=generator) for weight in start]
        for weight, gradient in zip(other, gradients, strict=True):
            weight.grad = gradient.clone()
        reference.step()
        optimizer.step(gradients)
        assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
    assert not torch.equal(mine[0], start[0])
    for name, kept in optimizer.state.items():
        assert all(torch.equal(kept[place], reference.state[weight][name]) for place, weight in enumerate(other))


def test_a_step_does_not_load_torchs_compiler() -> None:
    """It takes seconds, in every worker and validator; the reason for the functional forms."""
    code = (
        "import sys, torch\nfrom settlement.spec import Adam\nfrom worker.tasks.optimizers import Optimizer\n"
        "w = torch.ones(2).requires_grad_()\nOptimizer(Adam(learning_rate=0.1), [w]).step([torch.ones(2)])\n"
        "assert w[0] != 1\nsys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
