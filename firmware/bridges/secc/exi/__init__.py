"""Schema-informed EXI for V2G messages in pure Python, grammars built from XSD files. Standard library only."""

from firmware.bridges.secc.exi.codec import ExiCodec
from firmware.bridges.secc.exi.errors import ExiError, SchemaError
from firmware.bridges.secc.exi.walk import Limits

__all__ = ["ExiCodec", "ExiError", "Limits", "SchemaError"]
