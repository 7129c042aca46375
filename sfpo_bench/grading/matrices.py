"""Matrices: what is one, with the numbers before it, transposed or added, as its entries."""

from __future__ import annotations

from sfpo_bench.grading.tree import Apply, Matrix, Node, Sequence


def as_matrix(node: Node) -> Matrix | None:
    """The matrix that `node` is, None where it is none."""
    match node:
        case Matrix():
            return node
        case Sequence("[]" | "()", rows) if rows and all(
            isinstance(row, Sequence) and row.brackets in ("[]", "()") for row in rows
        ):
            entries = [row.items for row in rows if isinstance(row, Sequence)]
            square = len({len(row) for row in entries}) == 1 and node.brackets == "[]"
            return Matrix(tuple(entries)) if square else None
        case Apply("mul" | "div", arguments):
            return _scaled(node.name, arguments)
        case Apply("add", terms):
            return _added(terms)
        case Apply("?transpose", (inner,)):
            return _transposed(inner)
        case _:
            return None


def _scaled(name: str, arguments: tuple[Node, ...]) -> Matrix | None:
    read = [as_matrix(argument) for argument in arguments]  # once: products lie within products
    matrices = [matrix for matrix in read if matrix is not None]
    others = [argument for argument, matrix in zip(arguments, read, strict=True) if matrix is None]
    if len(matrices) != 1 or (name == "div" and read[0] is None):
        return None
    if name == "div":
        return Matrix(tuple(tuple(Apply("div", (entry, *others)) for entry in row) for row in matrices[0].rows))
    return Matrix(tuple(tuple(Apply("mul", (*others, entry)) for entry in row) for row in matrices[0].rows))


def _added(terms: tuple[Node, ...]) -> Matrix | None:
    matrices = [as_matrix(term) for term in terms]
    shapes = {tuple(len(row) for row in matrix.rows) for matrix in matrices if matrix is not None}
    if None in matrices or len(shapes) != 1:
        return None
    rows = zip(*(matrix.rows for matrix in matrices if matrix is not None), strict=True)
    return Matrix(tuple(tuple(Apply("add", entries) for entries in zip(*row, strict=True)) for row in rows))


def _transposed(node: Node) -> Matrix | None:
    if isinstance(node, Sequence) and node.brackets in ("()", "[]"):
        return Matrix(tuple((item,) for item in node.items))
    matrix = as_matrix(node)
    return None if matrix is None else Matrix(tuple(zip(*matrix.rows, strict=True)))
