"""The documents against the code: what they name exists, what exists is in them, and their examples are valid.

Nothing is started here; what has to run (the example, the conversation, the commands) runs in
tests/whole/test_example.py.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import msgspec
import pytest
from msgspec.structs import replace

import comfyledger_cloudinary.account
import comfyledger_folder.store
import comfyledger_objects.options
from comfyledger import client, settings, wire, workflows
from comfyledger.cli.base import EXIT_CODES
from comfyledger.cli.main import cli
from comfyledger.client.sync import SyncClient
from comfyledger.core.events import KINDS, Event
from comfyledger.core.naming.names import Templates, name_of, series_of
from comfyledger.core.rows import ImageState, PromptState, UploadState
from comfyledger.errors import CODES
from comfyledger.wire.problems import Problem, status_of
from comfyledger.wire.routes import ROUTES
from comfyledger.wire.schema.json_schema import json_schema
from comfyledger_objects.options import KNOWN
from support.documents import (
    ARCHITECTURE,
    BACKENDS,
    CLI,
    CLIENT,
    CONFIG,
    DOCUMENTS,
    EVENTS,
    GLOSSARY,
    HTTP,
    METRICS,
    PROMISES,
    README,
    ROOT,
    STORES,
    WIRE,
    blocks,
    components,
    conversation,
    fields_in_words,
    headings,
    rows,
    section,
    shell_lines,
    tables,
    without_links,
)

WIRE_TYPES = components([*wire.REQUESTS.values(), *wire.ANSWERS.values(), *dict.fromkeys(wire.RESULTS.values())])
WIRE_TITLES = {
    **{name: message.__name__ for name, message in wire.REQUESTS.items()},
    **{name: answer.__name__ for name, answer in wire.ANSWERS.items()},
}
"""The heading of a message is its type on the wire; the parts that it is made of are headed by their own names."""
EVENT_TYPES = components(list(KINDS.values()))


def titles_of(types: dict[str, Any], named: dict[str, str]) -> dict[str, str]:
    parts = {name: name for name in types if name not in named.values()}
    return named | parts


WIRE_HEADED = titles_of(WIRE_TYPES, WIRE_TITLES)
EVENTS_HEADED = titles_of(EVENT_TYPES, {kind: event.__name__ for kind, event in KINDS.items()})


# ---- the wire


@pytest.mark.parametrize("title", WIRE_HEADED)
def test_every_message_of_the_wire_is_documented_field_by_field(title: str) -> None:
    kind, found = WIRE_TYPES[WIRE_HEADED[title]], section(WIRE, title)
    assert [[*row[:3], without_links(row[3])] for row in rows(found)] == fields_in_words(kind)
    assert without_links(found).strip().startswith(" ".join(kind["description"].split()))


def test_nothing_is_documented_that_is_not_on_the_wire() -> None:
    for title in ("Requests", "Other messages of the daemon", "Results and their parts"):
        assert set(re.findall(r"^### (.+)$", section(WIRE, title, "##"), re.MULTILINE)) <= set(WIRE_HEADED)


def test_every_error_code_is_documented_with_its_sentence_and_no_other() -> None:
    assert rows(section(WIRE, "Error codes", "##")) == [[f"`{code}`", sentence] for code, sentence in CODES.items()]


def test_every_request_says_what_answers_it() -> None:
    for name, result in wire.RESULTS.items():
        assert f"Answer: [{result.__name__}](#{result.__name__.lower()})." in section(WIRE, name)


def test_every_message_has_an_example() -> None:
    shown = {json.loads(body)["type"] for mark, body in blocks(WIRE, "json") if not mark}
    assert shown == {*wire.REQUESTS, *wire.ANSWERS}
    assert {mark for mark, _ in blocks(WIRE, "json") if mark} == {f"result of {name}" for name in wire.RESULTS}


def examples() -> Iterator[tuple[str, str]]:
    """Every frame that is shown: its text, and the request that it answers (empty for all but results)."""
    for mark, body in blocks(WIRE, "json"):
        yield body, mark.removeprefix("result of ")
    asked = {json.loads(frame)["id"]: json.loads(frame)["type"] for side, frame in conversation() if side == ">"}
    for side, frame in conversation():
        answered = json.loads(frame)["type"] == "result" and side == "<"
        yield frame, asked[json.loads(frame)["id"]] if answered else ""


def test_every_example_is_a_frame_exactly_as_it_would_be_sent() -> None:
    for frame, answers in examples():
        assert sent_as(frame, answers) == json.loads(frame)


def sent_as(frame: str, answers: str) -> Any:
    """What would be sent in place of a frame."""
    envelope = wire.read_envelope(frame)
    said: wire.Message | wire.Answer
    if answers:
        said = wire.read_result(wire.REQUESTS[answers], envelope)
    elif envelope.type in wire.REQUESTS:
        said = wire.read_request(wire.read_asked(frame.encode()))
    else:
        said = wire.read_answer(envelope)
    return json.loads(wire.frame(envelope.type, said, envelope.id))


# ---- HTTP


def test_every_route_is_documented_with_its_request_and_its_answer() -> None:
    shown = [[re.sub(r"\(.*?\)", "", cell) for cell in row] for row in rows(section(HTTP, "Routes", "##"))]
    assert shown == [
        [
            f"`{route.method} {route.path}`",
            ", ".join(f"[{kind}]" for kind in (route.kind, route.stream) if kind),
            f"{route.status} [{wire.RESULTS[route.kind].__name__}]" + (f", `{route.part}` alone" if route.part else ""),
        ]
        for route in ROUTES
    ]


def test_every_status_is_documented_with_its_codes() -> None:
    shown = {
        int(status): set(re.findall(r"`([a-z_]+)`", codes)) for status, codes in rows(section(HTTP, "Refusals", "##"))
    }
    for status, codes in shown.items():
        assert {status_of(code) for code in codes} <= {status}
    assert set(shown) == {status_of(code) for code in CODES}


def test_the_problem_that_is_shown_is_one() -> None:
    ((_, shown),) = blocks(HTTP, "json")
    problem = msgspec.json.decode(shown, type=Problem)
    assert problem.title == CODES[problem.code]
    assert problem.status == status_of(problem.code)


SHA256 = "478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"
SAMPLES: dict[type[wire.Message], wire.Message] = {
    wire.Hello: wire.Hello("my-app"),
    wire.SubmitBatch: wire.SubmitBatch("r", "Areg", "Opal Fever", images=[wire.ImageAsked({"prompt": "x"}, 7)]),
    wire.DescribeWorkflow: wire.DescribeWorkflow("text-to-image"),
    wire.CheckWorkflow: wire.CheckWorkflow({"1": {"class_type": "A", "inputs": {}}}, strict=True),
    wire.OpenSeries: wire.OpenSeries("Areg", "Opal Fever", premade=True),
    wire.GetBatch: wire.GetBatch("b"),
    wire.ListBatches: wire.ListBatches(username="Areg", limit=3),
    wire.GetImage: wire.GetImage("b/1"),
    wire.GetRecipe: wire.GetRecipe("b/1", graph=True),
    wire.ListImages: wire.ListImages(state="parked"),
    wire.CountImages: wire.CountImages(username="Areg", by="state", cursors_every=100),
    wire.ListCharacters: wire.ListCharacters(before="opal-fever"),
    wire.AddInput: wire.AddInput("https://images.example/portrait.png"),
    wire.ListInputs: wire.ListInputs(before=f"1795377407458-{SHA256}"),
    wire.ForgetInput: wire.ForgetInput(f"sha256:{SHA256}", all_labels=True),
    wire.AddBackend: wire.AddBackend("gpu-7", "http://gpu-7.example:8188", ["flux"], 60, 2),
    wire.RemoveBackend: wire.RemoveBackend("gpu-7", move=True),
    wire.GiveUpBox: wire.GiveUpBox("north"),
    wire.Cancel: wire.Cancel("b", [1]),
    wire.Retry: wire.Retry("b"),
    wire.SetPriority: wire.SetPriority("b", "high"),
    wire.Recover: wire.Recover("old", dry_run=True),
    wire.Forget: wire.Forget(username="Areg", stores=True),
    wire.Pause: wire.Pause("user:Areg"),
    wire.Move: wire.Move("backend:main"),
    wire.Resume: wire.Resume(),
    wire.Subscribe: wire.Subscribe(after=2, epoch="e", kinds=["image_kept"]),
    wire.Unsubscribe: wire.Unsubscribe("s1"),
    wire.ReadLog: wire.ReadLog(upto=9, epoch="e", kinds=["image_kept"], reverse=True),
    wire.Explain: wire.Explain("17", "Areg", "Opal Fever"),
    wire.ServerInfo: wire.ServerInfo(),
    wire.SurveyStore: wire.SurveyStore("folder", cursor="c"),
    wire.RaiseSeries: wire.RaiseSeries("folder", [wire.SeriesFound("f", "s_", 57)]),
    wire.AddWebhook: wire.AddWebhook("shop", "https://shop.example/hooks/images", ["batch_settled"]),
    wire.RemoveWebhook: wire.RemoveWebhook("shop"),
    wire.Review: wire.Review(["b/1"], "rejected", 2, forget=True, stores=True),
    wire.ListWebhooks: wire.ListWebhooks(),
    wire.TestWebhook: wire.TestWebhook("shop"),
    wire.ListChecks: wire.ListChecks(),
    wire.GetActivity: wire.GetActivity(1, 2, 600),
    wire.ReplayWebhook: wire.ReplayWebhook("shop", since_position=7, dry_run=True),
}


@pytest.mark.parametrize("name", wire.REQUESTS)
def test_the_json_schema_agrees_with_what_is_sent(name: str) -> None:
    schemas, message = json_schema(), wire.REQUESTS[name]
    assert schemas["requests"][name]["properties"]["data"] == {"$ref": f"#/$defs/{message.__name__}"}
    schema = schemas["$defs"][message.__name__]
    fields = msgspec.structs.fields(message)
    assert list(schema["properties"]) == [field.encode_name for field in fields]
    assert schema["required"] == [field.encode_name for field in fields if field.required]
    assert schema["additionalProperties"] is False
    sent = json.loads(wire.request_frame(SAMPLES[message], 1))["data"]
    assert set(schema["required"]) <= set(sent) <= set(schema["properties"])
    assert wire.read_request(wire.read_envelope(wire.request_frame(SAMPLES[message], 1))) == SAMPLES[message]


# ---- the events


@pytest.mark.parametrize("title", EVENTS_HEADED)
def test_every_event_is_documented_field_by_field(title: str) -> None:
    kind, found = EVENT_TYPES[EVENTS_HEADED[title]], section(EVENTS, title)
    assert [[*row[:3], without_links(row[3])] for row in rows(found)] == fields_in_words(kind)
    assert without_links(found).strip().startswith(" ".join(kind["description"].split()))


def test_no_event_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^### (.+)$", EVENTS, re.MULTILINE)) == set(EVENTS_HEADED)
    assert set(KINDS.values()) == set(Event.__subclasses__())


@pytest.mark.parametrize(("mark", "states"), [("PromptState", PromptState), ("ImageState", ImageState)])
def test_the_state_diagrams_know_the_states_and_events_of_the_code(mark: str, states: Any) -> None:
    (diagram,) = [body for found, body in blocks(ARCHITECTURE, "mermaid") if found == f"states: {mark}"]
    edges = re.findall(r"^ +(\S+) --> (\S+): (.+)$", diagram, re.MULTILINE)
    assert {state for edge in edges for state in edge[:2]} - {"[*]"} == set(get_args(states))
    assert {word for edge in edges for word in re.findall(r"[a-z]+_[a-z_]+", edge[2])} <= set(KINDS)


PACKAGES = sorted(path.parent.name for path in (ROOT / "daemon" / "comfyledger").glob("*/__init__.py"))
LAYERS = [
    name.strip()
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    for layer in contract.get("layers", [])
    for name in layer.split("|")
]


def test_every_package_has_its_paragraph() -> None:
    described = re.findall(r"^- \*\*`(\w+)/`", section(ARCHITECTURE, "Packages", "##"), re.MULTILINE)
    assert sorted(described) == PACKAGES


def test_the_picture_of_the_packages_has_the_layers_in_their_order() -> None:
    picture = blocks(section(ARCHITECTURE, "1. Packages and imports", "##"), "text")[0][1]
    left = re.sub(r" (?:client|sim)/ .*", "", picture)
    places = [
        found.start() if (found := re.search(rf"(?:^|▶ |│ ){name}\b", left, re.MULTILINE)) else -1 for name in LAYERS
    ]
    assert -1 not in places
    assert places == sorted(places)


# ---- the configuration


SECTIONS: dict[str, tuple[type[settings.Section], settings.Section | None]] = {
    "": (settings.Settings, settings.Settings()),
    "door": (settings.Door, settings.Door()),
    "ledger": (settings.LedgerFile, settings.LedgerFile()),
    "box": (settings.Box, settings.Box()),
    "spool": (settings.Spool, settings.Spool()),
    "inputs": (settings.Inputs, settings.Inputs()),
    "thumbnails": (settings.Thumbnails, settings.Thumbnails()),
    "naming": (settings.Naming, settings.Naming()),
    "limits": (settings.Limits, settings.Limits()),
    "scheduling": (settings.Scheduling, settings.Scheduling()),
    "backends": (settings.Backends, settings.Backends()),
    "logging": (settings.Logging, settings.Logging()),
    "comfyui.main": (settings.ComfyUI, settings.ComfyUI()),
    "workflows.mine": (settings.Workflow, None),
    "characters.opal-fever": (settings.Character, None),
    "webhooks.shop": (settings.Webhook, None),
}
MACHINE = {"door.unix_path", "door.unix_group", "state_dir", "ledger.path", "spool.path", "inputs.path"}
"""Keys whose default depends on the machine: they are shown, and not set."""
NOT_KEYS = {
    "source",
    "door",
    "ledger",
    "box",
    "spool",
    "inputs",
    "thumbnails",
    "naming",
    "limits",
    "logging",
    "comfyui",
    "stores",
    "workflows",
    "characters",
    "plugins",
    "webhooks",
    "scheduling",
    "backends",
}
UNITS = {"_s": "second", "_days": "day", "bytes_max": "byte", "pixels_max": "pixel", "chars_max": "character"}


SHARED = set(KNOWN["gcs"]) & set(KNOWN["azure"]) - {"credential"}
"""Options of object stores that every kind has: config.toml shows them once, for S3."""


def config_keys() -> dict[str, tuple[str, bool]]:
    """Every key that config.toml shows, by its whole name: the comment right above it, and whether it is set."""
    found: dict[str, tuple[str, bool]] = {}
    place, comment = "", ""
    for line in CONFIG.splitlines():
        if header := re.fullmatch(r"#?\[([a-z0-9.-]+)\]", line):
            place, comment = header[1] + ".", ""
        elif key := re.match(r"(#?)([a-z_]+) = ", line):
            found[place + key[2]] = (comment, not key[1])
            comment = ""
        else:
            comment = f"{comment} {line[2:]}" if line.startswith("# ") else ""
    return found


def documented_keys() -> dict[str, Any]:
    """Every key that the settings have, by its whole name, with its default."""
    return {
        f"{place}.{field.name}" if place else field.name: getattr(defaults, field.name, None)
        for place, (kind, defaults) in SECTIONS.items()
        for field in msgspec.structs.fields(kind)
        if place or field.name not in NOT_KEYS
    }


def test_config_toml_is_exactly_the_defaults() -> None:
    assert replace(settings.load(ROOT / "config.toml"), source="") == settings.load(None)


def test_config_toml_shows_every_key_with_its_default_unit_and_reason() -> None:
    shown = config_keys()
    raw = tomllib.loads(CONFIG)
    for name, default in documented_keys().items():
        comment, is_set = shown[name]
        assert len(comment.split()) >= 4, f"{name} has no reason"
        assert is_set != (name in MACHINE or name.startswith(("workflows.mine", "characters.", "webhooks."))), name
        if is_set:
            value: Any = raw
            for part in name.split("."):
                value = value[part]
            assert (tuple(value) if isinstance(value, list) else value) == default, name
        for suffix, unit in UNITS.items():
            assert not name.endswith(suffix) or unit in comment.lower(), f"{name} does not say its unit"


def test_config_toml_shows_no_key_that_does_not_exist() -> None:
    beside = {f"workflows.{name}.inputs.{key}" for name, sample in workflows.SAMPLES.items() for key in sample.inputs}
    beside |= {f"workflows.{name}.file" for name in workflows.SAMPLES}
    beside |= {f"stores.folder.{option}" for option in ("kind", *comfyledger_folder.store.OPTIONS)}
    beside |= {f"plugins.cloudinary.{option}" for option in comfyledger_cloudinary.account._KNOWN}
    beside |= {f"plugins.s3.{option}" for option in KNOWN["s3"]}
    for kind in ("gcs", "azure"):
        beside |= {f"plugins.{kind}.{option}" for option in KNOWN[kind] if option == "bucket" or option not in SHARED}
    assert set(config_keys()) == set(documented_keys()) | beside


def test_config_toml_shows_the_defaults_of_the_cloudinary_store() -> None:
    shown = tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", CONFIG))["plugins"]["cloudinary"]
    account = {"cloud_name": "c", "api_key": "k", "api_secret": "s"}
    defaults = comfyledger_cloudinary.account.options_from("x", account, {})
    for option in comfyledger_cloudinary.account._CHECKS:
        assert type(getattr(defaults, option))(shown[option]) == getattr(defaults, option), option
    assert shown["upload_prefix"] == defaults.account.upload_prefix


def test_config_toml_shows_the_defaults_of_the_object_stores() -> None:
    shown = tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", CONFIG))["plugins"]["s3"]
    defaults = comfyledger_objects.options.options_from("x", "s3", {"bucket": "images"}, {})
    for option in comfyledger_objects.options.CHECKS:
        assert type(getattr(defaults, option))(shown[option]) == getattr(defaults, option), option


def test_what_config_toml_shows_and_does_not_set_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    everything = tmp_path / "config.toml"
    everything.write_text(re.sub(r"(?m)^#(?=\S)", "", CONFIG), "utf-8")
    loaded = settings.load(everything)
    assert {name: dict(sample.inputs) for name, sample in workflows.SAMPLES.items()} == {
        name: loaded.workflows[name].inputs for name in workflows.SAMPLES
    }
    defaults = settings.load(None)
    assert loaded.state_dir == defaults.state_dir
    assert loaded.stores == {"folder": {**defaults.stores["folder"], "shared": False}}
    assert (loaded.ledger_path, loaded.spool_path) == (defaults.ledger_path, defaults.spool_path)
    assert loaded.inputs_path == defaults.inputs_path


# ---- the README


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readmes_python_is_the_example() -> None:
    assert [body for _, body in blocks(README, "python")] == [
        (ROOT / "examples" / "follow_a_batch.py").read_text("utf-8")
    ]


def test_the_scaler_that_is_shown_is_the_example() -> None:
    ((_, shown),) = blocks(BACKENDS, "python")
    assert shown == (ROOT / "examples" / "scale_comfyuis.py").read_text("utf-8")


def test_the_several_comfyuis_that_are_shown_can_be_configured(tmp_path: Path) -> None:
    ((_, shown),) = blocks(BACKENDS, "toml")
    path = tmp_path / "config.toml"
    path.write_text(shown)
    found = settings.load(path)
    assert (list(found.comfyui), found.comfyui["big"].tags) == (["small", "big"], ("flux", "48gb"))
    assert found.workflows["portrait"].needs == ("flux",)


def test_every_metric_that_is_explained_exists() -> None:
    known = set(re.findall(r"^\| `(comfyledger_\w+)`", METRICS, re.MULTILINE))
    assert set(re.findall(r"comfyledger_\w+", BACKENDS)) <= known


def test_the_readme_links_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w./]+\.md)(?:#[\w-]+)?\)", README))
    pages = {str(path.relative_to(ROOT)) for path in DOCUMENTS if path.parent in {ROOT, ROOT / "docs"}}
    assert linked == pages - {"README.md"}


# ---- the promises


def promises(text: str) -> dict[int, tuple[str, str]]:
    """Each promise by its number: its own line, and the lines below it."""
    found = re.findall(r"^(\d+)\. (.*)((?:\n   .*)*)", text, re.MULTILINE)
    return {int(number): (line, rest) for number, line, rest in found}


def test_the_readme_has_every_promise_in_one_line() -> None:
    proven = {number: line for number, (line, _) in promises(PROMISES).items()}
    assert {number: line for number, (line, _) in promises(section(README, "Promises", "##")).items()} == proven
    assert list(proven) == list(range(1, 12))


def test_every_promise_names_the_tests_that_prove_it() -> None:
    for number, (_, rest) in promises(PROMISES).items():
        assert "`test_" in rest, f"promise {number}"


# ---- the command line


def test_the_names_shown_are_the_names_given() -> None:
    for row in rows(section(STORES, "Names and numbers", "##")):
        username, character, premade, public_id = (cell.strip("`") for cell in row)
        assert name_of(series_of(Templates(), username, character, premade == "yes"), 2).public_id == public_id


def test_the_exit_codes_shown_are_those_of_the_command_line() -> None:
    found = {row[0]: row[1] for row in rows(section(CLI, "Exit codes", "##"))}
    assert found == {str(code): meaning for code, meaning in EXIT_CODES.items()}


def test_the_commands_are_documented_in_the_groups_of_the_help() -> None:
    titles = re.findall(r"^## (.+)$", CLI, re.MULTILINE)
    shown = {title: tuple(re.findall(r"^### (.+)$", section(CLI, title, "##"), re.MULTILINE)) for title in titles}
    assert {title: names for title, names in shown.items() if names} == cli.sections


def commands(group: click.Group, before: str = "comfyledger") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}"


def test_every_command_is_shown_by_example() -> None:
    shown = [f"{line} " for line in shell_lines(CLI, "comfyledger")]
    assert [name for name in commands(cli) if not any(line.startswith(f"{name} ") for line in shown)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_shown_is_understood(document: Path) -> None:
    for line in shell_lines(document.read_text("utf-8"), "comfyledger"):
        words = shlex.split(line)[1:]
        command: click.Command = cli
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        with command.make_context(str(command.name), words) as context:
            assert context.args == [], line


def options(command: click.Command) -> set[str]:
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*map(options, inner), command.get_help_option_names(click.Context(command)))


def test_every_option_that_is_named_exists() -> None:
    known = options(cli)
    for title, names in cli.sections.items():
        for name in names:
            named = set(re.findall(r"`(--[a-z-]+)", section(section(CLI, title, "##"), name)))
            assert named <= known, name


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        named = re.findall(r"`make ([a-z-]+)`", text) + [line.split()[1] for line in shell_lines(text, "make")]
        assert set(named) <= targets, document


# ---- the Python client


def signature(source: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A signature as a document shows it, without `self`."""
    assert source.returns
    source.args.args = [argument for argument in source.args.args if argument.arg != "self"]
    return f"{type(source).__name__} {source.name}({ast.unparse(source.args)}) -> {ast.unparse(source.returns)}"


