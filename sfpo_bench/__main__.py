"""`python -m sfpo_bench` is `sfpo-bench`."""

from sfpo_bench.cli import main

if __name__ == "__main__":
    main()
