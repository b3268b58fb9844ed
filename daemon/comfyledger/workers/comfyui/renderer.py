"""Rendering on one ComfyUI: submit what is owed, follow it to its end, cancel it, fetch its files into the spool.

Each method runs one effect and reports the result; none decides.
"""

from __future__ import annotations

from collections.abc import Callable

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.server_version import ServerVersion
from comfyledger.comfyui.watch import Watcher
from comfyledger.workers.comfyui.copy_remover import CopyRemover
from comfyledger.workers.comfyui.fetch import FETCHES_MAX, Bounds, Fetcher
from comfyledger.workers.comfyui.follow import Follower
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup
from comfyledger.workers.comfyui.input_files import InputFiles
from comfyledger.workers.comfyui.node_check import NodeCheck
from comfyledger.workers.comfyui.outcomes import Outcomes
from comfyledger.workers.comfyui.posting import Posting
from comfyledger.workers.comfyui.submit import Submitter
from comfyledger.workers.comfyui.under_way import UnderWay
from comfyledger.workers.comfyui.warm_models import WarmModels
from comfyledger.workers.reporting import Reporter, Secrets
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.spool import Spool


class Renderer:
    """One backend's worker: `submit`, `follow`, `cancel`, `fetch`, `remove_input`. `comfyui` and `watcher` are of
    the same server.

    `about` is what is being followed, by prompt_id: the progress feed reads it.
    `posting`: the prompts that are being sent to the same server, also by a renderer that this one replaces.
    """

    def __init__(
        self,
        comfyui: ComfyUI,
        watcher: Watcher,
        row_cache: RowCache,
        history_cleanup: HistoryCleanup,
        spool: Spool,
        reporter: Reporter,
        bounds: Bounds,
        secrets: Secrets,
        *,
        wants_previews: Callable[[str], bool],
        node_check: NodeCheck,
        version: ServerVersion,
        input_files: InputFiles,
        warm: WarmModels,
        fetches_max: int = FETCHES_MAX,
        posting: Posting | None = None,
    ) -> None:
        self.server = comfyui.server
        """Which server it is."""
        self.under_way = UnderWay()
        self.posting = Posting() if posting is None else posting
        outcomes = Outcomes(comfyui, row_cache, history_cleanup, reporter)
        submitter = Submitter(
            comfyui,
            watcher,
            row_cache,
            outcomes,
            reporter,
            secrets,
            wants_previews,
            node_check,
            version,
            input_files,
            warm,
            self.posting,
        )
        follower = Follower(comfyui, watcher, row_cache, outcomes, reporter, self.posting.ended)
        fetcher = Fetcher(comfyui, row_cache, spool, outcomes, reporter, bounds, secrets, fetches_max)
        self.submit = submitter.submit
        self.follow, self.cancel, self.about = follower.follow, follower.cancel, follower.about
        self.fetch = fetcher.fetch
        self._watcher = watcher
        self.remove_input = CopyRemover(comfyui, input_files, reporter).remove

    def was_running(self, prompt_id: str, *, is_away: bool) -> bool:
        """See `Watcher.was_running`."""
        return self._watcher.was_running(prompt_id, is_away=is_away)
