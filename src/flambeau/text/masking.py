"""Masked language modelling: after reading it you know how a model learns from documents without labels.

Of each document 15 % of the tokens are asked for. Of these, 80 % are hidden behind the marker [MASK], 10 % are replaced
by any other token, so that no token can be trusted, and 10 % stay (Devlin 2019, section 3.1). The model tells what they
were. Each document draws from its own stream of chance; in validation that stream is the same in every epoch, so that
losses can be compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.chance import batch_chances
from flambeau.data.kinds import Kind, Plain
from flambeau.data.transform import Augment
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.text.transformer_tokenizer import TransformerTokenizer

NOT_ASKED = -100  # the target of a token that is not asked for
SHARE = 0.15
HIDDEN, REPLACED = 0.8, 0.9  # below the first: hidden; between them: replaced; above: as it was
MAX_IDS = 2**24


class Asked(Plain):
    """Which tokens are asked for (time,): a table of documents shows their words instead, in the target."""

    def cells(self, value: Any) -> dict[str, str] | None:
        return {}


class MaskTokens(Augment):
    """A batch transform that asks for some tokens of documents: ids `(batch, time)` as the first input, nothing else.

    The batch gets inputs (ids, which are asked for) and, in place of other targets, the ids before, -100 elsewhere.

    Args:
        mask_id: the id of [MASK].
        n_ids: how many ids there are. markers: the ids that are never asked for, such as those of padding.
        share: how many tokens are asked for.
    """

    kinds = None
    needs_batch = True
    order = 20

    def __init__(
        self, mask_id: int | str, n_ids: int | str, markers: Sequence[int] | str, share: float = SHARE
    ) -> None:
        super().__init__()
        self.mask_id, self.n_ids = int(mask_id), int(n_ids)
        self.markers = sorted({int(number) for number in (markers.split() if isinstance(markers, str) else markers)})
        self.share = share
        if not 0 < share < 1:
            raise ArgumentError(f"share is the part of the tokens that is asked for, between 0 and 1; got {share}.")
        if not 0 <= self.mask_id < self.n_ids <= MAX_IDS:
            raise ArgumentError(f"The id of the mask, {self.mask_id}, is none of {self.n_ids} ids.")
        self._ordinary: Tensor | None = None

    @classmethod
    def of(cls, tokenizer: TransformerTokenizer, share: float = SHARE) -> MaskTokens:
        """Return the masking for documents of a tokenizer.

        Raises:
            ArgumentError: it has no [MASK].
        """
        mask_id = tokenizer.ids["mask"]
        if mask_id is None:
            raise ArgumentError(
                f"The tokenizer of {tokenizer.model!r} has no mask, so its model was not pretrained by masking. "
                "Train it with task='causal_lm'."
            )
        return cls(mask_id, tokenizer.vocab_size, tokenizer.marker_ids, share)

    def settings(self) -> dict[str, Any]:
        # as words: numbers of an export's transforms are bounded as if they were sizes of pictures
        return {
            "mask_id": str(self.mask_id),
            "n_ids": str(self.n_ids),
            "markers": " ".join(map(str, self.markers)),
            "share": self.share,
        }

    def on_batch(self, batch: Batch, chances: Sequence[random.Random] | None, training: bool) -> Batch:
        x = batch.inputs[0]
        if not training or chances is None:
            chances = batch_chances(0, 0, batch.indices if batch.indices is not None else range(len(x)))
        masked, asked, target = self.mask(x, chances)
        kind = batch.all_kinds[0]
        return replace(batch, inputs=(masked, asked), targets=(target,), kinds=(kind, Asked(), kind))

    def mask(self, x: Tensor, chances: Sequence[random.Random]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids with some hidden, which they are, and what they were (-100 elsewhere), each `(batch, time)`.

        Raises:
            DataError: there is nothing to ask for: all documents are empty.
        """
        draws = torch.empty(x.shape, dtype=torch.float64)
        for row, chance in zip(draws, chances, strict=True):
            row.uniform_(generator=torch.Generator().manual_seed(chance.getrandbits(63)))
        draws = draws.to(x.device)
        draws = draws.masked_fill(torch.isin(x, x.new_tensor(self.markers)), 1.0)
        asked = draws < self.share
        if not asked.any():
            lowest = draws.min()
            if lowest == 1.0:
                raise DataError("A batch holds no word at all, so there is none to mask. Leave empty documents out.")
            asked = draws == lowest  # the mean over no token would be NaN
        # what is asked for is even within 0..share, and so is the part between two shares of it
        within = draws / self.share
        any_token = self._any_token((within - HIDDEN) / (REPLACED - HIDDEN), x.device)
        masked = torch.where(asked & (within < HIDDEN), self.mask_id, x)
        masked = torch.where(asked & (within >= HIDDEN) & (within < REPLACED), any_token, masked)
        return masked, asked, torch.where(asked, x, NOT_ASKED)

    def _any_token(self, draws: Tensor, device: torch.device) -> Tensor:
        """Return a token for each number in 0..1; other numbers give a token, too."""
        if self._ordinary is None or self._ordinary.device != device:
            ids = torch.arange(self.n_ids, device=device)
            self._ordinary = ids[~torch.isin(ids, ids.new_tensor(self.markers))]
        n = len(self._ordinary)
        return self._ordinary[(draws * n).long().clamp(0, n - 1)]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ordinary": None}

    def touches(self, kind: Kind) -> bool:
        return False


class MaskedTokenLoss(CrossEntropyLossFlat):
    """Score what a model says of the tokens that it was asked for: cross entropy, over `(asked, vocabulary)`.

    Targets are `(batch, time)`, -100 where nothing was asked. Predictions of all tokens, `(batch, time, vocabulary)`,
    do as well.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss; with `reduction="none"` one a token (batch, time), 0 where nothing was asked."""
        if prediction.ndim != 2 or target.ndim != 2:
            return super().forward(prediction, target)
        asked = target != self.ignore_index
        losses = super().forward(prediction, target[asked])
        return losses if self.reduction != "none" else losses.new_zeros(target.shape).masked_scatter(asked, losses)

    def by_item(self, answers: Tensor, target: Tensor) -> list[Tensor]:
        """Return the answers to what was asked for, `(asked, ...)`, for each document of a batch by itself."""
        return list(answers.split((target != self.ignore_index).sum(1).tolist()))
