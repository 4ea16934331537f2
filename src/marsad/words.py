"""Words of a raw text, as the annotation guidelines define them (section 1.3).

    text   وقُتل 3.6 مليون، بـ4
    words  [وقُتل] [3.6] [مليون] [،] [بـ4]

A word is a maximal run of letters, marks and digits; digits joined by one of `. , : ٫ ٬` are one word;
any other visible character is a word of its own. Invisible characters between letters belong to the word.
"""

from tokenizers import Regex, pre_tokenizers

_CORE = r"[\p{L}\p{M}\p{N}]"
_INVISIBLE = r"(?!\s)[\p{Cf}\p{Cc}\p{Co}]"
_JOINED_DIGITS = r"(?<=\p{Nd})[.,:٫٬](?=\p{Nd})"
_WORD = rf"{_CORE}(?:(?:{_INVISIBLE})*{_CORE}|{_JOINED_DIGITS})*"
_SIGN = rf"(?!\s|{_INVISIBLE})[^\p{{L}}\p{{M}}\p{{N}}]\p{{M}}*"

# Oniguruma, through tokenizers: Python's re knows no \p{M}, and one engine serves words and pieces alike.
_SPLITTER = pre_tokenizers.Split(Regex(rf"{_WORD}|{_SIGN}"), "removed", invert=True)


def words_of(text: str) -> list[tuple[int, int]]:
    """The `[start, end)` offsets of every word of `text`, in order."""
    return [offsets for _, offsets in _SPLITTER.pre_tokenize_str(text)]


def is_sign(word: str) -> bool:
    """Whether a word is a single visible sign (punctuation, symbol, emoji) rather than letters or digits."""
    return not any(character.isalnum() for character in word)
