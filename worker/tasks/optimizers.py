"""The optimizers a spec may name, by torch's functional forms (torch.optim.adam.adam, torch.optim.sgd.sgd): the arithmetic of
torch.optim.Adam and SGD to the bit, without their classes, whose first use loads torch's compiler for several seconds in every process.
"""

from collections.abc import Sequence

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from settlement.spec import Adam, Sgd

ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8  # torch's defaults; Kingma and Ba, arXiv 1412.6980


def tensor_names(optimizer: Adam | Sgd) -> tuple[str, ...]:
    """torch's names of the tensors that it keeps for each weight."""
    if isinstance(optimizer, Adam):
        return ("exp_avg", "exp_avg_sq", "step")
    return ("momentum_buffer",) if optimizer.momentum else ()


class Optimizer:
    """`state` maps each of `tensor_names` to one tensor a weight, in their order: float32 of its shape, `step` a scalar on the CPU."""

    def __init__(self, chosen: Adam | Sgd, weights: Sequence[torch.Tensor]) -> None:
        self._chosen = chosen
        self._weights = list(weights)
        self.state: dict[str, list[torch.Tensor]] = {
            name: [torch.zeros(()) if name == "step" else torch.zeros_like(weight) for weight in weights]
            for name in tensor_names(chosen)
        }

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Changes the weights and `state` in place by one step."""
        chosen, state = self._chosen, self.state
        if isinstance(chosen, Adam):
            adam(
                self._weights,
                list(gradients),
                state["exp_avg"],
                state["exp_avg_sq"],
                [],
                state["step"],
                foreach=False,
                fused=False,
                amsgrad=False,
                beta1=ADAM_BETA1,
                beta2=ADAM_BETA2,
                lr=chosen.learning_rate,
                weight_decay=0.0,
                eps=ADAM_EPSILON,
                maximize=False,
            )
            return
        buffers: list[torch.Tensor | None] = [None] * len(self._weights)
        sgd(
            self._weights,
            list(gradients),
            list(state["momentum_buffer"]) if chosen.momentum else buffers,
            foreach=False,
            fused=False,
            weight_decay=0.0,
            momentum=chosen.momentum,
            lr=chosen.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
