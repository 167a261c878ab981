"""Rows of a table by an expression such as `optim == "adam" and test_acc > .9`, of which nothing is executed.

It is Python's syntax, as far as it is taken: names of columns (with dots, as in `optim.lr`), texts, numbers, True,
False and None; comparisons, also chained; `in` a list; `and`, `or`, `not`; `+ - * /`. A cell that is empty equals None,
and nothing else; `is None` and `is not None` say the same.
"""

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import ZooError

LONGEST = 10_000  # characters

Value = Any  # a column as a pd.Series, or a constant that holds for every row

COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    **{ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge},
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne},
}
CALCULATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
}
SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


def rows_where(table: pd.DataFrame, expression: str) -> np.ndarray:
    """For which rows of the table the expression is true: bool [rows].

    Raises ZooError, which names the column or the position, for what is no such expression, or fits no such column.
    """
    try:
        tree = ast.parse(shortened(expression), mode="eval")
        mask = Where(table, expression).truth(tree.body)
    except SyntaxError as error:
        raise ZooError(f"{expression!r} is no expression: {error.msg} at position {error.offset}") from error
    except (RecursionError, MemoryError, ValueError, OverflowError) as error:
        if isinstance(error, ZooError):
            raise
        raise ZooError(f"{expression[:80]!r} can't be evaluated ({error or 'it is nested too deeply'})") from error
    return np.asarray(spread(mask, table), dtype=bool)


def shortened(expression: str) -> str:
    text = expression.strip()
    if not text or len(text) > LONGEST:
        raise ZooError(f"an expression has 1 to {LONGEST:,} characters, as in: optim == 'adam' and test_acc > .9")
    return text


def spread(value: Value, table: pd.DataFrame) -> Value:
    return value if isinstance(value, pd.Series) else np.full(len(table), value)


class Where:
    """Walks the syntax tree of an expression over a table. What it does not know, it refuses."""

    def __init__(self, table: pd.DataFrame, expression: str):
        self.table, self.expression = table, expression

    def truth(self, node: ast.expr) -> Value:
        """The value of what must be true or false of each row."""
        value = self.value(node)
        if (value.dtype if isinstance(value, pd.Series) else np.asarray(value).dtype) != np.dtype(bool):
            raise self.refusal(node, "is neither true nor false: compare it with something")
        return value

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=str() | bool() | int() | float() | None as constant):
                return constant
            case ast.Name() | ast.Attribute():
                return self.column(node)
            case ast.Compare():
                return self.comparison(node)
            case ast.BoolOp(op=ast.And()):
                return self.joined(node, operator.and_)
            case ast.BoolOp(op=ast.Or()):
                return self.joined(node, operator.or_)
            case ast.UnaryOp(op=ast.Not()):
                truth = self.truth(node.operand)
                return ~truth if isinstance(truth, pd.Series) else not truth
            case ast.UnaryOp() if type(node.op) in SIGNS:
                return SIGNS[type(node.op)](self.number(node.operand))
            case ast.BinOp() if type(node.op) in CALCULATIONS:
                return self.calculated(node)
        raise self.refusal(node, "is not taken: columns, texts, numbers, comparisons, in, and, or, not, + - * / are")

    def column(self, node: ast.expr) -> pd.Series:
        name = ast.unparse(node)
        if not all(isinstance(part, ast.Name | ast.Attribute | ast.Load) for part in ast.walk(node)):
            raise self.refusal(node, "is no name of a column")
        if name not in self.table:
            near = difflib.get_close_matches(name, map(str, self.table), n=3) or list(map(str, self.table))
            raise self.refusal(node, f"is no column. Did you mean {', '.join(near)}?")
        return self.table[name]

    def comparison(self, node: ast.Compare) -> Value:
        sides = [node.left, *node.comparators]
        truth: Value = True
        for left, kind, right in zip(sides, node.ops, sides[1:], strict=False):
            truth = truth & self.compared(left, kind, right)
        return truth

    def compared(self, left: ast.expr, kind: ast.cmpop, right: ast.expr) -> Value:
        if isinstance(kind, ast.In | ast.NotIn):
            found = self.within(self.value(left), right)
            return found if isinstance(kind, ast.In) else negated(found)
        own, other = self.value(left), self.value(right)
        if type(kind) not in COMPARISONS and other is not None:
            raise self.refusal(left, "is compared by `is` with something else than None: use == or !=")
        if isinstance(kind, ast.Eq | ast.NotEq | ast.Is | ast.IsNot) and (own is None or other is None):
            empty = is_empty(own) & is_empty(other)
            return empty if isinstance(kind, ast.Eq | ast.Is) else negated(empty)
        try:
            found = COMPARISONS[type(kind)](own, other)
        except TypeError as error:
            raise self.refusal(left, f"can't be compared with {ast.unparse(right)}: one is text") from error
        return found.fillna(False).astype(bool) if isinstance(found, pd.Series) else found

    def within(self, value: Value, right: ast.expr) -> Value:
        if not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise self.refusal(right, "is no list: write `in [1, 2]`")
        choices = [self.value(item) for item in right.elts]
        if any(isinstance(choice, pd.Series) for choice in choices):
            raise self.refusal(right, "lists a column: compare with that by ==")
        given = [choice for choice in choices if choice is not None]
        found = value.isin(given) if isinstance(value, pd.Series) else value in given
        return found | is_empty(value) if None in choices else found

    def joined(self, node: ast.BoolOp, join: Callable[[Any, Any], Any]) -> Value:
        first, *others = [self.truth(value) for value in node.values]
        for other in others:
            first = join(first, other)
        return first

    def calculated(self, node: ast.BinOp) -> Value:
        left, right = self.number(node.left), self.number(node.right)
        try:
            with np.errstate(all="ignore"):
                return CALCULATIONS[type(node.op)](left, right)
        except ArithmeticError as error:
            raise self.refusal(node, f"can't be calculated ({error})") from error

    def number(self, node: ast.expr) -> Value:
        """The value of what must be numbers."""
        value = self.value(node)
        if isinstance(value, pd.Series):
            is_number = pd.api.types.is_numeric_dtype(value) and value.dtype != np.dtype(bool)
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number:
            raise self.refusal(node, "is no number")
        return value

    def refusal(self, node: ast.expr, why: str) -> ZooError:
        place = self.expression.find(self.expression.strip()) + node.col_offset + 1
        return ZooError(f"{self.expression!r}: {ast.unparse(node)[:80]} at position {place} {why}")


def is_empty(value: Value) -> Value:
    return value.isna() if isinstance(value, pd.Series) else value is None


def negated(truth: Value) -> Value:
    return ~truth if isinstance(truth, pd.Series) else not truth
