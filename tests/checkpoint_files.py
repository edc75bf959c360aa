"""Indexes of TensorFlow's checkpoints, changed by hand and with correct checksums.

An index is a table of LevelDB: blocks of sorted entries, each block with its masked CRC-32C, then a footer. A key is
the name of a variable, a value is a BundleEntryProto.
"""

import struct

from tensorflow.core.protobuf import tensor_bundle_pb2

FOOTER, TRAILER = 48, 5  # bytes of the footer, and of the type and checksum of a block
MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def changed_index(content, change):
    """Return an index in which change(entry) has edited the BundleEntryProto of each kernel."""
    entries = []
    for key, value in _entries(content):
        if key.endswith(b"/w"):
            entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
            change(entry)
            value = entry.SerializeToString()
        entries.append((key, value))
    block, meta = _block(entries), _block([])
    index = _block([(b"\xff", _varint(0) + _varint(len(block) - TRAILER))])
    handles = (len(block), len(meta) - TRAILER, len(block) + len(meta), len(index) - TRAILER)
    footer = b"".join(map(_varint, handles))
    return block + meta + index + footer.ljust(FOOTER - 8, b"\0") + MAGIC


def _entries(content):
    """Return [(key, value)] of a table."""
    footer = content[-FOOTER:]
    position, numbers = 0, []
    for _ in range(4):
        number, position = _read_varint(footer, position)
        numbers.append(number)
    entries = []
    for _, handle in _parse_block(content, numbers[2], numbers[3]):
        offset, position = _read_varint(handle, 0)
        size, _ = _read_varint(handle, position)
        entries += _parse_block(content, offset, size)
    return entries


def _parse_block(content, offset, size):
    block = content[offset : offset + size]
    assert content[offset + size] == 0, "the block is compressed"
    restarts = struct.unpack("<I", block[-4:])[0]
    end, position, key, entries = len(block) - 4 - 4 * restarts, 0, b"", []
    while position < end:
        shared, position = _read_varint(block, position)
        rest, position = _read_varint(block, position)
        length, position = _read_varint(block, position)
        key = key[:shared] + block[position : position + rest]
        position += rest
        entries.append((key, block[position : position + length]))
        position += length
    return entries


def _block(entries):
    """Return a block with its type and checksum; no key shares a prefix."""
    block, restarts = b"", []
    for key, value in entries:
        restarts.append(len(block))
        block += _varint(0) + _varint(len(key)) + _varint(len(value)) + key + value
    restarts = restarts or [0]
    block += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts)) + b"\0"
    checksum = _crc32c(block)
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return block + struct.pack("<I", masked)


def _varint(number):
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _read_varint(content, position):
    number = shift = 0
    while True:
        byte = content[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position


def _crc32c(content):
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF
