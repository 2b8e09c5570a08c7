"""Tables for people: rows of strings, the first row the heading, the first column text and the others numbers."""


def as_text(rows) -> str:
    """The table in aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in rows]
    return "\n".join("  ".join(line) for line in lines)


def as_markdown(rows, others: str = "---:") -> str:
    """The table in Markdown; `others` aligns the columns behind the first."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|---|" + f"{others}|" * (len(rows[0]) - 1)
    return "\n".join([lines[0], rule, *lines[1:]])
