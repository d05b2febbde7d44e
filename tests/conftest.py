"""One thread for torch: the nets here are tiny, and more threads than idle cores only wait for each other.

And no worker processes but where a test asks for them: each takes seconds to import torch."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ATS_PROCESSES", "0")
