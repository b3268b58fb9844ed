"""Characters: what their defaults make of a request, and which of them can be used."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from hypothesis import given as for_all
from hypothesis import strategies as st

from comfyledger import settings, wire
from comfyledger.admission import dispatch
from comfyledger.admission.characters.known import configured_inputs, read_characters
from comfyledger.admission.characters.merge import NOTHING, Filling, defaults_of, filling, merged
from comfyledger.admission.configured import made_ready, read_workflows
from comfyledger.comfyui.client import ComfyUI
from comfyledger.errors import Refused
from comfyledger.queries.characters import NO_CHARACTERS, Characters, CharacterSet, NamedCharacter
from comfyledger.queries.embeddings import FRESH_S, Embeddings, missing_embeddings
from comfyledger.settings import Character, CharacterDefaults, InputFile, Invalid, Settings
from support.door import Door, opened
from support.waiting import until
from support.wire_app import Refusal

SETTINGS = settings.load(None, Path("/nonexistent"))
WORKFLOWS = read_workflows(SETTINGS)
SAMPLE = made_ready(WORKFLOWS["text-to-image"])
OPAL = Character(
    workflow="text-to-image",
    inputs={"negative": "blurry", "steps": 30},
    prompt="portrait of embedding:opal-fever, {prompt}",
    premade=CharacterDefaults(prompt="classic {prompt}", inputs={"steps": 12}),
)
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("{}"), max_size=40)
values = st.dictionaries(st.sampled_from(["1.a", "2.b", "6.text"]), texts)


# ---- merging


@for_all(values, values)
def test_each_input_of_a_request_takes_precedence_and_the_others_stay(
    own: dict[str, Any], given: dict[str, Any]
) -> None:
    assert merged(own, Filling(given)) == {**given, **own}


@for_all(values, values, texts, texts)
def test_the_template_wraps_the_prompt_and_no_brace_of_a_prompt_means_anything(
    own: dict[str, Any], given: dict[str, Any], before: str, after: str
) -> None:
    template = f"{before.replace('{prompt}', '')}|{{prompt}}|{after.replace('{prompt}', '')}"
    made = merged(own, Filling(given, "6.text", template))
    prompt = own.get("6.text", given.get("6.text", ""))
    first, _, last = template.partition("{prompt}")
    assert made == {**given, **own, "6.text": f"{first}{prompt}{last}"}


@for_all(values)
def test_without_defaults_nothing_changes(own: dict[str, Any]) -> None:
    assert merged(own, NOTHING) == own


def test_defaults_are_known_by_address_like_the_inputs_of_a_request() -> None:
    found = filling(CharacterDefaults(inputs={"negative": "blurry", "3.cfg": 5.0}, prompt="a {prompt}"), SAMPLE)
    assert found == Filling({"7.text": "blurry", "3.cfg": 5.0}, "6.text", "a {prompt}")
    assert found.addresses == {"7.text", "3.cfg", "6.text"}


@pytest.mark.parametrize(
    ("defaults", "code", "path"),
    [
        (CharacterDefaults(inputs={"negativ": "x"}), "unknown_input", "inputs.negativ"),
        (CharacterDefaults(inputs={"steps": "many"}), "invalid_field", "inputs.steps"),
        (CharacterDefaults(inputs={"3.seed": 5}), "invalid_field", "inputs.3.seed"),
    ],
)
def test_defaults_must_fit_the_workflow(defaults: CharacterDefaults, code: str, path: str) -> None:
    with pytest.raises(Refused) as refused:
        filling(defaults, SAMPLE)
    assert (refused.value.code, refused.value.path) == (code, path)


def test_a_template_needs_a_workflow_with_a_prompt() -> None:
    with pytest.raises(Refused) as refused:
        filling(CharacterDefaults(prompt="a {prompt}"), made_ready(WORKFLOWS["empty-image"]))
    assert (refused.value.code, refused.value.path) == ("unknown_input", "prompt")


def test_what_a_collection_says_takes_precedence_within_a_character() -> None:
    assert OPAL.defaults(premade=False) == CharacterDefaults(OPAL.workflow, OPAL.inputs, OPAL.prompt)
    both = {"negative": "blurry", "steps": 12}
    assert OPAL.defaults(premade=True) == CharacterDefaults("text-to-image", both, "classic {prompt}")


# ---- who gets them

KNOWN = CharacterSet({"opal-fever": NamedCharacter("opal-fever", OPAL)})


def asked(character: str, wanted: bool | None) -> wire.SubmitBatch:
    return wire.SubmitBatch("r", "Areg", character, quantity=1, character_defaults=wanted)


@pytest.mark.parametrize("typed", ["opal-fever", "Opal Fever", "OPAL  FEVER", "Ópal fever"])
def test_a_character_is_known_in_every_spelling_that_gives_the_same_names(typed: str) -> None:
    assert defaults_of(asked(typed, True), "app", KNOWN) == OPAL.defaults(premade=False)


@pytest.mark.parametrize(
    ("wanted", "labels", "gets"),
    [
        (None, (), False),
        (None, ("other",), False),
        (None, ("app",), True),
        (None, ("a*",), True),
        (None, ("[a]pp", "?pp"), False),
        (True, (), True),
        (False, ("*",), False),
    ],
)
def test_only_who_asks_gets_defaults_or_whom_the_operator_names(
    wanted: bool | None, labels: tuple[str, ...], gets: bool
) -> None:
    known = CharacterSet(KNOWN.by_slug, labels)
    assert (defaults_of(asked("Opal Fever", wanted), "app", known) is not None) is gets


def test_an_unknown_character_is_refused_only_where_the_request_asks_for_defaults() -> None:
    everybody = CharacterSet(KNOWN.by_slug, ("*",))
    assert defaults_of(asked("Opal Fevr", None), "app", everybody) is None
    with pytest.raises(Refused) as refused:
        defaults_of(asked("Opal Fevr", True), "app", everybody)
    assert (refused.value.code, refused.value.path) == ("unknown_character", "$.data.character")
    assert "Did you mean 'opal-fever'?" in refused.value.hint


# ---- the configuration and its files


def loaded(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return settings.load(tmp_path / "config.toml")


def read(found: Settings, before: CharacterSet = NO_CHARACTERS) -> CharacterSet:
    return read_characters(found, WORKFLOWS, found.default_workflow, before)


@pytest.mark.parametrize(
    ("section", "path", "words"),
    [
        ('[characters.x]\nprompt = "a portrait"', "characters.x.prompt", "has no {prompt}"),
        ('[characters.x.own]\nprompt = "a portrait"', "characters.x.own.prompt", "has no {prompt}"),
        ('[characters.x]\nworkflow = "flux"', "characters.x.workflow", "is not configured"),
        ('[characters.x.premade]\nworkflow = "flux"', "characters.x.premade.workflow", "is not configured"),
        ('[characters."!"]', "characters.!", "no letter or digit"),
        ('[characters.opal-fever]\n[characters."Opal Fever"]', "characters.Opal Fever", "the same character"),
        ("[characters.x]\ninputs = { steps = [1] }", "characters.x.inputs.steps", "Expected"),
        ('[characters.x]\npromt = "{prompt}"', "characters.x.promt", "unknown"),
    ],
)
def test_a_mistake_is_named_with_its_section(tmp_path: Path, section: str, path: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        loaded(tmp_path, section)
    (mistake,) = refused.value.key_mistakes
    assert (mistake.path, words in mistake.message) == (path, True), mistake


def test_inputs_that_the_workflow_lacks_are_refused_at_the_start(tmp_path: Path) -> None:
    found = loaded(tmp_path, '[characters.x]\nworkflow = "text-to-image"\ninputs = { negativ = "blurry" }')
    with pytest.raises(Invalid) as refused:
        read(found)
    (mistake,) = refused.value.key_mistakes
    assert mistake.path == "characters.x.inputs.negativ"
    assert "negative" in mistake.hint


def folder_of(tmp_path: Path, **files: str) -> Settings:
    """A configuration with a folder of characters. `files`: their texts, with `_` for `-` in the names."""
    (tmp_path / "who").mkdir(exist_ok=True)
    for name, text in files.items():
        (tmp_path / "who" / f"{name.replace('_', '-')}.toml").write_text(text)
    return loaded(tmp_path, 'characters_dir = "who"\n[characters.here]\ndisplay_name = "Here"')


def test_each_file_is_a_character_and_a_bad_one_does_not_stop_the_others(tmp_path: Path) -> None:
    good = 'workflow = "text-to-image"\nprompt = "a {prompt}"'
    bad = {
        "lacks": 'workflow = "flux"',
        "mistyped": good.replace("prompt =", "promt ="),
        "torn": "workflow = ",
        "unfit": f"{good}\ninputs = {{ stps = 3 }}",
        "here": good,
        "large": "#" * 70_000,
    }
    found = folder_of(tmp_path, opal_fever=good, **bad)
    os.mkfifo(tmp_path / "who" / "pipe.toml")
    (tmp_path / "who" / "Opal Fever.toml").write_text(good)
    (tmp_path / "who" / ".hidden.toml").write_text("=")
    (tmp_path / "who" / "notes.txt").write_text("=")
    known = read(found)
    assert list(known.by_slug) == ["here", "opal-fever"]
    assert known.by_slug["here"].character.display_name == "Here"
    named = sorted(Path(problem.partition(": ")[0]).stem for problem in known.problems)
    assert named == sorted([*bad, "pipe", "opal-fever"])  # "Opal Fever" sorts before "opal-fever"


def test_a_file_that_became_bad_keeps_its_character_and_a_removed_one_ends_it(tmp_path: Path) -> None:
    before = read(folder_of(tmp_path, one='display_name = "One"', two='display_name = "Two"'))
    (tmp_path / "who" / "two.toml").unlink()
    after = read(folder_of(tmp_path, one="display_name = "), before)
    assert list(after.by_slug) == ["here", "one"]
    assert after.by_slug["one"].character.display_name == "One"
    assert "stays as it was" in after.problems[0]


def test_a_folder_that_cannot_be_read_keeps_its_characters(tmp_path: Path) -> None:
    before = read(folder_of(tmp_path, one='display_name = "One"'))
    (tmp_path / "who").rename(tmp_path / "away")
    after = read(loaded(tmp_path, 'characters_dir = "who"'), before)
    assert list(after.by_slug) == ["one"]
    assert "cannot be read" in after.problems[0]


# ---- a request

CHARACTERS = """
    [characters.opal-fever]
    workflow = "text-to-image"
    inputs = { negative = "blurry", checkpoint = "v1-5-pruned-emaonly.safetensors" }
    prompt = "portrait of embedding:opal-fever, {prompt}"
    [characters.lost]
    workflow = "text-to-image"
    inputs = { checkpoint = "none-such.safetensors" }
