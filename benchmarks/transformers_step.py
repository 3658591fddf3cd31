"""Fine-tuning a transformer: MiniLM on SST-2 phrases against a loop written by hand on transformers, on one thread."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare

from flambeau.data.chance import batch_chances
from flambeau.data.data_loaders import DataLoaders
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.text.masking import MaskedTokenLoss, MaskTokens
from flambeau.text.transformer_files import find_transformer
from flambeau.text.transformer_learner import transformer_learner
from flambeau.text.transformer_tokenizer import TransformerTokenizer

SST2 = Path(__file__).resolve().parents[2] / "shared" / "data" / "sst2" / "train.tsv.gz"
N_BATCHES, BS, N_TEXTS = 6, 16, 20_000


def main() -> None:
    """Print the table of ratios."""
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = find_transformer("minilm").place
    frame = pd.read_csv(SST2, sep="\t")
    texts = frame.sentence.tolist()
    tokenizer = TransformerTokenizer.from_pretrained("minilm")

    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    compare(
        f"tokenize {N_TEXTS} phrases", "1.0", 3,
        bare=lambda: theirs(texts[:N_TEXTS])["input_ids"], flambeau=lambda: tokenizer.encode_all(texts[:N_TEXTS]),
    )  # fmt: skip

    ids = [torch.tensor(some) for some in tokenizer.encode_all(texts[: N_BATCHES * BS])]
    labels = torch.tensor(frame.label.tolist()[: N_BATCHES * BS])
    batches = [
        (pad_sequence(ids[start : start + BS], batch_first=True), labels[start : start + BS])
        for start in range(0, len(ids), BS)
    ]
    learn = transformer_learner(
        DataLoaders(batches, batches[:1]), "minilm", "classification", 2, tokenizer=tokenizer,
        loss_func=CrossEntropyLossFlat(),
    )  # fmt: skip
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    net = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype=torch.float32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-5, fused=True)

    def bare_steps() -> None:
        net.train()
        for x, y in batches:
            F.cross_entropy(net(input_ids=x, attention_mask=(x != 0).long()).logits, y).backward()
            optimizer.step()
            optimizer.zero_grad()

    def our_steps() -> None:
        learn.dls.loaders = [batches]
        with learn.no_logging():
            learn.fit(1, 5e-5)

    compare(f"train {N_BATCHES} batches of {BS}", "1.03", 7, bare=bare_steps, flambeau=our_steps)

    @torch.no_grad()
    def bare_answers() -> Tensor:
        net.eval()
        return torch.cat([net(input_ids=x, attention_mask=(x != 0).long()).logits for x, _ in batches])

    def our_answers() -> Any:
        learn.dls.loaders = [batches, batches]
        return learn.get_preds()

    compare(f"answer {N_BATCHES} batches of {BS}", "1.03", 7, bare=bare_answers, flambeau=our_answers)

    masking = MaskTokens.of(tokenizer)
    masked = [masking.mask(x, batch_chances(0, 0, range(len(x)))) for x, _ in batches]
    language = transformer_learner(
        DataLoaders([(x, asked, y) for x, asked, y in masked], n_inp=2), "minilm", "masked_lm", tokenizer=tokenizer,
        loss_func=MaskedTokenLoss(),
    )  # fmt: skip
    head = transformers.AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32)
    adam = torch.optim.AdamW(head.parameters(), lr=5e-5, fused=True)

    def bare_language() -> None:
        head.train()
        for x, _, y in masked:
            scores = head(input_ids=x, attention_mask=(x != 0).long()).logits
            F.cross_entropy(scores.flatten(0, 1), y.flatten()).backward()
            adam.step()
            adam.zero_grad()

    def our_language() -> None:
        with language.no_logging():
            language.fit(1, 5e-5)

    compare(f"masked language, {N_BATCHES} batches", "1.03", 5, bare=bare_language, flambeau=our_language)


if __name__ == "__main__":
    main()
