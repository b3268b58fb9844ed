"""The node classes of the stand-in that load files of the input folder. What is made from a file follows its bytes.

Names, inputs, marks and refusals are those of ComfyUI 0.29.0, measured, as is what each notices of a file that was
replaced: pictures and sounds by their bytes, a video by the time of its last change, a body not at all. `LoadVideo` and
`Load3D` open nothing: a file that is gone by then fails the node behind them. `VHS_LoadVideo` is that of
VideoHelperSuite, whose input has no mark. `PickPicture` plays a custom node that takes names of its list only.
"""

from __future__ import annotations

from typing import Any, Final

from comfyledger.sim.comfyui.media.files import CannotLoad, picture_file, sound_file
from comfyledger.sim.comfyui.media.sounds import Sound
from comfyledger.sim.comfyui.media.sources import CLIP_FPS, Clip, ClipFile, MeshFile
from comfyledger.sim.comfyui.nodes import FilesOf, Inputs, Loads, NodeClass, Surroundings, whole
from comfyledger.sim.comfyui.pictures import Picture

_IMAGES: Final = FilesOf(("image",))
_IMAGE: Final = Loads("image", "Invalid image file", "sha256")
_FROM_OUTPUT: Final = {
    "image_upload": True,
    "image_folder": "output",
    "remote": {"route": "/internal/files/output", "refresh_button": True, "control_after_refresh": "first"},
}
_FRAMES_MAX: Final = 2**63 - 1


def _upload(mark: str, files: FilesOf) -> list[Any]:
    """An input with a button for uploads, as newer nodes describe it."""
    return ["COMBO", {"multiselect": False, "options": files, mark: True}]


def _masks(pictures: tuple[Picture, ...], channel: str) -> tuple[Picture, ...]:
    return tuple(Picture(each.width, each.height, seed=f"{channel} of {each.seed}") for each in pictures)


def _load_image(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    pictures = picture_file(around.folders.annotated(inputs["image"]))
    return pictures, _masks(pictures, "alpha")


def _load_mask(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    return (_masks(picture_file(around.folders.annotated(inputs["image"])), inputs["channel"]),)


def _pick(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    return (picture_file(around.folders.annotated(inputs["picture"])),)


def _load_video(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    return (ClipFile(around.folders.annotated(inputs["file"])),)


def _load_audio(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    mark = sound_file(around.folders.annotated(inputs["audio"]))
    return ((Sound(1.0, 44_100, 2, mark),),)


def _load_frames(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    path = around.folders.annotated(inputs["video"])
    try:
        clip: Clip = ClipFile(path).opened()
    except CannotLoad as error:
        raise CannotLoad(f"{path} could not be loaded with cv.", "ValueError") from error
    chosen = clip.pictures[inputs["skip_first_frames"] :: inputs["select_every_nth"]]
    chosen = chosen[: inputs["frame_load_cap"] or None]
    return chosen, len(chosen), clip.sounds, {"source_fps": CLIP_FPS, "loaded_frame_count": len(chosen)}


def _load_3d(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    """ComfyUI's page sends a picture, a mask and more that it drew of the body."""
    drawn, folders, name = inputs["image"], around.folders, inputs["model_file"]
    picture, mask, normal = (picture_file(folders.annotated(drawn[each])) for each in ("image", "mask", "normal"))
    clip = ClipFile(folders.annotated(drawn["recording"])) if drawn["recording"] else None
    is_none = not name or name == "none"
    body = None if is_none else MeshFile(folders.annotated(name))
    camera, about = drawn["camera_info"], drawn.get("model_3d_info", [])
    return picture, _masks(mask, "alpha"), "" if is_none else name, normal, camera, clip, body, about


CLASSES: Final = (
    NodeClass(
        "LoadImage",
        {"image": [_IMAGES, {"image_upload": True}]},
        ("IMAGE", "MASK"),
        _load_image,
        loads=_IMAGE,
    ),
    NodeClass(
        "LoadImageMask",
        {"image": [_IMAGES, {"image_upload": True}], "channel": [["alpha", "red", "green", "blue"]]},
        ("MASK",),
        _load_mask,
        loads=_IMAGE,
    ),
    NodeClass("LoadImageOutput", {"image": ["COMBO", _FROM_OUTPUT]}, ("IMAGE", "MASK"), _load_image, loads=_IMAGE),
    NodeClass(
        "LoadVideo",
        {"file": _upload("video_upload", FilesOf(("video",)))},
        ("VIDEO",),
        _load_video,
        loads=Loads("file", "Invalid video file", "mtime"),
        module="comfy_extras.nodes_video",
    ),
    NodeClass(
        "LoadAudio",
        {"audio": _upload("audio_upload", FilesOf(("audio", "video")))},
        ("AUDIO",),
        _load_audio,
        loads=Loads("audio", "Invalid audio file", "sha256"),
        module="comfy_extras.nodes_audio",
    ),
    NodeClass(
        "Load3D",
        {
            "model_file": _upload("file_upload", FilesOf(("model",), ("none",))),
            "image": ["LOAD_3D", {}],
            "width": whole(1024, 1, 4096),
            "height": whole(1024, 1, 4096),
        },
        ("IMAGE", "MASK", "STRING", "IMAGE", "LOAD3D_CAMERA", "VIDEO", "FILE_3D", "LOAD3D_MODEL_INFO"),
        _load_3d,
        loads=Loads("model_file", "Invalid 3D model file", takes_all=True),
        module="comfy_extras.nodes_load_3d",
    ),
    NodeClass(
        "VHS_LoadVideo",
        {
            "video": [FilesOf(("video",))],
            "force_rate": ["FLOAT", {"default": 0, "min": 0, "max": 60, "step": 1}],
            "custom_width": whole(0, 0, 8192),
            "custom_height": whole(0, 0, 8192),
            "frame_load_cap": whole(0, 0, _FRAMES_MAX),
            "skip_first_frames": whole(0, 0, _FRAMES_MAX),
            "select_every_nth": whole(1, 1, _FRAMES_MAX),
        },
        ("IMAGE", "INT", "AUDIO", "VHS_VIDEOINFO"),
        _load_frames,
        loads=Loads("video", "Invalid video file", "mtime"),
        module="custom_nodes.comfyui-videohelpersuite",
    ),
    NodeClass(
        "PickPicture",
        {"picture": [_IMAGES]},
        ("IMAGE",),
        _pick,
        loads=Loads("picture"),
        module="custom_nodes.pick-picture",
    ),
)
