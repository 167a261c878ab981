"""Texts that anyone may have chosen (names, values, reasons), made harmless where they are written or drawn."""

import json
import re
from typing import Any

# What Markdown, GitHub or HTML could take for more than a letter. An underscore within a word is one.
MARKUP = re.compile(r"[&<>\\`*\[\]|~$#@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.")


def one_line(text: Any) -> str:
    """Without line breaks; what can't be printed (it could steer a terminal) becomes a replacement character."""
    line = " ".join(str(text).split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def markdown(text: Any) -> str:
    """As plain text in Markdown, tables included: character references are never taken for markup."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", one_line(text))


def code(text: Any) -> str:
    """As code in Markdown, tables included."""
    line, escaped = one_line(text), markdown(text)
    # between backticks a reference is no letter, but a bar ends the cell of a table
    return f"`{line}`" if line and line == escaped else f"<code>{escaped}</code>"


def literal(text: Any) -> str:
    """As it stands, in Markdown outside tables: as plain text if nothing in it is markup, or else as code."""
    line = one_line(text)
    if not MARKUP.search(line):
        return line
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def quoted(text: Any) -> str:
    """As a text in double quotes, in YAML, JSON and Python alike."""
    return json.dumps(one_line(text), ensure_ascii=False)
