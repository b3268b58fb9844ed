"""The nodes that are known to save or show something, as data: what each writes, and under which names. PURE.

Every entry says where its facts were read: a node of ComfyUI 0.29.0 by its file, one of a custom pack by pack, version
and file. The tests have an example of each entry, and compare those of ComfyUI with its own `/object_info`. A node that
is not here is judged by the name of its class and by its inputs (`outputs`).

Which files count is decided in `outputs`; nothing here looks at links.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from comfyledger.comfyui.graph.plan import PREFIX_NAME
from comfyledger.core.media import Medium, medium_of

Role = Literal["saver", "side", "preview", "text", "other"]
"""saver: what people call an output. side: saves a text or an intermediate state, and counts only where nothing else is
saved. preview: shows something, or saves it only if a widget says so. text: shows a text. other: gives no file that we
could get, and none that a person expects."""
Type = Literal["IMAGE", "MASK", "VIDEO", "AUDIO", "MESH", "STRING"]
"""What a saver of ours can save."""


class Saver(NamedTuple):
    """What is known of a class of node."""

    source: str
    """Where this was read."""
    saves: str = ""
    """The input that is linked to what it saves."""
    type: Type | None = None
    """What that link carries, if a saver of ours can save it instead."""
    role: Role = "saver"
    honours: bool = False
    """Whether it puts its files under `filename_prefix`, creates the folders in it, and names them in the history."""
    each: bool = False
    """Whether it writes one file for each member of a batch of images or sounds, and not one file of all."""
    medium: Medium | None = None
    """None: what `core.media` says of the extension."""
    extension: str = ""
    by: str = ""
    """The input whose value chooses the extension."""
    extensions: Mapping[str, str] = {}
    """The extension for each value of `by`. Empty: with this value it writes many files and names none that exists."""
    name: str = "{prefix}_{place:05}_"
    """The name of file `place` of a run that begins in an empty folder, without dot and extension."""
    sound: str = ""
    """If this input is linked, the file with sound is written last, with `-audio` behind its name."""
    in_pieces: str = ""
    """If this input is linked, it writes one file in several runs, which it puts into the queue itself."""
    temporary: tuple[str, bool] | None = None
    """The widget, and its value, with which the files go to ComfyUI's temporary folder."""
    beside: str = ""
    """A second input of the same type, for a node that shows two things."""
    slot: int | None = None
    """The number of the output that gives what it saves, for a node that makes this itself."""
    metadata: bool = False
    """Whether it writes the graph into its files. Several do even under `--disable-metadata`."""


class Made(NamedTuple):
    """What a saver writes with the values that it has in a graph."""

    medium: Medium
    file: str
    """As `Output.file`."""
    extension: str
    """Empty if it is not known."""


_COMFYUI: Final = "ComfyUI 0.29.0 "
_NODES: Final = _COMFYUI + "nodes.py"
_IMAGES: Final = _COMFYUI + "comfy_extras/nodes_images.py"
_AUDIO: Final = _COMFYUI + "comfy_extras/nodes_audio.py"
_SAVE_3D: Final = _COMFYUI + "comfy_extras/nodes_save_3d.py"
_LOAD_3D: Final = _COMFYUI + "comfy_extras/nodes_load_3d.py"
_VIDEO: Final = _COMFYUI + "comfy_extras/nodes_video.py"
_MERGING: Final = _COMFYUI + "comfy_extras/nodes_model_merging.py"
_DATASET: Final = _COMFYUI + "comfy_extras/nodes_dataset.py"
_VHS: Final = "ComfyUI-VideoHelperSuite 1.7.9 videohelpersuite/nodes.py, video_formats/"
_ADE: Final = "ComfyUI-AnimateDiff-Evolved 1.5.7 animatediff/nodes_deprecated.py"
_WAS: Final = "was-node-suite-comfyui 1.0.2 WAS_Node_Suite.py"
_IMAGE_SAVER: Final = "ComfyUI-Image-Saver 1.23.0 nodes.py"
_KRITA: Final = "comfyui-tooling-nodes 3.3.0 "
_SWARM: Final = "SwarmUI src/BuiltinExtensions/ComfyUIBackend/ExtraNodes/SwarmComfyCommon/SwarmSaveImageWS.py"
_SCRIPTS: Final = "ComfyUI-Custom-Scripts 1.1.0 py/show_text.py"
_RGTHREE: Final = "rgthree-comfy 1.0.2508161414 py/"
_ESSENTIALS: Final = "ComfyUI_essentials 1.0.0 essentials.py"
_HY3D: Final = "ComfyUI-Hunyuan3DWrapper 1.0.6 nodes.py"
_EASY: Final = "ComfyUI-Easy-Use 1.3.6 py/nodes/"
_KJ: Final = "ComfyUI-KJNodes 1.5.0 nodes/image_nodes.py"
_TTN: Final = "ComfyUI_tinyterraNodes 2.0.11 ttNpy/"
_NO_UNDERSCORE: Final = "{prefix}_{place:05}"

