"""Comments of YAML, which its parser leaves out."""


def above(lines: list[str], line: int) -> list[str]:
    """The comment block that ends just above a line, each line without its indentation."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [comment.strip() for comment in lines[first:line]]
