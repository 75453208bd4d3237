"""The words that payloads of several modules share. Floor 3."""

from typing import Annotated

from p2pledger.codec import Length, Pattern

DeviceId = Annotated[bytes, Length(16, 16)]
"""Random, drawn by who enrols the device: it says nothing of place or person."""

Word = Annotated[str, Length(1, 32), Pattern("[a-z]+(_[a-z]+)*")]
"""A word of GS1's Core Business Vocabulary, such as `in_transit`; or of our own in its manner."""

Name = Annotated[str, Length(1, 64), Pattern("[!-~]+")]
"""An identifier of a thing or a place: a URN, an EPC, a GTIN, a register's number."""
