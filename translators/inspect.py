"""Inspect a FITS file: one read tells whether it is whole and what its header says.

The file is read once in chunks. Each chunk goes through SHA-256, CRC-64/NVME and
the block walker while it is in the processor's cache; the digest takes most of
the time, and the interpreter lock is free meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from awscrt.checksums import crc64nvme

from translators.errors import UnreadableFileError
from translators.expectations import expectation_findings, expected_hdus
from translators.findings import Finding, Severity
from translators.fits.blocks import BlockWalker, WalkedHdu
from translators.fits.cards import CARD_BYTES, parse_header
from translators.fits.checksums import checksum_verdict, datasum_verdict, or_borrowed
from translators.fits.packed import packed_image, unpacked_cards
from translators.fits.source import GZIP_MAGIC, GzipUnwrapper, chunk_buffer
from translators.inspection import CardValue, Hdu, Inspection, PackedImage, Verdict
from translators.instruments import instrument_of
from translators.policy import DEFAULT_POLICY, InspectionPolicy

_KEPT_HEADER_BYTES = 4096 * CARD_BYTES
"""How much of the primary header an inspection keeps as bytes, 320 KiB."""


def inspect_file(path: Path, *, policy: InspectionPolicy | None = None) -> Inspection:
    """Read a file once and tell everything that its bytes tell.

    Parameters
    ----------
    path
        A regular file; a link is followed.
    policy
        How strict to be; `DEFAULT_POLICY` where None.

    Returns
    -------
    Inspection
        Digests, HDUs, primary header and what was found wrong. A file that is no
        FITS, cut, or changed while it was read gives findings, not an exception.

    Raises
    ------
    UnreadableFileError
        The file is gone, no regular file, not permitted, or the device failed.

    Notes
    -----
    Memory is bounded by the chunk size whatever the size of the file. The file is
    not mapped: a writer who cuts it meanwhile would kill the process.
    """
    with _opened(path) as descriptor:
        before = os.fstat(descriptor)
        reading = _Reading()
        reading.read(descriptor)
        after = _stat_now(path, descriptor)
    findings = [*_change_findings(path, before, after, reading.size_bytes)]
    return _conclude(path, reading, findings, policy or DEFAULT_POLICY)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a regular file, translating what can go wrong until it is closed."""
    try:
        # O_NONBLOCK: a pipe in the drop directory must not hold the reader up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableFileError(f"{path} is no regular file; only files can be inspected")
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFileError(
            f"{path} cannot be read: {error.strerror}; look at the folder, its permissions "
            "and the system log"
        ) from error


@dataclass(slots=True)
class _Reading:
    """The state of one pass over a file."""

    size_bytes: int = 0
    crc64nvme: int = 0
    walker: BlockWalker = field(default_factory=BlockWalker)
    gzip: GzipUnwrapper | None = None
    sha256: str = ""

    def read(self, descriptor: int) -> None:
        """Take the file to its end."""
        digest = hashlib.sha256()
        buffer = chunk_buffer()
        while filled := _fill(descriptor, buffer):
            chunk = buffer[:filled]
            if self.size_bytes == 0 and bytes(chunk[:2]) == GZIP_MAGIC:
                self.gzip = GzipUnwrapper(self.walker.feed)
            digest.update(chunk)
            self.crc64nvme = crc64nvme(chunk, self.crc64nvme)
            self.size_bytes += filled
            if self.gzip is None:
                self.walker.feed(chunk)
            else:
                self.gzip.feed(chunk)
        if self.gzip is not None:
            self.gzip.finish()
        self.walker.finish()
        self.sha256 = digest.hexdigest()


def _fill(descriptor: int, buffer: memoryview) -> int:
    """Fill a buffer as far as the file reaches; a short read is not the end of the file."""
    filled = 0
    while filled < len(buffer):
        count = os.readv(descriptor, [buffer[filled:]])
        if count == 0:
            break
        filled += count
    return filled


def _stat_now(path: Path, descriptor: int) -> os.stat_result | None:
    """Return what the path points at now; None where it is gone or another file."""
    now = os.fstat(descriptor)
    try:
        named = path.stat()
    except FileNotFoundError:
        return None
    return now if (named.st_ino, named.st_dev) == (now.st_ino, now.st_dev) else None


def _change_findings(
    path: Path, before: os.stat_result, after: os.stat_result | None, size_bytes: int
) -> Iterator[Finding]:
    if after is None:
        what = "it was replaced or removed"
    elif (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        what = f"it was written to ({before.st_size} to {after.st_size} bytes)"
    elif size_bytes != before.st_size:
        what = f"{size_bytes} bytes were read of {before.st_size}"
    else:
        return
    yield Finding(
        "file.changed",
        Severity.ERROR,
        f"{path.name} changed while it was read: {what}; inspect it again when its writer has "
        "finished",
    )


def _conclude(
    path: Path, reading: _Reading, findings: list[Finding], policy: InspectionPolicy
) -> Inspection:
    walker = reading.walker
    if reading.size_bytes == 0:
        sentence = f"{path.name} is empty; ask the camera for the file again"
        findings.append(Finding("file.empty", Severity.ERROR, sentence))
    if reading.gzip is not None:
        findings.extend(_gzip_findings(path, reading.gzip, policy))
    findings.extend(walker.findings)
    header = _primary_header(walker.hdus)
    findings.extend(header.findings)
    hdus = tuple(_hdu(walked) for walked in walker.hdus)
    intact = not any(finding.severity is Severity.ERROR for finding in walker.findings)
    if header.packed is not None:
        policy = _with_packed(policy, header.cards, len(hdus))
    findings.extend(expectation_findings(hdus, header.cards, policy=policy, intact=intact))
    return Inspection(
        size_bytes=reading.size_bytes,
        sha256=reading.sha256,
        crc64nvme=f"{reading.crc64nvme:016x}",
        hdus=hdus,
        primary=header.cards,
        findings=tuple(findings),
        packed=header.packed,
        header_block=header.block,
    )


@dataclass(frozen=True, slots=True)
class _PrimaryHeader:
    """The cards that say which image a file holds."""

    cards: dict[str, CardValue]
    findings: tuple[Finding, ...]
    packed: PackedImage | None
    block: bytes


def _primary_header(walked: Sequence[WalkedHdu]) -> _PrimaryHeader:
    """Read the header of the primary HDU, or of the one that a packed image was."""
    if not walked:
        return _PrimaryHeader({}, (), None, b"")
    first = parse_header(walked[0].header)
    if len(walked) > 1 and walked[1].header:
        table = parse_header(walked[1].header, hdu=1)
        packed = packed_image(first.cards, table.cards)
        if packed is not None:
            return _PrimaryHeader(
                cards=unpacked_cards(table.cards),
                findings=(*first.findings, *table.findings),
                packed=packed,
                block=walked[1].header[:_KEPT_HEADER_BYTES],
            )
    return _PrimaryHeader(first.cards, first.findings, None, walked[0].header[:_KEPT_HEADER_BYTES])


def _with_packed(
    policy: InspectionPolicy, primary: Mapping[str, CardValue], count: int
) -> InspectionPolicy:
    """Allow for the empty primary HDU that a packer puts before the others.

    An instrument's data may count the HDUs of its files as they are, or as they were
    before somebody packed them.
    """
    instrument = instrument_of(primary)
    if policy.expected_hdus is not None or instrument is None:
        return policy
    if expected_hdus(primary, instrument) != count - 1:
        return policy
    return replace(policy, expected_hdus=count)


def _gzip_findings(path: Path, gzip: GzipUnwrapper, policy: InspectionPolicy) -> Iterator[Finding]:
    if gzip.fault:
        yield Finding(
            "gzip.broken",
            Severity.ERROR,
            f"{path.name} is wrapped in gzip and cannot be unwrapped after {gzip.size_bytes} bytes "
            f"of content: {gzip.fault}. Ask the camera for the file again",
        )
        return
    if gzip.trailing_bytes:
        what = "zeros" if gzip.trailing_blank else "bytes that are no gzip"
        yield Finding(
            "structure.trailing_bytes",
            Severity.WARNING if gzip.trailing_blank else Severity.ERROR,
            f"after the end of the gzip wrapper there are {gzip.trailing_bytes} {what}; something "
            "was written to the file after it was finished",
        )
    if path.suffix != ".gz":
        yield Finding(
            "structure.gzip",
            policy.gzip,
            f"{path.name} is wrapped in gzip though its name does not say so; its content "
            f"({gzip.size_bytes} bytes) was inspected. Find out who compresses",
        )


def _hdu(walked: WalkedHdu) -> Hdu:
    structure = walked.structure
    datasum = checksum = Verdict.ABSENT
    if structure is not None:
        datasum = or_borrowed(
            datasum_verdict(structure.datasum, walked.data_sum),
            structure.datasum,
            structure.uncompressed_datasum,
        )
        checksum = or_borrowed(
            checksum_verdict(structure.checksum, walked.hdu_sum),
            structure.checksum,
            structure.uncompressed_checksum,
        )
    return Hdu(
        index=walked.index,
        name=structure.name if structure else "",
        kind=structure.kind if structure else "",
        offset=walked.offset,
        header_bytes=walked.header_bytes,
        data_bytes=walked.data_bytes,
        datasum=datasum,
        checksum=checksum,
    )
