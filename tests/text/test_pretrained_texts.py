"""Pretrained language models: files of other libraries are read without running them, and rows go by their words."""

from __future__ import annotations

import json
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from small_texts import SMALL, small_classifier, small_language_model
from torch import Tensor

from flambeau.data import urls
from flambeau.foundation.errors import ArgumentError, DownloadError, ExportError
from flambeau.text import models
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.models import SequentialRNN, get_text_classifier
from flambeau.text.pretrained import (
    encoder_of,
    files_in,
    load_encoder,
    load_pretrained,
    match_embeds,
    named_files,
    pretrained_files,
    read_vocabulary,
    read_weights,
    save_encoder,
)

OLD = ["xxunk", "xxpad", "the", "cat", "sat"]
NEW = ["xxunk", "xxpad", "cat", "dog", "the", "flew"]


def fastai_weights(model: SequentialRNN, **changes: Tensor) -> dict[str, Tensor]:
    """Return a language model's weights under the names that fastai gives them."""
    weights = model.state_dict()
    for layer in range(2):
        name = f"0.rnns.{layer}.module.weight_hh_l0"
        weights[f"0.rnns.{layer}.weight_hh_l0_raw"] = weights[name].clone()
        weights[name] = torch.zeros_like(weights[name])  # as the last dropout left it
    return {**weights, **changes}


def published(folder: Path, protocol: int = 4, legacy: bool = False) -> SequentialRNN:
    """Write a language model as fastai publishes one, and return it."""
    model = small_language_model(len(OLD))
    model[1].decoder.bias.data = torch.arange(5.0)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(fastai_weights(model), folder / "lstm_fwd.pth", _use_new_zipfile_serialization=not legacy)
    (folder / "itos_wt103.pkl").write_bytes(pickle.dumps(OLD, protocol))
    return model.eval()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_published_model_answers_as_it_did(tmp_path: Path, legacy: bool) -> None:
    old, again = published(tmp_path, legacy=legacy), small_language_model(len(OLD)).eval()
    again[0].rnns[0].module.weight_hh_l0.data.zero_()
    load_pretrained(again, *files_in(tmp_path), OLD)
    x = torch.tensor([[2, 3, 4, 2]])
    assert torch.equal(again(x), old(x))


def test_rows_go_by_their_words_and_new_words_get_the_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, model = published(tmp_path), small_language_model(len(NEW))
    load_pretrained(model, *files_in(tmp_path), NEW)
    rows, before = model[0].encoder.weight, old[0].encoder.weight
    assert torch.equal(rows[[0, 1, 2, 4]], before[[0, 1, 3, 2]])
    torch.testing.assert_close(rows[[3, 5]], before.mean(0).expand(2, -1))
    assert model[1].decoder.bias.tolist() == [0, 1, 3, 2, 2, 2]
    assert model[1].decoder.weight is rows
    assert capsys.readouterr().out == "Of 6 words, 4 were in the pretrained vocabulary of 5.\n"


def test_a_decoder_of_its_own_gets_the_rows_too(tmp_path: Path) -> None:
    old, model = published(tmp_path), small_language_model(len(NEW), tie_weights=False)
    load_pretrained(model, *files_in(tmp_path), NEW)
    assert torch.equal(model[1].decoder.weight[2], old[0].encoder.weight[3])


def test_a_classifier_gets_the_encoder(tmp_path: Path) -> None:
    old = published(tmp_path)
    classifier = get_text_classifier(AWD_LSTM, len(NEW), 2, config=SMALL)
    load_pretrained(classifier, *files_in(tmp_path), NEW)
    encoder = encoder_of(classifier)
    assert torch.equal(encoder.encoder.weight[2], old[0].encoder.weight[3])
    assert torch.equal(encoder.rnns[1].module.weight_hh_l0, old[0].rnns[1].module.weight_hh_l0)


def test_weights_that_are_not_tied_are_matched_each_by_itself() -> None:
    old = {"0.encoder.weight": torch.eye(2), "1.decoder.weight": 3 * torch.eye(2), "0.rnns.0.x": torch.ones(1)}
    new = match_embeds(old, ["a", "b"], ["b", "c"])
    assert new["0.encoder.weight"].tolist() == [[0, 1], [0.5, 0.5]]
    assert new["1.decoder.weight"].tolist() == [[0, 3], [1.5, 1.5]]
    assert old["0.encoder.weight"].tolist() == [[1, 0], [0, 1]]


def archive_of(folder: Path, name: str, tmp_path: Path) -> str:
    path = tmp_path / f"{name}.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=name)
    return path.as_uri()


