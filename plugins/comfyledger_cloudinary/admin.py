"""Questions to Cloudinary's Admin API: by the official SDK, in threads of their own, within the account's budget.

The SDK signs in, escapes and parses. The connections under it are ours: those of the SDK retry by themselves, which
costs calls of the budget, and hide the headers that say when the budget is renewed. A call returns a parsed answer or
raises StoreTrouble. While the account's budget is known to be used up, no call is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from comfyledger.plugin_api import LaneFault, Remark, StoreTrouble
from comfyledger_cloudinary.account import Options
from comfyledger_cloudinary.answers import (
    Answer,
    admin_fault,
    bounded,
    calls_left,
    parsed,
    resets_at,
    server_time,
)
from comfyledger_cloudinary.kinds import KINDS, PLURALS, Kind

THREADS: Final = 2
ANSWER_S: Final = 20.0
"""Time limit for one answer, from the request on: a listing of 500 files takes Cloudinary some seconds."""

ASK_S: Final = 60.0
"""Time limit for one question, waiting for a thread included; many series may be asked for at once."""

THROTTLED_S: Final = 60.0
"""Pause after a refusal that does not say how long to wait."""


class Missing(StoreTrouble):
    """Cloudinary answers that the account holds no such file."""


class Budget:
    """Whether the account's calls are used up, according to its answers. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._closed_until_s = 0.0

    def note(self, answer: Answer, now_s: float) -> None:
        """Close a used-up budget until its reset, and after a refusal for the time that it says, or a minute."""
        refused = answer.status in {420, 429} and admin_fault(answer, now_s).code == "throttled"
        if refused or calls_left(answer) == 0:
            self._closed_until_s = resets_at(answer, now_s) or now_s + THROTTLED_S

    def closed_for_s(self, now_s: float) -> float:
        return max(0.0, self._closed_until_s - now_s)


class Connector:
    """Replaces the urllib3 pool of the SDK: one try for each request, and the answer is kept."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.answer: Answer | None = None

    def request(self, **request: Any) -> Any:
        response = self._pool.request(**request, retries=False, redirect=False)
        headers = {str(key).lower(): str(value) for key, value in response.headers.items()}
        self.answer = Answer(response.status, headers, response.data)
        return response


class Admin:
    """The Admin API of one account. To be used from one event loop."""

    def __init__(self, options: Options, now: Callable[[], float] = time.time) -> None:
        self._account = options.account
        self._options = options
        self._now = now
        self._budget = Budget()
        self._places = asyncio.Semaphore(THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="comfyledger-cloudinary")
        self._pool: Any = None
        self.ahead_s = 0.0
        """How far the account's clock was ahead of ours at its last answer, where it says so; it rounds to seconds."""
        self.left: int | None = None
        """Calls that were left of the hour's budget after the last answer, where it says so."""

    async def ask(self, *path: str, **params: str | int) -> dict[str, Any]:
        """One call: GET of a path below the account. Raises StoreTrouble; Missing for a file that is not there."""
        try:
            async with asyncio.timeout(ASK_S), self._places:
                return self._understood(await self._answer(path, params))
        except TimeoutError:
            fault = LaneFault("not_reached", f"{self._account.upload_prefix} did not answer in time")
        raise StoreTrouble(fault)

    async def close(self) -> None:
        """Does not wait for a running call, which ends by the timeout of its sockets."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._pool is not None:
            self._pool.clear()

    async def _answer(self, path: tuple[str, ...], params: Mapping[str, str | int]) -> Answer:
        closed_s = self._budget.closed_for_s(self._now())
        if closed_s:
            text = f"The account's budget of Admin calls is used up; the next call is in {closed_s:.0f} s."
            raise StoreTrouble(LaneFault("throttled", text, closed_s))
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._call, path, params)
        if isinstance(answer, LaneFault):
            raise StoreTrouble(answer)
        now_s = self._now()
        self._budget.note(answer, now_s)
        self.ahead_s = server_time(answer, now_s) - now_s
        self.left = calls_left(answer)
        return answer

    def _call(self, path: tuple[str, ...], params: Mapping[str, str | int]) -> Answer | LaneFault:
        """In a thread. Faults are returned: a traceback from within the SDK has the secret in its frames."""
        from cloudinary.api_client.execute_request import execute_request
        from urllib3 import Timeout

        account = self._account
        connector = Connector(self._ready_pool())
        try:
            execute_request(
                http_connector=connector,
                method="get",
                params=dict(params),
                headers={},
                auth={"key": account.api_key, "secret": account.secret.reveal()},
                api_url="/".join((account.upload_prefix, "v1_1", account.cloud_name, *path)),
                timeout=Timeout(connect=self._options.connect_timeout_s, read=ANSWER_S),
            )
        except Exception as error:
            if connector.answer is None:
                return LaneFault("not_reached", bounded(self._options.masked(str(error))))
        return connector.answer or LaneFault("unknown", "There was no answer.")

    def _ready_pool(self) -> Any:
        if self._pool is None:
            import certifi
            import urllib3

            given: dict[str, Any] = {"maxsize": THREADS, "cert_reqs": "CERT_REQUIRED", "ca_certs": certifi.where()}
            login = unquote(urlsplit(self._options.proxy).netloc.rpartition("@")[0])
            if not self._options.proxy:
                self._pool = urllib3.PoolManager(**given)
            else:
                headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
                self._pool = urllib3.ProxyManager(self._options.proxy, proxy_headers=headers, **given)
        return self._pool

    def _understood(self, answer: Answer) -> dict[str, Any]:
        fields = parsed(answer.body)
        if 200 <= answer.status < 300 and fields and "error" not in fields:
            return fields
        fault = admin_fault(answer, self._now())
        if answer.status == 404 and "resource not found" in fault.text.casefold():
            raise Missing(fault)
        raise StoreTrouble(LaneFault(fault.code, self._options.masked(fault.text), fault.retry_after_s))


# ---- remarks of `comfyledger doctor`
# The folder mode decides under which names assets appear in the media library. With a wrong clock, signatures are not
# accepted. Without budget, no new series can be asked for.

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
    """The largest files of each type that the account takes."""
    limits = limits_of(usage)
    if "image" not in limits:
        return Remark("warning", "The account does not say how large images may be.", "see the plan in its console")
    told = ", ".join(f"{PLURALS[kind]} up to {limit:,} bytes" for kind, limit in limits.items())
    return Remark("ok", f"The account takes {told}.")


def limits_of(usage: Mapping[str, Any]) -> dict[Kind, int]:
    """The largest file of each resource type in bytes, as far as the account says it."""
    limits = usage.get("media_limits")
    said = {kind: limits.get(f"{kind}_max_size_bytes") for kind in KINDS} if isinstance(limits, dict) else {}
    return {kind: limit for kind, limit in said.items() if isinstance(limit, int)}


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
