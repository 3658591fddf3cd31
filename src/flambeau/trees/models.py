"""A tree as a model: after reading it you know how an estimator of scikit-learn answers batches like any network.

    categories, numbers --matrix--> float32 (rows, features) --estimator--> probabilities or numbers

The answer is what a network would give: logarithms of probabilities for classes, log odds for labels, numbers as they
are. So losses, metrics, interpretation, ensembles and exports work with trees as with networks.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from flambeau.foundation.errors import TrainingError
from flambeau.tabular.models import require_widths
from flambeau.trees.estimators import ANSWERS
from flambeau.trees.storage import check_estimator_fits, estimator_of, kept_bytes

Matrix = npt.NDArray[np.float32]

# A tree may be sure, and then wrong: the loss of a probability of 0 would be infinite. scikit-learn's log_loss keeps
# probabilities this far from 0, too.
LEAST = float(np.finfo(np.float32).eps)
FEW_ROWS = 2000  # for so few, starting threads takes longer than the trees


class TreeModel(nn.Module):
    """An estimator that answers rows of a table: `(n, categories) int64, (n, numbers) -> (n, n_out)`.

    Args:
        estimator: fitted or not; None: to be loaded.
        answers: "classes" (logarithms of probabilities), "labels" (log odds) or "numbers".
        n_out: how many outputs a row has.
        n_cat, n_cont: how many categories and numbers a row has.
        vectors: tables of vectors that stand for the categories, a (levels, size) tensor each; None: their codes do.
        n_bytes: the size of an estimator that is to be loaded.
    """

    kept: Tensor

    def __init__(
        self,
        estimator: Any,
        answers: str,
        n_out: int,
        n_cat: int,
        n_cont: int,
        vectors: Sequence[Tensor] | None = None,
        n_bytes: int = 0,
    ) -> None:
        super().__init__()
        assert answers in ANSWERS
        self.answers, self.n_out, self.n_cat, self.n_cont = answers, n_out, n_cat, n_cont
        tables = [nn.Parameter(table.detach().clone(), requires_grad=False) for table in vectors or ()]
        self.vectors = nn.ParameterList(tables) if vectors is not None else None
        self.register_buffer("kept", torch.empty(n_bytes, dtype=torch.uint8))
        self._estimator, self._is_fitted, self._is_kept = estimator, False, n_bytes > 0
        self.register_state_dict_pre_hook(_keep)
        self.register_load_state_dict_post_hook(_forget)

    # what it is

    @property
    def estimator(self) -> Any:
        """The estimator of scikit-learn."""
        self.read()
        return self._estimator

    def read(self) -> None:
        """Read the estimator from the model's bytes, where that was not done since they were loaded.

        Raises:
            ExportError: they hold no estimator, one that is not safe, or that of another table.
        """
        if self._estimator is None and self._is_kept:
            found = estimator_of(self.kept)
            check_estimator_fits(found, self.n_features, self.answers, self.n_out)
            self._estimator, self._is_fitted = found, True

    @property
    def title(self) -> str:
        """The name of the estimator's class."""
        return type(self.estimator).__name__

    @property
    def embedded(self) -> list[int]:
        """The sizes of the vectors that stand for categories; empty where codes do."""
        return [] if self.vectors is None else [int(table.shape[1]) for table in self.vectors]

    @property
    def n_features(self) -> int:
        """How many columns the matrix has."""
        return self.n_cont + (self.n_cat if self.vectors is None else sum(self.embedded))

    @property
    def settings(self) -> dict[str, Any]:
        """What an export writes beside the bytes of the estimator."""
        _keep(self)
        return {
            "model": "trees",
            "answers": self.answers,
            "n_out": self.n_out,
            "n_cat": self.n_cat,
            "n_cont": self.n_cont,
            "vectors": None if self.vectors is None else [[int(side) for side in t.shape] for t in self.vectors],
            "n_bytes": self.kept.numel(),
        }

    def alike(self, n_bytes: int) -> TreeModel:
        """Return a model of the same shape, with room for an estimator of so many bytes."""
        vectors = None if self.vectors is None else list(self.vectors)
        return TreeModel(None, self.answers, self.n_out, self.n_cat, self.n_cont, vectors, n_bytes)

    def extra_repr(self) -> str:
        """Show sizes in the model's printout."""
        return f"{self.answers}, {self.n_features} features, {self.n_out} outputs"

    # learning and answering

    def matrix(self, x_cat: Tensor, x_cont: Tensor) -> Matrix:
        """Return what the estimator sees (rows, features): categories (their codes or vectors), then numbers."""
        require_widths(x_cat, x_cont, self.n_cat, self.n_cont)
        if self.vectors is None:
            parts = [x_cat.float()]
        else:
            parts = [table[x_cat[:, place]] for place, table in enumerate(self.vectors)]
        return np.asarray(torch.cat([*parts, x_cont.float()], 1).cpu().numpy(), dtype=np.float32)

    def learn_from(self, x_cat: Tensor, x_cont: Tensor, target: Tensor) -> None:
        """Fit the estimator anew to all rows; `target` is int64 (rows,) for classes, else float32 (rows, columns)."""
        wanted = target.cpu().numpy()
        if self.answers == "labels":
            wanted = wanted.astype(np.int64)
        elif self.answers == "numbers":
            wanted = wanted.astype(np.float64)
            wanted = wanted[:, 0] if wanted.shape[1] == 1 else wanted
        with warnings.catch_warnings():
            # few trees leave rows that none of them has left out: `TreeLearner.oob_preds` leaves these rows out
            warnings.filterwarnings("ignore", "Some inputs do not have OOB scores", UserWarning)
            warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
            self._estimator.fit(self.matrix(x_cat, x_cont), wanted)
        self._is_fitted, self._is_kept = True, False

    @property
    def is_fitted(self) -> bool:
        """Whether it can answer."""
        return self._is_fitted or self._is_kept

    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        """Return the answers for rows.

        Raises:
            TrainingError: it was not fitted.
        """
        if not self.is_fitted:
            raise TrainingError("This model has learnt nothing yet: call learn.fit() first.")
        answered = self.answers_of(self.matrix(x_cat, x_cont))
        return torch.from_numpy(answered).to(x_cont.device)

    def answers_of(self, matrix: Matrix) -> Matrix:
        """Return the answers (rows, n_out) for a matrix."""
        estimator = self.estimator
        n_jobs = getattr(estimator, "n_jobs", None)
        if n_jobs is not None and len(matrix) < FEW_ROWS:
            estimator.n_jobs = 1
        try:
            if self.answers == "numbers":
                return np.asarray(estimator.predict(matrix), dtype=np.float32).reshape(len(matrix), self.n_out)
            return raw_of(self.answers, self.n_out, estimator.predict_proba(matrix), estimator.classes_)
        finally:
            if n_jobs is not None:
                estimator.n_jobs = n_jobs


