"""The public data sets have their well-known names."""

from __future__ import annotations

import pytest

from flambeau.data.urls import URLs, file_name
from flambeau.foundation.errors import UnknownNameError


def test_names_lead_to_addresses():
    assert URLs.PETS == "https://s3.amazonaws.com/fast-ai-imageclas/oxford-iiit-pet.tgz"
    assert URLs.IMDB == "https://s3.amazonaws.com/fast-ai-nlp/imdb.tgz"
    assert URLs.CAMVID_TINY == "https://s3.amazonaws.com/fast-ai-sample/camvid_tiny.tgz"
    assert URLs.ML_100k.endswith("ml-100k.zip")


def test_every_address_is_encrypted_and_names_its_own_file():
    addresses = [value for name, value in vars(URLs).items() if name.isidentifier() and name[0].isupper()]
    assert len(addresses) > 55
    assert len({file_name(address) for address in addresses}) == len(addresses)
    assert all(address.startswith("https://") for address in addresses)


def test_an_archive_has_its_place(monkeypatch, tmp_path):
    monkeypatch.setenv("FLAMBEAU_HOME", str(tmp_path))
    assert URLs.path(URLs.PETS) == tmp_path / "archive" / "oxford-iiit-pet.tgz"
    assert URLs.path(URLs.PETS, "models") == tmp_path / "models" / "oxford-iiit-pet.tgz"
    with pytest.raises(UnknownNameError, match="kind of storage"):
        URLs.path(URLs.PETS, "archives")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.b/c/d.tgz?x=1#y", "d.tgz"),
        ("https://a.b/x%2F..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://a.b/", "download"),
        ("https://a.b/..", "download"),
        ("https://a.b/a%20b%3A.zip", "a b_.zip"),
    ],
)
def test_a_file_name_is_safe_on_every_system(url, name):
    assert file_name(url) == name


def test_a_name_that_is_no_data_set_proposes_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"There is no data set 'PET'\. Did you mean 'PETS'"):
        URLs.PET  # noqa: B018
    assert not hasattr(URLs, "__wrapped__")
