"""Two texts are read apart by one transformer, and how alike they are is learnt from their vectors' cosine."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_transformer_tokenizer import needs_minilm
from tiny_transformers import SENTENCES, batch_of, label_of, tiny_folder, transformers

from flambeau.data.splitters import IndexSplitter
from flambeau.data.target_blocks import CategoryBlock
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.seeds import set_seed
from flambeau.nn.sklearn_metrics import PearsonCorrCoef
from flambeau.text.attention import attention
from flambeau.text.attribution import attribute
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.transformer_learner import TransformerLearner, transformer_learner
from flambeau.text.transformer_models import TransformerModel
from flambeau.train.load_learner import load_learner

SHORT = SENTENCES[::4]


def pairs() -> pd.DataFrame:
    """Return all pairs of some sentences: 4 where both say one thing, else 1."""
    rows = [(one, other, 4.0 if label_of(one) == label_of(other) else 1.0) for one, other in product(SHORT, SHORT)]
    return pd.DataFrame(rows, columns=["one", "other", "score"])


def learner(kind: str, path: Path | str = ".", frame: pd.DataFrame | None = None) -> TransformerLearner:
    set_seed(1)
    dls = TextDataLoaders.from_df(
        pairs() if frame is None else frame, path, 0.25, seed=1, text_col=["one", "other"], label_col="score",
        transformer=tiny_folder(kind), bs=16,
    )  # fmt: skip
    return transformer_learner(dls, tiny_folder(kind), "similarity", metrics=PearsonCorrCoef(), dropout=0.0)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_likeness_is_learnt_exported_and_written(kind: str, tmp_path: Path) -> None:
    learn = learner(kind, tmp_path)
    assert learn.transformer.scale is not None
    with learn.no_logging():
        learn.fit_one_cycle(15, 5e-3)
    assert learn.validate()[1] > 0.9
    pair = (SHORT[0], SHORT[1])
    number, *_ = learn.predict(pair)
    assert number == pytest.approx(learn.predict(pair[::-1])[0], abs=1e-4)
    again = load_learner(learn.export("alike.safetensors"))
    assert again.predict(pair)[0] == pytest.approx(number, abs=1e-4)

    # what is written is the network alone; its averaged vectors give the same number by hand
    folder = learn.save_pretrained("mine")
    net = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        one, other = (net(learn.tokenizer(text)[None]).last_hidden_state.mean(1) for text in pair)
        cosine = torch.cosine_similarity(one, other)[:, None]
        by_hand = learn.transformer.scale(learn.transformer.likeness(cosine))
    assert by_hand.item() == pytest.approx(number, abs=1e-4)


def test_padding_and_long_texts_change_no_answer() -> None:
    learn = learner("bert")
    long = (" ".join([SHORT[0]] * 12), SHORT[1])  # of three windows
    together = batch_of(learn.tokenizer, [(SHORT[0], SHORT[1]), long])
    with torch.no_grad():
        model = learn.model.eval()
        apart = torch.cat([model(learn.tokenizer(pair)[None]) for pair in ((SHORT[0], SHORT[1]), long)])
        assert torch.allclose(model(together), apart, atol=1e-4)
    assert together.shape[1] > 2 * learn.transformer.window


def test_pairs_of_a_text_longer_than_the_window_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pairs()
    learner("bert", frame=frame)
    assert "longer than" not in capsys.readouterr().out
    for which in ("one", "other"):
        window, long = 48 - 2, frame.copy()
        long.loc[:, which] = long[which].where(long.index != 3, " ".join(["."] * (window + 1)))
        long.loc[:, which] = long[which].where(long.index != 4, " ".join(["."] * window))
        dls = TextDataLoaders.from_df(
            long, ".", text_col=["one", "other"], label_col="score", transformer=tiny_folder("bert"), bs=16,
            splitter=IndexSplitter([0]),
        )  # fmt: skip
        transformer_learner(dls, tiny_folder("bert"), "similarity")
        told = capsys.readouterr().out
        assert f"1 of {len(frame) - 1} documents" in told
        assert f"longer than the {window} tokens" in told


def test_training_on_long_pairs_in_groups_gives_the_gradients_of_all_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    learn = learner("bert")
    long, gradients, sizes = " ".join([SHORT[0]] * 12), [], []
    x = batch_of(learn.tokenizer, [(SHORT[0], long), (long, SHORT[1]), (SHORT[2], SHORT[3])])
    model = learn.model.train()
    handle = model.net.embeddings.register_forward_hook(lambda _, inputs, out: sizes.append(len(out)))
    in_groups = TransformerModel._in_groups
    for all_in_one in (False, True):
        if all_in_one:
            monkeypatch.setattr(TransformerModel, "_in_groups", lambda self, n, *parts: in_groups(self, 1000, *parts))
        model.zero_grad()
        model(x).square().sum().backward()
        gradients.append(model.net.get_input_embeddings().weight.grad.clone())
    handle.remove()
    assert max(sizes[:-1]) == 2 * len(x) < sizes[-1]
    assert torch.allclose(*gradients, atol=1e-3 * float(gradients[1].abs().max()))


def test_all_weights_have_a_rate_and_the_head_is_that_of_the_cosine() -> None:
    learn = learner("bert")
    groups = learn.layer_groups
    placed = [id(weight) for group in groups for weight in group]
    assert sorted(placed) == sorted(id(weight) for weight in learn.model.parameters())
    assert [id(weight) for weight in groups[-1]] == [id(weight) for weight in learn.transformer.likeness.parameters()]
    assert learn.transformer.net.pooler is None


def test_an_encoder_of_another_task_is_taken(tmp_path: Path) -> None:
    dls = TextDataLoaders.from_df(
        pairs(), tmp_path, 0.25, seed=1, text_col="one", is_masked=True, transformer=tiny_folder("bert"), bs=16
    )
    transformer_learner(dls, tiny_folder("bert")).save_encoder("domain")
    learn = learner("bert", tmp_path)
    learn.load_encoder("domain")
    learn.save_encoder("alike")
    assert learner("bert", tmp_path).load_encoder("alike").validate() == learn.validate()


def test_one_text_or_classes_are_refused() -> None:
    learn = learner("bert")
    with pytest.raises(DataError, match="Two texts were expected"):
        learn.model(batch_of(learn.tokenizer, SHORT[:2]))
    frame = pairs().astype({"score": str})
    dls = TextDataLoaders.from_df(
        frame, text_col=["one", "other"], label_col="score", y_block=CategoryBlock(), transformer=tiny_folder("bert")
    )
    with pytest.raises(ArgumentError, match="got n_out=2, pairs=True"):
        transformer_learner(dls, tiny_folder("bert"), "similarity")
    single = TextDataLoaders.from_df(pairs(), text_col="one", label_col="score", transformer=tiny_folder("bert"))
    with pytest.raises(ArgumentError, match="got n_out=1, pairs=False"):
        transformer_learner(single, tiny_folder("bert"), "similarity")


def test_what_reads_two_texts_apart_shows_no_attention_between_them() -> None:
    learn = learner("bert")
    with pytest.raises(ArgumentError, match="reads the two texts apart"):
        attention(learn, (SHORT[0], SHORT[1]))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("n_times", [1, 12])  # the second is longer than the window
def test_words_of_both_texts_share_out_the_likeness(kind: str, n_times: int) -> None:
    learn = learner(kind)
    with learn.no_logging():
        learn.fit_one_cycle(8, 5e-3)
    pair = (SHORT[0], " ".join([SHORT[1]] * n_times))
    found = attribute(learn, pair, method="integrated_gradients")
    assert found.answer == pytest.approx(learn.predict(pair)[0], abs=1e-4)
    spread = float(learn.transformer.scale.std)
    assert sum(found.scores) == pytest.approx(found.answer - found.without_words, abs=0.05 * spread)
    assert not found.of_label
    assert "%" not in repr(found)

    # a word that is taken away is one whose vector is that of the mask
    taken = attribute(learn, pair)
    assert taken.method == "occlusion"
    number, word = next((n, word) for n, word in enumerate(taken.words) if not word.is_marker)
    ids = learn.tokenizer(pair)
    ids[list(word.places)] = learn.tokenizer.ids["mask"]
    with torch.no_grad():
        without = learn.model.eval()(ids[None]).item()
    assert taken.scores[number] == pytest.approx(taken.answer - without, abs=1e-4)


@needs_minilm
def test_minilm_knows_what_is_alike_before_any_training() -> None:
    frame = pd.DataFrame(
        {
            "one": ["A man plays a guitar.", "A dog runs in the snow."] * 4,
            "other": ["Someone is playing guitar.", "Interest rates rose again.", "A cat sleeps.", "A hound runs."] * 2,
            "score": [5.0, 0.0, 0.5, 4.5] * 2,
        }
    )
    dls = TextDataLoaders.from_df(
        frame, valid_pct=0.5, seed=1, text_col=["one", "other"], label_col="score", transformer="minilm", bs=4
    )
    learn = transformer_learner(dls, "minilm", "similarity")
    alike = learn.predict(("The film is great.", "A wonderful movie."))[0]
    other = learn.predict(("The film is great.", "The train leaves at nine."))[0]
    assert alike > other + 1
