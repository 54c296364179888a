"""What importing this package costs."""

from __future__ import annotations

import subprocess
import sys


def test_no_heavy_library_is_imported_before_it_is_used():
    script = (
        "import sys, rddg_ray.llm, rddg_ray.llm.embedded\n"
        "heavy = {'openai', 'tenacity', 'aiohttp', 'httpx2', 'scipy', 'pandas', 'torch', 'ray'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
