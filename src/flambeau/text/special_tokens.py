"""The special tokens: after reading it you know which words a tokenizer adds to a text, and what each of them says.

The names and their order are those of ULMFiT's vocabularies (Howard and Ruder 2018), so that weights which were
published with such a vocabulary can be used: an unknown word has id 0, padding id 1, the beginning of a text id 2.
"""

from __future__ import annotations

UNK, PAD, BOS, EOS, FLD = "xxunk", "xxpad", "xxbos", "xxeos", "xxfld"
TK_REP, TK_WREP, TK_UP, TK_MAJ = "xxrep", "xxwrep", "xxup", "xxmaj"

SPECIAL_TOKENS = (UNK, PAD, BOS, EOS, FLD, TK_REP, TK_WREP, TK_UP, TK_MAJ)

UNK_ID, PAD_ID, BOS_ID = (SPECIAL_TOKENS.index(token) for token in (UNK, PAD, BOS))
