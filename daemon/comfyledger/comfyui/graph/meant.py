"""Chooses which of the nodes that save or show something are the outputs of a graph. PURE.

What ComfyUI would write is what a person expects to get, less what only leads to it. So every saver counts, except:

- what weighs less than another kind: a preview counts only where nothing is saved (`WEIGHTS`);
- a second saver of the same link: a picture as WebP beside the same frames as MP4;
- a picture of a mask, or a file that was only loaded, where there is something else;
- a picture that puts a result beside what it was made from, where the result is saved too;
- what goes into another result: the first pass of a hires fix, the frames of a film, the sound of a film.

What is left are results of their own, and all of them are outputs: eight camera angles from one picture are eight
images. To choose one of them would be a guess.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from comfyledger.comfyui.graph.nodes import CLASSES_KEPT, Graph, folded, is_link, upstream
from comfyledger.comfyui.graph.savers import SAVERS, Role, Saver, Type
from comfyledger.core.media import Medium

WEIGHTS: Final[tuple[Role, ...]] = ("saver", "side", "preview", "text")
"""The heaviest first. The role `other` is none: such a node gives no file."""
FORM_WORDS: Final = (
    "decode",
    "createvideo",
    "getvideocomponents",
    "videofromurl",
    "frombatch",
    "finalframe",
    "frameselect",
    "selectimages",
    "rebatch",
    "cuttobatch",
    "separateav",
    "cleangpu",
    "clearcache",
)
"""Words in the names of nodes that change the form of what they get and not what it shows: a latent becomes a picture,
pictures become a film, one frame is taken out."""
CONTENT_NAMES: Final = ("samples", "latent", "latents", "av_latent", "images", "image", "video", "anything")
"""The inputs of these nodes that carry what is shown."""
LOADING_WORDS: Final = ("loadimage", "loadvideo", "loadaudio", "load3d")
"""How the names of nodes begin that only read a file of the input folder."""
MASK_WORD: Final = "mask"
MASK_NAMES: Final = ("alpha",)
BESIDE_WORDS: Final = ("concat", "concan", "stitch", "sidebyside", "grid", "comparison")
"""Words in the names of nodes that put pictures side by side."""
COMPARED_MAX: Final = 64
"""With how many others one saver is compared. Graphs of people have a few, and thousands must not take minutes."""
FORMS_MAX: Final = 64
"""How many changes of form are followed to what a picture is made from."""
BESIDE_MAX: Final = 8
"""More pictures side by side are no comparison of a result with what it was made from."""
BESIDE_INPUTS_MAX: Final = 32
"""A node that puts pictures side by side and has more inputs gets too many pictures."""


class Link(NamedTuple):
    """A link that a saver of ours could take instead."""

    type: Type
    node: str
    slot: int


class Candidate(NamedTuple):
    """A node that could be an output."""

    node: str
    saver: Saver
    link: Link | None
    direct: bool
    """Whether the node itself saves under our prefix."""
    medium: Medium

    @property
    def usable(self) -> bool:
        """Whether its files can be got."""
        return self.direct or self.link is not None


class Compared(NamedTuple):
    """Savers of one graph that are held against each other. Bit `n` stands for the saver at place `n`."""

    graph: Graph
    several: Sequence[Candidate]
    sources: Sequence[str]
    """The node that makes what each of them saves."""
    beside: Mapping[str, set[str]]
    """What each of these nodes puts side by side."""
    fed_by_node: Mapping[str, int]
    """Which savers a node feeds."""
    fed_by_link: Mapping[tuple[str, int], int]


def results(graph: Graph, found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates whose files are results of their own, in the order of `found`. Some may not be usable: what they
    save cannot be got. Empty if no candidate has a weight, or if texts are shown on the way to something else only.
    """
    several = _one_a_link(graph, _heaviest(found))
    if several and several[0].saver.role == "text":
        several = _ending_texts(graph, found, several)
    if len(several) < 2:
        return several
    several = [one for one in several if not _shows_no_work(graph, one)] or several
    compared = _compared(graph, several)
    places = range(len(several))
    apart = [place for place in places if not _is_comparison(compared, place)]
    ending = [place for place in apart if not _goes_into_another(compared, place)]
    return [several[place] for place in ending or apart or places]


