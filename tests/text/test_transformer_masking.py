"""Masking asks for 15 % of the tokens, hides most of them, is the same for an item wherever it stands, and teaches."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_transformer_models import made
from test_transformer_tokenizer import read
from tiny_transformers import SENTENCES, batch_of, loaders, tiny_folder, transformers

from flambeau.data.batch import Batch
from flambeau.data.chance import batch_chances
from flambeau.data.kinds import Category
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.seeds import set_seed
from flambeau.interpret.interpretation import Interpretation
from flambeau.nn.metrics import Perplexity
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.masking import Asked, MaskedTokenLoss, MaskTokens
from flambeau.text.transformer_learner import TransformerLearner, transformer_learner
from flambeau.text.transformer_tokenizer import Subwords
from flambeau.train.load_learner import load_learner
from flambeau.train.recipe import describe_part, rebuild_part

BERT = MaskTokens(103, 30522, [0, 100, 101, 102, 103])


def test_layers_that_guess_words_are_told_where_they_are_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dls = loaders(read("bert"))
    transformer_learner(dls, tiny_folder("bert"), "masked_lm")
    assert "comes without the layers that guess" not in capsys.readouterr().out
    transformers.AutoModel.from_pretrained(tiny_folder("bert")).save_pretrained(tmp_path)
    read("bert").backend.save(str(tmp_path / "tokenizer.json"))
    transformer_learner(dls, tmp_path, "masked_lm")
    told = capsys.readouterr().out
    assert "comes without the layers that guess hidden words" in told
    assert "begin with fine_tune" in told
    transformer_learner(dls, tmp_path, "classification")
    assert "comes without the layers that guess" not in capsys.readouterr().out


def many(n_rows: int = 400, n_words: int = 100) -> torch.Tensor:
    """Return documents of words, between 101 and 102, the second half padded with 0."""
    words = torch.randint(1000, 30000, (n_rows, n_words), generator=torch.Generator().manual_seed(1))
    x = torch.cat([torch.full((n_rows, 1), 101), words, torch.full((n_rows, 1), 102)], 1)
    return torch.cat([x, torch.zeros(n_rows, 50, dtype=torch.int64)], 1)


def test_fifteen_per_cent_are_asked_for_and_most_of_them_hidden() -> None:
    x = many()
    masked, asked, _ = BERT.mask(x, batch_chances(1, 0, range(len(x))))
    n_asked = int(asked.sum())
    # 40,000 words: three standard deviations of a share are below 0.006 of all and below 0.02 of those asked for
    assert n_asked / 40_000 == pytest.approx(0.15, abs=0.006)
    assert (masked[asked] == 103).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (masked[asked] == x[asked]).float().mean() == pytest.approx(0.1, abs=0.02)
    others = masked[asked][(masked[asked] != 103) & (masked[asked] != x[asked])]
    assert len(others) / n_asked == pytest.approx(0.1, abs=0.02)
    assert others.unique().numel() > 0.95 * len(others)  # of 30,517 tokens, each is as likely
    assert not torch.isin(others, torch.tensor(BERT.markers)).any()


def test_what_is_not_asked_for_stays_and_markers_are_never_asked_for() -> None:
    x = many(20)
    masked, asked, target = BERT.mask(x, batch_chances(1, 0, range(20)))
    assert torch.equal(masked[~asked], x[~asked])
    assert torch.equal(target, torch.where(asked, x, -100))
    assert not asked[torch.isin(x, torch.tensor([0, 101, 102]))].any()


def test_an_item_is_masked_the_same_whatever_stands_beside_it() -> None:
    x = many(6)
    together = BERT.mask(x, batch_chances(7, 3, range(6)))[0]
    alone = BERT.mask(x[4:5, :102], batch_chances(7, 3, [4]))[0]
    assert torch.equal(together[4:5, :102], alone)
    assert not torch.equal(BERT.mask(x, batch_chances(7, 4, range(6)))[0], together)


def test_validation_asks_for_the_same_tokens_in_every_epoch_and_training_does_not() -> None:
    learn = transformer_learner(loaders(read("bert")), tiny_folder("bert"), "masked_lm")
    first, second = ([batch[1] for batch in learn.dls.valid] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    x = batch_of(read("bert"), SENTENCES[:8])
    masking = learn.dls.train.after_batch[-1]
    asked = [
        masking.on_batch(Batch((x,), (), (read("bert").kind,), range(8)), batch_chances(1, epoch, range(8)), True)[1]
        for epoch in range(2)
    ]
    assert not torch.equal(*asked)


def test_other_targets_give_way_and_columns_keep_their_kinds() -> None:
    tokenizer = read("bert")
    x = batch_of(tokenizer, SENTENCES[:4])
    masking = MaskTokens.of(tokenizer)
    batch = masking.on_batch(
        Batch((x,), (torch.zeros(4),), (tokenizer.kind, Category(("a", "b"))), range(4)), None, False
    )
    assert [type(kind) for kind in batch.kinds] == [Subwords, Asked, Subwords]
    assert (len(batch.inputs), len(batch.targets)) == (2, 1)
    (masked, asked), (target,) = batch.inputs, batch.targets
    assert [batch.kinds[2].text(row) for row in target] == [
        tokenizer.decodes(row[own]) for row, own in zip(x, asked, strict=True)
    ]
    hidden = masked == tokenizer.ids["mask"]
    assert [batch.kinds[0].text(row).count("[MASK]") for row in masked] == hidden.sum(1).tolist()


def test_at_least_one_token_is_asked_for() -> None:
    x = torch.tensor([[101, 2000, 102]])
    for index in range(20):
        assert BERT.mask(x, batch_chances(1, 0, [index]))[1].sum() == 1
    with pytest.raises(DataError, match="no word at all"):
        BERT.mask(torch.tensor([[101, 102, 0]]), batch_chances(1, 0, [0]))


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_the_head_sees_the_asked_tokens_alone_and_says_the_same(kind: str) -> None:
    model, tokenizer = made(kind, "masked_lm"), read(kind)
    x, asked, target = MaskTokens.of(tokenizer).mask(batch_of(tokenizer, SENTENCES[:6]), batch_chances(2, 0, range(6)))
    whole, few = model(x), model(x, asked)
    assert few.shape == (int(asked.sum()), tokenizer.vocab_size)
    assert torch.allclose(few, whole[asked], atol=1e-5)
    assert torch.allclose(model(x), whole, atol=1e-6)  # the hook is gone
    loss = MaskedTokenLoss()
    assert torch.allclose(loss(few, target), loss(whole, target), atol=1e-5)


def test_a_long_document_is_masked_too() -> None:
    model, tokenizer = made("bert", "masked_lm", window=10), read("bert")
    x, asked, _ = MaskTokens.of(tokenizer).mask(batch_of(tokenizer, SENTENCES[:2]), batch_chances(2, 0, range(2)))
    assert torch.allclose(model(x, asked), model(x)[asked], atol=1e-6)


def test_a_model_learns_what_stands_behind_the_masks() -> None:
    set_seed(1)
    labelled = loaders(read("bert"))
    learn = transformer_learner(labelled, tiny_folder("bert"), "masked_lm", metrics=Perplexity(), dropout=0.0)
    before = learn.validate()[0]
    with learn.no_logging():
        learn.fit_one_cycle(20, 5e-3)
    loss, perplexity = learn.validate()
    assert loss < before / 2
    assert perplexity == pytest.approx(torch.tensor(loss).exp().item(), rel=0.2)
    assert not any(isinstance(tfm, MaskTokens) for tfm in labelled.train.after_batch)


def test_masking_survives_an_export(tmp_path) -> None:
    masking = MaskTokens.of(read("roberta"))
    again = rebuild_part(json.loads(json.dumps(describe_part(masking))), {})
    assert again.settings() == masking.settings()
    learn = transformer_learner(loaders(read("bert"), path=tmp_path), tiny_folder("bert"), "masked_lm")
    loaded = load_learner(learn.export())
    test = loaded.dls.test_dl(SENTENCES[:4])
    assert loaded.validate(dl=test)[0] == pytest.approx(
        learn.validate(dl=learn.dls.test_dl(SENTENCES[:4]))[0], abs=1e-5
    )


def test_masks_that_make_no_sense_are_told() -> None:
    with pytest.raises(ArgumentError, match=r"has no mask.*causal_lm"):
        MaskTokens.of(read("gpt2"))
    with pytest.raises(ArgumentError, match="share is the part"):
        MaskTokens(1, 10, [], share=1.5)
    with pytest.raises(ArgumentError, match="is none of 10 ids"):
        MaskTokens(10, 10, [])


def test_of_documents_in_windows_the_vocabulary_sees_the_tokens_that_are_asked_for_alone() -> None:
    model, tokenizer = made("bert", "masked_lm", 0).eval(), read("bert")
    x = batch_of(tokenizer, [" ".join(SENTENCES[:9]), SENTENCES[0], " ".join(SENTENCES[5:20])])
    assert x.shape[1] > 2 * model.window
    ids, asked, _ = MaskTokens.of(tokenizer).mask(x, batch_chances(1, 0, range(3)))
    seen: list[int] = []
    handle = model.net.cls.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[:-1].numel()))
    with torch.no_grad():
        picked, whole = model(ids, asked), model(ids)
    handle.remove()
    assert torch.allclose(picked, whole[asked], atol=1e-5)
    assert seen[0] == asked.sum() < seen[1] / 4


def of_two_lengths(path: Path) -> TransformerLearner:
    """Return a masked language model on documents of different lengths, so that loaders bring them out of order."""
    texts = [SENTENCES[place] * (1 + place % 3) for place in range(24)]
    frame = pd.DataFrame({"text": texts, "half": [place >= 12 for place in range(24)]})
    dls = TextDataLoaders.from_df(
        frame, path, text_col="text", valid_col="half", is_masked=True, transformer=tiny_folder("bert"), bs=4, seed=1,
        device="cpu",
    )  # fmt: skip
    return transformer_learner(dls, tiny_folder("bert"), dropout=0.0, seed=1)


def test_predictions_and_losses_are_those_of_each_document(tmp_path: Path) -> None:
    learn = of_two_lengths(tmp_path)
    preds, targets, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    documents = learn.dls.valid_ds
    assert (len(preds), len(decoded), len(losses)) == (12, 12, 12)
    for place, target in enumerate(targets):
        asked = target[target != -100]
        assert torch.isin(asked, documents[place][0]).all()
        assert decoded[place].tolist() == preds[place].argmax(1).tolist()
        own = -preds[place][torch.arange(len(asked)), asked].log().sum() / max(len(asked), 1)
        assert losses[place] == pytest.approx(float(own), abs=1e-4)


def test_the_answers_of_a_masked_model_are_shown_beside_what_was_hidden(tmp_path: Path) -> None:
    learn = of_two_lengths(tmp_path)
    with learn.no_logging():
        learn.fit_one_cycle(12, 5e-3)
    assert "tensor" not in str(learn.dls.show_batch(max_n=2))
    shown = learn.show_results(max_n=3)
    assert list(shown.columns) == ["text", "actual", "predicted"]
    counts = [[len(str(cell).split()) for cell in shown[column]] for column in ("actual", "predicted")]
    assert all(abs(one - other) <= 2 for one, other in zip(*counts, strict=True))
    found = Interpretation.from_learner(learn)
    losses, places = found.top_losses(3)
    assert set(places.tolist()) <= set(range(12))
    worst = found.plot_top_losses(3)
    assert worst["loss"].tolist() == pytest.approx(losses.tolist())


def test_top_losses_are_shown_with_the_words_that_were_hidden_when_they_were_measured(tmp_path: Path) -> None:
    learn = of_two_lengths(tmp_path)
    preds, targets = learn.get_preds()
    found = Interpretation.from_learner(learn)
    places = found.top_losses(4)[1].tolist()
    kind = learn.tokenizer.kind

    def words(ids: torch.Tensor) -> str:
        return "".join(kind.text(number[None]).removeprefix("##") for number in ids)

    shown = found.plot_top_losses(4, trunc_at=1000)
    asked = [words(targets[place][targets[place] != -100]) for place in places]
    assert ["".join(cell.split()) for cell in shown["actual"]] == asked
    assert ["".join(cell.split()) for cell in shown["predicted"]] == [words(preds[n].argmax(1)) for n in places]
