from __future__ import annotations

import pytest
import torch
from small_reviews import reviews

from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.nn.metrics import Perplexity, accuracy
from flambeau.text.awd_lstm import AWD_LSTM, awd_lstm_lm_config
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.generate import written
from flambeau.text.learner import LMLearner, language_model_learner, text_classifier_learner
from flambeau.train.inference import predict_batch
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor

SIZES = {"emb_sz": 16, "n_hid": 24, "n_layers": 2}


def lm_learner(path, frame=None, **options) -> LMLearner:
    frame = reviews(160) if frame is None else frame
    dls = TextDataLoaders.from_df(frame, path=path, text_col="text", is_lm=True, bs=8, seq_len=12, seed=1, **options)
    config = {**awd_lstm_lm_config, **SIZES}
    torch.manual_seed(0)
    return language_model_learner(dls, AWD_LSTM, config, 0.1, pretrained=False, metrics=[accuracy, Perplexity()])


def classifier(path, vocab=None, frame=None):
    frame = reviews(160) if frame is None else frame
    columns = {"text_col": "text", "label_col": "label", "text_vocab": vocab}
    dls = TextDataLoaders.from_df(frame, path=path, bs=16, seed=1, **columns)
    torch.manual_seed(0)
    return text_classifier_learner(dls, AWD_LSTM, config=SIZES, pretrained=False, metrics=accuracy, drop_mult=0.2)


def test_a_language_model_learns_and_writes(tmp_path):
    learn = lm_learner(tmp_path)
    before = learn.validate()[0]
    learn.fit_one_cycle(3, 2e-2)
    assert learn.validate()[0] < before - 0.5
    text = learn.predict("The film", 8, seed=2)
    assert text == learn.predict("The film", 8, seed=2)
    assert text.lower().startswith("the film ")
    assert len(text.split()) > 6
    assert "xx" not in text


def test_a_language_model_of_two_columns_goes_on_with_two_texts(tmp_path):
    frame = reviews(60).assign(title="a story")
    dls = TextDataLoaders.from_df(frame, tmp_path, text_col=["title", "text"], is_lm=True, bs=4, seq_len=8, seed=1)
    learn = language_model_learner(dls, AWD_LSTM, {**awd_lstm_lm_config, **SIZES}, pretrained=False)
    assert learn.predict(("a story", "the film was"), 3, seed=1).startswith("a story the film was ")


def test_writing_on_does_not_depend_on_what_was_read_before(tmp_path):
    learn = lm_learner(tmp_path)
    text = learn.predict("the film", 6, seed=2)
    learn.validate()
    learn.predict("something else", 3)
    assert learn.predict("the film", 6, seed=2) == text


def test_ulmfit_from_a_language_model_to_a_classifier(tmp_path):
    lm = lm_learner(tmp_path)
    lm.fit_one_cycle(1, 1e-2)
    lm.save_encoder("finetuned")
    learn = classifier(tmp_path, lm.dls.vocab).load_encoder("finetuned")
    encoder = learn.model[0].module.state_dict()
    assert all(torch.equal(value, encoder[name]) for name, value in lm.model[0].state_dict().items())
    assert not learn.model[0].module.encoder.weight.requires_grad
    learn.fit_one_cycle(1, 2e-2)
    learn.freeze_to(-2)
    learn.fit_one_cycle(1, slice(1e-2 / (2.6**4), 1e-2))
    learn.unfreeze()
    learn.fit_one_cycle(6, slice(2e-2 / (2.6**4), 2e-2))
    assert learn.validate()[1] > 0.9
    assert learn.predict("A wonderful film, superb and lovely.")[0] == "pos"


def test_an_encoder_of_other_words_is_matched_word_by_word_and_told(tmp_path, capsys):
    lm = lm_learner(tmp_path)
    lm.save_encoder("finetuned")
    other = classifier(tmp_path, frame=reviews(160).assign(text=lambda f: f["text"] + " Another word here."))
    other.load_encoder("finetuned")
    assert "were in the pretrained vocabulary" in capsys.readouterr().out
    words, mine = list(lm.dls.vocab), other.text_vocab
    rows = other.model[0].module.encoder.weight
    assert torch.equal(rows[mine.index("film")], lm.model[0].encoder.weight[words.index("film")])


def test_an_encoder_of_another_size_is_refused(tmp_path):
    lm = lm_learner(tmp_path)
    lm.save_encoder("finetuned")
    dls = TextDataLoaders.from_df(
        reviews(160), path=tmp_path, text_col="text", label_col="label", text_vocab=lm.dls.vocab, bs=8
    )
    other = text_classifier_learner(dls, AWD_LSTM, config={**SIZES, "n_hid": 32}, pretrained=False)
    with pytest.raises(ExportError, match="of another encoder: n_hid"):
        other.load_encoder("finetuned")


def test_a_file_that_is_no_encoder_is_refused(tmp_path):
    learn = classifier(tmp_path)
    learn.save("weights")
    with pytest.raises(ExportError, match="flambeau-encoder"):
        learn.load_encoder("weights")


def test_save_and_load_bring_a_language_model_back(tmp_path):
    learn = lm_learner(tmp_path)
    learn.fit(1, 1e-2)
    learn.save("1epoch")
    value = learn.validate()[0]
    other = lm_learner(tmp_path)
    other.load("1epoch")
    assert other.validate()[0] == pytest.approx(value, abs=1e-6)