_PIXELS: Final = ("images", "IMAGE")
_OTHER: Final[Role] = "other"
_SHOWS: Final[Role] = "preview"
_SIDE: Final[Role] = "side"
_TELLS: Final[Role] = "text"

_OF_COMFYUI: Final[dict[str, Saver]] = {
    "SaveImage": Saver(_NODES, *_PIXELS, honours=True, each=True, extension="png", metadata=True),
    "SaveImageAdvanced": Saver(
        _IMAGES,
        *_PIXELS,
        honours=True,
        each=True,
        medium="image",
        by="format",
        extensions={"png": "png", "exr": "exr"},
        name=_NO_UNDERSCORE,
        metadata=True,
    ),
    "SaveAnimatedWEBP": Saver(_IMAGES, *_PIXELS, honours=True, extension="webp", metadata=True),
    "SaveAnimatedPNG": Saver(_IMAGES, *_PIXELS, honours=True, extension="png", metadata=True),
    "SaveSVGNode": Saver(_IMAGES, "svg", honours=True, each=True, extension="svg", metadata=True),
    "SaveWEBM": Saver(_VIDEO, *_PIXELS, honours=True, extension="webm", metadata=True),
    "SaveVideo": Saver(_VIDEO, "video", "VIDEO", honours=True, extension="mp4", metadata=True),
    "SaveAudio": Saver(
        _AUDIO, "audio", "AUDIO", honours=True, each=True, extension="flac", name=_NO_UNDERSCORE, metadata=True
    ),
    "SaveAudioMP3": Saver(
        _AUDIO, "audio", "AUDIO", honours=True, each=True, extension="mp3", name=_NO_UNDERSCORE, metadata=True
    ),
    "SaveAudioOpus": Saver(
        _AUDIO, "audio", "AUDIO", honours=True, each=True, extension="opus", name=_NO_UNDERSCORE, metadata=True
    ),
    "SaveAudioAdvanced": Saver(
        _AUDIO,
        "audio",
        "AUDIO",
        honours=True,
        each=True,
        medium="audio",
        by="format",
        extensions={"flac": "flac", "mp3": "mp3", "opus": "opus"},
        name=_NO_UNDERSCORE,
        metadata=True,
    ),
    # A mesh becomes a GLB; a model that is a file already keeps its format, and nothing is found under this name.
    "SaveGLB": Saver(_SAVE_3D, "mesh", "MESH", honours=True, each=True, extension="glb", metadata=True),
    # These name their file in the history as a bare text beside other things.
    "Save3DAdvanced": Saver(_SAVE_3D, "model_3d", "MESH"),
    "SaveGaussianSplat": Saver(_SAVE_3D, "model_3d", "MESH"),
    "SavePointCloud": Saver(_SAVE_3D, "model_3d", "MESH"),
    "SaveLatent": Saver(_NODES, "samples", role=_SIDE, honours=True, medium="file", extension="latent", metadata=True),
    "SaveText": Saver(
        _COMFYUI + "comfy_extras/nodes_text.py",
        "text",
        role=_SIDE,
        honours=True,
        medium="file",
        by="format",
        extensions={"txt": "txt", "md": "md", "json": "json"},
        name=_NO_UNDERSCORE,
    ),
    "SaveImageWebsocket": Saver(_COMFYUI + "custom_nodes/websocket_image_save.py", *_PIXELS),
    "SaveImageDataSetToFolder": Saver(_DATASET, *_PIXELS),
    "SaveImageTextDataSetToFolder": Saver(_DATASET, *_PIXELS),
    "PreviewImage": Saver(_NODES, *_PIXELS, role=_SHOWS),
    "ImageCompare": Saver(
        _COMFYUI + "comfy_extras/nodes_image_compare.py", "image_b", "IMAGE", role=_SHOWS, beside="image_a"
    ),
    "MaskPreview": Saver(_COMFYUI + "comfy_extras/nodes_mask.py", "mask", "MASK", role=_SHOWS),
    "PreviewAny": Saver(_COMFYUI + "comfy_extras/nodes_preview_any.py", "source", "STRING", role=_TELLS, slot=0),
    "PreviewAudio": Saver(_AUDIO, "audio", "AUDIO", role=_SHOWS),
    "Preview3D": Saver(_LOAD_3D, "model_file", "MESH", role=_SHOWS),
    "Preview3DAdvanced": Saver(_LOAD_3D, "model_3d", "MESH", role=_SHOWS),
    "PreviewGaussianSplat": Saver(_LOAD_3D, "model_3d", "MESH", role=_SHOWS),
    "PreviewPointCloud": Saver(_LOAD_3D, "model_3d", "MESH", role=_SHOWS),
}
_MODELS_BY_API: Final = {
    "nodes_meshy": {
        "MeshyAnimateModelNode": 1,
        "MeshyImageToModelNode": 2,
        "MeshyMultiImageToModelNode": 2,
        "MeshyRefineNode": 2,
        "MeshyRigModelNode": 2,
        "MeshyTextToModelNode": 2,
        "MeshyTextureNode": 2,
    },
    "nodes_hunyuan3d": {"TencentImageToModelNode": 1, "TencentTextToModelNode": 1},
    "nodes_tripo": {
        "TripoImageToModelNode": 2,
        "TripoMultiviewToModelNode": 2,
        "TripoRefineNode": 2,
        "TripoRetargetNode": 2,
        "TripoRigNode": 2,
        "TripoTextToModelNode": 2,
        "TripoTextureNode": 2,
    },
}
"""Nodes of paid services that are run without being linked, and give out the model as a file."""
_NOTHING_TO_GET: Final = {
    _MERGING: ("CheckpointSave", "CLIPSave", "ModelSave", "VAESave"),
    _COMFYUI + "comfy_extras/nodes_video_model.py": ("ImageOnlyCheckpointSave",),
    _COMFYUI + "comfy_extras/nodes_lora_extract.py": ("LoraSave",),
    _COMFYUI + "comfy_extras/nodes_train.py": ("LossGraphNode", "SaveLoRA"),
    _DATASET: ("SaveTrainingDataset",),
    _COMFYUI + "comfy_extras/nodes_bounding_boxes.py": ("CreateBoundingBoxes",),
    _COMFYUI + "comfy_extras/nodes_sam3.py": ("SAM3_TrackPreview",),
}
"""Nodes that show something else than a picture or a text, or save weights of models, and folders."""

