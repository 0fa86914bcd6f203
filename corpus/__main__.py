"""`python -m corpus`: an alias of `cocite`, and the one upward import of this package."""

from components.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
