"""Lesson 0, is it a bird: a classifier of downloaded pictures, from a data block to a prediction."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from flambeau.vision.all import *


@pytest.fixture
def site(shapes: Callable[..., None], tmp_path: Path) -> Iterator[str]:
    """Serve pictures, and one page that is none, on this machine."""
    shapes(tmp_path / "site", "bird{}.jpg", 9, "red", "disc", size=96)
    shapes(tmp_path / "site", "forest{}.jpg", 8, "green", "square", size=96)
    (tmp_path / "site" / "broken.jpg").write_text("<html>not found</html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pictures_are_fetched_sorted_out_and_told_apart(site: str) -> None:
    urls = L([{"image": f"{site}/bird{n}.jpg"} for n in range(1, 10)]).itemgot("image")
    download_url(urls[0], "bird.jpg", show_progress=False)
    thumb = Image.open("bird.jpg").to_thumb(256, 256)
    assert max(thumb.size) <= 256

    path = Path("bird_or_not")
    others = [f"{site}/forest{n}.jpg" for n in range(1, 9)] + [f"{site}/broken.jpg"]
    for name, found in {"forest": others, "bird": urls}.items():
        dest = path / name
        dest.mkdir(exist_ok=True, parents=True)
        download_images(dest, urls=found)
        resize_images(path / name, max_size=64, dest=path / name)
    failed = verify_images(get_image_files(path))
    failed.map(Path.unlink)
    assert len(failed) <= 1
    assert len(get_image_files(path)) == 17
    assert max(Image.open(get_image_files(path)[0]).size) == 64

    dls = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        splitter=RandomSplitter(valid_pct=0.2, seed=42),
        get_y=parent_label,
        item_tfms=[Resize(64, method="squish")],
    ).dataloaders(path, bs=4)
    dls.show_batch(max_n=6)

    learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=error_rate)
    learn.fine_tune(1, 1e-2)
    is_bird, _, probs = learn.predict(PILImage.create("bird.jpg"))
    assert is_bird in ("bird", "forest")
    assert probs.sum().item() == pytest.approx(1, abs=1e-5)
    assert float(probs[0]) == probs[0].item()
