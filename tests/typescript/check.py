"""Tests of the TypeScript client in clients/typescript against a real daemon and a stand-in for ComfyUI.

    python tests/typescript/check.py

The committed types are current; the client compiles under `tsc --strict`; its tests in clients/typescript/tests pass in
Node, over a websocket and over Server-Sent Events; a page on an allowed origin follows a batch in Chromium; and what
`npm pack` makes is complete: the README's example runs from a fresh folder. Daemons are killed in the middle.

Without Node 20 nothing is checked, and a line says so. So it does for what needs Chromium or a WebSocket in Node.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from typescript import in_browser, in_node, packed
from typescript.tools import CLIENT, COMPILER, missing_tools, run


def prepare() -> None:
    """Raises CalledProcessError: the tools, the types and the compiler's word about client and tests."""
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", timeout_s=300)
    run(sys.executable, CLIENT / "generate.py", "--check")
    for output in ("dist", "build"):
        shutil.rmtree(CLIENT / output, ignore_errors=True)
    run(COMPILER, "-p", CLIENT)
    run(COMPILER, "-p", CLIENT / "tests")


def main() -> None:
    if why := missing_tools():
        print(f"test-typescript: skipped, {why}")
        return
    prepare()
    for part in (in_node.check, in_browser.check, packed.check):
        with tempfile.TemporaryDirectory(prefix="comfyledger-typescript-") as folder:
            asyncio.run(part(Path(folder)))
    print("test-typescript: the client works in Node and in Chromium, over killed daemons, and from its package")


if __name__ == "__main__":
    main()
