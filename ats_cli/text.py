"""What names, metadata and messages may do to what reads them: a terminal, a JSON parser, a spreadsheet.

A file name on Linux is bytes; what is not UTF-8 in it is a lone surrogate in Python, which no encoding can write.
"""

from __future__ import annotations

import re
from pathlib import Path

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS ...: up to their end
    r"|\x1b[ -/]*[0-~]"  # the others
)
_BIDI = "\u061c\u202a-\u202e\u2066-\u2069"
_BREAKS = re.compile("[\t-\r\x85\u2028\u2029]+")
_CONTROLS = re.compile(f"[\0-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\u2028\u2029]")
_NOT_IN_CSV = re.compile(f"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_BIDI}]")
_SURROGATES = re.compile("[\ud800-\udfff]+")
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}")

# A number may begin with a sign; spreadsheets take the wide signs for the plain ones.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def printable(text: str, lines: bool = False) -> str:
    r"""Return a text that a terminal only shows: no escape sequence, control character or change of direction.

    A byte that is no UTF-8 is shown as \xNN. Line breaks and tabs become a space, with `lines` they are kept.

    >>> printable("red \x1b[31mcell\x07\n \udce9")
    'red cell  \\xe9'
    """
    if text.isprintable():
        return text
    text = _SEQUENCES.sub("", encodable(text))
    return _CONTROLS.sub("", text if lines else _BREAKS.sub(" ", text))


def encodable(text: str) -> str:
    r"""Return a text that UTF-8 can write: a byte of a file name that is no UTF-8 is shown as \xNN.

    >>> encodable("caf\udce9")
    'caf\\xe9'
    """
    return _SURROGATES.sub(lambda found: _bytes_shown(found[0]), text)


def _bytes_shown(surrogates: str) -> str:
    try:
        return surrogates.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no bytes of a file name: half of a character of UTF-16
        return "".join(map(_u, surrogates))


def _u(character: str) -> str:
    return f"\\u{ord(character):04x}"


def existing_path(text: str) -> Path:
    r"""Return the path that `encodable` or `csv_cell` wrote: where it is not there as it is, with its \xNN as bytes."""
    path = Path(text)
    if _ESCAPED.search(text) is None or path.exists():
        return path
    found = Path(_ESCAPED.sub(lambda escape: _character(int(escape[0][2:], 16), len(escape[0]) == 4), text))
    return found if found.exists() else path


def _character(code: int, byte: bool) -> str:
    return chr(0xDC00 + code if byte and code >= 0x80 else code)


def json_text(document: str) -> str:
    r"""Return a JSON document, as json.dumps(ensure_ascii=False) writes it, that any parser reads and any screen shows.

    >>> json_text('{"name": "\x9b31m caf\udce9"}')
    '{"name": "\\u009b31m caf\\\\xe9"}'
    """
    if document.isprintable():
        return document
    document = _SURROGATES.sub(lambda found: _bytes_shown(found[0]).replace("\\", r"\\"), document)
    # json.dumps has escaped what is below a space; a newline here is between two values.
    return _CONTROLS.sub(lambda found: _u(found[0]), document)


def csv_cell(value: object) -> object:
    """Return a cell of a CSV file: a text that a spreadsheet would run as a formula gets a ' before it.

    Numbers and None are as they are. Control characters are written as \\xNN.

    >>> [csv_cell(value) for value in ("=1+1", "-1.5", -1.5, "'-x", "a=b")]
    ["'=1+1", '-1.5', -1.5, "''-x", 'a=b']
    """
    if value is None or isinstance(value, int | float):
        return value
    text = encodable(str(value))
    text = _NOT_IN_CSV.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\x80" else _u(found[0]), text)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_text(cell: str) -> str:
    """Return the text that `csv_cell` made the cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
