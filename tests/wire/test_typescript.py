"""The TypeScript client, as far as it can be checked without node: its types are those of the wire, its page names its
methods. `make test-typescript` does the rest."""

from __future__ import annotations

import importlib.util
import re

from support.documents import ROOT, TYPESCRIPT, blocks, rows, section

GENERATE = ROOT / "clients" / "typescript" / "generate.py"
CLIENT = (ROOT / "clients" / "typescript" / "src" / "client.ts").read_text("utf-8")


def test_the_types_of_the_typescript_client_are_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", GENERATE)
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    first, *_ = generate.TYPES.read_text("utf-8").splitlines()
    anew = "the wire has changed: run `make typescript-types`"
    assert first == f"{generate.MARK}{generate.schema_digest()}", anew
    assert generate.TABLE.read_text("utf-8") == generate.table(), anew


def signatures(source: str) -> dict[str, str]:
    """The public methods of the class `Client` with their signatures, each on one line."""
    body = source.partition("export class Client {")[2].partition("\n}\n")[0]
    found = re.findall(r"^  (?:async )?((\w+)[(<].*?) \{(?=\n(?! *\"|  \)))", body, re.MULTILINE | re.DOTALL)
    return {name: on_one_line(text) for text, name in found}


def on_one_line(text: str) -> str:
    return re.sub(r",? ?\)", ")", re.sub(r"\( ", "(", " ".join(text.split())))


def test_every_method_of_the_typescript_client_is_documented_with_its_signature() -> None:
    titles = re.findall(r"^### (.+)$", TYPESCRIPT, re.MULTILINE)
    shown = {title: on_one_line(blocks(section(TYPESCRIPT, title), "ts")[0][1]) for title in titles}
    assert shown == signatures(CLIENT)
    assert {"constructor", "submit", "follow", "addInput"} <= shown.keys()


def test_every_option_of_the_typescript_client_is_documented() -> None:
    options = CLIENT.partition("export interface ClientOptions {")[2].partition("\n}\n")[0]
    names = re.findall(r"^  (\w+)\??:", options, re.MULTILINE)
    assert [row[0].strip("`") for row in rows(section(TYPESCRIPT, "constructor"))] == names
