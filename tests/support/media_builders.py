"""Small whole files of every medium, each with a secret where ComfyUI's savers write the prompt."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable

from PIL import Image

SECRET = b"sk-SECRET-0123456789"
PROMPT = json.dumps({"9": {"class_type": "Save", "inputs": {"api_key": SECRET.decode(), "text": "x" * 700}}}).encode()


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def movie(brand: bytes = b"isom", *, index_first: bool = False) -> bytes:
    """Four samples of 25 bytes in two chunks; the prompt in `udta` and in `meta`."""
    samples = bytes(range(100))
    kind = box(b"ftyp", brand, bytes(4), brand)
    texts = box(b"udta", box(b"\xa9cmt", PROMPT)) + box(b"meta", bytes(4), box(b"ilst", PROMPT))
    size = box(b"tkhd", bytes(76) + struct.pack(">2I", 64 << 16, 48 << 16))
    sizes = box(b"stsz", struct.pack(">4x2I4I", 0, 4, 25, 25, 25, 25))

    def index(first: int) -> bytes:
        chunks = box(b"stco", struct.pack(">4xI2I", 2, first, first + 50))
        return box(b"moov", box(b"trak", size, box(b"mdia", box(b"minf", box(b"stbl", sizes, chunks)))), texts)

    if index_first:
        begin = len(kind) + len(index(0)) + 8
        return kind + index(begin) + box(b"mdat", samples)
    return kind + box(b"free", SECRET) + box(b"mdat", samples) + index(len(kind) + 8 + len(SECRET) + 8)


def fragments() -> bytes:
    """An index without samples, and two fragments: sizes of their own in the first, one for all in the second."""
    usual = box(b"trex", bytes(4), struct.pack(">5I", 1, 1, 0, 25, 0))
    index = box(
        b"moov", box(b"trak", box(b"tkhd", bytes(76) + struct.pack(">2I", 64 << 16, 48 << 16))), box(b"mvex", usual)
    )
    runs = [
        box(b"trun", struct.pack(">3I4I", 0x301, 2, 0, 1, 20, 1, 30)),
        box(b"trun", struct.pack(">2I", 0, 2)),
    ]
    pieces = [
        box(b"moof", box(b"traf", box(b"tfhd", struct.pack(">2I", 0x20000, 1)), run)) + box(b"mdat", bytes(range(50)))
        for run in runs
    ]
    return box(b"ftyp", b"iso5", bytes(4), b"iso5") + index + box(b"udta", PROMPT) + b"".join(pieces)


def avi() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    header = chunk(b"avih", bytes(32) + struct.pack("<2I", 64, 48) + bytes(16))
    stream = chunk(b"LIST", b"strl" + chunk(b"strh", bytes(56)) + chunk(b"strn", SECRET))
    texts = chunk(b"LIST", b"INFO" + chunk(b"ICMT", PROMPT))
    frames = chunk(b"LIST", b"movi" + chunk(b"00dc", bytes(range(51))))
    content = b"AVI " + chunk(b"LIST", b"hdrl" + header + stream) + texts + frames + chunk(b"idx1", bytes(16))
    return chunk(b"RIFF", content) + chunk(b"RIFF", b"AVIX" + frames)


def element(element_id: int, *content: bytes) -> bytes:
    body = b"".join(content)
    length = (1 << 28 | len(body)).to_bytes(4, "big")
    return element_id.to_bytes((element_id.bit_length() + 7) // 8, "big") + length + body


def matroska(kind: bytes = b"webm", *, closed: bool = True) -> bytes:
    checksum = element(0xBF, bytes(4))
    info = element(0x1549A966, checksum, element(0x2AD7B1, b"\x0f\x42\x40"), element(0x7BA9, SECRET))
    name = element(0x536E, SECRET)
    video = element(0xE0, element(0xB0, b"\x40"), element(0xBA, b"\x30"))
    tags = element(0x1254C367, element(0x7373, element(0x67C8, element(0x45A3, b"PROMPT"), element(0x4487, PROMPT))))
    cluster = element(0x1F43B675, element(0xE7, b"\0"), element(0xA3, b"\x81\0\0\x80" + bytes(range(40))))
    content = info + element(0x1654AE6B, element(0xAE, name, video)) + tags + cluster
    header = element(0x1A45DFA3, element(0x4282, kind))
    length = (1 << 56 | len(content)).to_bytes(8, "big") if closed else b"\x01" + b"\xff" * 7
    return header + b"\x18\x53\x80\x67" + length + content


def crc(content: bytes, polynomial: int, width: int) -> bytes:
    """Bit by bit, as the specifications of FLAC and Ogg define it."""
    value = 0
    for byte in content:
        value ^= byte << width - 8
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> width - 1 else 0)
            value &= (1 << width) - 1
    return value.to_bytes(width // 8, "big")


def flac_frame(number: int, samples: int) -> bytes:
    """One constant sample of 16 bits, mono, `samples` times; up to 256."""
    head = bytes((0xFF, 0xF8, 0x69, 0x08, number, samples - 1))
    frame = head + crc(head, 0x07, 8) + b"\x00" + struct.pack(">h", 1000 + number)
    return frame + crc(frame, 0x8005, 16)


def flac() -> bytes:
    """Two frames of 200 samples and one of 57; the prompt among the comments."""
    info = struct.pack(">2H", 200, 200) + bytes(6) + (16_000 << 44 | 15 << 36 | 457).to_bytes(8, "big") + bytes(16)
    frames = b"".join(flac_frame(number, samples) for number, samples in enumerate((200, 200, 57)))
    comments = struct.pack("<I", 4) + b"test" + struct.pack("<2I", 1, len(PROMPT)) + PROMPT
    blocks = b"\x00\x00\x00\x22" + info + b"\x84" + len(comments).to_bytes(3, "big") + comments
    return b"fLaC" + blocks + frames


def wav() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    sound = chunk(b"fmt ", struct.pack("<2H2I2H", 1, 1, 8_000, 8_000, 1, 8)) + chunk(b"data", bytes(range(101)))
    content = b"WAVE" + chunk(b"LIST", b"INFO" + chunk(b"ICMT", PROMPT)) + sound
    return b"RIFF" + struct.pack("<I", len(content)) + content


def rf64() -> bytes:
    """The same sound with its lengths in 64 bits."""
    plain = wav()
    content = plain[8:].replace(b"data" + struct.pack("<I", 101), b"data" + b"\xff" * 4)
    lengths = struct.pack("<4sI3QI", b"ds64", 28, len(content) + 36, 101, 101, 0)
    return b"RF64" + b"\xff" * 4 + content[:4] + lengths + content[4:]


def mp3() -> bytes:
    """Four frames after one that says so, between tags."""
    frame = b"\xff\xfb\x90\xc0" + bytes(413)
    text = b"TXXX" + len(PROMPT).to_bytes(4, "big") + bytes(2) + PROMPT
    size = bytes(len(text) >> shift & 0x7F for shift in (21, 14, 7, 0))
    first = bytearray(frame)
    first[21:33] = b"Info" + struct.pack(">2I", 1, 4)
    return b"ID3\x04\0\0" + size + text + bytes(first) + 4 * frame + b"TAG" + SECRET.ljust(125, b"\0")


def ogg_page(packet: bytes, sequence: int, flags: int) -> bytes:
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    head = b"OggS\0" + bytes((flags,)) + bytes(8) + struct.pack("<2I", 7, sequence)
    page = head + bytes(4) + bytes((len(lacing),)) + lacing + packet
    return head + crc(page, 0x04C11DB7, 32)[::-1] + page[26:]


def ogg() -> bytes:
    comments = b"OpusTags" + struct.pack("<I", 4) + b"test" + struct.pack("<2I", 1, len(PROMPT)) + PROMPT
    packets = (b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0", comments, bytes(range(60)), bytes(range(70)))
    return b"".join(ogg_page(packet, place, (2, 0, 0, 4)[place]) for place, packet in enumerate(packets))


def ogg_video(head: bytes, comments: bytes) -> bytes:
    """A stream of pictures; `head` is its first packet, `comments` the beginning of its second."""
    texts = comments + struct.pack("<I", 4) + b"test" + struct.pack("<2I", 1, len(PROMPT)) + PROMPT
    packets = (head, texts, bytes(range(60)), bytes(range(70)))
    return b"".join(ogg_page(packet, place, (2, 0, 0, 4)[place]) for place, packet in enumerate(packets))


def theora() -> bytes:
    head = b"\x80theora\3\2\1" + struct.pack(">2H", 4, 3) + (64).to_bytes(3, "big") + (48).to_bytes(3, "big")
    return ogg_video(head + bytes(22), b"\x81theora")


def vp8_in_ogg() -> bytes:
    return ogg_video(b"OVP80\x01\1\0" + struct.pack(">2H", 64, 48) + bytes(14), b"OVP80\x02 ")


def flac_in_ogg() -> bytes:
    """Comments and a picture, each in a packet of its own, before the sound."""
    comments = struct.pack("<I", 4) + b"test" + struct.pack("<2I", 1, len(PROMPT)) + PROMPT
    first = b"\x7fFLAC\x01\0\0\x02" + flac()[:42]
    blocks = b"\x04" + len(comments).to_bytes(3, "big") + comments, b"\x86" + len(SECRET).to_bytes(3, "big") + SECRET
    packets = (first, *blocks, flac_frame(0, 200), flac_frame(1, 200))
    return b"".join(ogg_page(packet, place, (2, 0, 0, 0, 4)[place]) for place, packet in enumerate(packets))


def safetensors() -> bytes:
    """A latent as SaveLatent writes it, beside what says how a model is used."""
    texts = {
        "prompt": PROMPT.decode(),
        "format": "pt",
        "modelspec.title": "kept",
        "workflow": f'say "{SECRET.decode()}"',
    }
    described = {
        "__metadata__": texts,
        "latent_tensor": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
        "latent_format_version_0": {"dtype": "F32", "shape": [0], "data_offsets": [64, 64]},
    }
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(range(64))


def glb() -> bytes:
    described = {
        "asset": {"version": "2.0", "extras": {"prompt": PROMPT.decode(), "extras": SECRET.decode()}},
        "meshes": [{"name": "extras", "extras": SECRET.decode()}, {"extras": 5}],
    }
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    content = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", 64, b"BIN\0") + bytes(range(64))
    return b"glTF" + struct.pack("<2I", 2, 12 + len(content)) + content


def gif() -> bytes:
    pictures = [
        Image.frombytes("P", (24, 16), bytes((place * 7 + one) % 256 for one in range(384))) for place in range(3)
    ]
    out = io.BytesIO()
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], comment=PROMPT, loop=0)
    return out.getvalue()


def png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header, pixels = struct.pack(">2I5B", 24, 16, 8, 0, 0, 0, 0), zlib.compress((b"\0" + bytes(24)) * 16)
    chunks = chunk(b"IHDR", header) + chunk(b"tEXt", b"prompt\0" + PROMPT) + chunk(b"IDAT", pixels)
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


WHOLE: dict[str, Callable[[], bytes]] = {
    "png": png,
    "gif": gif,
    "mp4": movie,
    "mp4, index first": lambda: movie(index_first=True),
    "mp4, in fragments": fragments,
    "m4a": lambda: movie(b"M4A "),
    "mov": lambda: movie(b"qt  "),
    "avi": avi,
    "webm": matroska,
    "mkv": lambda: matroska(b"matroska"),
    "flac": flac,
    "wav": wav,
    "wav, with 64 bits": rf64,
    "mp3": mp3,
    "ogg": ogg,
    "ogg, of flac": flac_in_ogg,
    "ogv": theora,
    "ogv, of vp8": vp8_in_ogg,
    "glb": glb,
    "latent": safetensors,
    "safetensors": safetensors,
}
