"""The notebooks: each runs from top to bottom in its short form; the saved ones have small, clean outputs."""

import base64
import os
import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
LARGEST = 400_000  # bytes of a file
DEBRIS = r"Warning|WARNING|Traceback|it/s\]|/home/|/root/|/work/|/tmp/|site-packages|\x1b\["


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def figures(notebook):
    """The pictures of a notebook, as bytes."""
    outputs = [output for cell in code(notebook) for output in cell.outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode(output.data["image/png"]) for output in outputs]


def test_there_are_seven():
    assert [name[:3] for name in NAMES] == ["01_", "02_", "03_", "04_", "05_", "06_", "07_"]


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel of this interpreter, whatever is installed beside it."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    spec = tmp_path / "kernels" / "here"
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(f'{{"argv": {command!r}, "display_name": "here"}}'.replace("'", '"'))
    monkeypatch.setenv("JAXPRICE_QUICK", "1")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(tmp_path)))
    manager = AsyncKernelManager(kernel_name="here")
    manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    yield manager
    process = getattr(manager.provisioner, "process", None)
    if process is not None:  # nbclient leaves a kernel that it was given running
        process.kill()
        process.wait()


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_runs(path, kernel):
    saved, notebook = read(path), read(path)
    for cell in code(notebook):
        cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(FOLDER)}}
    nbclient.NotebookClient(
        notebook, km=kernel, timeout=300, startup_timeout=180, resources=place
    ).execute()  # raises at the first error
    drawn = figures(notebook)
    assert len(drawn) == len(figures(saved)) >= 2
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 3000 for picture in drawn)
    assert not [output for cell in code(notebook) for output in cell.outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_what_is_saved(path):
    """Executed in order, in the long form, with clean and small outputs; it ends with something to try."""
    notebook = read(path)
    nbformat.validate(notebook)
    assert path.stat().st_size <= LARGEST
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert figures(notebook)
    for cell in code(notebook):
        for output in cell.outputs:
            text = output.get("text", "") + "".join(x for kind, x in output.get("data", {}).items() if kind != "image/png")
            assert output.output_type != "error" and not re.search(DEBRIS, text), (cell.id, text)
    last = notebook.cells[-1]
    assert last.cell_type == "markdown" and "## Try" in last.source
