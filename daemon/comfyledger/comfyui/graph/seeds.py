"""Finds the seeds and the batch size of a graph, and how large they may be. PURE.

Both are numbers that a run fills in, each in one or more widgets. Where a link leads to more than one widget, or to one
that also decides something else, nothing is guessed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from comfyledger.comfyui.graph.nodes import CLASSES_KEPT, Graph, by_number, folded, is_int, is_link, printable
from comfyledger.comfyui.graph.outputs import IMAGE_NAMES, LATENT_NAMES
from comfyledger.comfyui.graph.whole_numbers import ALL_SEEDS, BATCH_SIZE, Numbers, Place, is_seed_name
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused
from comfyledger.wire.requests.submitting import IMAGES_PER_PROMPT_MAX

UNCLEAR_MAX: Final = 100
BATCH_NAMES: Final = (*LATENT_NAMES, *IMAGE_NAMES)
COUNT_NAMES: Final = (BATCH_SIZE, "n", "number_of_images", "num_images")
"""Inputs that say how many images a node makes (ComfyUI 0.29.0, comfy_api_nodes/)."""
_REPEATS: Final = {"RepeatLatentBatch": "amount", "RepeatImageBatch": "amount"}
_MAKERS: Final = ("openai", "kling", "recraft", "grok", "ideogram")
"""Services whose nodes say with `n` how many images they make."""
_FRAMES: Final = ("length", "frames", "num_frames", "video_frames")
"""Where a node makes a film, each member of its batch has so many frames."""
_BATCHES: Final = frozenset({"IMAGE", "LATENT", "AUDIO", "SVG", "VIDEO", "VOXEL", "MESH", "*"})
"""Types that hold as many things as the batch has members."""
_RECOUNTS: Final = re.compile(
    r"\w*(frombatch|tobatch|tilelist|grid|collage|montage|contactsheet|dedup|frameinterpolat|vfi|temporal(chunk|merge))\w*"
    r"|(impact)?(make)?(image|latent)batch(multi\w*)?|batch(images|latents)node"
    r"|(merge|join)(images|imagelists)|(impact)?makeimagelist|vhs(merge|select|split|duplicate)\w*"
)
"""Nodes that take some of a batch, join several, or make one of many. What comes out is another number."""


class Found(NamedTuple):
    """Where the same number is filled in."""

    addresses: tuple[str, ...]
    unclear: tuple[str, ...]
    """Inputs that would get the number if it were clear how. At most UNCLEAR_MAX."""
    most: int = IMAGES_PER_PROMPT_MAX
    """The largest number that makes sense, whatever the places take."""


def find_seeds(graph: Graph, numbers: Numbers, feeding: Iterable[str]) -> Found:
    """The seeds of these nodes. A linked one is followed to the widget that its number comes from."""
    found: dict[str, None] = {}
    unclear: list[str] = []
    for node_id in feeding:
        for name in filter(is_seed_name, graph[node_id]["inputs"]):
            widgets = _seed_widgets(numbers, (node_id, name))
            found |= dict.fromkeys(map(_address, widgets))
            if not widgets and is_link(graph, graph[node_id]["inputs"][name]):
                unclear.append(f"{node_id}.{name}")
    return Found(tuple(found), tuple(unclear[:UNCLEAR_MAX]))


def _seed_widgets(numbers: Numbers, place: Place) -> list[Place]:
    """Empty if it is not clear which. Widgets that are seeds themselves may be several: all get the same number."""
    sources = sorted(numbers.sources(place))
    if all(is_seed_name(name) for _, name in sources):
        return sources
    return sources if len(sources) == 1 and numbers.feeds_only(sources[0], is_seed_name) else []


def seed_range(graph: Graph, seeds: Iterable[str], info: ObjectInfo | None) -> tuple[int, int] | None:
    """The smallest and the largest seed that suit all these addresses, and all that they feed; None if any from 0 to
    2^53-1 will do, as far as `info` knows.

    Raises Refused (seed_out_of_range) if there is none. The path is the address at fault.
    """
    numbers = Numbers(graph, info)
    common, narrow = ALL_SEEDS, ""
    for address in seeds if info is not None else ():
        node_id, _, name = address.partition(".")
        reached = numbers.reached((node_id, name)) or []
        for place in [(node_id, name), *(place for place in reached if is_seed_name(place[1]))]:
            both = common.both(numbers.range_of(place))
            if both.low > both.high:
                raise _no_seed(numbers, place, narrow)
            if both != common:
                common, narrow = both, _address(place)
    return None if common == ALL_SEEDS else common


def _no_seed(numbers: Numbers, place: Place, other: str) -> Refused:
    one = numbers.range_of(place)
    takes = f"{printable(_address(place))} takes {one.low} to {one.high}" if one.low <= one.high else ""
    because = f": {takes}, and {printable(other)} takes none of these." if takes and other else "."
    return Refused(
        "seed_out_of_range",
        f"No seed suits every input that gets it{because}",
        hint="Configure the workflow, and name the inputs that get the seed as `seeds` in [workflows.NAME].",
        path=printable(_address(place)),
    )


# Batch size


def find_batch_size(graph: Graph, numbers: Numbers, outputs: Sequence[str]) -> Found:
    """What decides how many files each output makes in a run: one number for an output, which several may share. None,
    and what it could be, if an output has more than one. Beside an output that has none, a run makes one file of each.
    """
    most = IMAGES_PER_PROMPT_MAX
    found: dict[Place, None] = {}
    unclear: dict[Place, None] = {}
    for output in outputs:
        counted = _counted(graph, numbers, output)
        places = [place for node_id in counted for place in _deciding(graph, numbers, node_id)]
        widgets = {widget for place in places for widget in numbers.sources(place) or {place}}
        is_clear = len(widgets) <= 1 and all(_can_set(numbers, widget) for widget in widgets)
        most = most if widgets else 1
        found |= dict.fromkeys(widgets)
        unclear |= dict.fromkeys(() if is_clear else places)
    if unclear:
        return Found((), tuple(map(_address, unclear))[:UNCLEAR_MAX])
    return Found(tuple(map(_address, found)), (), most)


def _can_set(numbers: Numbers, widget: Place) -> bool:
    return numbers.can_hold(widget) and (_is_count(widget[1]) or numbers.feeds_only(widget, _is_count))


def batch_size_max(numbers: Numbers, found: Found) -> int | None:
    """The largest batch size that suits these addresses, and all that they feed; None if there is none, if a request
    cannot ask for so much, or if nothing is known.
    """
    if not found.addresses:
        return None
    most = found.most
    for address in found.addresses:
        node_id, _, name = address.partition(".")
        reached = numbers.reached((node_id, name)) or []
        for place in [(node_id, name), *(place for place in reached if _is_count(place[1]))]:
            most = min(most, numbers.range_of(place).high)
    return None if most == IMAGES_PER_PROMPT_MAX else most


def _counted(graph: Graph, numbers: Numbers, output: str) -> list[str]:
    """The nodes through which a batch comes to an output, up to those after which its size is another."""
    seen = {output: None}
    waiting = list(seen)
    while waiting:
        node_id = waiting.pop()
        if _recounts(folded(graph[node_id])):
            continue
        chosen = numbers.chosen(node_id)
        for name, value in graph[node_id]["inputs"].items():
            goes_on = is_link(graph, value) and value[0] not in seen and chosen in (None, name)
            if goes_on and _carries(numbers, (node_id, name)):
                seen[value[0]] = None
                waiting.append(value[0])
    return sorted(seen, key=by_number)


@functools.lru_cache(maxsize=CLASSES_KEPT)
def _recounts(name: str) -> bool:
    return _RECOUNTS.fullmatch(name) is not None


def _carries(numbers: Numbers, place: Place) -> bool:
    """Whether a batch may come through an input. Of a class that is not known, every input may."""
    one = numbers.described(place)
    return one is None or one.type.startswith("COMFY_MATCHTYPE") or not _BATCHES.isdisjoint(one.type.split(","))


def _deciding(graph: Graph, numbers: Numbers, node_id: str) -> list[Place]:
    """The inputs of a node that say how many members its batch has."""
    node = graph[node_id]
    inputs, repeats = node["inputs"], _REPEATS.get(node["class_type"])
    if repeats is not None:
        return [(node_id, repeats)] if repeats in inputs else []
    if _makes_frames(inputs):
        return []
    names = [name for name in inputs if _is_count(name)]
    return [(node_id, name) for name in names if _decides(graph, numbers, (node_id, name))]


def _is_count(name: str) -> bool:
    return name.rpartition(".")[2] in (*COUNT_NAMES, *_REPEATS.values())


def _makes_frames(inputs: Graph) -> bool:
    return any(name in inputs and not (is_int(inputs[name]) and inputs[name] <= 1) for name in _FRAMES)


def _decides(graph: Graph, numbers: Numbers, place: Place) -> bool:
    """RebatchLatents and upscalers have a `batch_size` of another meaning: they take what others began."""
    node_id, name = place
    node, node_class = graph[node_id], numbers.node_class(node_id)
    if name.rpartition(".")[2] != BATCH_SIZE:
        if node_class is not None:
            return not _BATCHES.isdisjoint(node_class.outputs)
        return name != "n" or folded(node).startswith(_MAKERS)
    if any(is_link(graph, node["inputs"].get(taken)) for taken in BATCH_NAMES):
        return False
    if node_class is not None:
        slots = {slot for slot, type_name in enumerate(node_class.outputs) if type_name in _BATCHES}
        return any(graph[at]["inputs"][to][1] in slots for at, to in numbers.fed_by(node_id))
    named = folded(node)
    gives = any(to in (*BATCH_NAMES, "latent_image", "pipe") for _, to in numbers.fed_by(node_id))
    return "latent" in named or "emptyimage" in named or gives


def _address(place: Place) -> str:
    return f"{place[0]}.{place[1]}"
