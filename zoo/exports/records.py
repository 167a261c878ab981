"""TFRecord files and the examples in them, as bytes.

Written here, since packages that do it define TensorFlow's messages under the same names: protobuf lets no process
import both (tried: tfrecord 1.14, TensorFlow 2.21), and who exports may go on with TensorFlow.
"""

import struct
from collections.abc import Mapping

import numpy as np
from google_crc32c import value as crc32c

Feature = bytes | float | int

# Of protobuf: fields with a length before their bytes
LENGTH_DELIMITED = 2
# The numbers of the fields in tensorflow/core/example/{example,feature}.proto; all others have the number 1
VALUE, FLOATS, INTEGERS = 2, 2, 3


def record(content: bytes) -> bytes:
    """A record of a file: its length, its content, and a checksum of each."""
    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


def masked(content: bytes) -> bytes:
    """The checksum, made another where the content is a record with one itself."""
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def example(features: Mapping[str, Feature]) -> bytes:
    """A tf.train.Example: each feature one text of bytes, one float32 or one int64."""
    entries = [
        delimited(1, delimited(1, key.encode()) + delimited(VALUE, encoded(value))) for key, value in features.items()
    ]
    return delimited(1, b"".join(entries))


def encoded(value: Feature) -> bytes:
    if isinstance(value, bytes):
        return delimited(1, delimited(1, value))
    if isinstance(value, int):
        return delimited(INTEGERS, delimited(1, varint(value)))
    return delimited(FLOATS, delimited(1, np.float32(value).tobytes()))


def delimited(number: int, content: bytes) -> bytes:
    """A field with this number."""
    return varint(number << 3 | LENGTH_DELIMITED) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; numbers below 0 as what is added to them in 64 bits."""
    number &= 0xFFFFFFFFFFFFFFFF
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)
