"""The Java codec behind a pipe: one JSON request a line, one JSON answer a line. Runs in the SECC's environment.

    .venv-secc/bin/python tests/secc/oracle.py

Two oracles in one JVM, both from the jar that the package iso15118 carries:
- `jar`: the package's codec as it is used in sessions (JSON to EXI and back, its own generated grammars);
- `exificient`: the EXI processor below it, fed with XML and with grammars that it makes itself from given XSD files.
  It has no JSON mapping and no message models in its way, so it takes everything that the schema permits.
"""

import contextlib
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from iso15118.shared.exificient_exi_codec import ExificientEXICodec


class Exificient:
    """EXIficient with the EXI options of V2G."""

    def __init__(self, jvm: Any, schemas: Path) -> None:
        self._jvm = jvm
        self._folder = Path(tempfile.mkdtemp(prefix="exi-oracle-"))
        self._factories: dict[tuple[str, bool], Any] = {}
        for file in schemas.rglob("*.xsd"):
            copy = self._folder / file.relative_to(schemas)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # The DTD of xmldsig is on the network; only its entities would be needed, and none is used.
            copy.write_text(re.sub(r"<!DOCTYPE.*?\]>", "", file.read_text(encoding="utf-8"), flags=re.DOTALL))
        for folder in [f for f in self._folder.iterdir() if f.is_dir()]:
            shutil.copy(self._folder / "xmldsig-core-schema.xsd", folder)  # some imports expect it beside them

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def encode(self, xml: str, schema: str, fragment: bool) -> bytes:
        result = self._jvm.com.siemens.ct.exi.main.api.sax.EXIResult(self._factory(schema, fragment))
        out = self._jvm.java.io.ByteArrayOutputStream()
        result.setOutputStream(out)
        parsers = self._jvm.javax.xml.parsers.SAXParserFactory.newInstance()
        parsers.setNamespaceAware(True)
        reader = parsers.newSAXParser().getXMLReader()
        reader.setContentHandler(result.getHandler())
        reader.parse(self._jvm.org.xml.sax.InputSource(self._jvm.java.io.StringReader(xml)))
        return bytes(out.toByteArray())

    def decode(self, data: bytes, schema: str, fragment: bool) -> str:
        source = self._jvm.com.siemens.ct.exi.main.api.sax.EXISource(self._factory(schema, fragment))
        source.setInputSource(self._jvm.org.xml.sax.InputSource(self._jvm.java.io.ByteArrayInputStream(data)))
        writer = self._jvm.java.io.StringWriter()
        transformer = self._jvm.javax.xml.transform.TransformerFactory.newInstance().newTransformer()
        transformer.transform(source, self._jvm.javax.xml.transform.stream.StreamResult(writer))
        return str(writer.toString())

    def _factory(self, schema: str, fragment: bool) -> Any:
        key = (schema, fragment)
        if key not in self._factories:
            factory = self._jvm.com.siemens.ct.exi.core.helpers.DefaultEXIFactory.newInstance()
            makers = self._jvm.com.siemens.ct.exi.grammars.GrammarFactory.newInstance()
            factory.setGrammars(makers.createGrammars(str(self._folder / schema)))
            factory.setFragment(fragment)
            for option in (
                factory.setValueMaxLength,
                factory.setValuePartitionCapacity,
                factory.setMaximumNumberOfBuiltInElementGrammars,
                factory.setMaximumNumberOfBuiltInProductions,
            ):
                option(0)  # as in the package's codec
            self._factories[key] = factory
        return self._factories[key]


def answer(request: dict[str, Any], jar: ExificientEXICodec, exificient: Exificient) -> str:
    """What the oracle named in `request` says: hex digits when encoding, JSON or XML when decoding."""
    match request["oracle"], request["operation"]:
        case "jar", "encode":
            return bytes(jar.encode(request["message"], request["namespace"])).hex()
        case "jar", "decode":
            return str(jar.decode(bytes.fromhex(request["message"]), request["namespace"]))
        case "exificient", "encode":
            return exificient.encode(request["message"], request["schema"], request["fragment"]).hex()
        case "exificient", "decode":
            return exificient.decode(bytes.fromhex(request["message"]), request["schema"], request["fragment"])
        case "jar", "time":
            return json.dumps(seconds_per_call(jar, request))
    raise ValueError(f"no such oracle: {request}")


def seconds_per_call(jar: ExificientEXICodec, request: dict[str, Any]) -> dict[str, list[float]]:
    """How long the package's codec takes for a message, as often as asked, with its way into the JVM."""
    text, namespace = request["message"], request["namespace"]
    data = bytes(jar.encode(text, namespace))
    spent: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(request["count"]):
        begun = time.perf_counter()
        jar.encode(text, namespace)
        between = time.perf_counter()
        jar.decode(data, namespace)
        spent["encode"].append(between - begun)
        spent["decode"].append(time.perf_counter() - between)
    return spent


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # what the jar's wrapper prints is no answer
    import iso15118.shared.schemas as schemas

    jar = ExificientEXICodec()
    exificient = Exificient(jar.gateway.jvm, Path(next(iter(schemas.__path__))))
    try:
        for line in sys.stdin:
            try:
                reply = {"answer": answer(json.loads(line), jar, exificient)}
            except Exception as fault:  # an oracle's refusal is an answer too
                reply = {"refused": str(fault).splitlines()[0] if str(fault) else repr(fault), "all": str(fault)[:2000]}
            answers.write(json.dumps(reply) + "\n")
            answers.flush()
    finally:
        exificient.close()
        with contextlib.suppress(Exception):
            jar.gateway.shutdown()


if __name__ == "__main__":
    main()
