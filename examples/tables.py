"""A table, and which model suits it: nets and trees side by side, what they lean on, and one patient explained.

    python examples/tables.py [EPOCHS [FOLDER]]

The table comes with scikit-learn: 442 people with diabetes, and how their illness went on within a year (Efron 2004).
"""
from __future__ import annotations

import sys

from sklearn.datasets import load_diabetes

from flambeau.tabular.all import *

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 30
out = Path(sys.argv[2] if len(sys.argv) > 2 else "example-tables")

df = load_diabetes(as_frame=True, scaled=False).frame
df["sex"] = df["sex"].map({1.0: "one", 2.0: "other"})  # the paper does not say which is which
dls = TabularDataLoaders.from_df(df, path=out, y_names="target", seed=42)

print("\nWhat the best single split of each column is worth:")
print(column_report(dls).head(4).to_string(index=False))
print()

comparison = compare_models(dls, ["oner", "tree", "forest", "boosting", "net", "forest+net"], epochs=epochs)
comparison.plot().save(out / "comparison.png")
print(f"\n{comparison}\n")

forest = comparison.learners["forest"]
forest.feature_importance().plot().save(out / "importance.png")
forest.partial_dependence(["bmi", "s5", "sex"]).plot().save(out / "dependence.png")
explanation = forest.explain(df.iloc[0])
explanation.plot().save(out / "one-patient.png")
print(explanation)
print(domain_check(dls).words)

forest.export("forest.safetensors")
again = load_learner(out / "forest.safetensors")
assert again.predict(df.iloc[0])[2].equal(forest.predict(df.iloc[0])[2])
print(f"\nWrote the pictures and forest.safetensors to {out}")
