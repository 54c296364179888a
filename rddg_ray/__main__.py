"""`python -m rddg_ray` is the `rddg` command."""

from rddg_ray.cli import main

if __name__ == "__main__":
    main()