def _heaviest(found: Sequence[Candidate]) -> list[Candidate]:
    weighing = [one for one in found if one.saver.role in WEIGHTS]
    least = min((WEIGHTS.index(one.saver.role) for one in weighing), default=0)
    return [one for one in weighing if one.saver.role == WEIGHTS[least]]


def _ending_texts(graph: Graph, found: Sequence[Candidate], several: Sequence[Candidate]) -> list[Candidate]:
    """The texts that do not go on to something that nobody saves or shows: there the graph lacks its real output, as
    where a prompt is shown and the picture of it is not.
    """
    used = {link for node_id in graph for link in _links(graph, node_id)}
    feeding = {node_id for node_id, _ in used}.union(one.node for one in found)
    unfinished = upstream(graph, [node_id for node_id in graph if node_id not in feeding])
    going_on = {link for node_id in unfinished for link in _links(graph, node_id)}
    return [one for one in several if going_on.isdisjoint(_shown(graph, one))]


def _shown(graph: Graph, one: Candidate) -> set[tuple[str, int]]:
    """The links to what a node shows: its input, and its own output that hands it on."""
    value = graph[one.node]["inputs"].get(one.saver.saves)
    links = {(value[0], value[1])} if is_link(graph, value) else set[tuple[str, int]]()
    return links | {(one.link.node, one.link.slot)} if one.link else links


def _one_a_link(graph: Graph, several: Sequence[Candidate]) -> list[Candidate]:
    """Of several savers of the same link the one that saves it best; of equal ones the first."""
    best: dict[object, Candidate] = {}
    for one in several:
        link = saved(graph, one) or one.node
        if link not in best or _quality(graph, one) > _quality(graph, best[link]):
            best[link] = one
    return list(best.values())


def _quality(graph: Graph, one: Candidate) -> tuple[bool, int, bool]:
    return one.direct, _fullness(one), graph[one.node]["class_type"] in SAVERS


def _fullness(one: Candidate) -> int:
    """A film says more than an animated picture without sound, and that more than its frames."""
    if one.medium == "video":
        return 2
    return int(one.medium == "image" and one.direct and not one.saver.each)


def saved(graph: Graph, one: Candidate) -> tuple[str, int] | None:
    """The link to what a candidate saves."""
    if one.link is not None:
        return one.link.node, one.link.slot
    value = graph[one.node]["inputs"].get(one.saver.saves)
    return (value[0], value[1]) if is_link(graph, value) else None


# What a picture is made from


def _source(graph: Graph, one: Candidate) -> str:
    """The node that makes what a candidate saves, whatever form it has got since."""
    link = saved(graph, one)
    return _made_by(graph, link[0]) if link else one.node


def _made_by(graph: Graph, node_id: str) -> str:
    seen: set[str] = set()
    while node_id not in seen and len(seen) < FORMS_MAX and _names(folded(graph[node_id]), FORM_WORDS):
        seen.add(node_id)
        inputs = graph[node_id]["inputs"]
        node_id = next((inputs[name][0] for name in CONTENT_NAMES if is_link(graph, inputs.get(name))), node_id)
    return node_id


@functools.lru_cache(maxsize=CLASSES_KEPT)
def _names(name: str, words: tuple[str, ...]) -> bool:
    """Whether the name of a class has one of the words."""
    return any(word in name for word in words)


def _shows_no_work(graph: Graph, one: Candidate) -> bool:
    """Whether what it saves is loaded from a file, or made from a mask and from nothing else."""
    link = saved(graph, one)
    if one.saver.type == "MASK" or link is None:
        return one.saver.type == "MASK"
    node = graph[link[0]]
    names = [name for name, value in node["inputs"].items() if is_link(graph, value)]
    return all(map(_is_mask, names)) if names else folded(node).startswith(LOADING_WORDS)


