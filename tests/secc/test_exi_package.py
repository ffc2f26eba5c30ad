"""Our codec inside the package, in the package's environment: as the session code calls it."""

import json
import subprocess

from tests.secc.environment import ROOT, SECC_PYTHON, needs_schemas, schemas
from tests.secc.test_exi_messages import recorded

pytestmark = needs_schemas

# Reads [namespace, hex] pairs, lets the package read each message into its models and write it again.
SCRIPT = """
import json, logging, os, sys
os.environ["MESSAGE_LOG_JSON"] = os.environ["MESSAGE_LOG_EXI"] = "False"
from pathlib import Path
logging.disable(logging.CRITICAL)
from iso15118.shared.exceptions import V2GMessageValidationError
from iso15118.shared.exi_codec import EXI
from iso15118.shared.messages.enums import Namespace
sys.path.insert(0, sys.argv[1])
from firmware.bridges.secc.exi import ExiCodec
from iso15118.shared.settings import shared_settings, SettingKey
shared_settings[SettingKey.MESSAGE_LOG_JSON] = shared_settings[SettingKey.MESSAGE_LOG_EXI] = False
exi = EXI()
exi.set_exi_codec(ExiCodec(Path(sys.argv[2])))
results = []
for namespace, digits in json.load(sys.stdin):
    try:
        message = exi.from_exi(bytes.fromhex(digits), Namespace(namespace))
        results.append(exi.to_exi(message, Namespace(namespace)).hex())
    except V2GMessageValidationError:
        results.append("rejected by the models")
print(json.dumps(results))
"""


def test_the_package_reads_and_writes_the_messages_of_recorded_cars_with_our_codec() -> None:
    messages = [(namespace, data.hex()) for _, namespace, data in recorded()]
    done = subprocess.run(
        [str(SECC_PYTHON), "-c", SCRIPT, str(ROOT), str(schemas())],
        input=json.dumps(messages),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert len(results) == len(messages)
    same = sum(result == sent for (_, sent), result in zip(messages, results, strict=True))
    longer = sum(result + "00" == sent for (_, sent), result in zip(messages, results, strict=True))
    # The package's models are stricter than the schema and refuse some real cars; that is the quirk layer's business.
    assert (same, longer, results.count("rejected by the models")) == (817, 3, 7)
