"""Executes the notebooks from start to end and writes them as pages.

    python notebooks/run.py                              all, on the bundled runs, as pages of docs/notebooks/
    python notebooks/run.py 1_convergence source=./results/arithmetic --out page         one, on runs of your own
    python notebooks/run.py --check                      all, and fails where git holds outputs; writes nothing

The cell tagged `parameters` holds the defaults; NAME=VALUE sets a text of it in a cell behind. A path that begins with
a dot or a slash is taken from where the command is given; the defaults lie in this folder. Needs
`pip install '.[notebooks]'` in the clone.
"""

from __future__ import annotations

import argparse
import ast
import base64
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
try:
    import nbformat
    from nbclient import NotebookClient
    from nbformat import NotebookNode
    from PIL import Image
except ModuleNotFoundError as error:
    sys.path.append(str(HERE.parent))
    from sfpo_bench.core.extras import install_extra

    sys.exit(f"{Path(__file__).name}: {error.name} is not installed in {sys.prefix}: {install_extra('notebooks')}")

PAGES = HERE.parent / "docs" / "notebooks"
_SECONDS = 600


def executed(path: Path, parameters: Mapping[str, str]) -> NotebookNode:
    """The notebook after a run in a fresh kernel; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    if parameters:
        at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        text = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(text))
    client = NotebookClient(
        notebook, timeout=_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}
    )
    return client.execute()


def page(notebook: NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """The executed notebook as Markdown, and its pictures by file name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            parts.append(_output(output, name, pictures))
    source = f"<!-- Made by notebooks/run.py from notebooks/{name}.ipynb. -->"
    return "\n\n".join([source, *(part for part in parts if part)]) + "\n", pictures


def _output(output: NotebookNode, name: str, pictures: dict[str, bytes]) -> str:
    if output.output_type == "stream":
        return f"```\n{output.text.rstrip()}\n```"
    data = output.get("data", {})
    if "image/png" in data:
        file = f"{name}-{len(pictures) + 1}.png"
        pictures[file] = _small(base64.b64decode(data["image/png"]))
        return f"![{name}, figure {len(pictures)}]({file})"
    if "text/markdown" in data:
        return str(data["text/markdown"])
    return f"```\n{data['text/plain']}\n```" if "text/plain" in data else ""


def _small(png: bytes) -> bytes:
    """The picture in 256 colours, at half of its size or less."""
    made = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(made, "PNG", optimize=True)
    return made.getvalue()


def stripped(path: Path) -> bool:
    """True when the file holds neither outputs nor execution counts."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return not any(cell.outputs or cell.execution_count for cell in cells)


def parameter_names(path: Path) -> list[str]:
    """What the cell of parameters assigns."""
    cells = nbformat.read(path, as_version=4).cells
    [source] = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assigned = [target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in assigned if isinstance(target, ast.Name)]


def chosen_notebooks(names: Sequence[str], parameters: Mapping[str, str]) -> list[Path]:
    """The notebooks whose names begin with one of `names`, or all.

    Raises `ValueError` for a name that begins none, and for a parameter that one of the chosen does not have.
    """
    every = sorted(HERE.glob("*.ipynb"))
    for name in names:
        if not any(path.stem.startswith(name) for path in every):
            raise ValueError(f"found no notebook {name!r}; expected one of {', '.join(path.stem for path in every)}")
    chosen = [path for path in every if not names or path.stem.startswith(tuple(names))]
    for path in chosen:
        known = parameter_names(path)
        for name in parameters:
            if name not in known:
                raise ValueError(
                    f"{path.stem} has no parameter {name!r}; expected one of {', '.join(known)}; name the notebooks "
                    "that it is for"
                )
    return chosen


def _value(text: str) -> str:
    """The text; a path from where the command is given as a whole one, for notebooks run in their own folder."""
    return str(Path(text).resolve()) if text.startswith((".", "/")) else text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="notebooks, by the beginning of their names, and NAME=VALUE")
    parser.add_argument("--out", type=Path, default=PAGES, help="folder for the pages")
    parser.add_argument("--check", action="store_true", help="execute and write nothing")
    given = parser.parse_intermixed_args(arguments)
    parameters = {name: _value(text) for name, text in (word.split("=", 1) for word in given.names if "=" in word)}
    try:
        chosen = chosen_notebooks([word for word in given.names if "=" not in word], parameters)
    except ValueError as error:
        parser.error(str(error))
    for path in chosen:
        if not stripped(path):
            parser.error(f"{path} holds outputs; expected none: clear them before committing")
        text, pictures = page(executed(path, parameters), path.stem)
        print(f"{path.name}: {len(text):,} characters, {len(pictures)} pictures")
        if not given.check:
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / f"{path.stem}.md").write_text(text, encoding="utf-8")
            for file, content in pictures.items():
                (given.out / file).write_bytes(content)


if __name__ == "__main__":
    main()
