"""Texts that anyone may have chosen."""

import ast
import html
import json
import re

import pytest
import yaml

from zoo.format.escape import code, literal, markdown, one_line, quoted

NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a|b",
    "a\\|b",
    "`code`",
    "``",
    "ends with \\",
    "two\nlines\r\nand\u2028more",
    "| a | b |\n|---|---|\n| c | d |",
    "# heading #",
    "*bold* __bold__ ~~gone~~",
    "[link](javascript:alert(1))",
    "![image](http://example.org/x.png)",
    "https://example.org www.example.org someone@example.org @someone #1",
    "$\\frac{$ and $x^2$",
    "&amp; &lt; &#124;",
    "\"quoted\" and 'quoted'",
    "- a: b\n- c: [d, e]",
    "key: value # comment",
    "%YAML 1.2",
    "{name} {0} {{}}",
    "tab\tand\x00zero\x1b[2Jescape\x7f\x85\x9b",
    "right-to-left \u202eoverride",
    "\udcff not UTF-8",
    "modèle 模型 🦁",
    "",
    " ",
    "null",
    "1e5",
    "yes",
]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_one_line_can_be_printed(text: str) -> None:
    line = one_line(text)
    assert line.isprintable() and line.encode() and len(line.splitlines()) <= 1 or line == ""


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_markdown_has_no_markup_and_says_the_same(text: str) -> None:
    escaped = markdown(text)
    assert html.unescape(escaped) == one_line(text)
    plain = re.sub(r"&#\d+;", "", escaped)
    assert not set(plain) & set("&<>\\`*[]|~$#@") and "://" not in plain and "www." not in plain
    assert not re.search(r"\b_|_\b|__", plain)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_code_stays_in_its_cell_and_says_the_same(text: str) -> None:
    escaped = code(text)
    assert "|" not in escaped
    if escaped.startswith("`"):
        assert escaped == f"`{one_line(text)}`" and escaped.count("`") == 2 and "\\" not in escaped
    else:
        inner = re.fullmatch(r"<code>([^<>`\\]*)</code>", escaped)
        assert inner and html.unescape(inner[1]) == one_line(text)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_literal_is_plain_or_within_backticks_that_it_does_not_end(text: str) -> None:
    line, escaped = one_line(text), literal(text)
    assert line in escaped
    if escaped == line:
        assert markdown(line) == line
    else:
        fence = re.match("`+", escaped)
        assert fence and escaped.strip("` ") == line.strip("` ")
        assert fence[0] not in re.findall("`+", line)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_quoted_is_the_same_in_yaml_json_and_python(text: str) -> None:
    for read in (yaml.safe_load, json.loads, ast.literal_eval):
        assert read(quoted(text)) == one_line(text)


def test_names_as_they_are_look_as_they_are() -> None:
    for name in ("tanh_kaiming_uniform_adam_lr0.001_wd0_dropout0.5_seed0_aa446a3f31", "mnist_seed", "0.001, 0.0001"):
        assert markdown(name) == literal(name) == one_line(name) == name and code(name) == f"`{name}`"