_VHS_FORMATS: Final = {
    "image/gif": "gif",
    "image/webp": "webp",
    "video/16bit-png": "",
    "video/8bit-png": "",
    "video/ProRes": "mov",
    "video/av1-webm": "webm",
    "video/ffmpeg-gif": "gif",
    "video/ffv1-mkv": "mkv",
    "video/gifski": "gif",
    "video/h264-mp4": "mp4",
    "video/h265-mp4": "mp4",
    "video/nvenc_av1-mp4": "mp4",
    "video/nvenc_h264-mp4": "mp4",
    "video/nvenc_hevc-mp4": "mp4",
    "video/webm": "webm",
}
_ADE_FORMATS: Final = {
    "image/gif": "gif",
    "image/webp": "webp",
    "video/av1-webm": "webm",
    "video/h264-mp4": "mp4",
    "video/h265-mp4": "mp4",
    "video/webm": "webm",
}
_OF_PACKS: Final[dict[str, Saver]] = {
    "VHS_VideoCombine": Saver(
        _VHS,
        *_PIXELS,
        honours=True,
        by="format",
        extensions=_VHS_FORMATS,
        name=_NO_UNDERSCORE,
        sound="audio",
        in_pieces="meta_batch",
        temporary=("save_output", False),
        metadata=True,
    ),
    "ADE_AnimateDiffCombine": Saver(
        _ADE, *_PIXELS, honours=True, by="format", extensions=_ADE_FORMATS, temporary=("save_image", False)
    ),
    # It does not create the folder in its prefix, saves nothing then, and says nothing.
    "Image Save": Saver(_WAS, *_PIXELS, metadata=True),
    "Image Saver": Saver(_IMAGE_SAVER, *_PIXELS, metadata=True),
    "Image Saver Simple": Saver(_IMAGE_SAVER, *_PIXELS, metadata=True),
    "ETN_SendImageWebSocket": Saver(_KRITA + "nodes.py", *_PIXELS),
    "ETN_SaveImageCache": Saver(_KRITA + "nodes.py", *_PIXELS),
    "ETN_KritaOutput": Saver(_KRITA + "krita.py", *_PIXELS),
    "SwarmSaveImageWS": Saver(_SWARM, *_PIXELS),
    "easy imageSave": Saver(
        _EASY + "image.py",
        *_PIXELS,
        honours=True,
        each=True,
        extension="png",
        temporary=("only_preview", True),
        metadata=True,
    ),
    "SaveImageWithAlpha": Saver(
        _KJ, "images", honours=True, each=True, extension="png", name=_NO_UNDERSCORE, metadata=True
    ),
    "DecodeAndSaveVideo": Saver(_KJ, "video_latent", honours=True, extension="mp4", metadata=True),
    "SaveImageWithMetaData": Saver(
        "ComfyUI-SaveImageWithMetaData 1.0.0 py/nodes/node.py",
        *_PIXELS,
        honours=True,
        each=True,
        medium="image",
        by="file_format",
        extensions={"png": "png", "jpeg": "jpeg", "webp": "webp"},
        metadata=True,
    ),
    "SaveImageKJ": Saver(_KJ, *_PIXELS, metadata=True),
    "FastPreview": Saver(_KJ, "image", "IMAGE", role=_SHOWS),
    "Image Comparer (rgthree)": Saver(
        _RGTHREE + "image_comparer.py", "image_b", "IMAGE", role=_SHOWS, beside="image_a"
    ),
    "MaskPreview+": Saver(_ESSENTIALS, "mask", "MASK", role=_SHOWS),
    "ShowText|pysssss": Saver(_SCRIPTS, "text", "STRING", role=_TELLS),
    "Display Any (rgthree)": Saver(_RGTHREE + "display_any.py", "source", "STRING", role=_TELLS),
    "easy showAnything": Saver(_EASY + "logic.py", "anything", "STRING", role=_TELLS),
    # The history does not name what these save, so it cannot be got: a graph that ends here is refused.
    "TripoConversionNode": Saver(_COMFYUI + "comfy_api_nodes/nodes_tripo.py", "original_model_task_id"),
    "Hy3DExportMesh": Saver(_HY3D, "trimesh"),
    "SwarmSaveAnimatedWebpWS": Saver(_SWARM, "images"),
    "SwarmSaveAnimationWS": Saver(_SWARM, "images"),
    "ttN imageOutput": Saver(_TTN + "tinyterraNodes.py", "image", "IMAGE", role=_SHOWS, metadata=True),
}
_SAMPLERS_THAT_SHOW: Final = {
    _EASY + "samplers.py": {
        "easy fullkSampler": 1,
        "easy kSampler": 1,
        "easy kSamplerTiled": 1,
        "easy kSamplerLayerDiffusion": 1,
        "easy kSamplerInpainting": 1,
        "easy kSamplerDownscaleUnet": 1,
        "easy kSamplerSDTurbo": 1,
        "easy cascadeKSampler": 1,
        "easy kSamplerCustom": 3,
    },
    _EASY + "fix.py": {"easy hiresFix": 1, "easy detailerFix": 1},
    _TTN + "tinyterraNodes.py": {
        "ttN KSampler_v2": 6,
        "ttN pipeKSampler_v2": 7,
        "ttN pipeKSamplerAdvanced_v2": 7,
        "ttN pipeKSamplerSDXL_v2": 11,
    },
    _TTN + "ttNlegacyNodes.py": {
        "ttN pipeKSampler": 7,
        "ttN pipeKSamplerAdvanced": 7,
        "ttN pipeKSamplerSDXL": 11,
    },
}
"""Samplers that show or save their own image, as a widget says, and give it out as well."""

