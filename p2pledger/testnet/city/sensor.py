"""A device of the city, as its organisation has it. Floor 8."""

import secrets
from itertools import count

from p2pledger.chain.payloads import DeviceEnroll, RecordAppend
from p2pledger.chain.payloads.bodies import SensorReading
from p2pledger.crypto import KeySigner
from p2pledger.testnet.city.stage import Stage, commitment, new_key


class Sensor:
    """A device behind its organisation's gateway. It numbers what it writes, from 0 on."""

    def __init__(self, stage: Stage, organisation: str, kind: str) -> None:
        self._stage, self._kind = stage, kind
        self.organisation = organisation
        self.signer: KeySigner = new_key()
        self._id = secrets.token_bytes(16)
        self._numbers = count()

    async def enrol(self) -> None:
        """It begins; gateway and device sign together. Raises: NotAsWritten."""
        gateway = self._stage.gateways[self.organisation]
        enrolment = DeviceEnroll(self._id, self.signer.public_key, gateway.peer, self._kind, commitment())
        await self._stage.say(enrolment, self.organisation, gateway.signer, self.signer)

    def reading(self, measurement: str, unit: str, value: int) -> RecordAppend:
        """What it says next: one value, in clear."""
        body = SensorReading(measurement, unit, 0, (value,))
        return self._stage.fact("sensor.reading/1", body, device=self._id, seq=next(self._numbers))
