"""The node classes that save videos, sounds, bodies, animations and texts, and those that save in odd ways.

File names, keys of the history and the places of the metadata are those of ComfyUI 0.29.0. `VHS_VideoCombine` is that
of VideoHelperSuite: with a sound it writes the silent video first, whole and under a name of its own. `Image Save` is
that of WAS Node Suite: it makes no folder for its prefix, so with one it saves nothing and does not say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

from PIL import Image

from comfyledger.comfyui.messages import ViewFile
from comfyledger.sim.comfyui.media import clips, sounds, stills
from comfyledger.sim.comfyui.media.files import copied
from comfyledger.sim.comfyui.media.sources import Clip, MeshFile, opened
from comfyledger.sim.comfyui.nodes import Inputs, NodeClass, Saved, Surroundings, choice, fraction, option, shown, whole
from comfyledger.sim.comfyui.pictures import Picture, SavePlan, draw, plan_save, save

_NO_SIZE: Final = Picture(0, 0)
_PREFIX: Final = ["STRING", {"default": "ComfyUI", "multiline": False}]
_IMAGES: Final = ["IMAGE", {}]
_MESHES: Final = "MESH,FILE_3D_GLB,FILE_3D_GLTF,FILE_3D_OBJ,FILE_3D_FBX,FILE_3D_STL,FILE_3D_USDZ,FILE_3D"
_FPS: Final = fraction(6.0, 0.01, 1000.0)
_IMAGES_MODULE, _VIDEO, _AUDIO = "comfy_extras.nodes_images", "comfy_extras.nodes_video", "comfy_extras.nodes_audio"


def _plan(inputs: Inputs, around: Surroundings, ending: str, first: Picture = _NO_SIZE) -> SavePlan:
    return plan_save(around.folders.output, inputs["filename_prefix"], first, around.now, ending)


def _write(plan: SavePlan, contents: Sequence[bytes]) -> list[ViewFile]:
    """Write files in place, one for each content."""
    names = [plan.filename(index) for index in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        (plan.folder / name).write_bytes(content)
    return [ViewFile(name, plan.subfolder, "output") for name in names]


def _frames(pictures: Sequence[Picture], name: str) -> list[Image.Image]:
    """The pictures of an animation: a dot moves, since frames that are equal are saved as one."""
    drawn = [draw(picture, name) for picture in pictures]
    for place, frame in enumerate(drawn):
        frame.putpixel((place % frame.width, frame.height // 2), (255, 0, 255))
    return drawn


# ---- videos


def _save_video(inputs: Inputs, around: Surroundings) -> Saved:
    clip = opened(inputs["video"])
    files = _write(_plan(inputs, around, "_.mp4", clip.pictures[0]), [clips.mp4(clip.mark, around.metadata)])
    return shown("images", files, clip, animated=True)


def _save_webm(inputs: Inputs, around: Surroundings) -> Saved:
    """It writes prompt and workflow even with `--disable-metadata`."""
    clip = Clip(inputs["images"], inputs["fps"])
    files = _write(_plan(inputs, around, "_.webm", clip.pictures[0]), [clips.webm(clip.mark, around.texts)])
    return shown("images", files, inputs["images"], animated=True)


# ---- VideoHelperSuite

Made = Callable[[Clip, str, Mapping[str, Any]], bytes]


def _animation(made: Callable[..., bytes]) -> Made:
    return lambda clip, name, metadata: made(_frames(clip.pictures, name), clip.fps, metadata)


_FORMATS: Final[Mapping[str, tuple[str, Made]]] = {
    "image/gif": ("gif", _animation(stills.gif)),
    "image/webp": ("webp", _animation(stills.animated_webp)),
    "video/h264-mp4": ("mp4", lambda clip, _, metadata: clips.mp4(clip.mark, metadata)),
    "video/webm": ("webm", lambda clip, _, metadata: clips.webm(clip.mark, metadata)),
}


def _video_combine(inputs: Inputs, around: Surroundings) -> Saved:
    """A PNG of the first picture, the silent video, and after it the one with sound. Only the last is shown."""
    sound = inputs.get("audio", ())
    silent = Clip(inputs["images"], inputs["frame_rate"])
    extension, made = _FORMATS[inputs["format"]]
    root, kind = (around.folders.output, "output") if inputs["save_output"] else (around.folders.temp, "temp")
    plan = plan_save(root, inputs["filename_prefix"], silent.pictures[0], around.now, f".{extension}")
    name = plan.filename(0)
    still = name.removesuffix(extension) + "png"
    save(silent.pictures[0], plan.folder / still, dict(around.texts))
    (plan.folder / name).write_bytes(made(silent, name, around.texts))

    def written(last: str, *files: str) -> Saved:
        seen = {"filename": last, "subfolder": plan.subfolder, "type": kind, "format": inputs["format"]}
        seen |= {"frame_rate": silent.fps, "workflow": still, "fullpath": str(plan.folder / last)}
        return Saved(tuple(ViewFile(one, plan.subfolder, kind) for one in files), {"gifs": [seen]}, ((True, files),))

    def with_sound() -> Saved:
        last = name.removesuffix(f".{extension}") + f"-audio.{extension}"
        (plan.folder / last).write_bytes(made(Clip(silent.pictures, silent.fps, sound), last, around.texts))
        return written(last, last)

    whole_at_once = not sound or inputs["format"].startswith("image/")
    first = written(name, still, name)
    return first if whole_at_once else Saved(first.files, then=with_sound)


# ---- sounds


def _audio_saver(made: Callable[[sounds.Sound, Mapping[str, Any]], bytes], extension: str) -> Callable[..., Saved]:
    def run(inputs: Inputs, around: Surroundings) -> Saved:
        contents = [made(sound, around.metadata) for sound in inputs["audio"]]
        return shown("audio", _write(_plan(inputs, around, f".{extension}"), contents), inputs["audio"])

    return run


# ---- images


def _save_webp(inputs: Inputs, around: Surroundings) -> Saved:
    return _animated(inputs, around, "_.webp", stills.animated_webp)


def _save_apng(inputs: Inputs, around: Surroundings) -> Saved:
    return _animated(inputs, around, "_.png", stills.animated_png)


def _animated(inputs: Inputs, around: Surroundings, ending: str, made: Callable[..., bytes]) -> Saved:
    pictures = inputs["images"]
    plan = _plan(inputs, around, ending, pictures[0])
    files = _write(plan, [made(_frames(pictures, plan.filename(0)), inputs["fps"], around.metadata)])
    return shown("images", files, pictures, animated=len(pictures) > 1)


def _save_advanced(inputs: Inputs, around: Surroundings) -> Saved:
    pictures = inputs["images"]
    plan = _plan(inputs, around, f".{inputs['format']}", pictures[0])
    if inputs["format"] == "exr":
        drawn = [draw(picture, plan.filename(0)) for picture in pictures]
        return shown("images", _write(plan, [stills.exr(picture, around.metadata) for picture in drawn]), pictures)
    names = [plan.filename(index) for index in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        save(picture, plan.folder / name, dict(around.metadata))
    return shown("images", [ViewFile(name, plan.subfolder, "output") for name in names], pictures)


def _save_was(inputs: Inputs, around: Surroundings) -> Saved:
    """Nothing is saved where the folder of the prefix is missing, and nothing is said about it."""
    start = around.folders.output / f"{inputs['filename_prefix']}{inputs['filename_delimiter']}"
    written: list[ViewFile] = []
    for picture in inputs["images"] if start.parent.is_dir() else ():
        path = next(path for n in count(1) if not (path := start.with_name(f"{start.name}{n:04}.png")).exists())
        save(picture, path, dict(around.metadata))
        written.append(ViewFile(path.name, "", "output"))
    return shown("images", written, inputs["images"], [file.filename for file in written])


# ---- bodies and texts


def _save_glb(inputs: Inputs, around: Surroundings) -> Saved:
    """A body that comes from a file is copied."""
    body = inputs["mesh"]
    if isinstance(body, MeshFile):
        return shown("3d", _write(_plan(inputs, around, f"_{body.path.suffix}"), [copied(body.path)]))
    contents = [stills.glb(mesh, around.metadata) for mesh in body]
    return shown("3d", _write(_plan(inputs, around, "_.glb"), contents))


def _save_text(inputs: Inputs, around: Surroundings) -> Saved:
    text = inputs["text"]
    files = _write(_plan(inputs, around, f".{inputs['format']}"), [text.encode()])
    listed = shown("files", files)
    return Saved(listed.files, {"text": [text], **(listed.shown or {})}, (text,))


def _preview_any(inputs: Inputs, _: Surroundings) -> Saved:
    return Saved((), {"text": [str(inputs["source"])]}, (str(inputs["source"]),))


CLASSES: Final = (
    NodeClass(
        "SaveVideo",
        {
            "video": ["VIDEO", {}],
            "filename_prefix": _PREFIX,
            "format": choice("auto", "mp4"),
            "codec": choice("auto", "h264"),
        },
        ("VIDEO",),
        _save_video,
        is_output=True,
        module=_VIDEO,
    ),
    NodeClass(
        "SaveWEBM",
        {
            "images": _IMAGES,
            "filename_prefix": _PREFIX,
            "codec": choice("vp9", "av1"),
            "fps": fraction(24.0, 0.01, 1000.0),
            "crf": fraction(32.0, 0.0, 63.0),
        },
        ("IMAGE",),
        _save_webm,
        is_output=True,
        module=_VIDEO,
    ),
    NodeClass(
        "VHS_VideoCombine",
        {
            "images": ["IMAGE"],
            "frame_rate": fraction(8.0, 1.0, 1000.0),
            "loop_count": whole(0, 0, 100),
            "filename_prefix": ["STRING", {"default": "AnimateDiff"}],
            "format": [list(_FORMATS), {}],
            "pingpong": ["BOOLEAN", {"default": False}],
            "save_output": ["BOOLEAN", {"default": True}],
        },
        ("VHS_FILENAMES",),
        _video_combine,
        is_output=True,
        optional={"audio": ["AUDIO"]},
        module="custom_nodes.comfyui-videohelpersuite",
    ),
    *(
        NodeClass(
            name,
            {"audio": ["AUDIO", {}], "filename_prefix": _PREFIX} | more,
            ("AUDIO",),
            _audio_saver(made, extension),
            is_output=True,
            module=_AUDIO,
        )
        for name, made, extension, more in (
            ("SaveAudio", sounds.flac, "flac", {}),
            ("SaveAudioMP3", sounds.mp3, "mp3", {"quality": choice("V0", "128k", "320k")}),
            ("SaveAudioOpus", sounds.opus, "opus", {"quality": choice("128k", "64k", "96k", "192k", "320k")}),
        )
    ),
    NodeClass(
        "SaveAnimatedWEBP",
        {
            "images": _IMAGES,
            "filename_prefix": _PREFIX,
            "fps": _FPS,
            "lossless": ["BOOLEAN", {"default": True}],
            "quality": whole(80, 0, 100),
            "method": choice("default", "fastest", "slowest"),
        },
        ("IMAGE",),
        _save_webp,
        is_output=True,
        module=_IMAGES_MODULE,
    ),
    NodeClass(
        "SaveAnimatedPNG",
        {"images": _IMAGES, "filename_prefix": _PREFIX, "fps": _FPS, "compress_level": whole(4, 0, 9)},
        ("IMAGE",),
        _save_apng,
        is_output=True,
        module=_IMAGES_MODULE,
    ),
    NodeClass(
        "SaveImageAdvanced",
        {
            "images": _IMAGES,
            "filename_prefix": _PREFIX,
            "format": [
                "COMFY_DYNAMICCOMBO_V3",
                {
                    "options": [
                        option("png", bit_depth=choice("8-bit", "16-bit"), input_color_space=choice("sRGB")),
                        option(
                            "exr",
                            bit_depth=choice("32-bit float"),
                            input_color_space=choice("sRGB", "HDR", "linear"),
                        ),
                    ]
                },
            ],
        },
        ("IMAGE",),
        _save_advanced,
        is_output=True,
        module=_IMAGES_MODULE,
    ),
    NodeClass(
        "Image Save",
        {
            "images": ["IMAGE"],
            "output_path": ["STRING", {"default": "[time(%Y-%m-%d)]", "multiline": False}],
            "filename_prefix": ["STRING", {"default": "ComfyUI"}],
            "filename_delimiter": ["STRING", {"default": "_"}],
            "extension": [["png", "jpg", "jpeg", "gif", "tiff", "webp", "bmp"], {}],
        },
        ("IMAGE", "STRING"),
        _save_was,
        is_output=True,
        module="custom_nodes.was-node-suite-comfyui",
    ),
    NodeClass(
        "SaveImageWebsocket",
        {"images": ["IMAGE"]},
        (),
        lambda inputs, _: Saved(),
        is_output=True,
        module="custom_nodes.websocket_image_save",
    ),
    NodeClass(
        "SaveGLB",
        {"mesh": [_MESHES, {}], "filename_prefix": _PREFIX},
        (),
        _save_glb,
        is_output=True,
        module="comfy_extras.nodes_save_3d",
    ),
    NodeClass(
        "SaveText",
        {
            "text": ["STRING", {"forceInput": True, "multiline": False}],
            "filename_prefix": _PREFIX,
            "format": choice("txt", "md", "json"),
        },
        ("STRING",),
        _save_text,
        is_output=True,
        module="comfy_extras.nodes_text",
    ),
    NodeClass(
        "PreviewAny",
        {"source": ["*", {}]},
        ("STRING",),
        _preview_any,
        is_output=True,
        module="comfy_extras.nodes_preview_any",
    ),
)
