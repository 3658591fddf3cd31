"""`--processes N`: after reading it you know how one command becomes N processes, and what ends all of them.

Torch's elastic agent, which `torchrun` uses too, starts the same command N times and tells each copy which one it is.
When one of them fails, it ends the others.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid

import typer

from flambeau.foundation.errors import TrainingError

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
INTERRUPTED = 130


def run_in_processes(n: int) -> None:
    """Run this program's own command line in `n` processes of this machine, and wait for them.

    On the CPU they share the cores: OMP_NUM_THREADS is set for each, unless it is set already.

    Raises:
        TrainingError: one of them failed; with its message.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from flambeau.data.loaders import n_cores

    os.environ.setdefault("OMP_NUM_THREADS", str(max(n_cores() // n, 1)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what failed is told below, once
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "flambeau", *sys.argv[1:])
    except ChildFailedError as failed:
        place, failure = failed.get_first_failure()
        # a dictionary where the process told what happened (`tell_parent`), else words about a traceback
        told = failure.message
        words = told["message"] if isinstance(told, dict) else f"Its exit status is {failure.exitcode}; see above."
        raise TrainingError(f"Process {place} (of {n}, from 0) failed and the others were ended. {words}") from failed
    except SignalException:
        raise typer.Exit(INTERRUPTED) from None


def tell_parent(error: Exception) -> bool:
    """Hand an error to the agent that started this process; return whether there is one."""
    if not os.environ.get(ERROR_FILE):
        return False
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    get_error_handler().record_exception(error)
    return True
