"""What lies in a folder."""

from pathlib import Path


def files(folder: Path) -> dict[str, int]:
    """Every file in a folder, and when it was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }
