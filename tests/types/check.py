"""Makes TypeScript types from the documents that `comfyledger schema` prints, and compiles a program that uses them.
Holds the AsyncAPI document against AsyncAPI's own schema.

    python tests/types/check.py

The tools are pinned in package.json and package-lock.json. Where a line of the program is wrong on purpose, the
compiler must refuse it. Without node nothing is checked, and a line says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema

HERE = Path(__file__).resolve().parent
GENERATED = HERE / "generated"
TOOLS = HERE / "node_modules" / ".bin"


def run(*words: str | Path, timeout_s: float = 120) -> None:
    """Raises CalledProcessError or TimeoutExpired."""
    subprocess.run(list(map(str, words)), cwd=HERE, check=True, timeout=timeout_s)


def document(kind: str) -> Path:
    """What `comfyledger schema` prints, as a file."""
    path = GENERATED / f"{kind}.json"
    with path.open("wb") as file:
        words = [sys.executable, "-m", "comfyledger", "schema", "--format", kind]
        subprocess.run(words, stdout=file, check=True, timeout=60)
    return path


def faults_of_asyncapi(path: Path) -> list[str]:
    """What AsyncAPI's own schema has against the document."""
    rules = json.loads((HERE / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text("utf-8"))
    found = jsonschema.Draft7Validator(rules).iter_errors(json.loads(path.read_text("utf-8")))
    return [f"{fault.json_path}: {fault.message[:300]}" for fault in found]


def main() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("test-types: skipped, there is no node on this machine")
        return
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", timeout_s=300)
    GENERATED.mkdir(exist_ok=True)
    wire = document("json-schema")
    run(TOOLS / "json2ts", "--additionalProperties=false", "-i", wire, "-o", GENERATED / "wire.d.ts")
    run(TOOLS / "openapi-typescript", document("openapi"), "--output", GENERATED / "api.d.ts")
    run(TOOLS / "tsc", "-p", ".")
    if faults := faults_of_asyncapi(document("asyncapi")):
        sys.exit("\n".join(faults))
    print("test-types: the types compile, and what is misspelt does not")


if __name__ == "__main__":
    main()
