"""Nothing is signed here."""

der_to_cdata = serialize_compact = None
