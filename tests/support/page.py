"""The web page in a real browser, driven by Playwright: signed-in tabs, and what axe says about them.

Errors of the page's scripts and violations of its Content-Security-Policy fail the test that opened the tab.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright, expect

CHROMIUM = shutil.which("chromium")
WIDE, NARROW = 1280, 360
"""The widths, in pixels, at which every view is looked at."""
AXE = Path(__file__).parents[2] / "clients" / "page" / "node_modules" / "axe-core" / "axe.min.js"
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OFF = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup"]
"""Pages that the browser opens for its own suggestions, one pair for each tab. They cost more than the tab itself."""
OFF += ["AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "MediaRouter"]
OFF += ["PaintHolding", "ThirdPartyStoragePartitioning"]
"""Playwright turns these off. Of a switch that is given twice, only the last counts."""
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", f"--disable-features={','.join(OFF)}"]
WAIT_MS = 60_000
ANSWER_S = 60.0
"""How long the browser may take for what takes a moment."""
expect.set_options(timeout=WAIT_MS)
MAIN_THREAD = "CrRendererMain"
TRACED = ["toplevel", "devtools.timeline", "__metadata"]
COMMANDS = "blink.mojom.DevToolsSession"
"""Where the browser takes the commands of a test."""
TASK_MS_MAX = 50.0
INTERACTION_MS_MAX = 100.0
ATTEMPTS = 3


class Browsers:
    """A browser without any profile that many tests share. It is begun when it is needed, and again after trouble."""

    def __init__(self) -> None:
        self._made = AsyncExitStack()
        self._browser: Browser | None = None

    async def one(self) -> Browser:
        if self._browser is None:
            playwright = await self._made.enter_async_context(async_playwright())
            self._browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            self._made.push_async_callback(self._browser.close)
        return self._browser

    async def tidy(self) -> None:
        """Close what a test has left open. A browser that does not answer any more is given up."""
        try:
            async with asyncio.timeout(ANSWER_S):
                for context in [] if self._browser is None else self._browser.contexts:
                    await context.close()
                if self._browser is not None:
                    await (await self._browser.new_browser_cdp_session()).detach()
        except (Error, TimeoutError):
            await self.end()

    async def end(self) -> None:
        """End the browser and its driver, as far as they live."""
        made, self._made, self._browser = self._made, AsyncExitStack(), None
        with contextlib.suppress(Error, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await made.aclose()


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A new browser."""
    browsers = Browsers()
    try:
        yield await browsers.one()
    finally:
        await browsers.end()


@asynccontextmanager
async def tab(browser: Browser, width: int = WIDE, **more: Any) -> AsyncIterator[Page]:
    """A tab with storage of its own. `more`: of Playwright's `new_context`, such as `color_scheme`."""
    context = await browser.new_context(viewport={"width": width, "height": 900}, **more)
    page = await context.new_page()
    page.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.extend(_breach(message)))
    try:
        yield page
    finally:
        await context.close()
    assert faults == [], faults


OF_THE_BROWSER = "Connecting to 'data:image/"
"""Chromium 156 sometimes reports that it connects to a picture of the page that is replaced while it is drawn (seen in
1 of 17 runs with previews, on a busy machine). The page never does, and no server is reached."""


def _breach(message: ConsoleMessage) -> list[str]:
    is_breach = message.type == "error" and "Content Security Policy" in message.text
    return [message.text] if is_breach and not message.text.startswith(OF_THE_BROWSER) else []


