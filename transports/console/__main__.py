"""``python -m transports.console``: the same as the script ``proxy-cli``."""

from __future__ import annotations

import sys

from transports.console.program import main

if __name__ == "__main__":
    sys.exit(main())
