"""What there is to say of a folder store's root, for `comfyledger doctor`: what was seen in, a remark out. PURE."""

from __future__ import annotations

from pathlib import Path

from comfyledger.plugin_api import Remark


def about_root(root: Path, *, is_marked: bool, is_writable: bool) -> Remark:
    """What there is to say of a root that is not known to have gone."""
    if not is_writable:
        return Remark("failure", f"{root} cannot be written by the daemon's account.", f"ls -ld {root}")
    if not is_marked:
        return Remark("ok", f"{root} is made and marked at its first use; mount its disk before.")
    return Remark("ok", f"{root} is there and can be written.")
