"""There is no context."""


class GLOBAL_CONTEXT:
    ctx = None
