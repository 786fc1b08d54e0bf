"""ZIP archives of strangers: what is in them, judged before a byte is unpacked, and unpacking.

Nothing is ever written under a name from the archive. Limits hold for what is really unpacked,
not for what the archive says. Refused: other compressions than Deflate, encryption, links,
devices, members that share bytes, names that come twice, archives over several files.

Source: reliability notes B5; APPNOTE.TXT 6.3.10, 4.3.12-4.3.16 (directory and its end records).
"""

import hashlib
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from models.decode_formats import SNIFF_BYTES, sniff
from service.batches.files import is_wanted, printable_name
from service.errors import ArchiveRefused

END_SIGNATURE = b"PK\x05\x06"
END_RECORD = struct.Struct("<4s4H2LH")
END64_LOCATOR = struct.Struct("<4sLQL")
END64_LOCATOR_SIGNATURE = b"PK\x06\x07"
END64_RECORD = struct.Struct("<4sQ2H2L4Q")
END64_SIGNATURE = b"PK\x06\x06"
ENTRY = struct.Struct("<4s4B4HL2L5H2L")
ENTRY_SIGNATURE = b"PK\x01\x02"
ENTRY_NAME_FIELD, ENTRY_EXTRA_FIELD, ENTRY_COMMENT_FIELD = 12, 13, 14
MAX_COMMENT_BYTES = 0xFFFF
LOCAL_HEADER_BYTES = 30

MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 32 * 1024**2
MAX_TOTAL_BYTES = 1024**4
MAX_RATIO = 100
"""Source: reliability notes B5. Videos do not shrink: a high ratio is a bomb, or no video."""

SMALL_BYTES = 1024**2
"""Below it the ratio does not matter."""

ENCRYPTED = 0x1
COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
BLOCK_BYTES = 1024**2
FOREIGN_FOLDER = "__MACOSX"


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive.

    Attributes:
        index: in the archive's directory.
        name: printable and reversible; only ever shown.
        refusal: a sentence, where it is not to be unpacked; empty where it is.
    """

    index: int
    name: str
    size_bytes: int
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A member that was written to a file."""

    sha256: str
    size_bytes: int


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive whose directory is of a size that can be read.

    Raises:
        ArchiveRefused: it is damaged, no archive, or holds too much.
    """
    try:
        with path.open("rb") as file:
            _check_directory(file)
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        message = "The file is no ZIP archive, or is damaged; make it anew."
        raise ArchiveRefused(message) from error


def list_members(
    archive: zipfile.ZipFile, patterns: tuple[str, ...], max_member_bytes: int
) -> list[Member]:
    """Return the files of an archive; folders, hidden files and resource forks are left out.

    Args:
        archive: as `open_archive` returns it.
        patterns: of file names that are taken; none takes all.
        max_member_bytes: larger ones are refused.

    Raises:
        ArchiveRefused: members share bytes, or all of them together are too large.
    """
    infos = archive.infolist()
    _check_overlap(infos)
    if sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
        message = f"The archive unpacks to more than {MAX_TOTAL_BYTES} bytes; split it."
        raise ArchiveRefused(message)
    counts = Counter(info.filename for info in infos)
    members = []
    for index, info in enumerate(infos):
        last = info.filename.rpartition("/")[2]
        if info.is_dir() or not is_wanted(last, patterns or ("*",)):
            continue
        if FOREIGN_FOLDER in info.filename.split("/"):
            continue
        refusal = "" if counts[info.filename] == 1 else "The archive holds this name twice."
        refusal = refusal or _refusal(info, max_member_bytes)
        members.append(Member(index, printable_name(info.filename), info.file_size, refusal))
    return members


def unpack(
    archive: zipfile.ZipFile, index: int, target: IO[bytes], on_block: Callable[[int], None]
) -> Unpacked:
    """Write one member to an open file and check what it is.

    Args:
        archive: as `open_archive` returns it.
        index: of the member.
        target: written from its beginning.
        on_block: told how many bytes were written; may raise to stop.

    Raises:
        ArchiveRefused: it is damaged, or not what the archive says.
        OSError: it cannot be written.
    """
    info = archive.infolist()[index]
    digest = hashlib.sha256()
    size_bytes = 0
    head = b""
    try:
        with archive.open(info) as member:
            while block := member.read(BLOCK_BYTES):
                size_bytes += len(block)
                if size_bytes > info.file_size:
                    message = "The member is larger than the archive says."
                    raise ArchiveRefused(message)
                head = head or block[:SNIFF_BYTES]
                digest.update(block)
                target.write(block)
                on_block(len(block))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        message = "The member is damaged; make the archive anew."
        raise ArchiveRefused(message) from error
    if size_bytes != info.file_size:
        message = "The member is shorter than the archive says."
        raise ArchiveRefused(message)
    found = sniff(head) if head else None
    if found is not None and found.refusal is not None:
        message = f"The member is {found.label}, not a video."
        raise ArchiveRefused(message)
    return Unpacked(digest.hexdigest(), size_bytes)


def _refusal(info: zipfile.ZipInfo, max_member_bytes: int) -> str:
    """Return why a member is not unpacked; empty if nothing speaks against it."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    reasons = {
        "The member is empty.": info.file_size == 0,
        "The member is encrypted; send it without a password.": bool(info.flag_bits & ENCRYPTED),
        "The member is a link or a device.": kind not in {0, stat.S_IFREG},
        "The member is not compressed by Deflate.": info.compress_type not in COMPRESSIONS,
        f"The member is larger than {max_member_bytes} bytes.": info.file_size > max_member_bytes,
        f"The member unpacks to more than {MAX_RATIO} times its size.": (
            info.file_size > max(SMALL_BYTES, MAX_RATIO * info.compress_size)
        ),
    }
    return next((sentence for sentence, true in reasons.items() if true), "")