def _is_mask(name: str) -> bool:
    return MASK_WORD in name or name in MASK_NAMES


def _compared(graph: Graph, several: Sequence[Candidate]) -> Compared:
    """One pass over the graph, from the savers up. A mask does not carry a picture, so nothing passes through it. Nodes
    in a circle get no bits of what they feed.
    """
    above = upstream(graph, [one.node for one in several])
    waiting = Counter(source for node_id in above for source, _ in _links(graph, node_id))
    nodes: dict[str, int] = dict.fromkeys(above, 0)
    links: dict[tuple[str, int], int] = {}
    for place, one in enumerate(several):
        link = saved(graph, one) if one.saver.beside else None  # what it shows beside is another candidate
        nodes[link[0] if link else one.node] |= 1 << place
    ready = [node_id for node_id in above if not waiting[node_id]]
    while ready:
        node_id = ready.pop()
        for link in _links(graph, node_id):
            source = link[0]
            links[link] = links.get(link, 0) | nodes[node_id]
            nodes[source] |= nodes[node_id]
            waiting[source] -= 1
            if not waiting[source]:
                ready.append(source)
    sources = [_source(graph, one) for one in several]
    beside = {source: _beside(graph, source) for source in sources}
    return Compared(graph, several, sources, beside, nodes, links)


def _links(graph: Graph, node_id: str) -> set[tuple[str, int]]:
    inputs = graph[node_id]["inputs"]
    return {(value[0], value[1]) for name, value in inputs.items() if is_link(graph, value) and not _is_mask(name)}


# What leads to another result


def _goes_into_another(compared: Compared, place: int) -> bool:
    """Whether another saver uses what this one saves. If both use each other's, the fuller one counts. A film does not
    go into a picture that is made of one of its frames.
    """
    own = _fullness(compared.several[place])
    for user in _places(_users(compared, place) & ~(1 << place)):
        fuller = _fullness(compared.several[user]) - own
        if fuller > 0 or (fuller == 0 and not compared.fed_by_node[compared.sources[user]] >> place & 1):
            return True
    return False


def _users(compared: Compared, place: int) -> int:
    """A film contains the sound that is linked to it, and not another output of the same node."""
    one = compared.several[place]
    link = saved(compared.graph, one)
    if one.medium == "audio" and link is not None:
        return compared.fed_by_link.get(link, 0)
    return compared.fed_by_node[compared.sources[place]]


def _places(bits: int) -> Iterator[int]:
    """The highest places that are set, at most COMPARED_MAX."""
    for _ in range(COMPARED_MAX):
        if not bits:
            return
        place = bits.bit_length() - 1
        bits ^= 1 << place
        yield place


def _is_comparison(compared: Compared, place: int) -> bool:
    """Whether it puts what another one saves beside what that was made from, and beside nothing else."""
    parts = compared.beside[compared.sources[place]]
    feeds = [compared.fed_by_node[part] for part in parts]
    users = functools.reduce(operator.and_, feeds) if feeds else 0
    return any(user != place and compared.sources[user] in parts for user in _places(users))


def _beside(graph: Graph, node_id: str) -> set[str]:
    """The makers of the pictures that a node puts side by side; empty if it is no such node, or if there are many."""
    waiting, seen = [node_id], {node_id}
    while waiting:
        if len(seen) > 2 * BESIDE_MAX:
            return set()
        node = graph[waiting.pop()]
        if not _is_beside(node):
            continue
        if len(node["inputs"]) > BESIDE_INPUTS_MAX:
            return set()
        pictures = [value for name, value in node["inputs"].items() if name.startswith("image")]
        makers = {_made_by(graph, value[0]) for value in pictures if is_link(graph, value)} - seen
        seen |= makers
        waiting += makers
    return {part for part in seen - {node_id} if not _is_beside(graph[part])}


def _is_beside(node: Graph) -> bool:
    return _names(folded(node), BESIDE_WORDS)
