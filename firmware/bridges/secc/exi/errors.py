"""What can go wrong between bytes and a message: one exception, one sentence, and the way to the place."""


class ExiError(ValueError):
    """A message or a byte stream that does not fit its schema, or breaks a limit.

    `str()` gives one sentence that begins with the path of element names to the place, e.g.
    `V2G_Message/Body/PreChargeReq: EVTargetVoltage is missing`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path: list[str] = []

    def inside(self, name: str) -> None:
        """Notes that the fault lies inside element `name`; called from the inside out."""
        self.path.append(name)

    def __str__(self) -> str:
        return f"{'/'.join(reversed(self.path))}: {self.text}" if self.path else self.text


class SchemaError(ExiError):
    """An XSD that is missing, is unreadable, or uses a construct that this codec does not know."""
