"""Chapter 11 of the book, its part on texts: the layers of the mid-level API, from a tokenizer to loaders."""

from __future__ import annotations

from pathlib import Path

from test_book_10 import imdb  # noqa: F401 (a fixture)

from flambeau.text.all import *
from flambeau.text.all import (
    Categorize,
    CategoryBlock,
    DataBlock,
    Datasets,
    GrandparentSplitter,
    L,
    Numericalize,
    Pipeline,
    SortedDL,
    TextBlock,
    TextDataLoaders,
    TfmdLists,
    Tokenizer,
    Transform,
    URLs,
    get_text_files,
    pad_input,
    parent_label,
    partial,
    untar_data,
)


def test_transforms_of_texts(imdb: Path) -> None:  # noqa: F811
    path = untar_data(URLs.IMDB)
    files = get_text_files(path, folders=["train", "test"])
    txts = L(o.open().read() for o in files[:2000])
    tok = Tokenizer.from_folder(path)
    tok.setup(txts)
    toks = txts.map(tok)
    num = Numericalize()
    num.setup(toks)
    nums = toks.map(num)
    nums_dec = num.decode(nums[0][:10])
    assert list(nums_dec) == list(toks[0][:10])
    assert tok.decode(nums_dec) == " ".join(toks[0][:10])
    both = tok((txts[0], txts[1]))
    assert [list(one) for one in both] == [list(toks[0]), list(toks[1])]
    tfms = Pipeline([tok, num])
    t = tfms(txts[0])
    assert t[:20].tolist() == nums[0][:20].tolist()
    assert tfms.decode(t)[:30] == " ".join(toks[0])[:30]


def test_lists_and_data_sets_of_texts(imdb: Path) -> None:  # noqa: F811
    path = untar_data(URLs.IMDB)
    files = get_text_files(path, folders=["train", "test"])
    tls = TfmdLists(files, [Tokenizer.from_folder(path), Numericalize])
    t = tls[0]
    assert tls.decode(t)[:5] == "xxbos"
    tls.show(t)
    cut = int(len(files) * 0.8)
    splits = [list(range(cut)), list(range(cut, len(files)))]
    tls = TfmdLists(files, [Tokenizer.from_folder(path), Numericalize], splits=splits)
    assert tls.valid[0][0] == 2
    lbls = files.map(parent_label)
    cat = Categorize()
    cat.setup(lbls)
    assert (list(cat.vocab), int(cat(lbls[0]))) == (["neg", "pos"], 0)
    tls_y = TfmdLists(files, [parent_label, Categorize()])
    assert int(tls_y[0]) == 0
    x_tfms, y_tfms = [Tokenizer.from_folder(path), Numericalize], [parent_label, Categorize()]
    dsets = Datasets(files, [x_tfms, y_tfms])
    x, y = dsets[0]
    assert (int(x[0]), int(y)) == (2, 0)
    splits = GrandparentSplitter(valid_name="test")(files)
    dsets = Datasets(files, [x_tfms, y_tfms], splits=splits)
    text, label = dsets.decode(dsets.valid[0])
    assert text.startswith("xxbos")
    assert label == "neg"
    dls = dsets.dataloaders(bs=16, before_batch=pad_input)
    assert dls.one_batch()[0].ndim == 2


def test_loaders_by_layers_and_in_one_call(imdb: Path) -> None:  # noqa: F811
    path = untar_data(URLs.IMDB)
    tfms = [[Tokenizer.from_folder(path), Numericalize], [parent_label, Categorize]]
    files = get_text_files(path, folders=["train", "test"])
    splits = GrandparentSplitter(valid_name="test")(files)
    dsets = Datasets(files, tfms, splits=splits)
    dls = dsets.dataloaders(bs=16, dl_type=SortedDL, before_batch=pad_input)
    x, y = dls.one_batch()
    assert x.shape[0] == y.shape[0] == 16
    by_block = DataBlock(
        blocks=(TextBlock.from_folder(path), CategoryBlock),
        get_y=parent_label,
        get_items=partial(get_text_files, folders=["train", "test"]),
        splitter=GrandparentSplitter(valid_name="test"),
    ).dataloaders(path, bs=16)
    in_one_call = TextDataLoaders.from_folder(path, valid="test", bs=16)
    assert list(by_block.vocab[0]) == list(in_one_call.vocab[0])


def test_a_transform_of_ones_own() -> None:
    class NormalizeMean(Transform):
        def setups(self, items):
            self.mean = sum(items) / len(items)

        def encodes(self, x):
            return x - self.mean

        def decodes(self, x):
            return x + self.mean

    tfm = NormalizeMean()
    tfm.setup([1, 2, 3, 4, 5])
    assert (tfm.mean, tfm(2), tfm.decode(tfm(2))) == (3.0, -1.0, 2.0)
