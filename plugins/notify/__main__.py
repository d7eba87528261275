"""``python -m notify``."""

from __future__ import annotations

import sys

from notify.cli import main

if __name__ == "__main__":
    sys.exit(main())
