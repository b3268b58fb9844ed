"""Admits a request for the ComfyUIs that may run it: makes its workflow ready and checks it, before a number is used.

A submission and a dry run go the same way. What every ComfyUI would refuse is refused here, and only by an answer of
`/object_info` that is fresh. If one of them cannot be asked, a graph is accepted unchecked; the worker checks it before
it sends it. A repeat is answered from the ledger before ComfyUI is asked anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

from comfyledger import wire
from comfyledger.admission import admit, allowed_backends, repeats
from comfyledger.admission.characters import merge
from comfyledger.admission.files import of_request
from comfyledger.admission.files.find import files_of
from comfyledger.admission.workflows.again import again as completed_again
from comfyledger.admission.workflows.prepared import ready
from comfyledger.admission.workflows.ready import source_of
from comfyledger.admission.workflows.request import Fitted, Request
from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.node_classes import Known
from comfyledger.comfyui.workflow_checks import Template
from comfyledger.core.scheduling.fit_words import told_of_all
from comfyledger.errors import Refused
from comfyledger.queries.backends import Fits
from comfyledger.queries.dependencies import Dependencies, ReadyWorkflow, WorkflowSource

_PASSING: Final = frozenset({"busy", "not_running"})
"""What says nothing about a workflow."""


async def admitted(
    context: Dependencies, label: str, message: wire.SubmitBatch, raw: bytes
) -> admit.Admitted | wire.BatchAccepted:
    """The request as a command, or the first reply to the request that it repeats. Raises Refused."""
    request = await _request(context, label, message, raw)
    if isinstance(request, wire.BatchAccepted):
        return request
    before = known_of(context, request.backends)
    if _would_ask(context, request, next(iter(before.values()), None)):
        repeated = await repeats.answered_before(context, label, raw)
        if repeated is not None:
            return repeated
    fitted = await request.fitted(before)
    if fitted.made is not None:
        return fitted.made
    if fitted.refused:
        refusal = next(iter(fitted.refused.values()))
        if await request.is_refused_anyway(refusal):
            raise refusal
        repeated = await repeats.answered_before(context, label, raw)
        if repeated is not None:
            return repeated
    return await _admitted_anew(context, request, before, fitted)


def _would_ask(context: Dependencies, request: Request, first: Known | None) -> bool:
    """Whether the request would have to wait: for a ComfyUI, if none was ever seen, or for a conversion."""
    return bool(_to_ask(context, request.backends)) if first is None else not request.is_converted(first)


async def _admitted_anew(
    context: Dependencies, request: Request, before: dict[str, Known], fitted: Fitted
) -> admit.Admitted:
    """A request that none takes of the ComfyUIs as they were `before`: all are asked what they have now. Raises Refused
    if all have said it and refuse the request.
    """
    answered = await asked_again(context, request.backends)
    after = known_of(context, answered)
    if any(before.get(name) is not known for name, known in after.items()):
        fitted = await request.fitted(after)
        if fitted.made is not None:
            return fitted.made
    silent = [name for name in request.backends if name not in after]
    if silent:
        return await request.admitted_unchecked(before.get(silent[0]))
    raise allowed_backends.refused_by_all(fitted.refused)


def known_of(context: Dependencies, names: Iterable[str]) -> dict[str, Known]:
    """What these ComfyUIs said last, without those that were never seen, or are gone."""
    every = context.node_classes
    found = ((name, every[name].known) for name in names if name in every)
    return {name: known for name, known in found if known is not None}


async def asked_again(context: Dependencies, names: Iterable[str]) -> list[str]:
    """Which of these ComfyUIs have said what they have, just now."""
    asked = _to_ask(context, names)
    if not asked:
        return []
    now, every = asyncio.get_running_loop().time(), context.node_classes
    answers = await asyncio.gather(*(every[name].fresh(now) for name in asked))
    return [name for name, info in zip(asked, answers, strict=True) if info is not None]


def _to_ask(context: Dependencies, names: Iterable[str]) -> list[str]:
    """Those of these ComfyUIs that may answer: they were not silent when they were asked a moment ago."""
    now, every = asyncio.get_running_loop().time(), context.node_classes
    return [name for name in names if name in every and not every[name].is_silent(now)]


async def _request(
    context: Dependencies, label: str, message: wire.SubmitBatch, raw: bytes
) -> Request | wire.BatchAccepted:
    """The request, completed and checked as far as it can be without its workflow; or the first reply to a request that
    would fetch a file again. Raises Refused.
    """
    again = await completed_again(context, label, message)
    message = message if again is None else again.message
    admit.check_message(message, context.policy)
    source: WorkflowSource | ReadyWorkflow
    if again is not None and again.workflow is not None:
        source, defaults, of_graph, needs = again.workflow, None, dict[str, wire.FileAsked](), again.needs
    else:
        defaults = merge.defaults_of(message, label, context.characters.now) if again is None else None
        own = defaults.workflow if defaults is not None else ""
        source = await context.tools.large_graphs.run(len(raw), partial(source_of, message, context.policy, own))
        of_graph, needs = source.files, source.needs
    needs = tuple(dict.fromkeys([*(message.needs or ()), *needs]))
    names = allowed_backends.backends_for(context.policy.backends, message, needs, context.policy.barred(source))
    if any(file.url for file in (*(file for _, file in files_of(message)), *of_graph.values())):
        repeated = await repeats.answered_before(context, label, raw)
        if repeated is not None:
            return repeated
    files = await of_request.of_request(context, label, message, source, defaults)
    return Request(context, label, message, raw, source, defaults, again, files, names, needs)


async def unfit(context: Dependencies) -> dict[str, str]:
    """The configured workflows that every ComfyUI would refuse as they are, each with the reason; none while a ComfyUI
    that may take it was never seen. Those in the UI format are not looked at: they are converted when they are used.
    """
    found = dict[str, str]()
    for name, source in context.policy.workflows.items():
        names = context.policy.backends_of(source)
        known = known_of(context, names)
        if source.graph is None or len(known) < len(names):
            continue
        reasons = {one: why for one in names if (why := await _unfit_at(context, source, known[one]))}
        if not names:
            found[name] = allowed_backends.lacking(context.policy.backends, source.needs)
        elif len(reasons) == len(names):
            found[name] = told_of_all(reasons)
    return found


async def of_each(context: Dependencies) -> dict[str, Fits]:
    """Of each ComfyUI that was ever seen, which configured workflows it can run."""
    tags = dict(context.policy.backends)  # some may go meanwhile
    return {name: await _fits_at(context, name, tags[name], one) for name, one in known_of(context, tags).items()}


async def _fits_at(context: Dependencies, backend: str, tags: Collection[str], known: Known) -> Fits:
    found = Fits([], {})
    for name, source in sorted(context.policy.workflows.items()):
        missing = [need for need in source.needs if need not in tags]
        why = f"It does not have the tags: {', '.join(missing)}." if missing else ""
        why = why or ("It gets no workflow with secrets." if backend in context.policy.barred(source) else "")
        if why := why or await _unfit_at(context, source, known):
            found.lacks[name] = why
        else:
            found.fits.append(name)
    return found


async def _unfit_at(context: Dependencies, source: WorkflowSource, known: Known) -> str:
    """Why a ComfyUI would refuse a configured workflow; empty if it would not."""
    key = (source.name, known.info.digest)
    found = context.tools.unfit.get(key)
    if found is None:
        await asyncio.sleep(0)  # one may take milliseconds, and there may be many: others go on meanwhile
        found, lasts = await _look(context, source, known)
        if lasts:
            context.tools.unfit.put(key, found)
    return found


async def _look(context: Dependencies, source: WorkflowSource, known: Known) -> tuple[str, bool]:
    """Why it would be refused, and whether it will be until the ComfyUI has something else."""
    try:
        workflow = await ready(context, source, known)
    except Refused as refusal:
        return refusal.message, refusal.code not in _PASSING
    template = Template(workflow.key, workflow.graph, workflow.plan)
    mistakes = context.tools.checks.mistakes(template, [{}], known.info, [source.files]).every
    return checks.summary(mistakes) if mistakes else "", True
