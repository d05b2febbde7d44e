from __future__ import annotations

from pathlib import Path

import pytest
from slide_pictures import DATA


@pytest.fixture
def data() -> Path:
    """Real slides, where the checkout has them beside it."""
    if not DATA.is_dir():
        pytest.skip(f"no slides in {DATA}")
    return DATA
