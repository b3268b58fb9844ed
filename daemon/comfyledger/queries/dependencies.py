"""What admission and queries use of the daemon. The composition root makes it; all connections share it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from comfyledger import wire
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.ui_format.process import Converter
from comfyledger.comfyui.workflow_checks import CheckLevel, Recent, WorkflowChecks
from comfyledger.core.decide.commands import unknown_batch
from comfyledger.core.naming.names import Templates
from comfyledger.core.scheduling.fit import allowed
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.core.values import StoreRef
from comfyledger.engine import Engine, EngineView, Question
from comfyledger.errors import Refused
from comfyledger.ledger.ports import Reader
from comfyledger.plugins import OpenedStore
from comfyledger.queries.activity_counts import ActivityCounts
from comfyledger.queries.characters import Characters
from comfyledger.queries.embeddings import Embeddings
from comfyledger.queries.large_graphs import LargeGraphs
from comfyledger.queries.limited_reader import LimitedReader
from comfyledger.settings import Secret, Webhook
from comfyledger.workers.backends.added import AddedBackends
from comfyledger.workers.fleet.heard import Heard
from comfyledger.workers.inputs.fetch import InputFetcher
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.spool.disks import Disks
from comfyledger.workers.thumbnails.thumbnails import Thumbnails
from comfyledger.workers.webhooks.webhooks import Webhooks


class WorkflowSource(msgspec.Struct, frozen=True):
    """A workflow as it was given, by the configuration or by a request.

    `graph`: in the API format. If there is none, `document` has it in the UI format, which only a ComfyUI's node
    classes make a graph of. `named`: what is said about it. `secrets`: values in the file that must not be stored, by
    address. `files`: what it loads, by address. `graph` is without both. `needs`: tags that a ComfyUI must have.
    """

    name: str
    graph: dict[str, Any] | None
    document: bytes = b""
    named: graphs.Named = graphs.NOTHING_NAMED
    secrets: dict[str, Secret] = {}
    files: dict[str, wire.FileAsked] = {}
    needs: tuple[str, ...] = ()


class ReadyWorkflow(msgspec.Struct, frozen=True):
    """A workflow that is ready for use on one ComfyUI: graph, plan and stored template.

    `found`: a sentence about what the plan found. `models`: the names of those that its outputs load.
    """

    name: str
    graph: dict[str, Any]
    plan: graphs.Plan
    template: bytes
    key: str
    found: str
    models: tuple[str, ...] = ()


class WorkflowTools(msgspec.Struct, frozen=True):
    """What makes workflows ready, and what it made before. Shared by all requests."""

    checks: WorkflowChecks
    converter: Converter
    ready: Recent[Hashable, ReadyWorkflow]
    """By what decides how a workflow is planned, the digest of the node classes among it."""
    converted: Recent[tuple[str, str], dict[str, Any]]
    """Graphs by the digests of the document and of the node classes."""
    large_graphs: LargeGraphs
    unfit: Recent[tuple[str, str], str]
    """Why a ComfyUI would refuse a configured workflow, empty if it would not, by the name of the workflow and the
    digest of the node classes."""


READY_KEPT: Final = 64
CONVERTED_KEPT: Final = 32
UNFIT_KEPT: Final = 4_096


def workflow_tools(level: CheckLevel, graph_bytes_max: int) -> WorkflowTools:
    """Close its converter at the end."""
    return WorkflowTools(
        WorkflowChecks(level),
        Converter(graph_bytes_max),
        Recent(READY_KEPT),
        Recent(CONVERTED_KEPT),
        LargeGraphs(),
        Recent(UNFIT_KEPT),
    )


class AdmissionPolicy(msgspec.Struct, frozen=True):
    """The part of the configuration that admission uses."""

    templates: Templates
    workflows: Mapping[str, WorkflowSource]
    default_workflow: str
    backends: Mapping[str, frozenset[str]]
    """The tags of each ComfyUI, in the order of the configuration."""
    quantity_max: int
    graph_bytes_max: int
    trust: bool
    node_classes_denied: tuple[str, ...] = ()
    chain_depth_max: int = 16
    webhooks: Mapping[str, Webhook] = {}
    """Those of the configuration, by name."""
    gets_secrets: Mapping[str, bool] = {}
    """Whether a ComfyUI gets workflows that have secrets; those that are not named here do."""

    def barred(self, source: WorkflowSource | ReadyWorkflow) -> tuple[str, ...]:
        """The ComfyUIs that do not get a workflow, because it has secrets."""
        secrets = source.named.secrets if isinstance(source, WorkflowSource) else source.plan.secrets
        return tuple(name for name, gets in self.gets_secrets.items() if not gets) if secrets else ()

    def backends_of(self, source: WorkflowSource) -> tuple[str, ...]:
        """The ComfyUIs that have the tags which a configured workflow needs, and get its secrets."""
        return allowed(self.backends, "", source.needs, self.barred(source))


class IdSource(msgspec.Struct, frozen=True):
    """Makes ids, salts and seeds."""

    batch_id: Callable[[], str]
    salt: Callable[[], bytes]
    seed: Callable[[], int]


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the daemon from which requests are answered."""

    engine: Engine
    """Takes commands. What can be read of it is in `view`."""
    view: EngineView
    reader: Reader
    unlimited: Reader
    """Shows everything, whoever asks: only for what the operator configured, and for what a retry takes up."""
    policy: AdmissionPolicy
    ids: IdSource
    stores: Mapping[str, OpenedStore]
    inputs: InputStore
    input_fetcher: InputFetcher
    comfyui: Mapping[str, ComfyUI]
    node_classes: Mapping[str, NodeClasses]
    """What each ComfyUI has, by the name of the backend."""
    embeddings: Mapping[str, Embeddings]
    """What embeddings each ComfyUI has, by the name of the backend."""
    added: AddedBackends
    """The ComfyUIs that clients have added."""
    webhooks: Webhooks
    tools: WorkflowTools
    characters: Characters
    backends: Callable[[OpenWorkSummary], list[wire.BackendInfo]]
    """How each ComfyUI is, given the open work. `problem` is a code only."""
    thumbnails: Thumbnails
    move_away: Callable[[str], Awaitable[int]]
    """Has others take the prompts that a ComfyUI has, by its name. Returns how many were moved."""
    disks: Disks
    fleet: Heard
    """What was heard of the other boxes of the fleet."""
    activity: ActivityCounts
    """What was counted of the log before."""
    state: Path
    """The state folder, where commands leave what they found."""
    uptime_s: Callable[[], int]
    version: str
    only: str | None = None
    """The label whose work alone is shown; None shows all. `reader` is limited to it already."""

    def limited_to(self, label: str) -> Self:
        """The same parts, which show the work of one label only."""
        return msgspec.structs.replace(self, reader=LimitedReader(self.reader, label), only=label)

    def open_counts(self) -> dict[str, int]:
        """How much is open of what is shown."""
        return self.view.open_counts(self.only)

    def waiting(self, keys: Iterable[str] | None = None) -> list[wire.WaitingInfo]:
        """Series that the stores are being asked about, all or by key, as far as shown requests wait for them."""
        questions = self.view.questions
        chosen = questions.values() if keys is None else [questions[key] for key in keys if key in questions]
        return [info for question in chosen if (info := self._waiting(question)) is not None]

    def _waiting(self, question: Question) -> wire.WaitingInfo | None:
        series, labels = question.unknown.series, question.labels
        if self.only is not None and self.only not in labels:
            return None
        shown = labels if self.only is None else tuple(label for label in labels if label == self.only)
        since_ms = question.since_ms if shown[:1] == labels[:1] else 0  # the first may be another's
        return wire.WaitingInfo(f"{series.folder}/{series.stem}", question.reason, len(shown), since_ms)

    def is_configured(self, sha256: str) -> bool:
        """Whether the operator gives an input file to everybody, with a workflow or with a character."""
        of_workflows = (file for one in self.policy.workflows.values() for file in one.files.values())
        return any(file.sha256 == sha256 for file in of_workflows) or self.characters.now.gives(sha256)

    async def check_shown(self, batch_id: str) -> None:
        """Raises Refused(unknown_batch), worded as by the engine, for a batch that is not shown."""
        if self.only is not None and await self.reader.batch(batch_id) is None:
            raise unknown_batch(batch_id)

    def store_refs(self) -> tuple[StoreRef, ...]:
        """The stores of a new batch.

        Raises Refused: plugin_broken if one of them cannot be used, store_unavailable if one is not prepared yet.
        """
        for opened in self.stores.values():
            if opened.waiting is not None:
                text = f"The store {opened.name} could not be prepared yet: {opened.problem}"
                raise Refused("store_unavailable", text, hint="The daemon tries again; repeat the request in a moment.")
            if opened.store is None:
                hint = "Repair the plugin or remove its section of the configuration, then restart."
                raise Refused("plugin_broken", f"The store {opened.name} cannot be used: {opened.problem}", hint=hint)
        return tuple(StoreRef(opened.name, opened.identity) for opened in self.stores.values())
