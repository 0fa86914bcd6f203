"""What the running app loads: nothing that only a build needs."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_VISIT = """
import sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app.py", default_timeout=120).run()
assert not page.exception, page.exception
page.text_area[0].set_value("Sepsis in intensive care\\n\\nWe studied the early treatment of sepsis with antibiotics.")
page.button[0].click().run()
assert not page.exception, page.exception
assert any("nearest" in heading.value for heading in page.subheader), "the search gave no result"
print(",".join(sorted({"umap", "numba", "pynndescent", "sentence_transformers"} & set(sys.modules))))
"""


def test_a_page_and_a_search_load_neither_umap_nor_numba(medline_home: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _VISIT],
        cwd=ROOT,
        env={**os.environ, "COCITE_ATLAS_HOME": str(medline_home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.strip().splitlines()[-1:] in ([], [""])