def raw_of(answers: str, n_out: int, probabilities: Any, classes: Any) -> Matrix:
    """Return the outputs of a network that would give these probabilities, as an estimator gives them.

    Of classes an array (rows, known classes), of labels a list of such arrays, one a label.
    """
    if answers == "classes":
        shares = np.zeros((len(probabilities), n_out), dtype=np.float32)
        shares[:, np.asarray(classes, dtype=np.int64)] = probabilities
        return np.log(np.clip(shares, LEAST, 1))
    # a label that all training rows have, or none, is the only one that its classifier knows
    yes = [
        one[:, -1] if len(known) > 1 else np.full(len(one), float(known[0]))
        for one, known in zip(probabilities, classes, strict=True)
    ]
    shares = np.clip(np.stack(yes, 1), LEAST, 1 - LEAST)
    return np.log(shares / (1 - shares)).astype(np.float32)


def _keep(model: TreeModel, *_: Any) -> None:
    """Write the estimator into the model's bytes, where that was not done since it was fitted."""
    if model._is_fitted and not model._is_kept:
        data = np.frombuffer(kept_bytes(model._estimator), dtype=np.uint8).copy()
        model.kept, model._is_kept = torch.from_numpy(data), True


def _forget(model: TreeModel, *_: Any) -> None:
    """After other bytes were loaded: read the estimator from them when it is next asked for."""
    model._estimator, model._is_fitted, model._is_kept = None, False, model.kept.numel() > 0


def build_tree_model(settings: Mapping[str, Any]) -> TreeModel:
    """Build the model that `settings` describe, without an estimator, ready to load its bytes."""
    shapes = settings.get("vectors")
    vectors = None if shapes is None else [torch.empty(int(n), int(size)) for n, size in shapes]
    sizes = {name: int(settings[name]) for name in ("n_out", "n_cat", "n_cont", "n_bytes")}
    return TreeModel(None, settings["answers"], vectors=vectors, **sizes)
