"""Whether a site answers: after reading it you know why a missing network is told in seconds, not in a minute.

Libraries that download retry for most of a minute before they give up. A site is therefore asked once, for three
seconds, before one of them is.
"""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

PROBE_SECONDS = 3.0


def unreachable(url: str, seconds: float = PROBE_SECONDS) -> str | None:
    """Return why the site of `url` does not answer within `seconds`; None when it does (a refusal is an answer)."""
    parts = urlsplit(url)
    site = f"{parts.scheme}://{parts.netloc}"
    reasons: list[str | None] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(site, method="HEAD"), timeout=seconds):
                reasons.append(None)
        except (urllib.error.HTTPError, http.client.HTTPException):
            reasons.append(None)
        except OSError as error:
            reasons.append(f"{parts.netloc} cannot be reached: {getattr(error, 'reason', error)}")

    # a thread, because the look-up of the host's name obeys no time-out
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return reasons[0] if reasons else f"{parts.netloc} gave no answer within {seconds:g} seconds"


def hub_unreachable() -> str | None:
    """Return why nothing can be fetched from the Hugging Face hub; None when it answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return unreachable(constants.ENDPOINT)
