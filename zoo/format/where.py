"""Conditions on the rows of a table, as a user types them: "optim == 'adam' and test_acc > .9". Nothing is executed."""

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import ZooError

LONGEST = 10_000  # characters of a condition
ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
}
COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le},
    **{ast.Gt: operator.gt, ast.GtE: operator.ge},
}
ALLOWED = "comparisons (also `in`, and `is None`: missing), `and`, `or`, `not`, + - * / and columns"


def rows_where(table: pd.DataFrame, expression: str) -> np.ndarray:
    """Which rows [rows] of a table fulfil a condition on its columns, whose names may have dots.

    A missing value fulfils no comparison but `!=`, `not in` and `is None`. Raises ZooError, which quotes the condition,
    if it has anything but comparisons, `and`, `or`, `not`, arithmetic, columns, numbers, texts and lists of these.
    """
    return Condition(table, expression).mask()


class Condition:
    def __init__(self, table: pd.DataFrame, expression: str):
        self.table, self.expression = table, expression

    def mask(self) -> np.ndarray:
        if not isinstance(self.expression, str) or len(self.expression) > LONGEST:
            raise ZooError(f"a condition is a text of at most {LONGEST:,} characters")
        try:
            with np.errstate(all="ignore"):
                return self.truth(ast.parse(self.expression.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError, ArithmeticError) as error:
            if isinstance(error, ZooError):
                raise
            raise self.wrong(str(error) or type(error).__name__) from error

    def wrong(self, why: str) -> ZooError:
        return ZooError(f"the condition {' '.join(self.expression.split())[:200]!r} can't be read: {why}")

    def truth(self, node: ast.expr) -> np.ndarray:
        """Whether each row fulfils it."""
        value = self.value(node)
        if isinstance(value, bool):
            return np.full(len(self.table), value)
        if not isinstance(value, pd.Series) or value.dtype != bool:
            raise self.wrong(f"{ast.unparse(node)!r} is neither true nor false: compare it with something")
        return value.to_numpy()

    def value(self, node: ast.expr) -> Any:
        """A column, or a constant."""
        match node:
            case ast.Name() | ast.Attribute():
                return self.column(node)
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return [self.constant(element) for element in elements]
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return self.series(join.reduce([self.truth(part) for part in values]))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.series(~self.truth(operand))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.number(operand)
            case ast.BinOp(op=op) if type(op) in ARITHMETIC:
                return ARITHMETIC[type(op)](self.number(node.left), self.number(node.right))
            case ast.Compare():
                return self.compared(node)
        raise self.wrong(f"{ast.unparse(node)[:80]!r} is none of {ALLOWED}")

    def series(self, mask: np.ndarray) -> pd.Series:
        return pd.Series(mask, self.table.index)

    def column(self, node: ast.expr) -> pd.Series:
        name = ast.unparse(node)
        if name not in self.table:
            raise self.wrong(f"there is no column {name!r}; there are {', '.join(self.table)}; texts are in quotes")
        return self.table[name]

    def constant(self, node: ast.expr) -> Any:
        value = self.value(node)
        if isinstance(value, pd.Series | list):
            raise self.wrong(f"{ast.unparse(node)!r} stands in a list, but is no number or text")
        return value

    def number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if isinstance(value, pd.Series):
            if pd.api.types.is_numeric_dtype(value):
                return value.astype(float)
        elif isinstance(value, bool | int | float):
            return float(value)
        raise self.wrong(f"{ast.unparse(node)!r} is no number")

    def compared(self, node: ast.Compare) -> pd.Series:
        """`a < b <= c` is `a < b and b <= c`."""
        operands = [node.left, *node.comparators]
        masks = [
            self.truth_of(one, operation, other)
            for one, operation, other in zip(operands[:-1], node.ops, operands[1:], strict=True)
        ]
        return self.series(np.logical_and.reduce(masks))

    def truth_of(self, left: ast.expr, operation: ast.cmpop, right: ast.expr) -> np.ndarray:
        one, other = self.value(left), self.value(right)
        match operation:
            case ast.In() | ast.NotIn() if isinstance(other, list):
                found = pd.Series(one, self.table.index).isin(other).to_numpy()
                return found if isinstance(operation, ast.In) else ~found
            case ast.Is() | ast.IsNot() if other is None and isinstance(one, pd.Series):
                return (one.isna() if isinstance(operation, ast.Is) else one.notna()).to_numpy()
            case _ if type(operation) in COMPARISONS and not isinstance(one, list) and not isinstance(other, list):
                compared = COMPARISONS[type(operation)](pd.Series(one, self.table.index), other)
                return compared.fillna(False).to_numpy(dtype=bool)
        raise self.wrong(f"{ast.unparse(left)} and {ast.unparse(right)} can't be compared so")