def test_every_method_of_the_client_is_documented_with_its_signature() -> None:
    (source,) = [
        node
        for node in ast.parse(Path(str(client.__file__)).read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "Client"
    ]
    methods = {node.name: node for node in source.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    public = {name: signature(node) for name, node in methods.items() if not name.startswith("_")}
    public["Client"] = signature(methods["__init__"])
    shown = {}
    for title in re.findall(r"^### (.+)$", CLIENT, re.MULTILINE):
        (body,) = [body for mark, body in blocks(section(CLIENT, title), "python") if not mark]
        (node,) = ast.parse(body).body
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        shown[title] = signature(node)
    assert shown == public


def public_names(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_both_clients_have_the_same_methods_with_the_same_signatures() -> None:
    assert public_names(SyncClient).keys() == public_names(client.Client).keys()
    for name, method in (public_names(client.Client) | {"__init__": client.Client.__init__}).items():
        own = getattr(SyncClient, name)
        if isinstance(method, property):
            assert get_type_hints(own.fget) == get_type_hints(method.fget)
            continue
        assert inspect.signature(own) == inspect.signature(method), name
        assert own.__doc__ or not method.__doc__, name
        assert not inspect.iscoroutinefunction(own), name
        assert not inspect.isasyncgenfunction(own), name


def test_every_public_name_of_the_client_is_documented() -> None:
    for name in client.__all__:
        assert f"`{name}`" in CLIENT or f"### {name}" in CLIENT


# ---- the glossary

PRIVATE_WORDS = {"series", "lane", "owed", "spool", "epoch", "position", "stream", "prompt", "attempt", "label"}
"""Words that stay although others say something else, beside those of states."""


def test_every_private_word_and_every_state_is_in_the_glossary() -> None:
    states = {*get_args(ImageState), *get_args(PromptState), *get_args(UploadState), "open", "held", "settled"}
    entries = [row for table in tables(GLOSSARY) for row in table]
    assert {*PRIVATE_WORDS, *states} <= {row[0] for row in entries}
    assert all(len(row) == 3 and all(row) and row[2].endswith(".") for row in entries)


def test_no_word_is_explained_twice_or_used_nowhere() -> None:
    words = [row[0] for table in tables(GLOSSARY) for row in table]
    assert len(words) == len(set(words))
    elsewhere = "".join(path.read_text("utf-8") for path in DOCUMENTS if path.name != "glossary.md")
    assert not [word for word in words if not re.search(rf"\b{word}", elsewhere, re.IGNORECASE)]


# ---- names and links


@cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_stands_in_the_file_named_before_it(document: Path) -> None:
    file = ""
    for path, name in re.findall(r"\]\((?:\.\./)?(tests/[\w/]+\.py)\)|`(test_\w+)`", document.read_text("utf-8")):
        file = path or file
        assert not name or name in wire.REQUESTS or name in functions(ROOT / file), f"{file} has no {name}"


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text("utf-8")):
        path, _, fragment = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if fragment:
            assert fragment in map(anchor, headings(file.read_text("utf-8"))), target
