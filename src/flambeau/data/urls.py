"""Public data sets by name: after reading it you know where each one comes from.

They are kept by fast.ai (some by their makers) and each has terms of its own: read them before you publish results.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from flambeau.foundation.errors import UnknownAttributeError, unknown_name
from flambeau.foundation.paths import Path, storage_path

_FAST_AI = "https://s3.amazonaws.com/fast-ai-"
_SAMPLE = f"{_FAST_AI}sample/"
_IMAGE = f"{_FAST_AI}imageclas/"
_PLACES = f"{_FAST_AI}imagelocal/"
_TEXT = f"{_FAST_AI}nlp/"
_COCO = f"{_FAST_AI}coco/"
_MODEL = f"{_FAST_AI}modelzoo/"


class _Names(type):
    """What a class of names says of one that it lacks."""

    def __getattr__(cls, name: str) -> Any:
        known = [known for known in vars(cls) if known[0].isupper()]
        raise UnknownAttributeError(str(unknown_name("data set", name, known)))


class URLs(metaclass=_Names):
    """The addresses of public data sets; `untar_data(URLs.PETS)` fetches one."""

    # samples: small enough for a first try
    ADULT_SAMPLE: Final = f"{_SAMPLE}adult_sample.tgz"
    BIWI_SAMPLE: Final = f"{_SAMPLE}biwi_sample.tgz"
    CAMVID_TINY: Final = f"{_SAMPLE}camvid_tiny.tgz"
    CIFAR: Final = f"{_SAMPLE}cifar10.tgz"
    COCO_SAMPLE: Final = f"{_COCO}coco_sample.tgz"
    COCO_TINY: Final = f"{_COCO}coco_tiny.tgz"
    DOGS: Final = f"{_SAMPLE}dogscats.tgz"
    HUMAN_NUMBERS: Final = f"{_SAMPLE}human_numbers.tgz"
    IMDB_SAMPLE: Final = f"{_SAMPLE}imdb_sample.tgz"
    ML_SAMPLE: Final = f"{_SAMPLE}movie_lens_sample.tgz"
    MNIST_SAMPLE: Final = f"{_SAMPLE}mnist_sample.tgz"
    MNIST_TINY: Final = f"{_SAMPLE}mnist_tiny.tgz"
    MNIST_VAR_SIZE_TINY: Final = f"{_IMAGE}mnist_var_size_tiny.tgz"
    PLANET_SAMPLE: Final = f"{_SAMPLE}planet_sample.tgz"
    PLANET_TINY: Final = f"{_SAMPLE}planet_tiny.tgz"

    # pictures with a class
    CALTECH_101: Final = f"{_IMAGE}caltech_101.tgz"
    CARS: Final = f"{_IMAGE}stanford-cars.tgz"
    CIFAR_100: Final = f"{_IMAGE}cifar100.tgz"
    CUB_200_2011: Final = f"{_IMAGE}CUB_200_2011.tgz"
    FLOWERS: Final = f"{_IMAGE}oxford-102-flowers.tgz"
    FOOD: Final = f"{_IMAGE}food-101.tgz"
    IMAGENETTE: Final = f"{_IMAGE}imagenette2.tgz"
    IMAGENETTE_160: Final = f"{_IMAGE}imagenette2-160.tgz"
    IMAGENETTE_320: Final = f"{_IMAGE}imagenette2-320.tgz"
    IMAGEWANG: Final = f"{_IMAGE}imagewang.tgz"
    IMAGEWANG_160: Final = f"{_IMAGE}imagewang-160.tgz"
    IMAGEWANG_320: Final = f"{_IMAGE}imagewang-320.tgz"
    IMAGEWOOF: Final = f"{_IMAGE}imagewoof2.tgz"
    IMAGEWOOF_160: Final = f"{_IMAGE}imagewoof2-160.tgz"
    IMAGEWOOF_320: Final = f"{_IMAGE}imagewoof2-320.tgz"
    LSUN_BEDROOMS: Final = f"{_IMAGE}bedroom.tgz"
    MNIST: Final = f"{_IMAGE}mnist_png.tgz"
    PETS: Final = f"{_IMAGE}oxford-iiit-pet.tgz"

    # pictures with masks, boxes, points or several classes
    BIWI_HEAD_POSE: Final = f"{_PLACES}biwi_head_pose.tgz"
    CAMVID: Final = f"{_PLACES}camvid.tgz"
    PASCAL_2007: Final = f"{_PLACES}pascal_2007.tgz"
    PASCAL_2012: Final = f"{_PLACES}pascal_2012.tgz"
    SIIM_SMALL: Final = f"{_PLACES}siim_small.tgz"
    TCGA_SMALL: Final = f"{_PLACES}tcga_small.tgz"

    # text
    AG_NEWS: Final = f"{_TEXT}ag_news_csv.tgz"
    AMAZON_REVIEWS: Final = f"{_TEXT}amazon_review_full_csv.tgz"
    AMAZON_REVIEWS_POLARITY: Final = f"{_TEXT}amazon_review_polarity_csv.tgz"
    DBPEDIA: Final = f"{_TEXT}dbpedia_csv.tgz"
    IMDB: Final = f"{_TEXT}imdb.tgz"
    MT_ENG_FRA: Final = f"{_TEXT}giga-fren.tgz"
    SOGOU_NEWS: Final = f"{_TEXT}sogou_news_csv.tgz"
    WIKITEXT: Final = f"{_TEXT}wikitext-103.tgz"
    WIKITEXT_TINY: Final = f"{_TEXT}wikitext-2.tgz"
    YAHOO_ANSWERS: Final = f"{_TEXT}yahoo_answers_csv.tgz"
    YELP_REVIEWS: Final = f"{_TEXT}yelp_review_full_csv.tgz"
    YELP_REVIEWS_POLARITY: Final = f"{_TEXT}yelp_review_polarity_csv.tgz"

    # ratings
    ML_100k: Final = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"

    # sounds
    MACAQUES: Final = "https://storage.googleapis.com/ml-animal-sounds-datasets/macaques.zip"
    ZEBRA_FINCH: Final = "https://storage.googleapis.com/ml-animal-sounds-datasets/zebra_finch.zip"

    # language models, kept in Python's pickle format: text/pretrained.py reads those of Wikitext without running them
    OPENAI_TRANSFORMER: Final = f"{_MODEL}transformer.tgz"
    WT103_BWD: Final = f"{_MODEL}wt103-bwd.tgz"
    WT103_FWD: Final = f"{_MODEL}wt103-fwd.tgz"

    @staticmethod
    def path(url: str, c_key: str = "archive") -> Path:
        """Return where the file of `url` is kept: among the archives, or the models or data with `c_key`."""
        return storage_path(c_key) / file_name(url)  # type: ignore[arg-type]  # storage_path checks the name


def file_name(url: str) -> str:
    """Return the last part of an address, a name that is safe on each system."""
    name = unquote(urlsplit(url).path).replace("\\", "/").rstrip("/").rpartition("/")[2]
    safe = "".join(letter if letter.isalnum() or letter in "._-+ ()" else "_" for letter in name)
    return safe.strip(". ") or "download"
