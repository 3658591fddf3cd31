"""`flambeau pretrain`: after reading it you know how text without labels becomes a language model."""

from __future__ import annotations

import json
from pathlib import Path

from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.numbers import number_words

WEIGHTS, WORDS = "language_model.safetensors", "vocab.json"
"""What `flambeau train text --language-model FOLDER` reads."""
SAMPLE_WORDS = 40


def run_pretrain(
    corpus: Path,
    out: Path,
    *,
    text: list[str],
    paragraphs: bool,
    sep: str | None,
    encoding: str,
    epochs: int,
    max_vocab: int,
    emb_sz: int,
    n_hid: int,
    layers: int,
    bs: int,
    seq_len: int,
    lr: float,
    drop_mult: float,
    valid_pct: float,
    backwards: bool,
    resume: bool,
    seed: int,
) -> None:
    """Tokenise a corpus, train a language model on it from scratch, and write both to `out`.

    Raises:
        ArgumentError, DataError, ExportError: see the message.
    """
    from flambeau.cli.outputs import require_folder_to_write
    from flambeau.foundation.paths import atomic_write
    from flambeau.foundation.seeds import set_seed
    from flambeau.nn.metrics import Perplexity
    from flambeau.text.awd_lstm import AWD_LSTM
    from flambeau.text.learner import language_model_learner
    from flambeau.text.numericalize import Numericalize
    from flambeau.text.token_store import TokenStore

    require_corpus(corpus)
    require_folder_to_write(out)
    set_seed(seed)
    cut = "paragraphs" if paragraphs else "lines"
    store = TokenStore.build(
        corpus, out / "tokens", columns=text, cut=cut, sep=sep, without=out, encoding=encoding
    )
    dls = store.dataloaders(
        Numericalize(max_vocab=max_vocab, backwards=backwards), valid_pct, seed, bs, seq_len, path=out
    )
    words = list(dls.vocab)
    print(
        f"{store.n_documents:,} documents, {store.n_tokens:,} tokens, {store.n_words:,} different words, of which "
        f"{len(words):,} are the vocabulary"
    )
    config = {"emb_sz": emb_sz, "n_hid": n_hid, "n_layers": layers}
    learn = language_model_learner(dls, AWD_LSTM, config, drop_mult, pretrained=False, metrics=[Perplexity()], path=out)
    learn.fit_one_cycle(epochs, lr, checkpoint=resume, resume=resume)
    learn.save((out / WEIGHTS).absolute(), with_opt=False)
    with atomic_write(out / WORDS, "w") as file:
        json.dump(words, file, ensure_ascii=False)
    export = learn.export("export.safetensors")
    history = learn.recorder.history
    with atomic_write(out / "history.csv", "w") as file:
        history.to_csv(file, index=False)
    print(f"\nPerplexity on the validation set: {number_words(float(history.iloc[-1]['perplexity']))}")
    print(f"A sample: {learn.predict('', SAMPLE_WORDS, temperature=0.75, seed=seed)}")
    print(f"Wrote {out / WEIGHTS}, {out / WORDS}, {export} and history.csv")
    print(f"Next: flambeau train text DATA --model ulmfit --language-model {out}")


def require_corpus(corpus: Path) -> None:
    """Raise an ArgumentError when there is no such file or folder."""
    if not corpus.exists():
        raise ArgumentError(f"A folder of text files, a text file or a table was expected, but there is no {corpus}.")
