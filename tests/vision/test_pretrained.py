"""Weights come from a file, a cache, the network or a package, in order; without any, the error names the choices."""

from __future__ import annotations

import hashlib
import http.server
import io
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, DownloadError, ExportError, UnknownNameError
from flambeau.vision import architectures
from flambeau.vision.architectures import find_architecture
from flambeau.vision.models import create_vision_model
from flambeau.vision.pretrained import find_packaged, load_weights, read_weights

CATS = range(281, 294)  # ImageNet: tabby to cheetah
DOGS = range(151, 269)  # ImageNet: Chihuahua to Mexican hairless

needs_packaged = pytest.mark.skipif(
    find_packaged("tf_efficientnet_lite0") is None, reason="the extra flambeau[offline] is not installed"
)


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep this machine's caches and its network out of the tests."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def closed_port() -> int:
    """Return a port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Serving(http.server.BaseHTTPRequestHandler):
    """Answer every question with the same file."""

    content = b""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


def photos(folder: Path, pattern: str, n: int) -> Tensor:
    rows = []
    for path in sorted(folder.glob(pattern))[:n]:
        picture = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        rows.append(torch.tensor(list(picture.tobytes()), dtype=torch.float32).view(224, 224, 3).permute(2, 0, 1) / 255)
    return torch.stack(rows)


def share_within(model: nn.Module, pictures: Tensor, classes: range) -> float:
    with torch.no_grad():
        best = model.eval()(pictures).argmax(1)
    return sum(int(found) in classes for found in best) / len(best)


@needs_packaged
def test_the_packaged_weights_call_cats_cats_and_dogs_dogs(unpacked: Callable[[str], Path]) -> None:
    folder = unpacked("pets_mini/pets_mini.tgz") / "images"
    arch = find_architecture("tf_efficientnet_lite0")
    stats, model = arch.input_stats(), arch(pretrained=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (stats.mean, stats.std))
    assert share_within(model, (photos(folder, "A*.jpg", 12) - mean) / std, CATS) >= 0.8
    assert share_within(model, (photos(folder, "american_bulldog*.jpg", 12) - mean) / std, DOGS) >= 0.8


@needs_packaged
def test_packaged_weights_are_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    model = create_vision_model("tf_efficientnet_lite0", 2)
    assert model.pretrained
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "efficientnet-lite0-57934424.pth from the installed package" in printed


@pytest.mark.parametrize(
    ("arch", "file", "floor"),
    [("mobilenet_v2", "mobilenet_v2_imagenet_fp16", 0.7), ("squeezenet1_1", "squeezenet1_1_imagenet_fp16", 0.5)],
)
def test_a_file_of_half_precision_weights_recognises_dogs(
    arch: str, file: str, floor: float, shared_data: Path, unpacked: Callable[[str], Path]
) -> None:
    found = getattr(architectures, arch)
    model = found(weights=shared_data / "weights" / f"{file}.safetensors")
    stats = found.input_stats()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (stats.mean, stats.std))
    pictures = photos(unpacked("pets_mini/pets_mini.tgz") / "images", "american_bulldog*.jpg", 12)
    assert share_within(model, (pictures - mean) / std, DOGS) >= floor
    assert next(model.parameters()).dtype == torch.float32


def test_a_file_fills_the_body_and_leaves_the_head_new(tmp_path: Path) -> None:
    source = timm.create_model("convnext_atto", num_classes=7)
    save_file(source.state_dict(), tmp_path / "mine.safetensors")
    model = create_vision_model("convnext_atto", 2, weights=tmp_path / "mine.safetensors")
    assert model.pretrained
    assert torch.equal(model.body[0].model.stem[0].weight, source.stem[0].weight)


def test_a_torch_file_may_wrap_the_weights_once(tmp_path: Path) -> None:
    source = nn.Linear(2, 2)
    torch.save({"epoch": torch.tensor(3), "state_dict": source.state_dict()}, tmp_path / "mine.pth")
    assert torch.equal(read_weights(tmp_path / "mine.pth")["weight"], source.weight)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": Path("not a tensor")}, tmp_path / "objects.pth")
    with pytest.raises(ExportError, match="files with pickled objects are refused"):
        read_weights(tmp_path / "objects.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    with pytest.raises(ExportError, match="does not hold tensors by name"):
        read_weights(tmp_path / "numbers.pth")
    with pytest.raises(ArgumentError, match="There is no weights file"):
        read_weights(tmp_path / "absent.safetensors")


def test_weights_of_another_network_do_not_fit(tmp_path: Path) -> None:
    deeper = torchvision.models.resnet34(weights=None).state_dict()
    with pytest.raises(ArgumentError, match=r"weights of deep.pth do not fit ResNet: \d+ left over, such as layer1\.2"):
        load_weights(torchvision.models.resnet18(weights=None), deeper, "deep.pth")
    wider = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2)).state_dict()
    with pytest.raises(ArgumentError, match=r"1 of another shape, such as 0\.weight \(\(3, 5\) for \(3, 4\)\)"):
        load_weights(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), wider, "wide.pth")


def test_other_names_for_the_same_layers_are_taken_in_order() -> None:
    source, model = (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2)) for _ in range(2))
    renamed = {f"net_{key}": value for key, value in source.state_dict().items() if "tracked" not in key}
    load_weights(model, renamed, "renamed.pth")
    assert torch.equal(model[0].weight, source[0].weight)


def test_torchs_cache_is_used_before_the_network(tmp_path: Path) -> None:
    source = torchvision.models.squeezenet1_1(weights=None)
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    cached.parent.mkdir(parents=True)
    torch.save(source.state_dict(), cached)
    model = architectures.squeezenet1_1(weights="IMAGENET1K_V1")
    assert torch.equal(model.features[0].weight, source.features[0].weight)


@pytest.mark.parametrize("sound", [True, False])
def test_a_download_is_checked_against_the_digest_in_its_name(
    sound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = torchvision.models.squeezenet1_1(weights=None)
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    digest = hashlib.sha256(file.getvalue() if sound else b"something else").hexdigest()[:8]
    monkeypatch.setattr(Serving, "content", file.getvalue())
    with http.server.HTTPServer(("127.0.0.1", 0), Serving) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/squeezenet1_1-{digest}.pth"
        monkeypatch.setattr(torchvision.models.SqueezeNet1_1_Weights.DEFAULT.value, "url", url)
        if sound:
            model = architectures.squeezenet1_1(pretrained=True)
            assert torch.equal(model.features[0].weight, source.features[0].weight)
        else:
            with pytest.raises(DownloadError, match="invalid hash value"):
                architectures.squeezenet1_1(pretrained=True)
        server.shutdown()
    assert (tmp_path / "torch" / "hub" / "checkpoints" / f"squeezenet1_1-{digest}.pth").exists() == sound


@pytest.mark.parametrize("place", ["torch/hub/checkpoints/resnet10t.safetensors", "hub"])
def test_weights_placed_by_hand_or_by_the_hub_are_used_before_the_network(place: str, tmp_path: Path) -> None:
    source = timm.create_model("resnet10t")
    path = tmp_path / place
    if place == "hub":
        repository = path / f"models--{source.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
        path = repository / "snapshots" / "abc" / "model.safetensors"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("abc")
    path.parent.mkdir(parents=True)
    save_file(source.state_dict(), path)
    model = find_architecture("resnet10t")(pretrained=True)
    assert torch.equal(model.conv1[0].weight, source.conv1[0].weight)


def test_a_spoilt_file_in_the_cache_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torch" / "hub" / "checkpoints" / "resnet10t.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a download")
    with pytest.raises(ExportError, match=r"resnet10t\.safetensors.*Delete the file"):
        find_architecture("resnet10t")(pretrained=True)


def test_without_a_network_the_error_is_quick_and_names_the_choices(closed_port: int, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed_port}")
    start = time.perf_counter()
    with pytest.raises(DownloadError) as caught:
        create_vision_model("resnet26d", 2)
    assert time.perf_counter() - start < 6
    message = str(caught.value)
    assert f"127.0.0.1:{closed_port} cannot be reached" in message
    for choice in ("flambeau[offline]", "tf_efficientnet_lite0", "weights=FILE", "pretrained=False", "resnet26d.safe"):
        assert choice in message


def test_the_hubs_own_switch_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        create_vision_model("resnet26d", 2)


def test_torchvision_without_a_network_names_the_file_to_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.vision.pretrained.unreachable", lambda url: "the cable is out")
    with pytest.raises(DownloadError, match=r"\(the cable is out\).*checkpoints.resnet18-f37072fd\.pth"):
        architectures.resnet18(pretrained=True)


def test_an_unknown_set_of_weights_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no set of weights of resnet50 'IMAGENET1K_V3'.*IMAGENET1K_V2"):
        architectures.resnet50(weights="IMAGENET1K_V3")
