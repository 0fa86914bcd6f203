"""`python -m components.cli`: the same as `cocite`, for `accelerate launch -m`."""

from components.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