SAVERS: Final[dict[str, Saver]] = {
    **_OF_COMFYUI,
    **{
        name: Saver(f"{_COMFYUI}comfy_api_nodes/{module}.py", type="MESH", role=_SHOWS, slot=slot)
        for module, slots in _MODELS_BY_API.items()
        for name, slot in slots.items()
    },
    **_OF_PACKS,
    **{
        name: Saver(source, type="IMAGE", role=_SHOWS, slot=slot)
        for source, slots in _SAMPLERS_THAT_SHOW.items()
        for name, slot in slots.items()
    },
    **{name: Saver(source, role=_OTHER) for source, names in _NOTHING_TO_GET.items() for name in names},
}
"""By `class_type`."""

OURS: Final[dict[Type, tuple[str, dict[str, Any]]]] = {
    "IMAGE": ("SaveImage", {}),
    "VIDEO": ("SaveVideo", {"format": "auto", "codec": "auto"}),
    "AUDIO": ("SaveAudio", {}),
    "MASK": ("SaveImage", {}),
    "MESH": ("SaveGLB", {}),
    "STRING": ("SaveText", {"format": "txt"}),
}
"""The saver that is linked in where a node cannot save under our prefix, and its other required inputs."""


def made(saver: Saver, inputs: Mapping[str, Any], linked: bool) -> Made:
    """What a saver that honours our prefix writes. `linked`: whether its input `sound` is a link."""
    chosen = inputs.get(saver.by)
    extension = saver.extensions.get(chosen, "") if saver.by and isinstance(chosen, str) else saver.extension
    by_value = medium_of(extension) if extension else _medium_of_value(chosen)
    sounding = linked and isinstance(chosen, str) and chosen.startswith("video/")
    name = f"{saver.name}-audio" if sounding else saver.name
    return Made(saver.medium or by_value, f"{name}.{extension}" if extension else "", extension)


def _medium_of_value(chosen: object) -> Medium:
    """VideoHelperSuite calls its formats `image/...` and `video/...`, those that a person adds too."""
    return "image" if isinstance(chosen, str) and chosen.startswith("image/") else "video"


def writes_a_series(saver: Saver, inputs: Mapping[str, Any]) -> bool:
    """Whether the value of `by` makes it write many files that the history does not name."""
    chosen = inputs.get(saver.by) if saver.by else None
    return isinstance(chosen, str) and saver.extensions.get(chosen) == ""


def to_temporary(saver: Saver, inputs: Mapping[str, Any]) -> bool:
    """Whether its files go to ComfyUI's temporary folder."""
    return saver.temporary is not None and inputs.get(saver.temporary[0]) is saver.temporary[1]


def takes_prefix(inputs: Mapping[str, Any], class_type: str) -> bool:
    """ComfyUI refuses a SaveImage without prefix (recording `partly_invalid`), but the run fills it in."""
    return PREFIX_NAME in inputs or class_type == "SaveImage"