async def sign_in(page: Page, url: str, token: str, view: str = "now") -> None:
    """Sign in with a token, as a person does, and go on to a view (without `#/`)."""
    await page.goto(f"{url}/#/{view}")
    await page.get_by_label("Token").fill(token)
    await page.get_by_label("Token").press("Enter")
    await page.get_by_role("navigation").wait_for()


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus has this name."""
    named = (
        "() => { const at = document.activeElement; return at.ariaLabel ?? at.labels?.[0]?.innerText ?? at.innerText }"
    )
    for _ in range(80):
        await page.keyboard.press("Tab")
        if str(await page.evaluate(named)).strip() == name:
            return
    raise AssertionError(f"Tab leads to no {name!r}")


async def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is shown now: the rule, and where."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    asked = {"runOnly": AXE_RULES, "resultTypes": ["violations"]}
    found = await page.evaluate("(asked) => axe.run(asked).then(({ violations }) => violations)", asked)
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


async def overflow_px(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    wide: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide


@dataclass(slots=True)
class Traced:
    """What the page's main thread did, in milliseconds in which it had the processor. Other processes of a busy machine
    do not count, as they would in `PerformanceObserver`'s long tasks and events; neither do the test's own commands.
    """

    tasks_ms: list[float] = field(default_factory=list)
    interactions_ms: list[float] = field(default_factory=list)
    """Clicks and keys: all tasks from the input to the frame that shows its result, also those that it waited for."""

    def slow(self) -> list[str]:
        """What took longer than a person should wait."""
        tasks = [f"a task of {took:.0f} ms" for took in self.tasks_ms if took >= TASK_MS_MAX]
        return tasks + [
            f"a key or click of {took:.0f} ms" for took in self.interactions_ms if took >= INTERACTION_MS_MAX
        ]


async def quick(browser: Browser, page: Page, act: Callable[[int], Awaitable[None]]) -> Traced:
    """Act, with the number of the attempt, and be never slow. The processor time of a virtual machine holds also what
    its host took from it: that happens now and then, but what the page needs itself it needs at each attempt.
    """
    for attempt in range(ATTEMPTS):
        async with traced(browser, page) as measured:
            await act(attempt)
        if not measured.slow():
            return measured
    raise AssertionError(f"{ATTEMPTS} attempts were slow, the last with {', '.join(measured.slow())}")


@asynccontextmanager
async def traced(browser: Browser, page: Page) -> AsyncIterator[Traced]:
    """Measure what happens inside; the result is there once it is over."""
    measured = Traced()
    await browser.start_tracing(page=page, categories=TRACED)
    try:
        yield measured
    finally:
        trace = await browser.stop_tracing()  # or the next test could begin none
    _read(json.loads(trace)["traceEvents"], measured)


def _read(events: list[dict[str, Any]], measured: Traced) -> None:
    """Fill in what the events of a trace say."""
    named = [event for event in events if event["name"] == "thread_name" and event["args"]["name"] == MAIN_THREAD]
    mains = {(event["pid"], event["tid"]) for event in named}
    timed = [event for event in events if "tdur" in event and (event["pid"], event["tid"]) in mains]
    ran = sorted((event for event in timed if "RunTask" in event["name"]), key=lambda task: int(task["ts"]))
    asked = sorted(int(event["ts"]) for event in timed if _is_command(event))
    tasks = [task for task in ran if not _holds(task, asked)]
    measured.tasks_ms += [_processor_ms(task) for task in tasks]
    ends = [task["ts"] + task["dur"] for task in tasks]  # in order too, because a thread does one task after the other
    for begin, end in _interactions(events):
        meanwhile = tasks[bisect_right(ends, begin) : bisect_left(tasks, end, key=lambda task: int(task["ts"]))]
        measured.interactions_ms.append(sum(_processor_ms(task) for task in meanwhile))


def _is_command(event: dict[str, Any]) -> bool:
    told = event["args"].get("chrome_mojo_event_info", {})
    return bool(told.get("mojo_interface_tag") == COMMANDS)


def _holds(task: dict[str, Any], moments: list[int]) -> bool:
    """Whether one of these moments, in order, lies within the task."""
    following = bisect_left(moments, task["ts"])
    return following < len(moments) and moments[following] <= task["ts"] + task["dur"]


def _processor_ms(task: dict[str, Any]) -> float:
    """A thread's clock of processor time may jump by whole ticks, beyond what has passed."""
    return float(min(task["tdur"], task["dur"])) / 1_000


def _interactions(events: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Begin and end of each input that the browser counts as an interaction (Event Timing), in microseconds."""
    timed = [event for event in events if event["name"] == "EventTiming" and event["ph"] == "b"]
    about = [(event["ts"], event["args"].get("data", {})) for event in timed]
    return [(begin, begin + int(1_000 * data["duration"])) for begin, data in about if data.get("interactionId")]
