"""Writes what the TypeScript client takes from the wire: `src/wire.ts` (types) and `src/routes.ts` (HTTP routes).

    python clients/typescript/generate.py           writes both files
    python clients/typescript/generate.py --check   exits 1 if a committed file is not current

json-schema-to-typescript, pinned in package-lock.json, makes the types from the document that `comfyledger schema`
prints: run `npm ci` here first. The first line of `src/wire.ts` has the digest of that document, so that a test without
node sees that the types are not current.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from comfyledger.wire.routes import INPUTS, LISTS, ROUTES, Route
from comfyledger.wire.schema.json_schema import json_schema

HERE: Final = Path(__file__).resolve().parent
TYPES: Final = HERE / "src" / "wire.ts"
TABLE: Final = HERE / "src" / "routes.ts"
TOOL: Final = HERE / "node_modules" / ".bin" / "json2ts"
MARK: Final = "// Made by generate.py from the JSON Schema of the wire, sha256 "


def schema_digest() -> str:
    """SHA-256 of the JSON Schema of the wire, in a form in which only its content counts."""
    return hashlib.sha256(json.dumps(json_schema(), sort_keys=True).encode()).hexdigest()


def types() -> str:
    """Raises CalledProcessError, TimeoutExpired."""
    words = [str(TOOL), "--additionalProperties=false", "--bannerComment", f"{MARK}{schema_digest()}"]
    made = subprocess.run(
        words, input=json.dumps(json_schema()), capture_output=True, check=True, text=True, timeout=120, cwd=HERE
    )
    return made.stdout


def table() -> str:
    """For each request the route with the fewest parameters in its path: `explain`, not the story of an image."""
    chosen: dict[str, Route] = {}
    for route in ROUTES:
        best = chosen.get(route.kind)
        if not route.part and (best is None or len(route.in_path) < len(best.in_path)):
            chosen[route.kind] = route
    lines = [f"  {kind}: {json.dumps(_row(route))},\n" for kind, route in sorted(chosen.items())]
    return (
        "// Made by generate.py from the routes of the wire.\n\n"
        "/** Where a request is over HTTP. `renamed`: parameters of the query that differ from their field. */\n"
        "export interface Route {\n  method: string;\n  path: string;\n  renamed?: Record<string, string>;\n}\n\n"
        "export const ROUTES = {\n" + "".join(lines) + "} satisfies Record<string, Route>;\n\n"
        "/** Over HTTP, the events of a subscription. */\n"
        f"export const EVENTS = {json.dumps(_events())};\n\n"
        "/** PUT takes the bytes of an input file. */\n"
        f"export const INPUTS = {json.dumps(INPUTS)};\n\n"
        "/** Fields that are lists; in a query their values are separated by commas. */\n"
        f"export const LISTS: readonly string[] = {json.dumps(sorted(LISTS))};\n"
    )


def _row(route: Route) -> dict[str, object]:
    renamed = {field: parameter for parameter, field in route.renamed.items()}
    return {"method": route.method, "path": route.path} | ({"renamed": renamed} if renamed else {})


def _events() -> str:
    (path,) = [route.path for route in ROUTES if route.stream]
    return path


def main(words: list[str]) -> None:
    stale = [path for path, text in ((TYPES, types()), (TABLE, table())) if not _is(path, text, write=not words)]
    if words and stale:
        sys.exit(f"Not current: {', '.join(path.name for path in stale)}. Run `make typescript-types`.")


def _is(path: Path, text: str, *, write: bool) -> bool:
    """Whether a file has this text. `write`: make it so."""
    if write:
        path.write_text(text, "utf-8")
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    main(sys.argv[1:])
