"""From which library is this docstring? A language model learns how they are written, a classifier tells them apart.

    python examples/texts.py [EPOCHS [FOLDER]]

The texts come with libraries that flambeau needs anyway: the beginnings of some 900 docstrings, the names left out.
"""
from __future__ import annotations

import inspect
import sys

import sklearn.ensemble
import sklearn.metrics

from flambeau.text.all import *

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 4
out = Path(sys.argv[2] if len(sys.argv) > 2 else "example-texts")
sizes = {"emb_sz": 48, "n_hid": 64, "n_layers": 2}  # of a real language model: 400, 1152, 3

places = {
    "numpy": [np, np.linalg, np.ndarray],
    "pandas": [pd.DataFrame, pd.Series],
    "torch": [torch.nn, torch.Tensor],
    "sklearn": [sklearn.ensemble, sklearn.metrics],
}
found = {}
for library, where in places.items():
    for name, thing in (pair for place in where for pair in inspect.getmembers(place, callable)):
        text = " ".join((inspect.getdoc(thing) or "").split()[:50]).replace(library, "it")
        if not name.startswith("_") and len(text) > 100:
            found.setdefault(text, library)
df = pd.DataFrame({"text": found.keys(), "library": found.values()})
print(df["library"].value_counts().to_string(header=False), "\n")

set_seed(42)
lm_loaders = TextDataLoaders.from_df(df, out, 0.1, seed=42, text_col="text", is_lm=True, bs=16)
lm = language_model_learner(
    lm_loaders, AWD_LSTM, {**awd_lstm_lm_config, **sizes}, drop_mult=0.2, pretrained=False, metrics=Perplexity()
)
lm.fit_one_cycle(epochs, 2e-2)
print(lm.predict("Return the", 15, temperature=0.6, seed=1), "\n")
lm.save_encoder("docstrings")

dls = TextDataLoaders.from_df(
    df, out, 0.2, seed=42, text_col="text", label_col="library", text_vocab=lm_loaders.vocab, bs=16
)
learn = text_classifier_learner(dls, AWD_LSTM, config=sizes, pretrained=False, metrics=accuracy)
learn.load_encoder("docstrings")
learn.unfreeze()
learn.fit_one_cycle(epochs, slice(2e-3, 1e-2))
ClassificationInterpretation.from_learner(learn).plot_confusion_matrix().save(out / "confusion.png")

learn.export("docstrings.safetensors")
again = load_learner(out / "docstrings.safetensors")
text = df["text"][dls.valid.dataset.indices[0]]  # one that was held out
print(f"\n{text}\n\nThis docstring, says the model, is from {again.predict(text)[0]}.")
attribute(again, text).plot().save(out / "attribution.png")
print(f"Wrote docstrings.safetensors, confusion.png and attribution.png (which words spoke for the answer) to {out}")
