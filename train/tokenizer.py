"""The text handling of an encoder, all of it inside its `tokenizer.json`.

Normalisation follows AraBERT v0.2's preprocessing without segmentation (ArabertPreprocessor of
github.com/aub-mind/arabert): marks and tatweel go, Arabic-Indic digits become ASCII, every sign
other than a letter or digit stands alone, and so do digits beside Arabic letters. It is written as a
`tokenizers` pipeline so that each piece keeps its offsets into the caller's raw string.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from marsad.errors import ConfigError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_ALPHABET = 400  # characters; the rest of a large corpus are those of other scripts

_ARABIC = r"[\u0621-\u063A\u0641-\u064A\u0671-\u06D3]"


def normalizer() -> normalizers.Normalizer:
    """Folds what writers vary without meaning to: marks, joiners, digit shapes, presentation forms."""
    digits = [normalizers.Replace(chr(zero + value), str(value)) for zero in (0x0660, 0x06F0) for value in range(10)]
    return normalizers.Sequence(
        [
            normalizers.NFKC(),
            # all marks, formats (bidi, joiners, BOM), private use and tatweel; controls but white space
            normalizers.Replace(Regex(r"[\p{M}\p{Cf}\p{Co}\x{0640}]|(?!\s)\p{Cc}"), ""),
            normalizers.Replace("ی", "ي"),
            normalizers.Replace("ک", "ك"),
            *digits,
        ]
    )


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Splits at white space, around every sign, and between digits and Arabic letters."""
    beside_arabic = rf"[0-9]+(?={_ARABIC})|(?<={_ARABIC})[0-9]+"
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]"), "isolated"),
            pre_tokenizers.Split(Regex(beside_arabic), "isolated"),
        ]
    )


def build(vocabulary: dict[str, int]) -> Tokenizer:
    """A WordPiece tokenizer over `vocabulary` with marsad's text handling."""
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise ConfigError(f"the vocabulary lacks {', '.join(missing)}; a BERT vocabulary is expected")
    model = models.WordPiece(vocab=vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    _equip(tokenizer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.encode_special_tokens = True  # a "[SEP]" written in a text is text
    return tokenizer


def train(texts: Iterable[str], size: int, min_frequency: int = 2) -> Tokenizer:
    """Train a WordPiece vocabulary of `size` pieces on raw texts: the same texts give the same vocabulary."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    _equip(learner)
    characters: Counter[str] = Counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as copy:  # the texts are read twice, and may be a stream
        for text in texts:
            characters.update(text)
            copy.write(text + "\n")
        copy.seek(0)
        # The trainer numbers the letters inside words in an order that varies from run to run, and breaks ties
        # by these numbers: of 1,000 pieces, 30 were others each time. Named beforehand, their order is ours.
        inside = [f"##{letter}" for letter in _letters(characters, _ALPHABET)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=min_frequency,
            special_tokens=[*SPECIAL_TOKENS, *inside],
            limit_alphabet=_ALPHABET,
        )
        learner.train_from_iterator(copy, trainer)
    return build(learner.get_vocab())


def _letters(characters: Counter[str], limit: int) -> list[str]:
    """The commonest letters and digits, as they are after normalisation."""
    counts: Counter[str] = Counter()
    fold = normalizer().normalize_str
    for character, count in characters.items():
        counts.update({letter: count for letter in fold(character) if letter.isalnum()})
    return sorted(counts, key=lambda letter: (-counts[letter], letter))[:limit]


def read(directory: Path) -> Tokenizer:
    """The tokenizer of a directory; raises ConfigError where it has none."""
    path = directory / "tokenizer.json"
    if not path.exists():
        raise ConfigError(f"{path}: no such file; a directory with a tokenizer.json is expected")
    return Tokenizer.from_file(str(path))


def save(tokenizer: Tokenizer, directory: Path, max_length: int) -> None:
    """Write `tokenizer.json` and the `tokenizer_config.json` that keeps transformers from rebuilding it."""
    tokenizer.save(str(directory / "tokenizer.json"))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "split_special_tokens": True,  # a "[SEP]" written in a text is text
        **dict(zip(names, SPECIAL_TOKENS, strict=True)),
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _equip(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizer()
    tokenizer.pre_tokenizer = pre_tokenizer()
