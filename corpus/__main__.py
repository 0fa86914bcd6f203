"""`python -m corpus`: an alias of the command line in components/cli."""

from components.cli.corpus.main import main

if __name__ == "__main__":
    raise SystemExit(main())
