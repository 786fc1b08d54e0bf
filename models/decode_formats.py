"""Which containers and codecs are decoded, and what else a file turns out to be.

Every decoder is a way in for hostile bytes, so the lists are short. Standard library only.

Source: reliability notes B2. Added to its list, each with its reason: ``flv`` (recorders and
streaming archives; H.264 inside, a small demuxer), ``h263`` (3GP of older phones), ``mpeg1video``
(program streams of archives; the same decoder as MPEG-2). Not added: GIF, Ogg, ASF/WMV, raw
elementary streams (no timestamps), VVC.
"""

from typing import NamedTuple

# FFmpeg's demuxer names; "mov" stands for mov, mp4, m4a, 3gp, 3g2 and mj2, "mpeg" for MPEG-PS.
FORMATS = ("mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv")
FORMATS_FOR_PEOPLE = "MP4/MOV, Matroska/WebM, AVI, MPEG-TS, MPEG-PS and FLV"
# FFmpeg's decoder names; its AV1 decoder is called libdav1d.
CODECS = (
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "libdav1d",
    "av1",
    "mpeg4",
    "mpeg2video",
    "mpeg1video",
    "mjpeg",
    "h263",
)
CODECS_FOR_PEOPLE = (
    "H.264, HEVC, VP8, VP9, AV1, MPEG-4 part 2, MPEG-2, MPEG-1, Motion JPEG and H.263"
)
# Streams whose clocks may jump: broadcasts are cut and joined, recorders restart theirs.
DISCONTINUOUS_FORMATS = frozenset({"mpegts", "mpeg", "flv"})
# Codecs with packets that need not show a picture of their own (AV1 repeats, "not coded" frames of
# MPEG-4 part 2): a packet without a picture is no loss there.
REPEATING_CODECS = frozenset({"libdav1d", "av1", "mpeg4"})
# AVI has no presentation times; what FFmpeg makes up for these codecs is wrong with B-frames.
ORDERLESS_AVI_CODECS = frozenset({"h264", "hevc"})

SNIFF_BYTES = 4096
_TS_PACKET_BYTES = (188, 192)
_TS_SYNC = 0x47
_PRINTABLE_SHARE = 0.95


class Sniffed(NamedTuple):
    """What the first bytes say: a name for people, and the error code if it is no video."""

    label: str
    refusal: str | None


# (offset, magic, label, refusal). Refusal None: a container that is decoded.
_MAGICS = (
    (0, b"\x1aE\xdf\xa3", "Matroska/WebM", None),
    (0, b"FLV\x01", "FLV", None),
    (0, b"\x00\x00\x01\xba", "MPEG program stream", None),
    (8, b"AVI ", "AVI", None),
    (8, b"WAVE", "a WAV sound", "no_video_stream"),
    (8, b"WEBP", "a WebP image", "container_unsupported"),
    (0, b"GIF8", "a GIF image", "container_unsupported"),
    (0, b"\x89PNG", "a PNG image", "container_unsupported"),
    (0, b"\xff\xd8\xff", "a JPEG image", "container_unsupported"),
    (0, b"BM", "a BMP image", "container_unsupported"),
    (0, b"OggS", "an Ogg file", "container_unsupported"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "an ASF/WMV file", "container_unsupported"),
    (0, b"%PDF", "a PDF document", "container_unsupported"),
    (0, b"PK\x03\x04", "a ZIP archive", "container_unsupported"),
    (0, b"\x1f\x8b", "a gzip archive", "container_unsupported"),
    (0, b"fLaC", "a FLAC sound", "no_video_stream"),
    (0, b"ID3", "an MP3 sound", "no_video_stream"),
    (0, b"#EXTM3U", "an HLS playlist", "container_unsupported"),
    (0, b"ffconcat", "an FFmpeg concat script", "container_unsupported"),
    (0, b"v=0", "an SDP description", "container_unsupported"),
)
_IMAGE_BRANDS = frozenset({b"heic", b"heix", b"heif", b"mif1", b"avif"})
_MOV_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})


def sniff(head: bytes) -> Sniffed:
    """Name what a file's first bytes look like; the extension is never trusted.

    Args:
        head: the first SNIFF_BYTES bytes, or all if there are fewer; not empty.
    """
    if head[4:8] in _MOV_ATOMS:
        if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS:
            return Sniffed("a HEIF/AVIF image", "container_unsupported")
        return Sniffed("MP4/MOV", None)
    for offset, magic, label, refusal in _MAGICS:
        if head[offset : offset + len(magic)] == magic:
            return Sniffed(label, refusal)
    if _is_transport_stream(head):
        return Sniffed("MPEG transport stream", None)
    if _is_text(head):
        return Sniffed("a text", "unreadable_video")
    return Sniffed("unknown bytes", None)


def never_shown(codec: str, first: int, last: int) -> bool:
    """Tell whether a packet of VP8 or VP9 only serves as a reference, from two of its bytes.

    Args:
        codec: FFmpeg's name of the decoder.
        first: the packet's first byte.
        last: the packet's last byte.

    Source: RFC 6386 §9.1 (show_frame is bit 4); VP9 bitstream specification §6.2 and Annex B
    (uncompressed header; a superframe's last byte starts with the bits 110 and it shows one frame).
    """
    if codec == "vp8":
        return not first & 0x10
    if codec != "vp9" or last & 0xE0 == 0xC0:  # noqa: PLR2004 - bit patterns of the specification
        return False
    profile_bits = first & 0x30
    header = first if profile_bits == 0x30 else first >> 1  # noqa: PLR2004 - profile 3: one more bit
    shows_existing, shows_frame = header & 0x04, header & 0x01
    return not shows_existing and not shows_frame


def _is_transport_stream(head: bytes) -> bool:
    for step in _TS_PACKET_BYTES:
        first = step - _TS_PACKET_BYTES[0]
        positions = range(first, min(len(head), first + 4 * step), step)
        if len(positions) > 1 and all(head[at] == _TS_SYNC for at in positions):
            return True
    return False


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    printable = sum(byte >= ord(" ") or byte in b"\t\r\n" for byte in head)
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character cut at the end is still text
            return False
    return printable >= _PRINTABLE_SHARE * len(head)
