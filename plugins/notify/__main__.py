"""``python -m notify``."""

from __future__ import annotations

import os
import sys

from notify.cli import main

if __name__ == "__main__":
    # Where its database has no tables, Airflow prints a traceback for each Variable, and to stdout; and it warns of an
    # import that one of its dependencies deprecates (3.3.2, 2026-11).
    os.environ.setdefault("AIRFLOW__LOGGING__NAMESPACE_LEVELS", "task=critical py.warnings=error")
    sys.exit(main())
