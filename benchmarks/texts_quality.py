"""Texts: how good answers are on real data: sentiment, intents, similarity, and what a language model brings.

    python benchmarks/texts_quality.py sst2 banking77 stsb imdb_minilm mlm ulmfit --out FOLDER

Each task trains on its own training texts, prints the measure on the data set's own test texts, and the processor time
it took. `--part` takes a share of the training texts, for a first look. The corpus of ulmfit's language model is the
IMDb reviews without labels, WikiText-2's validation text, and the Brown corpus where `--brown` names its folder of
`word/tag` files.
"""

from __future__ import annotations

import argparse
import gzip
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.seeds import set_seed
from flambeau.nn.metrics import Perplexity, accuracy
from flambeau.nn.sklearn_metrics import PearsonCorrCoef
from flambeau.text.awd_lstm import AWD_LSTM, awd_lstm_lm_config
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.learner import TextLearner, language_model_learner, text_classifier_learner
from flambeau.text.transformer_learner import transformer_learner
from flambeau.train.callbacks.gradients import GradientClip

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZES = {"emb_sz": 128, "n_hid": 256}  # a sixth of ULMFiT's own, for two cores without a GPU


def halves(train: pd.DataFrame, test: pd.DataFrame, part: float, seed: int) -> tuple[pd.DataFrame, IndexSplitter]:
    """Return training texts (a share of them) and test texts as one table, and its split."""
    train = train.sample(frac=part, random_state=seed)
    whole = pd.concat([train, test], ignore_index=True)
    return whole, IndexSplitter(range(len(train), len(whole)))


def minilm(train: pd.DataFrame, test: pd.DataFrame, args: argparse.Namespace, **settings: Any) -> dict[str, float]:
    """Fine-tune MiniLM on texts with labels and return what is measured on the test texts."""
    epochs, lr, bs = settings.pop("epochs"), settings.pop("lr"), settings.pop("bs")
    metrics, encoder = settings.pop("metrics"), settings.pop("encoder", None)
    task, freeze_epochs = settings.pop("task", None), settings.pop("freeze_epochs", 1)
    whole, splitter = halves(train, test, args.part, args.seed)
    dls = TextDataLoaders.from_df(
        whole, path=args.out, transformer="minilm", splitter=splitter, bs=args.bs or bs, val_bs=128, seed=args.seed,
        **settings,
    )  # fmt: skip
    long = "windows" if args.beginning is None else "truncate"
    learn = transformer_learner(
        dls, "minilm", task, window=args.beginning, long=long, dropout=args.dropout, metrics=metrics, seed=args.seed
    )  # fmt: skip
    if encoder is not None:
        learn.load_encoder(encoder)
    learn.fine_tune(args.epochs or epochs, args.lr or lr, freeze_epochs=freeze_epochs)
    _, loss, *values = learn.recorder.values[-1]
    return {"loss": loss, **{metric.name: value for metric, value in zip(learn.metrics, values, strict=True)}}


def sst2(args: argparse.Namespace) -> dict[str, float]:
    """Phrases of film reviews, good or bad: accuracy on the 872 dev sentences."""
    train, dev = (pd.read_csv(DATA / "sst2" / f"{half}.tsv.gz", sep="\t") for half in ("train", "dev"))
    dev = dev.rename(columns={"content": "sentence"})
    columns = {"text_col": "sentence", "label_col": "label"}
    return minilm(train, dev, args, **columns, metrics=accuracy, epochs=3, freeze_epochs=0, lr=1.2e-4, bs=64)


def banking77(args: argparse.Namespace) -> dict[str, float]:
    """What a bank's customer wants, one of 77: accuracy on the 3,080 test sentences."""
    train, test = (pd.read_csv(DATA / "banking77" / f"{half}.csv") for half in ("train", "test"))
    columns = {"text_col": "text", "label_col": "category"}
    return minilm(train, test, args, **columns, metrics=accuracy, epochs=6, lr=5e-4, bs=64)


def stsb(args: argparse.Namespace) -> dict[str, float]:
    """How alike two sentences are, from 0 to 5: Pearson's correlation on the 1,000 validation pairs."""
    train, valid = (pd.read_csv(DATA / "stsb" / f"{half}.csv.gz") for half in ("train", "valid"))
    columns = {"text_col": ["sentence1", "sentence2"], "label_col": "score", "task": "similarity"}
    return minilm(train, valid, args, **columns, metrics=PearsonCorrCoef(), epochs=4, lr=2e-4, bs=32)


