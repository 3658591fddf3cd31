"""The model of a transformer masks, pairs and cuts for itself, loads in float32, and is built again without code."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_transformer_tokenizer import read
from tiny_transformers import POSITIONS, SENTENCES, SIZES, batch_of, config_of, tiny_folder, transformers
from torch import Tensor

from flambeau.foundation.errors import ArgumentError, ExportError, ShapeError, UnknownNameError
from flambeau.text.transformer_models import TransformerModel, build_transformer, transformer_splitter
from flambeau.text.transformer_pretrained import create_transformer
from flambeau.text.transformer_tokenizer import TransformerTokenizer
from flambeau.train.recipe import describe_model, rebuild_model

KINDS = ("bert", "distilbert", "roberta", "gpt2", "llama")


def made(kind: str = "bert", task: str = "classification", n_out: int = 2, **options: Any) -> TransformerModel:
    return create_transformer(tiny_folder(kind), task, n_out, read(kind), **options).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_answer(kind: str) -> None:
    model, tokenizer = made(kind), read(kind)
    texts = ["the film was good", SENTENCES[0]]
    together = model(batch_of(tokenizer, texts))
    alone = torch.cat([model(batch_of(tokenizer, [text])) for text in texts])
    assert together.shape == (2, 2)
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_transformers(kind: str) -> None:
    model, tokenizer = made(kind), read(kind)
    x = batch_of(tokenizer, SENTENCES[:3])
    with torch.no_grad():
        theirs = model.net(input_ids=x, attention_mask=model.real(x)).logits
    assert torch.allclose(model(x), theirs, atol=1e-6)


def test_shapes_follow_the_task() -> None:
    x = batch_of(read("bert"), SENTENCES[:3])
    n, time = x.shape
    assert made(task="regression", n_out=1)(x).shape == (n, 1)
    assert made(task="token classification", n_out=5)(x).shape == (n, time, 5)
    assert made(task="masked_lm", n_out=0)(x).shape == (n, time, read("bert").vocab_size)
    y = batch_of(read("gpt2"), SENTENCES[:3])
    assert made("gpt2", "causal_lm", 0)(y).shape == (*y.shape, read("gpt2").vocab_size)


def test_the_second_of_a_pair_has_a_type_of_its_own() -> None:
    model = made(pairs=True)
    x = batch_of(read("bert"), [("the film", "good"), ("bad", "the book was boring")])
    assert model._types(x).tolist() == [[0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1, 1, 1]]
    theirs = transformers.AutoTokenizer.from_pretrained(tiny_folder("bert"))
    expected = theirs(
        ["the film", "bad"], ["good", "the book was boring"], padding=True, return_tensors="pt",
        return_token_type_ids=True,
    )  # fmt: skip
    assert expected["token_type_ids"].tolist() == model._types(x).tolist()
    with torch.no_grad():
        assert torch.allclose(model(x), model.net(**expected).logits, atol=1e-6)


def test_a_model_of_one_type_takes_pairs_too() -> None:
    model = made("roberta", pairs=True)
    assert model(batch_of(read("roberta"), [("the film", "good")])).shape == (1, 2)


def test_an_end_of_text_inside_a_document_is_no_padding() -> None:
    model = made("gpt2")
    assert model.real(torch.tensor([[5, 0, 6, 0, 0], [7, 8, 9, 9, 9]])).tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_a_long_document_is_the_average_of_its_windows_by_tokens() -> None:
    model, tokenizer = made(window=10), read("bert")
    words = [tokenizer(word)[1:-1] for word in ("good", "film", "bad", "book", "end")]
    content = torch.cat([words[n % 5] for n in range(13)])  # 13 tokens in windows of 8 + 2 markers: 7 and 6
    cls, sep = torch.tensor([2]), torch.tensor([3])
    long = torch.cat([cls, content, sep])
    short = torch.cat([cls, content[:4], sep])
    x = torch.nn.utils.rnn.pad_sequence([long, short], batch_first=True)
    parts = [model(torch.cat([cls, part, sep])[None]) for part in (content[:7], content[7:])]
    expected = torch.cat([(7 * parts[0] + 6 * parts[1]) / 13, model(short[None])])
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_a_long_document_can_be_read_at_its_beginning_alone() -> None:
    model, tokenizer = made(window=6, long="truncate"), read("bert")
    long = tokenizer("good film bad book end good")
    assert torch.allclose(model(long[None]), model(tokenizer("good film bad book")[None]), atol=1e-6)


def test_each_token_of_a_long_document_gets_its_answer_from_its_window() -> None:
    model, tokenizer = made(task="token classification", n_out=3, window=6), read("bert")
    long = tokenizer("good film bad book end good film")
    found = model(long[None])
    assert found.shape == (1, len(long), 3)
    first = model(tokenizer("good film bad book")[None])
    assert torch.allclose(found[0, 1:5], first[0, 1:5], atol=1e-6)
    assert (found[0, 5:8] != 0).all()


def test_pairs_keep_their_types_in_windows() -> None:
    model, tokenizer = made(window=12, pairs=True), read("bert")
    pair = tokenizer(("good film bad book end good", "the film was the book the end was bad"))
    assert len(pair) > 12
    found = model(pair[None])
    assert found.shape == (1, 2)
    assert found.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_are_in_float32_whatever_the_file_holds(dtype: torch.dtype, tmp_path: Path) -> None:
    half = transformers.AutoModelForMaskedLM.from_pretrained(tiny_folder("bert"), dtype=dtype)
    half.save_pretrained(tmp_path)
    assert config_of(tmp_path)["dtype"] == str(dtype).removeprefix("torch.")
    model = create_transformer(tmp_path, "classification", 2, read("bert"))
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.float32}


def test_loading_prints_one_line_that_names_the_new_layers(capfd: pytest.CaptureFixture[str]) -> None:
    folder = tiny_folder("bert")
    capfd.readouterr()
    made()
    told = capfd.readouterr()
    assert told.out == f"BertForSequenceClassification of {folder}: new, to be trained: classifier, pooler.dense.\n"
    assert told.err == ""
    made(task="masked_lm")
    assert capfd.readouterr().out == f"BertForMaskedLM of {folder}: all weights are pretrained.\n"


def test_the_settings_of_transformers_come_back() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    made()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_an_added_token_gets_a_vector() -> None:
    tokenizer = read("bert", special_tokens=["[s]"])
    model = create_transformer(tiny_folder("bert"), "masked_lm", 0, tokenizer)
    assert model.net.get_input_embeddings().num_embeddings == tokenizer.vocab_size
    assert model.settings["n_out"] == model.settings["config"]["vocab_size"] == tokenizer.vocab_size
    assert model(tokenizer("good [s] bad")[None]).shape[-1] == tokenizer.vocab_size


def test_the_tokenizer_of_another_model_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"has \d+ ids, but .* has vectors for \d+: it is another model's"):
        create_transformer(tiny_folder("bert"), "classification", 2, read("roberta"))
    # fewer ids than vectors fit, and mean other words
    with pytest.raises(ArgumentError, match=r"'bert' is not that of .*roberta': of its \d+ tokens \d+ have another id"):
        create_transformer(tiny_folder("roberta"), "classification", 2, read("bert"))


def test_a_tokenizer_with_a_few_tokens_more_is_still_the_models_own(tmp_path: Path) -> None:
    tokenizer = TransformerTokenizer.from_pretrained(tiny_folder("bert"), lowercase=True, special_tokens=["[s]", "[t]"])
    model = create_transformer(str(tiny_folder("bert")), "classification", 2, tokenizer)
    assert model.net.get_input_embeddings().num_embeddings == tokenizer.vocab_size


def test_dropout_can_be_set() -> None:
    model = made(dropout=0.0)
    assert {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)} == {0.0}
    with pytest.raises(ArgumentError, match="dropout is a share"):
        made(dropout=1.5)


def test_the_window_follows_the_positions_of_the_model() -> None:
    assert [made(kind).window for kind in ("bert", "roberta", "gpt2", "llama")] == [POSITIONS] * 3 + [200_000]
    assert made(window=20).window == 20
    with pytest.raises(ArgumentError, match="window=100 ids was asked for, but the model takes 1 to 48"):
        made(window=100)


@pytest.mark.parametrize("kind", KINDS)
def test_layer_groups_hold_each_parameter_once_from_input_to_head(kind: str) -> None:
    model = made(kind)
    groups = transformer_splitter(model)
    assert len(groups) == 4  # embeddings, two layers, head
    held = [id(parameter) for group in groups for parameter in group]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in model.parameters()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(re.search("embed|wte|wpe", names[id(parameter)]) for parameter in groups[0])
    assert all(re.search("classifier|pooler|score|norm|ln_f", names[id(parameter)]) for parameter in groups[-1])


def test_a_head_that_stands_before_the_body_is_still_the_last_group() -> None:
    config = transformers.XLMRobertaConfig(**SIZES, vocab_size=60)
    net = transformers.AutoModelForSequenceClassification.from_config(config)
    assert next(iter(net.named_parameters()))[0].startswith("classifier")
    groups = transformer_splitter(net)
    assert groups[0][0] is net.get_input_embeddings().weight
    assert {id(parameter) for parameter in net.classifier.parameters()} == {id(p) for p in groups[-1]}


def test_the_layers_of_a_decoder_after_an_encoder_are_no_head() -> None:
    config = transformers.BartConfig(
        vocab_size=60, d_model=16, encoder_layers=3, decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2,
    )  # fmt: skip
    net = transformers.AutoModelForSequenceClassification.from_config(config)
    groups = transformer_splitter(net)
    last = {id(parameter) for parameter in groups[-1]}
    assert {id(parameter) for parameter in net.classification_head.parameters()} <= last
    assert not {id(parameter) for parameter in net.model.decoder.layers.parameters()} & last


def test_many_layers_are_four_groups() -> None:
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=7, num_attention_heads=1, intermediate_size=8
    )
    groups = transformer_splitter(transformers.AutoModelForSequenceClassification.from_config(config))
    per_layer = len(list(transformers.models.bert.modeling_bert.BertLayer(config).parameters()))
    assert [len(group) // per_layer for group in groups[1:-1]] == [2, 2, 2, 1]


def test_ids_must_be_a_matrix_of_whole_numbers() -> None:
    with pytest.raises(ShapeError, match=r"ids \(batch, time\)"):
        made()(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ShapeError, match="whole numbers"):
        made()(torch.zeros(3, 4))


def test_unknown_tasks_and_ways_are_told() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'classification'"):
        made(task="clasification")
    with pytest.raises(UnknownNameError, match="way with long documents"):
        made(long="cut")
    with pytest.raises(ArgumentError, match="answers for each token"):
        made(task="masked_lm", long="truncate")
    with pytest.raises(ArgumentError, match="no masked_lm head"):
        made("gpt2", task="masked_lm")


def test_a_model_that_sees_the_next_words_does_not_learn_to_write_them() -> None:
    with pytest.raises(ArgumentError, match=r"sees the words that come next.*task='masked_lm'"):
        made("bert", "causal_lm")


def test_an_architecture_whose_answers_depend_on_padding_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    made("fnet")
    assert "padding changes this architecture's answers" in capsys.readouterr().out


def test_an_architecture_that_cannot_answer_is_told_before_any_training() -> None:
    with pytest.raises(ArgumentError, match=r"cannot do classification here .*Choose a model"):
        made("t5")


def test_a_folder_without_weights_or_with_others_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_folder("bert") / "config.json").read_text())
    with pytest.raises(ArgumentError, match=r"one of model.safetensors.* missing"):
        create_transformer(tmp_path, "classification", 2, read("bert"))
    (tmp_path / "model.safetensors").write_bytes((tiny_folder("gpt2") / "model.safetensors").read_bytes())
    with pytest.raises(ArgumentError, match="belong to another architecture"):
        create_transformer(tmp_path, "classification", 2, read("bert"))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ExportError, match=r"do not load.*damaged or cut short"):
        create_transformer(tmp_path, "classification", 2, read("bert"))
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"nothing")
    with pytest.raises(ExportError, match="damaged or cut short") as told:
        create_transformer(tmp_path, "classification", 2, read("bert"))
    assert "weights_only" not in str(told.value)


def test_a_damaged_file_of_a_folder_is_no_matter_of_the_hub(tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("bert"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "a.safetensors"}}')
    with pytest.raises(ArgumentError, match=r"cannot be read .*a.safetensors.*A file in it is damaged or missing"):
        create_transformer(tmp_path, "classification", 2, read("bert"))
    (tmp_path / "config.json").write_text("{no")
    with pytest.raises(ArgumentError, match=r"cannot be read .*config.json.*A file in it is damaged or missing"):
        create_transformer(tmp_path, "classification", 2, read("bert"))


def test_weights_that_are_no_numbers_are_told_before_any_training(tmp_path: Path) -> None:
    net = transformers.AutoModelForMaskedLM.from_pretrained(tiny_folder("bert"))
    with torch.no_grad():
        net.bert.encoder.layer[1].output.dense.weight[3, 4] = torch.nan
    net.save_pretrained(tmp_path)
    with pytest.raises(ExportError, match=r"answers with NaN: .*layer.1.output.dense.weight.* no finite numbers"):
        create_transformer(tmp_path, "classification", 2, read("bert"))


@pytest.mark.parametrize("name", [None, 5, "", " "])
def test_what_names_no_model_is_told(name: Any) -> None:
    with pytest.raises(ArgumentError, match=r"named by a string or a path, got .*'minilm'"):
        create_transformer(name, "classification", 2, read("bert"))


# built again


def weights_of(model: TransformerModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["classification", "lm"])
def test_a_described_model_is_built_again_and_answers_the_same(kind: str, task: str) -> None:
    if task == "lm":
        task = "causal_lm" if kind in ("gpt2", "llama") else "masked_lm"
    model = made(kind, task)
    recipe = json.loads(json.dumps(describe_model(model)))
    assert set(recipe) == {"settings"}
    again = rebuild_model(recipe, None, weights_of(model)).eval()
    again.load_state_dict(model.state_dict())
    x = batch_of(read(kind), [SENTENCES[0], "good " * 80])
    assert torch.allclose(again(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("codegen", {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": POSITIONS, "n_ctx": 48, "rotary_dim": 8}),
        ("mamba2", {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 4, "num_heads": 4, "head_dim": 16}),
    ],
)
def test_one_without_padding_and_one_with_endless_time_steps_are_built_again(
    kind: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer = read("gpt2")
    config = transformers.CONFIG_MAPPING[kind](vocab_size=tokenizer.vocab_size, n_groups=1, **sizes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model = create_transformer(tmp_path, "causal_lm", 0, tokenizer).eval()
    again = rebuild_model(json.loads(json.dumps(describe_model(model))), None, weights_of(model)).eval()
    again.load_state_dict(model.state_dict())
    x = batch_of(tokenizer, SENTENCES[:1])
    assert torch.allclose(again(x), model(x), atol=1e-6)


def test_a_changed_model_is_not_described_as_the_usual_one() -> None:
    model = made()
    model.net.classifier = torch.nn.Sequential(torch.nn.Linear(32, 2))
    assert "custom" in describe_model(model)


def hostile(**changes: Any) -> dict[str, Any]:
    settings = json.loads(json.dumps(made().settings))
    settings["config"].update(changes)
    return settings


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoModelForSequenceClassification": "evil.Model"}},
        {"quantization_config": {"quant_method": "gptq"}},
        {"_attn_implementation_internal": "kernels-community/flash-attn"},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"dtype": "float16"},
        {"trust_remote_code": True},
        {"model_type": "evil"},
        {"model_type": "encoder-decoder"},
        {"hidden_size": {"a": {"b": {"c": {"d": {"e": {}}}}}}},
    ],
)
def test_a_description_that_names_more_than_an_architecture_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        build_transformer(hostile(**changes))


def test_a_hostile_folder_runs_no_code(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_folder("bert") / name).read_bytes())
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\nclass Config: pass\n")
    told = config_of(tiny_folder("bert"))
    told["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps(told))
    model = create_transformer(tmp_path, "classification", 2, TransformerTokenizer.from_pretrained(tmp_path))
    assert type(model.net).__name__ == "BertForSequenceClassification"
    (tmp_path / "config.json").write_text(json.dumps({**told, "model_type": "evil"}))
    with pytest.raises(ArgumentError, match="cannot be read"):
        create_transformer(tmp_path, "classification", 2, read("bert"))
    assert not marker.exists()


def test_numbers_beyond_reason_are_refused_before_anything_is_built() -> None:
    model = made()
    for changes in ({"num_hidden_layers": 10**6}, {"vocab_size": 10**9}):
        with pytest.raises(ExportError, match="beyond reason"):
            rebuild_model({"settings": hostile(**changes)}, None, weights_of(model))
    for window in (0, 10**9, "512", 1.5):
        settings = hostile()
        settings["positions"]["window"] = window
        with pytest.raises(ExportError, match="beyond reason"):
            rebuild_model({"settings": settings}, None, weights_of(model))
    settings = hostile()
    settings["positions"]["rotary"] = {"max_position_embeddings": 5}
    with pytest.raises(ExportError, match="is no position of a bert"):
        rebuild_model({"settings": settings}, None, weights_of(model))


def test_a_network_of_more_layers_than_any_is_refused() -> None:
    model = made()
    weights = {**weights_of(model), "wide": torch.zeros(1, 40_000)}
    with pytest.raises(ExportError, match="more layers than any"):
        rebuild_model({"settings": hostile(num_hidden_layers=40_000)}, None, weights)


def test_a_rotary_model_may_reach_far_but_not_beyond_reason() -> None:
    model = made("llama")
    assert model.settings["positions"]["rotary"]["max_position_embeddings"] == 200_000
    settings = json.loads(json.dumps(model.settings))
    settings["positions"]["rotary"]["rope_parameters"]["rope_theta"] = 1e12
    with pytest.raises(ExportError, match="beyond reason"):
        rebuild_model({"settings": settings}, None, weights_of(model))


@pytest.mark.parametrize("task", ["classification", "masked_lm"])
def test_training_on_windows_in_groups_gives_the_gradients_of_all_in_one(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = made("bert", task, 2 if task == "classification" else 0, dropout=0.0), read("bert")
    x = batch_of(tokenizer, [" ".join(SENTENCES[:20]), SENTENCES[0], " ".join(SENTENCES[5:20])])
    asked = (x > 4) & (torch.arange(x.shape[1]) % 3 == 0) if task == "masked_lm" else None
    sizes: list[int] = []
    handle = model.net.base_model.embeddings.register_forward_hook(lambda _, inputs, out: sizes.append(len(out)))
    gradients, run = [], TransformerModel._in_groups
    for all_in_one in (False, True):
        if all_in_one:
            monkeypatch.setattr(TransformerModel, "_in_groups", lambda self, n, *parts: run(self, 1000, *parts))
        model.train().zero_grad()
        answers = model(x, asked)
        answers.square().sum().backward()
        weight = model.net.get_input_embeddings().weight
        gradients.append((answers.detach(), weight.grad.clone()))
    handle.remove()
    assert max(sizes[:-1]) == len(x) < sizes[-1]
    (one, of_one), (other, of_other) = gradients
    assert torch.allclose(one, other, atol=1e-4)
    assert torch.allclose(of_one, of_other, atol=1e-3 * float(of_other.abs().max()))
