"""The encoder of an atlas: the lexical one lies with it, whole and its own; the others are found by their source."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.atlas import paths, store
from components.atlas.build import build_atlas, encode_papers
from components.atlas.encoders import encoder_of
from components.atlas.store import AtlasDamaged, AtlasParts, open_atlas, read_manifest, write_atlas
from components.atlas.verify import verify_atlas
from components.encoder.base import EncoderUnavailable
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.encoder.lexical import LexicalEncoder, NoWordsToLearn
from components.search.search import NoKnownWord, search, seed_query, text_query
from corpus.export import write_jsonl
from corpus.paper import Paper

Planted = Callable[[int], list[Paper]]
pytestmark = pytest.mark.usefixtures("small_chunks")


@pytest.fixture
def lexical(home: Path, planted_file: Path) -> str:
    """The name of an atlas of twelve planted papers, built by the lexical encoder."""
    return build_atlas("words", [planted_file], encoder=LEXICAL).name


def fitted_file(name: str) -> Path:
    return paths.atlas_folder(name) / read_manifest(name).folder / store.FITTED


def update_checksum(name: str) -> None:
    path = paths.atlas_folder(name) / "manifest.json"
    manifest = json.loads(path.read_text())
    sealed = store.checksum(fitted_file(name))
    manifest["files"][store.FITTED] = {"bytes": sealed.bytes, "sha256": sealed.sha256}
    path.write_text(json.dumps(manifest))


# Built


def test_a_lexical_atlas_carries_its_encoder_and_is_searched_with_it(lexical: str) -> None:
    atlas = open_atlas(lexical)
    manifest = atlas.manifest
    assert store.FITTED in manifest.files
    assert (manifest.encoder.name, manifest.encoder.source, manifest.encoder.normalised) == (LEXICAL, LEXICAL, True)
    encoder = encoder_of(manifest, local_files_only=True)
    assert encoder.fingerprint == manifest.encoder.fingerprint
    assert np.array_equal(encode_papers(atlas.papers, encoder), atlas.vectors)
    for topic, title in (("heart", "Cardiology patients"), ("galaxy", "The luminosity of the early universe")):
        result = search(atlas, text_query(encoder, title, ""), k=6)
        assert all(atlas.paper(row).id.startswith(topic) for row in result.rows)
    assert verify_atlas(lexical).passed


def test_a_query_of_unknown_words_is_refused(home: Path, tmp_path: Path, planted: Planted) -> None:
    # Words of one paper alone are not learnt in a corpus of this size.
    stranger = Paper(id="stranger", title="Qqq www", abstract="Vvv.")
    write_jsonl([*planted(12), stranger], tmp_path / "p.jsonl")
    build_atlas("words", [tmp_path / "p.jsonl"], encoder=LEXICAL)
    atlas = open_atlas("words")
    encoder = encoder_of(atlas.manifest)
    row = atlas.row_of("stranger")
    assert row is not None
    assert not atlas.vectors[row].any()
    for query in (text_query(encoder, "Qqq", "zzz of the"), seed_query(atlas, [row])):
        with pytest.raises(NoKnownWord, match=r"^None of the words occurs in this corpus"):
            search(atlas, query, k=3)
    assert len(search(atlas, text_query(encoder, "heart zzz", ""), k=25).hits) == 25
    assert verify_atlas("words", rows=25).passed


def test_papers_without_words_are_refused(home: Path, tmp_path: Path) -> None:
    write_jsonl([Paper(id=str(i), title="The", abstract="of and") for i in range(3)], tmp_path / "p.jsonl")
    with pytest.raises(NoWordsToLearn):
        build_atlas("none", [tmp_path / "p.jsonl"], encoder=LEXICAL)
    assert paths.atlas_names() == []


# Damaged


def test_a_damaged_encoder_file_is_named(lexical: str) -> None:
    path = fitted_file(lexical)
    good = path.read_bytes()
    manifest = read_manifest(lexical)
    for damage in (
        lambda: path.write_bytes(good[:-1]),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(good[:100] + b"\x00" + good[101:]),
        path.unlink,
    ):
        path.write_bytes(good)
        damage()
        for use in (lambda: open_atlas(lexical), lambda: encoder_of(manifest)):
            with pytest.raises(AtlasDamaged, match=rf"^words: {store.FITTED}"):
                use()


def test_a_foreign_encoder_file_is_refused(lexical: str, tmp_path: Path) -> None:
    path = fitted_file(lexical)
    for content in (b"", b"PK", b"\x80\x04N."):
        path.write_bytes(content)
        update_checksum(lexical)
        with pytest.raises(AtlasDamaged, match="holds no lexical encoder"):
            encoder_of(read_manifest(lexical))
    LexicalEncoder.fit([("another", "corpus")]).save(path)
    update_checksum(lexical)
    with pytest.raises(AtlasDamaged, match="encoder of another atlas"):
        encoder_of(read_manifest(lexical))
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(AtlasDamaged, match="is missing"):
        encoder_of(read_manifest(lexical))


def test_a_manifest_with_a_false_encoder_file_is_refused(lexical: str, topics_home: Path, home: Path) -> None:
    shutil.copytree(topics_home / "topics", home / "topics")
    for name, change in (
        (lexical, lambda m: m["files"].pop(store.FITTED)),
        (lexical, lambda m: m["encoder"].update(source=EMBEDDED)),
        ("topics", lambda m: m["encoder"].update(source=LEXICAL)),
    ):
        path = home / name / "manifest.json"
        good = path.read_text()
        manifest = json.loads(good)
        change(manifest)
        path.write_text(json.dumps(manifest))
        with pytest.raises(AtlasDamaged, match="lists other files"):
            open_atlas(name)
        if manifest["encoder"]["source"] == LEXICAL:
            with pytest.raises(AtlasDamaged, match=f"lists no {store.FITTED}"):
                encoder_of(read_manifest(name))
        path.write_text(good)


def test_an_atlas_is_not_written_without_its_encoder(home: Path, atlas_parts: Callable[..., AtlasParts]) -> None:
    parts = atlas_parts(graph=False)
    fitted = LexicalEncoder.fit([("heart", "failure")])
    with pytest.raises(ValueError, match="lexical encoder"):
        write_atlas(replace(parts, encoder=replace(parts.encoder, source=LEXICAL)))
    with pytest.raises(ValueError, match="lexical encoder"):
        write_atlas(replace(parts, fitted=fitted))
    assert paths.atlas_names() == []


# Others


def test_other_encoders_are_found_by_source(topics: str, home: Path, planted_file: Path, tiny: Path) -> None:
    manifest = read_manifest(topics)
    assert encoder_of(manifest).fingerprint == manifest.encoder.fingerprint
    gone = replace(manifest, encoder=replace(manifest.encoder, source="specter"))
    with pytest.raises(EncoderUnavailable):
        encoder_of(gone, local_files_only=True)
    manifest = build_atlas("tiny", [planted_file], encoder=str(tiny))
    assert encoder_of(manifest).fingerprint == manifest.encoder.fingerprint
