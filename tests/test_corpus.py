"""Packing: nothing is lost, overlaps go, held-out text stays out, masks cover whole words."""

import gzip
import json
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard
from tokenizers import Tokenizer

from marsad.errors import ConfigError, DataError
from train import corpus
from train import tokenizer as tokenization
from train.__main__ import main
from train.config import PretrainConfig, PretrainPhase, PretrainSource, PretrainTraining, PretrainVocabulary

WORDS = "قصفت طائرات مدينة إدلب فقتل ثلاثة وأصيب آخرون بجروح بينهم أطفال ونساء يوم الجمعة".split()  # noqa: SIM905


def sentence(random: np.random.Generator, length: int = 14) -> str:
    return " ".join(random.choice(WORDS, length)) + " ."


@pytest.fixture(scope="module")
def text() -> list[list[str]]:
    random = np.random.default_rng(1)
    return [[sentence(random) for _ in range(random.integers(1, 5))] for _ in range(60)]


@pytest.fixture(scope="module")
def tokenizer(text: list[list[str]]) -> Tokenizer:
    return tokenization.train((paragraph for document in text for paragraph in document), 60, 1)


def write(path: Path, text: list[list[str]]) -> None:
    path.write_text("\n\n".join("\n".join(document) for document in text) + "\n", encoding="utf-8")


def config(directory: Path) -> PretrainConfig:
    training = PretrainTraining(phases=(PretrainPhase(16, 4, 1.0),), tokens=100)
    vocabulary = PretrainVocabulary(size=60, sample=1.0)
    return PretrainConfig(
        run=str(directory / "run"), training=training, corpus=str(directory), heldout=0.0, vocabulary=vocabulary
    )


def read_stream(directory: Path, split: str = "train") -> list[int]:
    return [int(i) for chunk in corpus.stream(directory, split, 10**9) for i in chunk]


def expected_stream(text: list[list[str]], tokenizer: Tokenizer) -> list[int]:
    separator = tokenizer.token_to_id("[SEP]")
    stream: list[int] = []
    for document in text:
        for paragraph in document:
            stream += tokenizer.encode(paragraph, add_special_tokens=False).ids
        stream.append(separator)
    return stream


def test_every_kind_of_file_gives_the_same_documents(tmp_path: Path, text: list[list[str]]) -> None:
    write(tmp_path / "a.txt", text)
    raw = (tmp_path / "a.txt").read_bytes()
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(raw))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(raw))
    lines = [json.dumps({"text": "\n".join(document)}) for document in text]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for name in ("a.txt", "a.txt.xz", "a.txt.gz", "a.txt.zst", "a.jsonl"):
        assert list(corpus.documents(tmp_path / name)) == text, name


def test_unreadable_files_say_where(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"body": "y"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        list(corpus.documents(tmp_path / "a.jsonl"))
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"b\.txt"):
        list(corpus.documents(tmp_path / "b.txt"))
    with pytest.raises(ConfigError, match="--set corpus"):
        corpus.find_sources(tmp_path / "absent", ())
    with pytest.raises(ConfigError, match=r"\*\.zst"):
        corpus.find_sources(tmp_path, [PretrainSource("*.zst")])


