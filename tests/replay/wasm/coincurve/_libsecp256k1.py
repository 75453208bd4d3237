"""The two functions of libsecp256k1 that verifying calls."""

from coincurve import G, N, add, times


class ffi:
    typeof = staticmethod(str)

    @staticmethod
    def new(_):
        return []


class lib:
    @staticmethod
    def secp256k1_ecdsa_signature_parse_compact(_, raw, signature):
        raw[:] = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        return all(part < N for part in raw)

    @staticmethod
    def secp256k1_ecdsa_verify(_, raw, digest, key):
        r, s = raw
        if not r or not 0 < s <= N // 2:
            return False
        w = pow(s, -1, N)
        point = add(times(int.from_bytes(digest, "big") * w % N, G), times(r * w % N, key))
        return point is not None and point[0] % N == r
