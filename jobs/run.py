"""`rddg run` for `ray job submit`: the same job on the cluster that runs it.

    ray job submit --working-dir . -- python jobs/run.py jobs/configs/demo.yaml

Arguments are those of `rddg run`. Without `--address` the cluster that the job runs on is used.
"""

from __future__ import annotations

import os
import sys

from rddg_ray.cli import main

# Ray sets this in the driver of a submitted job.
_JOB_ADDRESS = "RAY_ADDRESS"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if _JOB_ADDRESS in os.environ and "--address" not in arguments and "--no-ray" not in arguments:
        arguments += ["--address", "auto"]
    sys.argv = ["rddg", "run", *arguments]
    main()
