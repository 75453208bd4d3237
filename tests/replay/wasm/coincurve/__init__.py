"""In the place of coincurve under WebAssembly: verifying ECDSA over secp256k1 (SEC 2), in plain Python."""

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    (x, y), (u, v) = a, b
    if x == u and (y + v) % P == 0:
        return None
    slope = 3 * x * x * pow(2 * y, -1, P) if a == b else (v - y) * pow(u - x, -1, P)
    z = (slope * slope - x - u) % P
    return z, (slope * (x - z) - y) % P


def times(number, point):
    total = None
    while number:
        if number & 1:
            total = add(total, point)
        number, point = number >> 1, add(point, point)
    return total


class PublicKey:
    def __init__(self, data):
        x = int.from_bytes(data[1:], "big")
        y = pow(x**3 + 7, (P + 1) // 4, P)
        if data[0] not in (2, 3) or x >= P or (y * y - x**3 - 7) % P:
            raise ValueError("no point of the curve")
        self.public_key = x, y if y & 1 == data[0] & 1 else P - y


class PrivateKey:
    pass
