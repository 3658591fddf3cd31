"""After this page you know how a metric is written down as plain JSON, and made again without running foreign code.

Only flambeau's own metrics can be: a mean of these pages, an overlap, or one of the scores that `sklearn_metrics`
names, with its settings. A metric of the user's own leaves nothing but its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.nn.metric import MeanMetric, Metric, snake_case
from flambeau.nn.metrics import MEANS, Perplexity, as_metric, named_metrics
from flambeau.nn.overlap_metrics import Dice, DiceMulti, JaccardCoeff, JaccardCoeffMulti
from flambeau.nn.sklearn_metrics import SCORES, AccumMetric

OVERLAPS = (Dice, DiceMulti, JaccardCoeff, JaccardCoeffMulti)
# how AccumMetric reads predictions
READING = ("dim_argmax", "activation", "thresh", "to_np", "invert_arg", "flatten")
MAX_METRICS = 100
MAX_LETTERS = 100

Recipe = dict[str, Any]


def describe_metric(metric: Metric) -> Recipe:
    """Return the recipe of a metric; {"custom": name} for code of the user's own."""
    recipe = _recipe_of(metric)
    if recipe is None or not _is_plain(recipe):
        return {"custom": metric.name}
    return recipe


def _recipe_of(metric: Metric) -> Recipe | None:
    kind = type(metric)  # a subclass may measure something else
    if kind in OVERLAPS:
        return {"name": snake_case(kind.__name__), "settings": {"axis": getattr(metric, "axis", 1)}}
    if isinstance(metric, AccumMetric) and kind is AccumMetric:
        name = metric.function_name()
        if name is None:
            return None
        reading = {setting: getattr(metric, setting) for setting in READING}
        return {"score": name, "reading": reading, "settings": dict(metric.settings), "name": metric.name}
    if isinstance(metric, MeanMetric) and kind in (MeanMetric, Perplexity):
        mean = metric.mean
        settings = dict(mean.keywords) if isinstance(mean, partial) else {}
        inner = mean.func if isinstance(mean, partial) and not mean.args else mean
        known = {f.__name__ for f, rule in MEANS.items() if (rule.mean or f) is inner}
        if kind is Perplexity or metric.name in known:
            return {"name": metric.name, "settings": settings}
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def rebuild_metrics(recipes: Any) -> tuple[list[Metric], list[str]]:
    """Return the metrics that recipes describe, and the names of those that were code of the user's own.

    Raises:
        ExportError: the recipes are no recipes, or name what is no metric of flambeau.
    """
    if not isinstance(recipes, list) or len(recipes) > MAX_METRICS:
        raise ExportError("The export's metrics are no list of recipes.")
    made: list[Metric] = []
    lost: list[str] = []
    for recipe in recipes:
        if isinstance(recipe, str):  # as written before there were recipes
            recipe = {"name": recipe} if recipe in named_metrics() else {"custom": recipe}
        if not isinstance(recipe, dict):
            raise ExportError(f"The export holds the metric {recipe!r:.100}, which is no recipe.")
        if "custom" in recipe:
            lost.append(str(recipe["custom"])[:MAX_LETTERS])
        else:
            made.append(_rebuild(recipe))
    return made, lost


def _rebuild(recipe: Mapping[str, Any]) -> Metric:
    settings = recipe.get("settings") or {}
    if not isinstance(settings, dict) or not _is_plain(settings):
        raise ExportError(f"The export's metric {str(recipe)[:MAX_LETTERS]} has settings that are no plain values.")
    try:
        if "score" in recipe:
            reading = {setting: recipe["reading"][setting] for setting in READING}
            function = SCORES[recipe["score"]]
            return AccumMetric(function, **reading, name=str(recipe["name"])[:MAX_LETTERS], **settings)
        maker = named_metrics()[recipe["name"]]
        if maker in MEANS:
            inspect.signature(maker).bind(None, None, **settings)
            return as_metric(partial(maker, **settings) if settings else maker)
        made: Metric = maker(**settings)
        return made
    except (KeyError, TypeError, ValueError, ArgumentError) as error:
        raise ExportError(f"The export's metric {str(recipe)[:MAX_LETTERS]} is none of flambeau's: {error}.") from error
