"""Processor seconds of imports, each in a fresh process, the best of several."""

from __future__ import annotations

import subprocess
import sys

CASES = {
    "python": "pass",
    "flambeau": "import flambeau",
    "torch": "import torch",
    "flambeau.vision.all": "from flambeau.vision.all import *",
    "flambeau --help": "import sys; sys.argv = ['flambeau', '--help']\nfrom flambeau.cli.main import app\n"
    "try: app()\nexcept SystemExit: pass",
}


def processor_seconds(code: str, repeats: int = 5) -> float:
    """Return the least processor time that a fresh Python took for `code`."""
    measured = "import time\n" + code + "\nimport sys; print(time.process_time(), file=sys.stderr)"
    runs = [
        float(
            subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=True).stderr.split()[
                -1
            ]
        )
        for _ in range(repeats)
    ]
    return min(runs)


def main() -> None:
    """Print the table and what comes beyond torch alone."""
    seconds = {name: processor_seconds(code) for name, code in CASES.items()}
    for name, taken in seconds.items():
        print(f"{name:24} {taken:6.2f} s")
    print(f"flambeau beyond python   {seconds['flambeau'] - seconds['python']:6.2f} s (aim < 0.2)")
    print(f"vision.all beyond torch  {seconds['flambeau.vision.all'] - seconds['torch']:6.2f} s (aim <= 1)")


if __name__ == "__main__":
    main()