"""


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, CHARACTERS) as found:
        await until(lambda: found.context.node_classes["main"].known, "ComfyUI has said what it has")
        yield found


async def made_with(door: Door, batch_id: str, index: int) -> dict[str, Any]:
    async with door.app() as app:
        found = await app.ask("get_recipe", image=f"{batch_id}/{index}")
    return dict(found["inputs"])


async def test_what_resulted_is_kept_with_the_batch_like_typed_inputs(door: Door) -> None:
    asked = {"quantity": 1, "character_defaults": True}
    async with door.app("app") as app:
        typed = await app.submit("r1", inputs={"prompt": "red {coat}"}, **asked)
        by_address = await app.submit("r2", inputs={"6.text": "red {coat}", "7.text": ""}, **asked)
        images = [{"inputs": {"prompt": "one"}}, {"inputs": {"negative": "two"}}]
        each = await app.submit("r3", inputs={}, images=images, character_defaults=True)
        sweep = await app.ask(
            "submit_batch",
            request_id="r4",
            username="Areg",
            character="Opal Fever",
            inputs_each={"prompt": ["one", "two"], "negative": ["x", "y"]},
            character_defaults=True,
        )
    checkpoint = {"checkpoint": "v1-5-pruned-emaonly.safetensors"}
    wrapped = "portrait of embedding:opal-fever, "
    whole = {**checkpoint, "prompt": f"{wrapped}red {{coat}}", "negative": "blurry"}
    assert await made_with(door, typed["batch_id"], 1) == whole
    assert await made_with(door, by_address["batch_id"], 1) == {**whole, "negative": ""}
    assert await made_with(door, each["batch_id"], 1) == {**whole, "prompt": f"{wrapped}one"}
    assert await made_with(door, sweep["batch_id"], 3) == {**whole, "prompt": f"{wrapped}two", "negative": "x"}
    assert await made_with(door, each["batch_id"], 2) == {**whole, "prompt": wrapped, "negative": "two"}


async def test_without_asking_nothing_changes(door: Door) -> None:
    async with door.app("app") as app:
        asked = await app.submit("r1", inputs={"prompt": "red"}, quantity=1, workflow="text-to-image")
    assert await made_with(door, asked["batch_id"], 1) == {"prompt": "red"}


async def test_a_repeat_gets_the_first_answer_after_its_character_changed_and_after_it_went(door: Door) -> None:
    asked: dict[str, Any] = {"inputs": {"prompt": "red"}, "quantity": 1, "character_defaults": True}
    async with door.app("app") as app:
        first = await app.submit("r1", **asked)
        now = door.context.characters.now
        changed = NamedCharacter("opal-fever", Character(workflow="text-to-image", prompt="sketch, {prompt}"))
        for replaced in ({"opal-fever": changed}, {}):
            door.context.characters.now = CharacterSet(replaced)
            assert (await app.submit("r1", **asked))["batch_id"] == first["batch_id"]
        with pytest.raises(Refusal, match="unknown_character"):
            await app.submit("r2", **asked)
        door.context.characters.now = now
    assert (await made_with(door, first["batch_id"], 1))["prompt"].startswith("portrait")


async def test_defaults_that_cannot_be_used_are_the_fault_of_the_character(door: Door) -> None:
    faults = []
    async with door.app("app") as app:
        for asked in ({"character": "Lost"}, {"character": "Opal Fever", "workflow": "empty-image"}):
            with door.unchanged(), pytest.raises(Refusal) as refused:
                await app.submit("r1", inputs={}, quantity=1, character_defaults=True, **asked)
            faults.append((refused.value.code, refused.value.data["path"]))
    assert faults == [
        ("workflow_failed_validation", "$.data.character"),
        ("unknown_input", "$.data.character"),
    ]


# ---- the list


async def test_the_list_has_the_defaults_of_both_collections_and_what_comfyui_lacks(door: Door) -> None:
    async with door.app("app") as app:
        found = (await app.ask("list_characters"))["characters"]
    assert [one["name"] for one in found] == ["lost", "opal-fever"]
    lost, opal = found
    assert (
        opal["own"]
        == opal["premade"]
        == {
            "workflow": "text-to-image",
            "inputs": {"negative": "blurry", "checkpoint": "v1-5-pruned-emaonly.safetensors"},
            "prompt": "portrait of embedding:opal-fever, {prompt}",
        }
    )
    assert "missing" not in opal
    (text,) = lost["missing"]["main"]
    assert "none-such.safetensors" in text


async def test_a_collection_of_its_own_is_compared_too(door: Door) -> None:
    differs = CharacterDefaults("text-to-image", {"checkpoint": "of-premade.safetensors"})
    both = Character(workflow="empty-image", premade=differs)
    door.context.characters.now = CharacterSet({"x": NamedCharacter("x", both, "/x.toml")})
    async with door.app("app") as app:
        (one,) = (await app.ask("list_characters"))["characters"]
    assert (one["own"]["workflow"], one["premade"]["workflow"]) == ("empty-image", "text-to-image")
    assert "of-premade.safetensors" in one["missing"]["main"][0]
    assert one["file"] == "/x.toml"


async def test_pages_follow_each_other_without_gap_also_where_a_character_went_meanwhile(door: Door) -> None:
    named = {f"c{place}": NamedCharacter(f"c{place}", Character()) for place in range(5)}
    door.context.characters.now = CharacterSet(named)
    async with door.app("app") as app:
        first = await app.ask("list_characters", limit=2)
        assert ([one["name"] for one in first["characters"]], first["more"]) == (["c0", "c1"], True)
        door.context.characters.now = CharacterSet({key: one for key, one in named.items() if key != "c1"})
        rest = await app.ask("list_characters", before=first["next_cursor"], limit=3)
    assert ([one["name"] for one in rest["characters"]], rest["more"]) == (["c2", "c3", "c4"], False)


async def test_over_http_a_page_links_to_the_next_one(door: Door) -> None:
    headers = {"Authorization": f"Bearer {door.token}"}
    async with aiohttp.ClientSession(door.url, headers=headers) as http:
        first = await http.get("/v1/characters?limit=1")
        rest = await http.get(first.links["next"]["url"])
        names = [one["name"] for page in (first, rest) for one in (await page.json())["characters"]]
    assert (names, "Link" in rest.headers) == (["lost", "opal-fever"], False)


async def test_problems_are_shown_to_who_sees_all_labels(door: Door) -> None:
    door.context.characters.now = CharacterSet(problems=("/who/torn.toml: It is not TOML.",))
    shown = [await dispatch._server_info(one, fits=False) for one in (door.context, door.context.limited_to("app"))]
    assert [one.character_problems for one in shown] == [["/who/torn.toml: It is not TOML."], []]


KNOWN_EMBEDDINGS = frozenset({"opal-fever", "styles/ink", "v1.5"})


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("portrait of embedding:opal-fever, red coat", []),
        ("embedding:opal-fever", []),
        ("(embedding:opal-fever:1.2), (embedding:styles/ink)", []),
        ("embedding:styles\\ink.pt embedding:opal-fever.safetensors<lora:x>", []),
        ("embedding:v1.5, (embedding:v1.5:0.8)", []),
        ("noembedding:x, embedding: , embedding:,", []),
        ("embedding:opal-fevr, embedding:ink embedding:opal-fevr", ["opal-fevr", "ink"]),
        ("embedding:opal-fever.ckpt", ["opal-fever.ckpt"]),
    ],
)
def test_embeddings_are_found_in_a_text_as_comfyui_finds_them(text: str, missing: list[str]) -> None:
    assert missing_embeddings(text, KNOWN_EMBEDDINGS) == missing


async def test_a_missing_embedding_is_listed_and_comfyui_is_asked_once(door: Door) -> None:
    named = {
        f"c{place}": NamedCharacter(
            f"c{place}", Character(workflow="text-to-image", prompt=f"embedding:{name} {{prompt}}")
        )
        for place, name in enumerate(["opal-fever", "opal-fevr"])
    }
    door.context.characters.now = CharacterSet(named)
    asked = Counted(door.context.comfyui["main"])
    door.context.embeddings["main"]._comfyui = asked  # type: ignore[assignment]
    async with door.app("app") as app:
        for _ in range(2):
            right, wrong = (await app.ask("list_characters"))["characters"]
    assert ("missing" in right, "unchecked" in right) == (False, False)
    assert wrong["missing"] == {"main": ["The embedding 'opal-fevr' is not there."]}
    assert asked.paths == ["/embeddings"]


class Counted:
    """A client that remembers what was asked. With `answer`, that is what comes."""

    def __init__(self, comfyui: ComfyUI | None = None, answer: bytes = b"") -> None:
        self.comfyui, self.answer = comfyui, answer
        self.paths: list[str] = []

    async def bytes_of(self, path: str) -> bytes:
        self.paths.append(path)
        return self.answer if self.comfyui is None else await self.comfyui.bytes_of(path)


@pytest.mark.parametrize("answer", [b"", b"{}", b"[1]", b'["\xff"]', b"[" * 100_000])
async def test_an_answer_that_is_no_list_of_names_counts_as_none_until_it_is_asked_again(answer: bytes) -> None:
    asked = Counted(answer=answer)
    embeddings = Embeddings(asked)  # type: ignore[arg-type]
    assert [await embeddings.known(now) for now in (0.0, FRESH_S - 1)] == [None, None]
    asked.answer = b'["a\\\\b"]'
    assert [await embeddings.known(now) for now in (FRESH_S - 0.5, FRESH_S)] == [None, frozenset({"a/b"})]
    assert len(asked.paths) == 2


async def test_a_comfyui_that_cannot_be_asked_for_embeddings_is_not_checked(door: Door) -> None:
    door.context.embeddings["main"]._comfyui = Counted(answer=b"{}")  # type: ignore[assignment]
    async with door.app("app") as app:
        _, opal = (await app.ask("list_characters"))["characters"]
    assert ("missing" in opal, opal["unchecked"]) == (False, ["main"])


async def test_what_is_not_known_is_not_missing(door: Door) -> None:
    door.context.node_classes["main"]._known = None
    async with door.app("app") as app:
        lost, _ = (await app.ask("list_characters"))["characters"]
    assert (lost.get("missing"), lost["unchecked"]) == (None, ["main"])


def test_the_input_files_of_characters_and_workflows_are_those_that_the_configuration_names() -> None:
    first, second, third = ("1" * 64, "2" * 64, "3" * 64)
    own = CharacterDefaults(inputs={"reference": InputFile(f"sha256:{second}")})
    opal = Character(inputs={"reference": InputFile(f"sha256:{first}"), "negative": "blurry"}, own=own)
    file = wire.FileAsked(input=f"sha256:{third}")
    workflows = {"w": msgspec.structs.replace(WORKFLOWS["text-to-image"], files={"5.image": file})}
    characters = Characters(CharacterSet({"opal": NamedCharacter("opal", opal)}))
    assert configured_inputs(workflows, characters) == {first, second, third}
    characters.now = NO_CHARACTERS
    assert configured_inputs(workflows, characters) == {third}
