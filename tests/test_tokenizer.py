"""The text handling of an encoder: AraBERT's, at raw offsets, in every runtime that reads its files."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from marsad.errors import ConfigError
from tests import encoders, texts
from train import tokenizer as tokenization


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenization.build({piece: number for number, piece in enumerate(encoders.pieces(1000))})


def words(text: str) -> list[str]:
    """What the word pieces are made of."""
    normal = tokenization.normalizer().normalize_str(text)
    return [word for word, _ in tokenization.pre_tokenizer().pre_tokenize_str(normal)]


# Normalisation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("وَقُتِلَ عُنصراً", "وقتل عنصرا"),  # tashkeel
        ("شَدّة", "شدة"),
        ("هٰذا", "هذا"),  # superscript alef
        ("مـــقتل", "مقتل"),  # tatweel
        ("بـ٤", "ب4"),
        ("٠١٢٣٤٥٦٧٨٩", "0123456789"),  # Arabic-Indic digits
        ("۰۱۲۳۴۵۶۷۸۹", "0123456789"),  # Persian ones
        ("یکی", "يكي"),  # Persian ya and kaf
        ("ﺣﻠﺐ", "حلب"),  # presentation forms
        ("ﻻ", "لا"),
        ("ﷲ", "الله"),
        ("\u202bحلب\u202c\u200f", "حلب"),  # bidi marks
        ("حل\u200cب\u200d", "حلب"),  # joiners
        ("\ufeffحلب", "حلب"),  # byte-order mark
        ("a\0b", "ab"),
        ("حلب\tإدلب\r\nحماة", "حلب\tإدلب\r\nحماة"),  # white space stays
        ("أإآءئؤىة", "أإآءئؤىة"),  # AraBERT keeps the letters' forms apart
        ("حلب", "حلب"),
        ("", ""),
    ],
)
def test_what_writers_vary_without_meaning_to_is_folded(raw: str, expected: str) -> None:
    assert tokenization.normalizer().normalize_str(raw) == expected


def test_normalising_twice_changes_nothing_more() -> None:
    normal = tokenization.normalizer()
    random = Random(4)
    for _ in range(300):
        once = normal.normalize_str(texts.fuzzed(random))
        assert normal.normalize_str(once) == once


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("قال:نعم،ثم", ["قال", ":", "نعم", "،", "ثم"]),  # each sign by itself
        ('"حلب".', ['"', "حلب", '"', "."]),
        ("3.6", ["3", ".", "6"]),
        ("16:30", ["16", ":", "30"]),
        ("20%", ["20", "%"]),
        ("“إم – فايف”", ["“", "إم", "–", "فايف", "”"]),
        ("الموالية_للنظام", ["الموالية", "_", "للنظام"]),
        ("😀حلب", ["😀", "حلب"]),
        ("15عنصرا", ["15", "عنصرا"]),  # digits beside Arabic letters
        ("في٢٠١٦م", ["في", "2016", "م"]),
        ("بـ4", ["ب", "4"]),
        ("B52", ["B52"]),  # not beside Latin ones
        ("م4b", ["م", "4", "b"]),
        (" حلب \n إدلب\u00a0", ["حلب", "إدلب"]),
    ],
)
def test_signs_and_digits_stand_alone_as_arabert_was_trained(raw: str, expected: list[str]) -> None:
    assert words(raw) == expected


# Offsets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "slices"),
    [
        ("في حَلَب", ["في", "حَلَب"]),
        ("مـــن حلب", ["مـــن", "حلب"]),
        ("ﺣﻠﺐ،في", ["ﺣﻠﺐ", "،", "في"]),
        ("٢٠١٦", ["٢٠١٦"]),
        ("\u202bحلب\u202c في", ["حلب", "في"]),
    ],
)
def test_offsets_are_those_of_the_raw_string(raw: str, slices: list[str]) -> None:
    vocabulary = dict.fromkeys((*tokenization.SPECIAL_TOKENS, "حلب", "في", "من", "2016", "،"))
    tokenizer = tokenization.build({piece: number for number, piece in enumerate(vocabulary)})
    encoding = tokenizer.encode(raw, add_special_tokens=False)
    assert [raw[start:end] for start, end in encoding.offsets] == slices
    assert "[UNK]" not in encoding.tokens


def _assert_pieces_have_raw_slices_in_order(tokenizer: Tokenizer, count: int, seed: int) -> None:
    random = Random(seed)
    pieces = 0
    for _ in range(count):
        text = texts.fuzzed(random)
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        assert all(0 <= start < end <= len(text) for start, end in offsets), (text, offsets)
        # one behind the other; the pieces of a ligature share its slice
        for (start, end), (later_start, later_end) in pairwise(offsets):
            assert start <= later_start and end <= later_end, (text, offsets)
        pieces += len(offsets)
    assert pieces > 5 * count


def test_every_piece_of_noisy_strings_has_a_slice_of_the_raw_text_in_order(tokenizer: Tokenizer) -> None:
    _assert_pieces_have_raw_slices_in_order(tokenizer, 2_000, seed=1)


@pytest.mark.slow
def test_every_piece_of_20_000_noisy_strings_has_a_slice_in_order(tokenizer: Tokenizer) -> None:
    _assert_pieces_have_raw_slices_in_order(tokenizer, 20_000, seed=2)


# Files ------------------------------------------------------------------------------------------


def test_transformers_loads_the_saved_directory_and_reads_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenization.save(tokenizer, tmp_path, max_length=128)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded) is PreTrainedTokenizerFast
    assert loaded.model_max_length == 128
    assert (loaded.pad_token, loaded.mask_token_id) == ("[PAD]", tokenizer.token_to_id("[MASK]"))
    # transformers left to itself puts a BertNormalizer here, which would strip no tatweel and move offsets
    assert str(loaded.backend_tokenizer.normalizer) == str(tokenizer.normalizer)
    assert str(loaded.backend_tokenizer.pre_tokenizer) == str(tokenizer.pre_tokenizer)
    random = Random(3)
    noisy = [texts.fuzzed(random) for _ in range(200)]
    for text in (*(document.text for document in texts.gold()), *noisy):
        theirs = loaded(text, return_offsets_mapping=True, truncation=False)
        ours = tokenizer.encode(text)
        assert theirs["input_ids"] == ours.ids
        assert theirs["offset_mapping"] == ours.offsets


def test_the_saved_file_alone_is_the_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenization.save(tokenizer, tmp_path, max_length=128)
    again = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert again.to_str() == tokenizer.to_str()
    assert str(tmp_path) not in (tmp_path / "tokenizer_config.json").read_text(encoding="utf-8")


def test_a_single_text_and_a_pair_get_their_special_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("في").tokens == ["[CLS]", "في", "[SEP]"]
    pair = tokenizer.encode("في", "من")
    assert pair.tokens == ["[CLS]", "في", "[SEP]", "من", "[SEP]"] and pair.type_ids == [0, 0, 0, 1, 1]


def test_a_vocabulary_without_the_special_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lacks \[CLS\], \[SEP\]; a BERT vocabulary is expected"):
        tokenization.build({"[PAD]": 0, "[UNK]": 1, "[MASK]": 2, "في": 3})


def test_a_vocabulary_learned_from_text_reads_it_without_unknowns() -> None:
    raw = [document.text for document in texts.gold()]
    learned = tokenization.train(raw, 800, min_frequency=1)
    vocabulary = learned.get_vocab()
    assert [vocabulary[token] for token in tokenization.SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert len(vocabulary) <= 800
    unknown = [token for text in raw for token in learned.encode(text).tokens if token == "[UNK]"]
    assert unknown == []
    assert not any("\u064b" <= letter <= "\u0652" or letter == "ـ" for piece in vocabulary for letter in piece)


def test_the_same_texts_give_the_same_vocabulary_with_the_same_ids() -> None:
    raw = [document.text for document in texts.gold()]
    one, other = (tokenization.train(iter(raw), 1000).get_vocab() for _ in range(2))
    assert one == other
