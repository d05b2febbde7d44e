"""`python -m ats_cli` is `ats`."""

from ats_cli.app import main

if __name__ == "__main__":  # a worker process imports this module too
    main()
