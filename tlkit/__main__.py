"""``python -m tlkit``."""

from tlkit.cli import main

if __name__ == "__main__":
    main()
