"""`python -m flambeau` does what the command `flambeau` does."""

from __future__ import annotations

from flambeau.cli.main import app

if __name__ == "__main__":
    app(prog_name="flambeau")
