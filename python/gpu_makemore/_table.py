"""The table of a check, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._check import Check, Row

_HEADING = ("tensor", "exact", "approximate", "maxdiff", "allowed", "verdict")


def summary(check: Check) -> str:
    """One line: how many tensors agree, and which is the first that does not."""
    of, wrong = len(check.rows), check.wrong
    if not wrong:
        return f"{of} of {of} tensors agree"
    are = "is" if len(wrong) == 1 else "are"
    return f"{len(wrong)} of {of} tensors {are} wrong; the first is {wrong[0].name}"


def text(check: Check) -> str:
    """The columns of the lecture's ``cmp`` with what is allowed; below a wrong tensor, where and by how much."""
    rows = [_cells(row) for row in check.rows]
    widths = [max(map(len, column)) for column in zip(_HEADING, *rows, strict=True)]
    lines = [_line(_HEADING, widths)]
    for row, cells in zip(check.rows, rows, strict=True):
        lines.append(_line(cells, widths))
        if not row.passed:
            lines.append(f"    {_where(row)}")
    lines += ["", summary(check)]
    lines += [f"absent: {', '.join(check.absent)}"] if check.absent else []
    if check.wrong:
        lines.append(f"how the first of them is derived: gpu_makemore.explain({check.wrong[0].tensor!r})")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        str(row.exact),
        str(row.approximate),
        _short(row.maxdiff),
        _short(row.allowed),
        _verdict(row),
    )


def _verdict(row: Row) -> str:
    if not row.passed:
        return "WRONG"
    return "ok: zero" if row.zero else "ok"


def _where(row: Row) -> str:
    """The worst element of a tensor, and how many others are wrong."""
    index = ", ".join(map(str, row.worst_index))
    return (
        f"{row.beyond:,} of {row.size:,} elements are wrong, most of all at [{index}]: {row.worst_value:.7g}, "
        f"expected {row.worst_expected:.7g}"
    )


def _short(value: float) -> str:
    return "0.0" if value == 0 else f"{value:.2e}"


# Colours that can be read on a light and on a dark page.
_STYLE = """
.gpu-makemore-check table {border-collapse: collapse; font-variant-numeric: tabular-nums}
.gpu-makemore-check th, .gpu-makemore-check td {text-align: left; padding: 0.15em 0.9em 0.15em 0.3em}
.gpu-makemore-check tr.wrong td {background: rgba(220, 40, 40, 0.22)}
.gpu-makemore-check tr.where td {background: rgba(220, 40, 40, 0.1)}
.gpu-makemore-check p.wrong {border-left: 4px solid rgb(220, 40, 40); padding-left: 0.6em}
.gpu-makemore-check p.right {border-left: 4px solid rgb(40, 150, 70); padding-left: 0.6em}
"""


def html(check: Check, derivation: str | None) -> str:
    """The same in HTML, wrong rows marked, with the derivation of the first wrong tensor to unfold."""
    parts = [f'<div class="gpu-makemore-check"><style>{_STYLE}</style>']
    kind = "wrong" if check.wrong else "right"
    parts.append(f'<p class="{kind}"><b>{escape(summary(check))}</b></p>')
    if check.wrong and derivation is not None:
        name = escape(check.wrong[0].tensor)
        parts.append(f"<details><summary>how the gradient of {name} is derived</summary>")
        parts.append(f"<pre>{escape(derivation)}</pre></details>")
    parts.append("<table><thead><tr>")
    parts += [f'<th scope="col">{name}</th>' for name in _HEADING]
    parts.append("</tr></thead><tbody>")
    for row in check.rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row))
        parts.append(f"<tr>{cells}</tr>" if row.passed else f'<tr class="wrong">{cells}</tr>')
        if not row.passed:
            span = len(_HEADING)
            parts.append(
                f'<tr class="where"><td></td><td colspan="{span - 1}">{escape(_where(row))}</td></tr>'
            )
    parts.append("</tbody></table>")
    if check.absent:
        parts.append(f"<p>absent: {escape(', '.join(check.absent))}</p>")
    parts.append("</div>")
    return "".join(parts)
