"""Small names that only course notebooks use: after reading it you know what `defaults.text_proc_rules` is."""

from __future__ import annotations

from types import SimpleNamespace

from flambeau.text.rules import text_postproc_rules, text_proc_rules
from flambeau.text.special_tokens import SPECIAL_TOKENS

defaults = SimpleNamespace(
    text_proc_rules=text_proc_rules, text_postproc_rules=text_postproc_rules, text_spec_tok=list(SPECIAL_TOKENS)
)
