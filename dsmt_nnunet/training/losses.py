"""Classification losses over labels of which some are not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsmt_nnunet.dataloading.sampling import SampledNodule
from dsmt_nnunet.tasks import ClassificationSchema


def masked_cross_entropy(logits: Tensor, targets: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Cross entropy with soft targets, averaged over the samples whose target is known.

    With readers' votes as target and the logits of a proportional-odds head it is the likelihood of the votes. Without
    any known target the result is 0 with a zero gradient to every logit, so that every parameter takes part in every
    step (distributed training waits for all of them).

    Args:
        logits: (B, K).
        targets: (B, K), the share of each class; NaN where not known.
        class_weight: (K,).
    """
    known = ~targets.isnan().any(dim=1)
    # Replaced before rather than multiplied by 0 after: a value that is not finite must not leak.
    log_probs = functional.log_softmax(torch.where(known[:, None], logits.float(), 0.0), dim=1)
    weighted = torch.where(known[:, None], targets, 0.0) * (1.0 if class_weight is None else class_weight)
    return -(weighted * log_probs).sum() / known.sum().clamp(min=1)


def target_table(nodules: Sequence[SampledNodule], schema: ClassificationSchema) -> list[Tensor]:
    """One (N + 1, K) tensor a task: the target of each nodule, NaN where not known; the last row is of no nodule."""
    tables = []
    for position, task in enumerate(schema.tasks):
        table = torch.full((len(nodules) + 1, len(task.classes)), torch.nan)
        for row, nodule in enumerate(nodules):
            target = nodule.targets[position]
            if target is not None:
                table[row] = torch.tensor(target)
        tables.append(table)
    return tables


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
        self, logits: Sequence[Tensor], targets: Sequence[Tensor], task_weights: Mapping[str, float] | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            logits: (B, K) a task, in the schema's order.
            targets: (B, K) a task, NaN where not known.
            task_weights: instead of the loss's own.

        Returns:
            The weighted sum, and (T,) the single losses, detached, NaN where no label was known.
        """
        weights = self.task_weights if task_weights is None else task_weights
        total = logits[0].new_zeros((), dtype=torch.float32)
        single = []
        for position, name in enumerate(self.task_names):
            own = targets[position]
            loss = masked_cross_entropy(logits[position], own, getattr(self, f"weight_{name}"))
            total = total + weights[name] * loss
            known = (~own.isnan().any(dim=1)).any()
            single.append(torch.where(known, loss.detach(), torch.full_like(loss.detach(), torch.nan)))
        return total, torch.stack(single)
