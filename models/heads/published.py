"""What heads share that exist only to run checkpoints published by others."""

from typing import ClassVar

from torch import Tensor

from models.errors import ContractViolation
from models.heads.base import Head, HeadOutput, Moment


class PublishedHead(Head):
    """A network of a published method that comes with its weights and is not trained here."""

    trainable: ClassVar[bool] = False

    def loss(
        self,
        output: HeadOutput,  # noqa: ARG002  # the interface of every head
        labels: Tensor,  # noqa: ARG002
        moment: Moment,  # noqa: ARG002
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Refuse: this head is not trained.

        Raises:
            ContractViolation: always.
        """
        message = f"{type(self).__name__} takes its weights from a published file and has no loss"
        raise ContractViolation(message)