def test_an_exported_classifier_answers_the_same_one_by_one_and_together(tmp_path):
    learn = classifier(tmp_path)
    learn.fit(1, 1e-2)
    learn.export("reviews.safetensors")
    texts = reviews(20, seed=9)["text"].tolist()
    expected = [learn.predict(text)[2] for text in texts]
    loaded, predictor = load_learner(tmp_path / "reviews.safetensors"), Predictor(tmp_path / "reviews.safetensors")
    together = loaded.get_preds(dl=loaded.dls.test_dl(texts))[0]
    for place, text in enumerate(texts):
        assert torch.allclose(loaded.predict(text)[2], expected[place], atol=1e-5)
        assert torch.allclose(together[place], expected[place], atol=1e-5)
    answers = predictor.predict_batch(texts)
    assert all(torch.allclose(answer.raw, own, atol=1e-5) for answer, own in zip(answers, expected, strict=True))


def test_an_exported_language_model_writes_the_same(tmp_path):
    learn = lm_learner(tmp_path)
    learn.fit(1, 1e-2)
    learn.export("lm.safetensors")
    loaded = load_learner(tmp_path / "lm.safetensors")
    assert loaded.predict("The film", 8, seed=3) == learn.predict("The film", 8, seed=3)


def test_an_exported_language_model_is_validated_on_new_text_as_before(tmp_path):
    learn = lm_learner(tmp_path)
    learn.fit(1, 1e-2)
    texts = reviews(20, seed=9)
    loaded = load_learner(learn.export("lm.safetensors"))
    dl = loaded.dls.test_dl(texts)
    assert dl.seq_len == learn.dls.valid.seq_len
    x, y = dl.one_batch()
    assert x[:, 1:].tolist() == y[:, :-1].tolist()
    assert loaded.validate(dl=dl)[0] == pytest.approx(learn.validate(dl=learn.dls.test_dl(texts))[0], abs=1e-5)


def test_an_export_holds_the_vocabulary_once(tmp_path):
    learn = classifier(tmp_path)
    written = learn.export("reviews.safetensors").read_bytes()
    assert written.count(b"wonderful") == 1


def test_show_results_shows_texts_and_answers(tmp_path):
    learn = classifier(tmp_path)
    shown = learn.show_results(max_n=4)
    assert len(shown) == 4
    assert shown.iloc[0, 0].startswith("xxbos")


def test_learners_of_the_wrong_loaders_say_which_is_right(tmp_path):
    of_labels, of_text = classifier(tmp_path).dls, lm_learner(tmp_path).dls
    with pytest.raises(ArgumentError, match="is_lm=True"):
        language_model_learner(of_labels, AWD_LSTM, pretrained=False)
    with pytest.raises(ArgumentError, match="language_model_learner"):
        text_classifier_learner(of_text, AWD_LSTM, pretrained=False)


def test_a_language_model_resumes_to_the_same_numbers(tmp_path):
    whole = lm_learner(tmp_path / "whole")
    whole.fit(2, 1e-2)

    class Stop(Exception):
        pass

    from flambeau.train.callback import Callback

    class StopAt(Callback):
        order = 90

        def after_batch(self) -> None:
            if self.learn.training and self.learn.train_iter == 17:
                raise Stop

    broken = lm_learner(tmp_path / "broken")
    with pytest.raises(Stop):
        broken.fit(2, 1e-2, cbs=StopAt(), checkpoint=5)
    again = lm_learner(tmp_path / "broken")
    again.fit(2, 1e-2, checkpoint=5, resume=True)
    for one, other in zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_documents_beyond_what_is_pooled_are_told(tmp_path, capsys):
    dls = TextDataLoaders.from_df(reviews(40, longest=200), text_col="text", label_col="label", bs=8, seed=1)
    text_classifier_learner(dls, AWD_LSTM, config=SIZES, pretrained=False, max_len=72)
    assert "documents are longer than 72 tokens" in capsys.readouterr().out


def test_results_are_the_same_each_time_they_are_shown(tmp_path):
    learn = lm_learner(tmp_path)
    batch = learn.dls.valid.one_batch()
    first = predict_batch(learn, batch)
    assert torch.equal(predict_batch(learn, batch), first)  # the state of the first is forgotten
    learn.model(*batch.inputs)
    assert torch.equal(predict_batch(learn, batch), first)


def test_what_is_written_together_has_no_blank_before_it():
    assert written(["It", "'s", "fine", ",", "is", "n't"]) == "It's fine , isn't"


def test_views_of_texts_are_refused_in_words_for_texts(tmp_path):
    for learn, why in ((classifier(tmp_path), "nothing changes a text"), (lm_learner(tmp_path), "each of its tokens")):
        with pytest.raises(ArgumentError, match=rf"{why}.*Use get_preds; .*Ensemble") as told:
            learn.tta()
        assert not any(word in str(told.value) for word in ("picture", "aug_transforms", "colour"))


def test_a_backwards_model_writes_before_the_text_in_the_order_of_reading(tmp_path):
    frame = reviews(400).assign(text="One two three four five six seven eight .")
    learn = lm_learner(tmp_path, frame, backwards=True)
    learn.fit_one_cycle(8, 4e-2)
    assert learn.predict("six seven", 4, temperature=0) == "two three four five six seven"
    assert learn.predict("three four", 20, temperature=0) == "One two three four"  # and no other document before it
    assert learn.predict("", 3, temperature=0) == "seven eight ."
    assert learn.predict("six nonsense", 2, temperature=0, only_last_word=True) == "four five six nonsense"
    again = load_learner(learn.export("backwards.safetensors"))
    assert again.predict("six seven", 4, temperature=0) == "two three four five six seven"
