"""Small graphs for the stand-in, one for each saver, whose files differ by a colour."""

from __future__ import annotations

from typing import Any

Graph = dict[str, Any]

SAVERS: dict[str, tuple[str, str, str, bool]] = {
    "png": ("SaveImage", "images", "_.png", False),
    "mp4": ("SaveVideo", "images", "_.mp4", True),
    "webm": ("SaveWEBM", "images", "_.webm", True),
    "flac": ("SaveAudio", "audio", "_00001.flac", False),
    "mp3": ("SaveAudioMP3", "audio", "_00001.mp3", False),
    "opus": ("SaveAudioOpus", "audio", "_00001.opus", False),
    "glb": ("SaveGLB", "3d", "_.glb", False),
    "webp": ("SaveAnimatedWEBP", "images", "_.webp", True),
    "apng": ("SaveAnimatedPNG", "images", "_.png", True),
    "gif": ("VHS_VideoCombine", "gifs", "_00001.gif", False),
    "vhs": ("VHS_VideoCombine", "gifs", "_00001.mp4", False),
    "exr": ("SaveImageAdvanced", "images", "_00001.exr", False),
    "text": ("SaveText", "files", "_00001.txt", False),
}
"""The class, the key of its files in the history, how their names end, and whether they are said to be animated."""

_FORMATS = {"gif": "image/gif", "vhs": "video/h264-mp4"}
_MORE: dict[str, Graph] = {
    "mp4": {"format": "auto", "codec": "auto"},
    "webm": {"codec": "vp9", "fps": 8.0, "crf": 32.0},
    "mp3": {"quality": "V0"},
    "opus": {"quality": "128k"},
    "webp": {"fps": 6.0, "lossless": True, "quality": 80, "method": "default"},
    "apng": {"fps": 6.0, "compress_level": 4},
    "exr": {"format": "exr", "format.bit_depth": "32-bit float", "format.input_color_space": "sRGB"},
    "text": {"format": "txt"},
}


def node(class_type: str, **inputs: Any) -> Graph:
    return {"class_type": class_type, "inputs": inputs}


def pictures(color: int, batch_size: int = 2) -> Graph:
    """Node 1 makes pictures of one colour."""
    return {"1": node("EmptyImage", width=32, height=32, batch_size=batch_size, color=color)}


def sampled(seed: int, latent: Graph) -> Graph:
    """Node 5 samples a latent, so that what is decoded from it follows from the seed."""
    text = node("CLIPTextEncode", text="a tone", clip=["2", 1])
    knobs = {"seed": seed, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["2", 0], "positive": ["3", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    checkpoint = node("CheckpointLoaderSimple", ckpt_name="random-sd15.safetensors")
    return {"2": checkpoint, "3": text, "4": latent, "5": node("KSampler", **knobs, **links)}


def sound(seed: int) -> Graph:
    """Node 6 is a sound of one second."""
    decode = node("VAEDecodeAudio", samples=["5", 0], vae=["2", 2])
    return sampled(seed, node("EmptyLatentAudio", seconds=1.0, batch_size=1)) | {"6": decode}


def body(seed: int) -> Graph:
    """Node 6 is a mesh."""
    latent = node("EmptyLatentHunyuan3Dv2", resolution=1024, batch_size=1)
    decode = node("VAEDecodeHunyuan3D", samples=["5", 0], vae=["2", 2], num_chunks=8000, octree_resolution=256)
    mesh = node("VoxelToMesh", voxel=["7", 0], algorithm="basic", threshold=0.6)
    return sampled(seed, latent) | {"7": decode, "6": mesh}


def graph_of(
    medium: str, color: int, *, prefix: str, batch_size: int = 2, sound_too: bool = False, in_folder: bool = True
) -> Graph:
    """A graph whose node 9 saves this medium. `color`: what its files are told apart by."""
    more = _MORE.get(medium, {})
    named = {"filename_prefix": prefix}
    match medium:
        case "png":
            return pictures(color, 1) | {"9": node("SaveImage", images=["1", 0], **named)}
        case "mp4":
            video = node("CreateVideo", images=["1", 0], fps=8.0)
            return pictures(color) | {"6": video, "9": node("SaveVideo", video=["6", 0], **named, **more)}
        case "webm" | "webp" | "apng":
            return pictures(color, batch_size) | {"9": node(SAVERS[medium][0], images=["1", 0], **named, **more)}
        case "exr":
            return pictures(color, 1) | {"9": node("SaveImageAdvanced", images=["1", 0], **named, **more)}
        case "gif" | "vhs":
            return _combined(medium, color, prefix, batch_size, sound_too)
        case "flac" | "mp3" | "opus":
            return sound(color) | {"9": node(SAVERS[medium][0], audio=["6", 0], **named, **more)}
        case "glb":
            return body(color) | {"9": node("SaveGLB", mesh=["6", 0], **named)}
        case _:
            return _odd(medium, color, prefix if in_folder else prefix.replace("/", "-"))


def _combined(medium: str, color: int, prefix: str, batch_size: int, sound_too: bool) -> Graph:
    options = {"frame_rate": 8.0, "loop_count": 0, "pingpong": False, "save_output": True, "format": _FORMATS[medium]}
    linked = {"audio": ["6", 0]} if sound_too else {}
    saver = node("VHS_VideoCombine", images=["1", 0], filename_prefix=prefix, **options, **linked)
    return pictures(color, batch_size) | (sound(color) if sound_too else {}) | {"9": saver}


def _odd(medium: str, color: int, prefix: str) -> Graph:
    """Savers without files, without a prefix, or with more files than their inputs say; and texts."""
    match medium:
        case "text":
            text = node("PrimitiveString", value=f"text {color}")
            return {"1": text, "9": node("SaveText", text=["1", 0], filename_prefix=prefix, format="txt")}
        case "words":
            return {"1": node("PrimitiveString", value=str(color)), "9": node("PreviewAny", source=["1", 0])}
        case "was":
            options = {"output_path": "", "filename_prefix": prefix, "filename_delimiter": "_", "extension": "png"}
            return pictures(color, 1) | {"9": node("Image Save", images=["1", 0], **options)}
        case "websocket" | "preview":
            class_type = {"websocket": "SaveImageWebsocket", "preview": "PreviewImage"}[medium]
            return pictures(color, 1) | {"9": node(class_type, images=["1", 0])}
        case _:
            frames = node("MakeFrames", image=["1", 0], frames=3)
            saver = node("SaveImage", images=["6", 0], filename_prefix=prefix)
            return pictures(color, 1) | {"6": frames, "9": saver}


def several(*media: str, color: int, prefix: str = "x") -> Graph:
    """One graph with a saver for each medium. Its nodes are called `MEDIUM:ID`, the savers `MEDIUM:9`."""
    graph: Graph = {}
    for medium in media:
        graph |= _renamed(graph_of(medium, color, prefix=prefix), medium)
    return graph


def _renamed(graph: Graph, medium: str) -> Graph:
    def linked(value: Any) -> Any:
        return [f"{medium}:{value[0]}", value[1]] if isinstance(value, list) else value

    return {
        f"{medium}:{own}": one | {"inputs": {name: linked(value) for name, value in one["inputs"].items()}}
        for own, one in graph.items()
    }


def savers_of(*media: str) -> list[str]:
    return [f"{medium}:9" for medium in media]