def publish_at(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    about = models.ARCHITECTURES[AWD_LSTM]
    changed = models.TextArchitecture(**{**vars(about), "url_bwd": url})
    monkeypatch.setitem(models.ARCHITECTURES, AWD_LSTM, changed)
    monkeypatch.setenv("FLAMBEAU_HOME", str(tmp_path / "home"))


def test_an_archive_is_fetched_and_its_files_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published(tmp_path / "made" / "models")
    publish_at(archive_of(tmp_path / "made", "wt103-bwd", tmp_path), monkeypatch, tmp_path)
    weights, words = pretrained_files(AWD_LSTM, backwards=True)
    assert weights == tmp_path / "home" / "models" / "wt103-bwd" / "models" / "lstm_fwd.pth"
    assert read_vocabulary(words) == OLD


def test_the_published_models_are_those_of_fastai() -> None:
    about = models.architecture(AWD_LSTM)
    assert about.url == urls.URLs.WT103_FWD == "https://s3.amazonaws.com/fast-ai-modelzoo/wt103-fwd.tgz"
    assert about.url_bwd.endswith("wt103-bwd.tgz")


def test_an_archive_that_is_not_there_and_one_that_lacks_a_file_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish_at((tmp_path / "none.tgz").as_uri(), monkeypatch, tmp_path)
    with pytest.raises(DownloadError, match=r"none\.tgz.*pretrained=False.*pretrained_fnames"):
        pretrained_files(AWD_LSTM, backwards=True)
    published(tmp_path / "half")
    (tmp_path / "half" / "itos_wt103.pkl").unlink()
    with pytest.raises(ExportError, match=r"is incomplete: it has no words \(\.json, \.txt, \.pkl\)"):
        files_in(tmp_path / "half")


def test_files_are_named_with_or_without_their_suffix(tmp_path: Path) -> None:
    published(tmp_path)
    wanted = [tmp_path / "lstm_fwd.pth", tmp_path / "itos_wt103.pkl"]
    assert named_files(["lstm_fwd", "itos_wt103"], tmp_path) == wanted
    assert named_files(wanted, tmp_path / "elsewhere") == wanted
    with pytest.raises(ArgumentError, match=r"no file .*lstm_bwd with one of .*are: lstm_fwd\.pth"):
        named_files(["lstm_bwd", "itos_wt103"], tmp_path)
    with pytest.raises(ArgumentError, match=r"two names, of the weights and of the words; got 'lstm_fwd'"):
        named_files("lstm_fwd", tmp_path)


# ---- words


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("words", [OLD, ["a"], ["a", "\u00e9\n", "a", "x" * 300, *map(str, range(3000))]])
def test_a_pickled_list_of_words_is_read_without_unpickling(protocol: int, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "words.pkl"
    path.write_bytes(pickle.dumps(words, protocol))
    assert read_vocabulary(path) == words


def test_words_may_be_json_or_lines(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(json.dumps(OLD), encoding="utf-8")
    (tmp_path / "words.txt").write_text("\n".join(OLD) + "\n", encoding="utf-8")
    assert read_vocabulary(tmp_path / "words.json") == OLD
    assert read_vocabulary(tmp_path / "words.txt") == OLD


class Harm:
    def __reduce__(self) -> Any:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Harm(), "operation (GLOBAL|STACK_GLOBAL) at byte"),
        (["a", Harm()], "operation (GLOBAL|STACK_GLOBAL) at byte"),
        ({"a": 1}, "operation EMPTY_DICT"),
        (["a", 1], "operation BININT1"),
        ("a", "holds no list of words"),
        ([], "holds no list of words"),
        ([["a"]], "holds no list of words"),
    ],
)
def test_a_pickle_of_anything_else_is_refused_and_not_run(
    value: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 4):
        Path("words.pkl").write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(ExportError, match=told):
            read_vocabulary("words.pkl")
    assert not Path("harm").exists()


def test_a_list_that_holds_itself_or_breaks_off_is_refused(tmp_path: Path) -> None:
    endless: list[Any] = ["a"]
    endless.append(endless)
    whole = pickle.dumps(OLD, 4)
    path = tmp_path / "words.pkl"
    for content in (pickle.dumps(endless), whole[:-3], b"", b"]ee.", b"h\x05.", b"\x80\x04.", b"a."):
        path.write_bytes(content)
        with pytest.raises(ExportError, match=r"words\.pkl"):
            read_vocabulary(path)


