"""Remarks of `comfyledger doctor` on an account: answers and configuration in, remarks out. PURE.

The folder mode decides under which names assets appear in the media library. With a wrong clock, signatures are not
accepted. Without budget, no new series can be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from comfyledger.plugin_api import Remark
from comfyledger_cloudinary.account import Options

CLOCK_OFF_S: Final = 60.0
SIGNATURE_S: Final = 3_600.0
"""A signature is valid for so long. A clock that is off by more makes no valid ones."""
BUDGET_LOW: Final = 50
"""Admin calls that are left: import and audit need one for 500 files, a new series one."""


def about_mode(store: str, options: Options, config: Mapping[str, Any]) -> Remark:
    """Compares the account's folder mode with the configured one."""
    said = config.get("settings")
    mode = said.get("folder_mode") if isinstance(said, dict) else None
    account, key = options.account.cloud_name, f"[stores.{store}] folder_mode"
    if mode not in {"dynamic", "fixed"}:
        if options.folder_mode == "auto":
            return Remark("failure", f"The account {account} does not say its folder mode.", f'{key} = "dynamic"')
        return Remark("ok", f"The account {account} answers; its folder mode is configured: {options.folder_mode}.")
    if options.folder_mode not in {"auto", mode}:
        text = f"The account {account} has the folder mode {mode}, but {options.folder_mode} is configured."
        return Remark("failure", text, f'{key} = "{mode}"')
    return Remark("ok", f"The account {account} answers; its folder mode is {mode}.")


def about_limit(usage: Mapping[str, Any]) -> Remark:
    """The largest image that the account takes."""
    limits = usage.get("media_limits")
    limit = limits.get("image_max_size_bytes") if isinstance(limits, dict) else None
    if not isinstance(limit, int):
        return Remark("warning", "The account does not say how large images may be.", "see the plan in its console")
    return Remark("ok", f"The account takes images up to {limit:,} bytes.")


def about_budget(left: int | None) -> Remark | None:
    """The Admin calls that are left of this hour, where the account says so."""
    if left is None or left >= BUDGET_LOW:
        return None
    return Remark("warning", f"Only {left} Admin calls are left in this hour.", "wait for the next hour")


def about_clock(ahead_s: float) -> Remark | None:
    """`ahead_s`: how far the account's clock is ahead of this machine's; it rounds to seconds."""
    if abs(ahead_s) < CLOCK_OFF_S:
        return None
    side = "behind" if ahead_s > 0 else "ahead of"
    text = f"This machine's clock is {abs(ahead_s):,.0f} s {side} Cloudinary's; a signature is valid for an hour."
    return Remark("failure" if abs(ahead_s) >= SIGNATURE_S else "warning", text, "timedatectl set-ntp true")