def _check_overlap(infos: list[zipfile.ZipInfo]) -> None:
    """Refuse archives whose members share bytes: a few bytes would unpack to any number."""
    end = 0
    for info in sorted(infos, key=lambda one: one.header_offset):
        if info.header_offset < end:
            message = "Members of the archive share their bytes; make the archive anew."
            raise ArchiveRefused(message)
        end = info.header_offset + LOCAL_HEADER_BYTES + info.compress_size


def _check_directory(file: IO[bytes]) -> None:
    """Count the members before anything is made of them: an empty one takes 46 bytes only."""
    size_bytes, start = _directory_place(file)
    if size_bytes > MAX_DIRECTORY_BYTES:
        raise _too_many()
    file.seek(start)
    directory = file.read(size_bytes)
    at = count = 0
    while at + ENTRY.size <= len(directory):
        fields = ENTRY.unpack_from(directory, at)
        if fields[0] != ENTRY_SIGNATURE:
            break  # zipfile says the rest
        count += 1
        lengths = (ENTRY_NAME_FIELD, ENTRY_EXTRA_FIELD, ENTRY_COMMENT_FIELD)
        at += ENTRY.size + sum(fields[field] for field in lengths)
    if count > MAX_MEMBERS:
        raise _too_many()


def _too_many() -> ArchiveRefused:
    message = f"The archive holds more than {MAX_MEMBERS} members; split it."
    return ArchiveRefused(message)


def _directory_place(file: IO[bytes]) -> tuple[int, int]:
    """Return size and start of the directory, as `zipfile` will look for it."""
    length = file.seek(0, 2)
    tail_start = max(0, length - END_RECORD.size - MAX_COMMENT_BYTES)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(END_SIGNATURE)
    if at < 0 or at + END_RECORD.size > len(tail):
        message = "no end of a directory"
        raise ValueError(message)
    size_bytes = int(END_RECORD.unpack_from(tail, at)[5])
    end = tail_start + at
    locator_start = end - END64_LOCATOR.size
    if locator_start >= END64_RECORD.size:
        file.seek(locator_start)
        if file.read(len(END64_LOCATOR_SIGNATURE)) == END64_LOCATOR_SIGNATURE:
            # Where zipfile reads it: directly before its locator.
            end = locator_start - END64_RECORD.size
            file.seek(end)
            fields = END64_RECORD.unpack(file.read(END64_RECORD.size))
            if fields[0] == END64_SIGNATURE:
                size_bytes = int(fields[8])
    if size_bytes > end:
        message = "a directory longer than the file"
        raise ValueError(message)
    return size_bytes, end - size_bytes