def test_json_and_lines_of_anything_else_are_refused(tmp_path: Path) -> None:
    for name, content in (("a.json", b'{"a": 1}'), ("b.json", b"[1]"), ("c.json", b"["), ("d.txt", b"\xff\xfe\x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ExportError, match=f"{name} holds no list of words"):
            read_vocabulary(tmp_path / name)


# ---- weights


def test_weights_kept_with_an_optimizer_and_those_of_this_library_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = small_language_model(len(OLD))
    torch.save({"model": model.state_dict(), "opt": {"lr": 1}}, tmp_path / "both.pth")
    assert torch.equal(read_weights(tmp_path / "both.pth")["0.encoder.weight"], model[0].encoder.weight)
    own = {"model.0.encoder.weight": torch.ones(2), "optimizer.0.exp_avg": torch.ones(2)}
    save_file(own, tmp_path / "own.safetensors")
    assert list(read_weights(tmp_path / "own.safetensors")) == ["0.encoder.weight"]


def test_weights_that_could_run_code_or_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.encoder.weight": Harm()}, "harm.pth")
    with pytest.raises(ExportError, match="cannot be read as weights, and was not executed"):
        read_weights("harm.pth")
    assert not Path("harm").exists()
    torch.save([1, 2], "list.pth")
    with pytest.raises(ExportError, match="holds no table of weights, but a list"):
        read_weights("list.pth")
    Path("text.safetensors").write_text("nothing")
    with pytest.raises(ExportError, match="cannot be read as weights"):
        read_weights("text.safetensors")


def test_other_sizes_are_told_with_the_config_that_fits(tmp_path: Path) -> None:
    published(tmp_path)
    model = small_language_model(len(OLD), n_hid=10, n_layers=3)
    with pytest.raises(
        ExportError,
        match=r"n_hid 12 there and 10 here, n_layers 2 there and 3 here \(12 of 13 .*'n_hid': 12, 'n_layers'",
    ):
        load_pretrained(model, *files_in(tmp_path), OLD)


def test_words_and_weights_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    published(tmp_path)
    weights, words = files_in(tmp_path)
    words.write_bytes(pickle.dumps(OLD[:-1]))
    with pytest.raises(ExportError, match=r"0\.encoder\.weight has 5 rows, but its vocabulary 4 words"):
        load_pretrained(small_language_model(len(NEW)), weights, words, NEW)
    with pytest.raises(ArgumentError, match="a row for each of 20 words, but vocab has 6 words"):
        load_pretrained(small_language_model(), weights, words, NEW)
    torch.save({"0.layer": torch.ones(1)}, weights)
    with pytest.raises(ExportError, match=r"no language model: it has no 0\.encoder\.weight, but 0\.layer"):
        load_pretrained(small_language_model(len(NEW)), weights, words, NEW)


# ---- encoders


def test_an_encoder_goes_from_a_language_model_to_a_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = small_language_model(len(OLD))
    path = save_encoder(old, tmp_path / "encoder.safetensors", OLD)
    same, other = (get_text_classifier(AWD_LSTM, len(vocab), 2, config=SMALL) for vocab in (OLD, NEW))
    load_encoder(same, path, OLD)
    assert capsys.readouterr().out == ""
    for name, weight in old[0].state_dict().items():
        assert torch.equal(same[0].module.state_dict()[name], weight), name
    load_encoder(other, path, NEW)
    assert "4 were in the pretrained vocabulary of 5" in capsys.readouterr().out
    assert torch.equal(encoder_of(other).encoder.weight[2], old[0].encoder.weight[3])


def test_words_in_another_order_are_matched(tmp_path: Path) -> None:
    old, model = small_language_model(len(OLD)), small_language_model(len(OLD))
    path = save_encoder(old, tmp_path / "encoder.safetensors", OLD)
    load_encoder(model, path, OLD[::-1])
    assert torch.equal(model[0].encoder.weight, old[0].encoder.weight.flip(0))


def test_an_encoder_of_fastai_needs_as_many_words(tmp_path: Path) -> None:
    old = small_language_model(len(OLD))
    weights = {n.removeprefix("0."): w for n, w in fastai_weights(old).items() if n.startswith("0.")}
    torch.save(weights, tmp_path / "finetuned.pth")
    model = small_language_model(len(OLD))
    model[0].rnns[0].module.weight_hh_l0.data.zero_()
    load_encoder(model, tmp_path / "finetuned.pth", OLD)
    assert torch.equal(model[0].rnns[0].module.weight_hh_l0, old[0].rnns[0].module.weight_hh_l0)
    with pytest.raises(ExportError, match="each of 5 words, and the model's vocabulary 6 words"):
        load_encoder(small_language_model(len(NEW)), tmp_path / "finetuned.pth", NEW)


def test_what_is_no_encoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a Linear, has no encoder in its first place"):
        encoder_of(torch.nn.Linear(1, 1))
    with pytest.raises(ArgumentError, match="a row for each of 50 words, but vocab has 5"):
        save_encoder(small_classifier(), tmp_path / "encoder.safetensors", OLD)
    path = save_encoder(small_language_model(len(OLD)), tmp_path / "encoder.safetensors", OLD)
    with pytest.raises(ExportError, match=r"n_hid 12 there and 6 here"):
        load_encoder(small_language_model(len(OLD), n_hid=6), path, OLD)
    with pytest.raises(ExportError, match=r"There is no file .*encoderr"):
        load_encoder(small_language_model(len(OLD)), tmp_path / "encoderr.safetensors", OLD)
