"""Classification losses over labels of which some are not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsmt_nnunet.tasks import UNKNOWN_LABEL, ClassificationSchema


def masked_cross_entropy(logits: Tensor, labels: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Cross entropy, averaged over the samples whose label is known.

    Without any known label the result is 0 with a zero gradient to every logit, so that every parameter takes part in
    every step (distributed training waits for all of them).

    Args:
        logits: (B, K).
        labels: (B,) int64, `UNKNOWN_LABEL` where not known.
        class_weight: (K,).
    """
    known = labels != UNKNOWN_LABEL
    # Replaced before rather than multiplied by 0 after: a value that is not finite must not leak.
    losses = functional.cross_entropy(
        torch.where(known[:, None], logits.float(), 0.0),
        labels.clamp(min=0),
        weight=class_weight,
        reduction="none",
    )
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)


class MultiTaskLoss(nn.Module):
    """The weighted sum of every task's loss, and each of them."""

    def __init__(
        self,
        schema: ClassificationSchema,
        task_weights: Mapping[str, float],
        class_weights: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        self.task_names = schema.task_names
        self.task_weights = {name: float(task_weights.get(name, 1.0)) for name in schema.task_names}
        for name in schema.task_names:
            self.register_buffer(f"weight_{name}", torch.tensor(class_weights[name], dtype=torch.float32))

    def forward(
        self, logits: Sequence[Tensor], labels: Tensor, task_weights: Mapping[str, float] | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            logits: (B, K) a task, in the schema's order.
            labels: (B, T).
            task_weights: instead of the loss's own.

        Returns:
            The weighted sum, and (T,) the single losses, detached, NaN where no label was known.
        """
        weights = self.task_weights if task_weights is None else task_weights
        total = logits[0].new_zeros((), dtype=torch.float32)
        single = []
        for position, name in enumerate(self.task_names):
            own = labels[:, position]
            loss = masked_cross_entropy(logits[position], own, getattr(self, f"weight_{name}"))
            total = total + weights[name] * loss
            known = (own != UNKNOWN_LABEL).any()
            single.append(torch.where(known, loss.detach(), torch.full_like(loss.detach(), torch.nan)))
        return total, torch.stack(single)
