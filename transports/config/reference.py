"""``python -m transports.config.reference``: write the reference page and the example files anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from core.settings import reference

_ROOT: Final = Path(__file__).resolve().parent.parent.parent
FILES: Final = {
    _ROOT / "docs" / "configuration.md": reference.page,
    _ROOT / "docs" / "config.example.json": reference.json_example,
    _ROOT / ".env.example": reference.dotenv_example,
}


def main() -> None:
    """Write the files into the checkout this module is in."""
    for path, text in FILES.items():
        path.write_text(text(), "utf-8")


if __name__ == "__main__":
    main()
