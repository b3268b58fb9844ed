"""The node classes that make videos, sounds, bodies and texts. Each is a short description until it is saved.

Names, inputs and types are those of ComfyUI 0.29.0. `MakeFrames` plays a custom node whose inputs do not say how many
images come out of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from comfyledger.sim.comfyui.media.files import video_file
from comfyledger.sim.comfyui.media.sounds import Sound
from comfyledger.sim.comfyui.media.stills import Mesh
from comfyledger.sim.comfyui.nodes import Inputs, Latent, NodeClass, Surroundings, choice, fraction, whole
from comfyledger.sim.comfyui.pictures import Picture

CLIP_FPS: Final = 8.0
_CLIP_PX: Final = 64
_RATE: Final = 44_100
_VIDEO, _AUDIO, _3D = "comfy_extras.nodes_video", "comfy_extras.nodes_audio", "comfy_extras.nodes_hunyuan3d"


class Clip(msgspec.Struct, frozen=True):
    """A video: its pictures, and its sound if it has one."""

    pictures: tuple[Picture, ...]
    fps: float
    sounds: tuple[Sound, ...] = ()

    @property
    def mark(self) -> str:
        """What tells it from other videos."""
        return " ".join(["video", self.pictures[0].mark, *(sound.mark for sound in self.sounds)])


class ClipFile(msgspec.Struct, frozen=True):
    """A video that is read when somebody needs it."""

    path: Path

    def opened(self) -> Clip:
        """One second of pictures that no other bytes give. Raises CannotLoad."""
        mark = video_file(self.path)
        pictures = (Picture(_CLIP_PX, _CLIP_PX, seed=f"{mark}/{k}") for k in range(round(CLIP_FPS)))
        return Clip(tuple(pictures), CLIP_FPS, (Sound(1.0, _RATE, 2, mark),))


class MeshFile(msgspec.Struct, frozen=True):
    """A body in a file, which savers copy."""

    path: Path


def opened(video: Clip | ClipFile) -> Clip:
    """A video whose pictures are needed now. Raises CannotLoad."""
    return video.opened() if isinstance(video, ClipFile) else video


def _create_video(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    return (Clip(inputs["images"], inputs["fps"], inputs.get("audio", ())),)


def _video_components(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    clip = opened(inputs["video"])
    return clip.pictures, clip.sounds, clip.fps, 8


def _empty_audio(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    return ((Sound(inputs["duration"], inputs["sample_rate"], inputs["channels"]),),)


def _decode_audio(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    latent: Latent = inputs["samples"]
    return (tuple(Sound(latent.seconds, _RATE, 2, f"{latent.seed}/{k}") for k in range(latent.batch_size)),)


def _decode_voxel(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    latent: Latent = inputs["samples"]
    return (tuple(Mesh(f"{latent.seed}/{k}") for k in range(latent.batch_size)),)


def _make_frames(inputs: Inputs, _: Surroundings) -> tuple[Any, ...]:
    first: Picture = inputs["image"][0]
    return (tuple(msgspec.structs.replace(first, seed=f"{first.mark}/{k}") for k in range(inputs["frames"])),)


CLASSES: Final = (
    NodeClass(
        "CreateVideo",
        {"images": ["IMAGE", {}], "fps": fraction(30.0, 1.0, 120.0)},
        ("VIDEO",),
        _create_video,
        optional={"audio": ["AUDIO", {}], "bit_depth": whole(8, 8, 10, 2)},
        module=_VIDEO,
    ),
    NodeClass(
        "GetVideoComponents",
        {"video": ["VIDEO", {}]},
        ("IMAGE", "AUDIO", "FLOAT", "INT"),
        _video_components,
        module=_VIDEO,
    ),
    NodeClass(
        "EmptyAudio",
        {
            "duration": fraction(60.0, 0.0, 2.0**64 - 1),
            "sample_rate": whole(_RATE, 1, 192_000),
            "channels": whole(2, 1, 2),
        },
        ("AUDIO",),
        _empty_audio,
        module=_AUDIO,
    ),
    NodeClass(
        "EmptyLatentAudio",
        {"seconds": fraction(47.6, 1.0, 1000.0), "batch_size": whole(1, 1, 4096)},
        ("LATENT",),
        lambda inputs, _: (Latent(0, 0, inputs["batch_size"], seconds=inputs["seconds"]),),
        module=_AUDIO,
    ),
    NodeClass(
        "VAEDecodeAudio", {"samples": ["LATENT", {}], "vae": ["VAE", {}]}, ("AUDIO",), _decode_audio, module=_AUDIO
    ),
    NodeClass(
        "EmptyLatentHunyuan3Dv2",
        {"resolution": whole(3072, 1, 8192), "batch_size": whole(1, 1, 4096)},
        ("LATENT",),
        lambda inputs, _: (Latent(inputs["resolution"], 1, inputs["batch_size"]),),
        module=_3D,
    ),
    NodeClass(
        "VAEDecodeHunyuan3D",
        {
            "samples": ["LATENT", {}],
            "vae": ["VAE", {}],
            "num_chunks": whole(8000, 1000, 500_000),
            "octree_resolution": whole(256, 16, 512),
        },
        ("VOXEL",),
        _decode_voxel,
        module=_3D,
    ),
    NodeClass(
        "VoxelToMesh",
        {"voxel": ["VOXEL", {}], "algorithm": choice("surface net", "basic"), "threshold": fraction(0.6, -1.0, 1.0)},
        ("MESH",),
        lambda inputs, _: (inputs["voxel"],),
        module=_3D,
    ),
    NodeClass(
        "PrimitiveString",
        {"value": ["STRING", {}]},
        ("STRING",),
        lambda inputs, _: (inputs["value"],),
        module="comfy_extras.nodes_primitive",
    ),
    NodeClass(
        "MakeFrames",
        {"image": ["IMAGE"], "frames": whole(3, 1, 64)},
        ("IMAGE",),
        _make_frames,
        images=lambda inputs: int(inputs["frames"]),
        module="custom_nodes.make-frames",
    ),
)
