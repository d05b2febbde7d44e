"""One thread for torch: the nets here are tiny, and more threads than idle cores only wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