def imdb() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the reviews: training, test (a sample of 3,000), and those without labels."""
    names = ("train", "test_sample", "unsup_sample")
    train, test, unsup = (pd.read_csv(DATA / "imdb" / f"{name}.csv.xz") for name in names)
    return train[["text", "label"]], test[["text", "label"]], unsup[["text"]]


def imdb_minilm(args: argparse.Namespace) -> dict[str, float]:
    """Reviews of films, good or bad, by MiniLM: accuracy on 3,000 test reviews."""
    train, test, _ = imdb()
    encoder = "domain" if (Path(args.out) / "models" / "domain.safetensors").exists() else None
    columns = {"text_col": "text", "label_col": "label", "encoder": encoder}
    return minilm(train, test, args, **columns, metrics=accuracy, epochs=1, freeze_epochs=0, lr=2e-4, bs=32)


def mlm(args: argparse.Namespace) -> dict[str, float]:
    """Adapt MiniLM to reviews by masking: the loss before and after, and an encoder for imdb_minilm.

    With `--beginning` only so many words of each review are read.
    """
    _, _, unsup = imdb()
    unsup = unsup.sample(frac=args.part, random_state=args.seed)
    if args.beginning is not None:
        unsup["text"] = [" ".join(text.split()[: args.beginning]) for text in unsup["text"]]
    dls = TextDataLoaders.from_df(
        unsup, args.out, 0.05, text_col="text", is_masked=True, transformer="minilm", bs=args.bs or 32, seed=args.seed
    )  # fmt: skip
    learn = transformer_learner(dls, "minilm", dropout=args.dropout, seed=args.seed)
    before = learn.validate()[0]
    learn.fine_tune(args.epochs or 1, args.lr or 2e-4)
    learn.save_encoder("domain")
    return {"loss before": before, "loss after": learn.validate()[0]}


def corpus(brown: str | None) -> pd.DataFrame:
    """Return the texts that a language model learns from, each with where it is from."""
    with gzip.open(DATA / "lm" / "wikitext-2.valid.txt.gz", "rt", encoding="utf-8") as file:
        articles = [article for article in re.split(r"\n (?== [^=])", file.read()) if len(article) > 200]
    texts = [*articles, *imdb()[2]["text"]]
    if brown is not None:
        for path in sorted(Path(brown).glob("c[a-r][0-9][0-9]")):
            tagged = path.read_text(encoding="latin-1").split()
            texts.append(" ".join(word.rsplit("/", 1)[0] for word in tagged))
    return pd.DataFrame({"text": texts})


def language_model(args: argparse.Namespace) -> TextLearner:
    """Return a language model trained on the corpus, or the one that an earlier call left in the folder."""
    from flambeau.data.block import DataBlock
    from flambeau.data.labels import ColReader
    from flambeau.data.splitters import RandomSplitter
    from flambeau.text.blocks import TextBlock

    block = DataBlock(
        TextBlock.from_df("text", is_lm=True, max_vocab=10_000, seq_len=70),
        get_x=ColReader("text"),
        splitter=RandomSplitter(0.03, seed=args.seed),
    )
    dls = block.dataloaders(corpus(args.brown), bs=32, seed=args.seed, path=args.out)
    learn = language_model_learner(
        dls, AWD_LSTM, config={**awd_lstm_lm_config, **SIZES}, drop_mult=0.1, pretrained=False,
        metrics=[accuracy, Perplexity()], cbs=GradientClip(1.0),
    )  # fmt: skip
    if (Path(args.out) / "models" / "lm.safetensors").exists():
        return learn.load("lm", with_opt=False)  # type: ignore[return-value]
    learn.fit_one_cycle(1, 1e-2)
    learn.save("lm", with_opt=False)
    return learn


def reviews(args: argparse.Namespace, vocab: list[str]) -> DataLoaders:
    """Return loaders of the labelled reviews."""
    train, test, _ = imdb()
    whole, splitter = halves(train, test, args.part, args.seed)
    return TextDataLoaders.from_df(
        whole, path=args.out, text_col="text", label_col="label", text_vocab=vocab, splitter=splitter, bs=32,
        seed=args.seed,
    )  # fmt: skip


def ulmfit(args: argparse.Namespace) -> dict[str, float]:
    """Reviews by ULMFiT: accuracy on 3,000 test reviews, with the language model and without it."""
    lm = language_model(args)
    perplexity = lm.validate()[2]
    lm.save_encoder("encoder")
    dls, found = reviews(args, lm.text_vocab), {"perplexity": perplexity}
    for name in ("with", "without") if not args.only else (args.only,):
        set_seed(args.seed)
        learn = text_classifier_learner(
            dls, AWD_LSTM, config=SIZES, drop_mult=0.5, pretrained=False, metrics=accuracy, cbs=GradientClip(1.0)
        )
        start = time.process_time()
        if name == "with":
            learn.load_encoder("encoder")
            learn.fit_one_cycle(1, 2e-2)
        learn.unfreeze()
        rates = slice(5e-3 / 2.6**2, 5e-3) if name == "with" else 5e-3
        learn.fit_one_cycle(args.epochs or 2, rates)
        found[f"accuracy {name} a language model"] = learn.validate()[1]
        found[f"seconds {name}"] = time.process_time() - start
    return found


TASKS: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    task.__name__: task for task in (sst2, banking77, stsb, mlm, imdb_minilm, ulmfit)
}


def main() -> None:
    """Run the tasks that are named, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), choices=[*TASKS, []])
    parser.add_argument("--out", default="build/texts_quality")
    parser.add_argument("--part", type=float, default=1.0, help="the share of the training texts")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--bs", type=int, default=None, help="of MiniLM's batches")
    parser.add_argument("--beginning", type=int, default=None, help="how many tokens MiniLM reads of each text")
    parser.add_argument("--dropout", type=float, default=None, help="of MiniLM; 0 is faster without a GPU")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--brown", default=None)
    parser.add_argument("--only", choices=["with", "without"], default=None, help="one half of ulmfit")
    args = parser.parse_args()
    for name in args.tasks:
        set_seed(args.seed)
        start = time.process_time()
        found = TASKS[name](args)
        words = ", ".join(f"{measure} {value:.4g}" for measure, value in found.items())
        seconds = time.process_time() - start
        print(f"{name}: {words} ({seconds:.0f} s of processor time, {torch.get_num_threads()} threads)", flush=True)


if __name__ == "__main__":
    main()