def test_packing_loses_nothing(
    tmp_path: Path, text: list[list[str]], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "SHARD_TOKENS", 500)
    monkeypatch.setattr(corpus, "BATCH_CHARACTERS", 1000)
    write(tmp_path / "a.txt", text)
    packing = corpus.pack(config(tmp_path), tokenizer, tmp_path / "packed")
    expected = expected_stream(text, tokenizer)
    assert read_stream(tmp_path / "packed") == expected
    assert packing.tokens == {"train": len(expected), "heldout": 0}
    assert len(packing.shards["train"]) == -(-len(expected) // 500) > 1
    assert packing == corpus.read_packing(tmp_path / "packed")
    words = sum(len(paragraph.split()) for document in text for paragraph in document)
    assert [(s.documents, s.words, s.tokens) for s in packing.sources] == [(len(text), words, len(expected))]


def test_sequences_are_framed_pieces_of_the_stream(tmp_path: Path, text: list[list[str]], tokenizer: Tokenizer) -> None:
    write(tmp_path / "a.txt", text)
    corpus.pack(config(tmp_path), tokenizer, tmp_path / "packed")
    pieces = corpus.Pieces(tokenizer)
    source = corpus.Sequences(tmp_path / "packed", "train", 16, pieces)
    rows = source.take(np.arange(source.count))
    assert set(rows[:, 0]) == {pieces.ids["[CLS]"]} and set(rows[:, -1]) == {pieces.ids["[SEP]"]}
    stream = read_stream(tmp_path / "packed")
    assert rows[:, 1:-1].ravel().tolist() == stream[: source.count * 14]
    assert len(stream) - source.count * 14 < 14


def test_weights_are_passes(tmp_path: Path, text: list[list[str]], tokenizer: Tokenizer) -> None:
    write(tmp_path / "a.txt", text)

    def documents(weight: float) -> int:
        settings = replace(config(tmp_path), sources=(PretrainSource("a.txt", weight),))
        return corpus.pack(settings, tokenizer, tmp_path / f"packed-{weight}").sources[0].documents

    once, half = documents(1.0), documents(0.5)
    assert once == len(text) and 0.3 * once < half < 0.7 * once
    assert documents(2.0) == 2 * once and documents(1.5) == once + half


def test_heldout_documents_are_in_no_pass_of_training(
    tmp_path: Path, text: list[list[str]], tokenizer: Tokenizer
) -> None:
    write(tmp_path / "a.txt", text)
    settings = replace(config(tmp_path), heldout=0.3, sources=(PretrainSource("a.txt", 2.0),))
    packing = corpus.pack(settings, tokenizer, tmp_path / "packed")
    count = packing.sources[0]
    assert 0 < count.heldout_documents < len(text)
    assert count.documents == 2 * (len(text) - count.heldout_documents)
    separator = tokenizer.token_to_id("[SEP]")
    heldout = read_stream(tmp_path / "packed", "heldout")
    first = heldout[: heldout.index(separator) + 1]
    train = read_stream(tmp_path / "packed")
    assert all(train[i : i + len(first)] != first for i in range(len(train)))


def test_exactly_the_overlapping_paragraphs_are_dropped(
    tmp_path: Path, text: list[list[str]], tokenizer: Tokenizer
) -> None:
    nine, ten = text[0][0].split()[:9], text[1][0].split()[:10]
    other = "شيء"
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    # tashkeel, tatweel and punctuation do not hide a match; nine words are none
    disguised = "، ".join(word[0] + "ـ\u064e" + word[1:] for word in ten)
    (evaluation / "a.jsonl").write_text(json.dumps({"text": f"{other} {disguised} {other}"}), encoding="utf-8")
    (evaluation / "b.txt").write_text(" ".join([other, *nine, other]), encoding="utf-8")
    conll = "\n\n".join(f"{word}\tO" for word in text[2][0].split())
    (evaluation / "c.conll").write_text(conll, encoding="utf-8")
    write(tmp_path / "a.txt", text)
    settings = replace(config(tmp_path), exclude=(str(evaluation),))
    packing = corpus.pack(settings, tokenizer, tmp_path / "packed")
    kept = [text[0], text[1][1:], text[2][1:], *text[3:]]
    assert read_stream(tmp_path / "packed") == expected_stream([d for d in kept if d], tokenizer)
    assert packing.sources[0].dropped_paragraphs == 2
    assert packing.sources[0].dropped_words == len((text[1][0] + " " + text[2][0]).split())


def test_overlap_finds_what_should_have_been_kept_out(
    tmp_path: Path, text: list[list[str]], tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.txt", text)
    packed = tmp_path / "packed"
    evaluation = tmp_path / "evaluation" / "e.txt"
    evaluation.parent.mkdir()
    evaluation.write_text("كلمة " + text[1][0], encoding="utf-8")
    corpus.pack(config(tmp_path), tokenizer, packed)
    command = ["overlap", str(packed), str(evaluation)]
    assert main(command) == 1
    assert "pack again with the texts in exclude" in capsys.readouterr().err
    assert sum(corpus.shared_ngrams(packed, command[2:]).values()) == 14 - 9  # the runs of a sentence of 14 words
    corpus.pack(replace(config(tmp_path), exclude=(command[-1],)), tokenizer, packed)
    assert main(command) == 0
    assert "no word 10-gram of the texts in train or heldout" in capsys.readouterr().out


def test_overlap_finds_a_run_over_two_paragraphs_and_two_chunks(tmp_path: Path, tokenizer: Tokenizer) -> None:
    words = [f"{a}{b}" for a in "قسدروعم" for b in "بتثجحخ"]
    documents = [[" ".join(words[:6]), " ".join(words[6:12])], [" ".join(words[12:20])]] * 200
    (tmp_path / "corpus").mkdir()
    write(tmp_path / "corpus" / "a.txt", documents)
    corpus.pack(config(tmp_path / "corpus"), tokenizer, tmp_path / "packed")
    evaluation = tmp_path / "evaluation.jsonl"
    evaluation.write_text(json.dumps({"text": " ".join(words[:12])}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for size in (7, 100, 1_000_000):
            patch.setattr(corpus, "CHUNK", size)
            assert corpus.shared_ngrams(tmp_path / "packed", [str(evaluation)]) == {"train": 600, "heldout": 0}, size
    evaluation.write_text(json.dumps({"text": " ".join(words[6:16])}), encoding="utf-8")
    # no run goes on from one document to the next
    assert corpus.shared_ngrams(tmp_path / "packed", [str(evaluation)]) == {"train": 0, "heldout": 0}


def test_an_exclusion_that_is_absent_is_an_error(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="absent"):
        corpus.excluded_ngrams([str(tmp_path / "absent")], tokenizer, corpus.Pieces(tokenizer))


def test_masks_cover_whole_words_at_the_rate(tmp_path: Path, text: list[list[str]], tokenizer: Tokenizer) -> None:
    write(tmp_path / "a.txt", text)
    corpus.pack(config(tmp_path), tokenizer, tmp_path / "packed")
    pieces = corpus.Pieces(tokenizer)
    source = corpus.Sequences(tmp_path / "packed", "train", 66, pieces)
    rows = source.take(corpus.Order(source.count, (0,)).take(0, 400))
    masked = corpus.mask_words(rows, pieces, 0.2, (7, 3, 0))
    chosen = np.zeros(rows.size, bool)
    chosen[masked.positions] = True
    chosen = chosen.reshape(rows.shape)
    assert not chosen[pieces.special[rows]].any()
    continues = ~pieces.starts[rows[:, 1:]]
    continues[:, 0] = False  # the sequence may begin inside a word, and [CLS] is none
    assert continues.sum() > 1000
    assert (chosen[:, 1:][continues] == chosen[:, :-1][continues]).all()
    assert abs(chosen[~pieces.special[rows]].mean() - 0.2) < 0.02
    assert (masked.labels == rows.ravel()[masked.positions]).all()
    assert (masked.inputs[~chosen] == rows[~chosen]).all()
    fate = masked.inputs.ravel()[masked.positions]
    assert abs((fate == pieces.ids["[MASK]"]).mean() - 0.8) < 0.02
    assert abs((fate == masked.labels).mean() - 0.1) < 0.02
    again = corpus.mask_words(rows, pieces, 0.2, (7, 3, 0))
    other = corpus.mask_words(rows, pieces, 0.2, (7, 4, 0))
    assert (again.inputs == masked.inputs).all() and (other.inputs != masked.inputs).any()


def test_an_order_visits_every_sequence_once_an_epoch() -> None:
    order = corpus.Order(10, (3, 0))
    places = np.concatenate([order.take(first, 4) for first in range(0, 20, 4)])
    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))
    assert list(places[:10]) != list(places[10:])
    assert list(corpus.Order(10, (3, 0)).take(8, 4)) == list(places[8:12])
