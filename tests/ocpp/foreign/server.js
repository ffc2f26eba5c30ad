// A back end on npm ocpp-rpc in strict mode: AJV judges every message in both directions.
// node server.js VERSION: one JSON list a line on standard output, calls of the charger and our own answers.
const { RPCServer, createValidator } = require('ocpp-rpc');

const version = process.argv[2];
const say = (...words) => process.stdout.write(JSON.stringify(words) + '\n');

// The package's schemas of 2.1 carry ids that its own lookup (urn:ACTION.req, urn:ACTION.conf) does not find.
const renamed = require('ocpp-rpc/lib/schemas/ocpp2_1.json').map((schema) => {
    const name = schema.$id.slice('urn:'.length);
    const action = name.replace(/(Request|Response)$/, '');
    return { ...schema, $id: `urn:${action}.${name.endsWith('Response') ? 'conf' : 'req'}` };
});
const server = new RPCServer({
    protocols: [version],
    strictMode: true,
    strictModeValidators: version === 'ocpp2.1' ? [createValidator('ocpp2.1', renamed)] : [],
});

server.auth((accept) => accept());
let transactions = 0;
server.on('client', (client) => {
    say('connected', client.identity, client.protocol);
    client.on('strictValidationFailure', ({ error }) => say('invalid', error.message, error.details));
    client.on('badMessage', ({ error }) => say('bad', String(error)));
    const answers = {
        BootNotification: () => ({ currentTime: new Date().toISOString(), interval: 300, status: 'Accepted' }),
        Heartbeat: () => ({ currentTime: new Date().toISOString() }),
        StatusNotification: () => ({}),
        TransactionEvent: ({ eventType }) =>
            version === 'ocpp2.1' && eventType === 'Started' ? { transactionLimit: { maxTime: 100000 } } : {},
        MeterValues: () => ({}),
        StartTransaction: () => ({ transactionId: ++transactions, idTagInfo: { status: 'Accepted' } }),
        StopTransaction: () => ({}),
        ReportChargingProfiles: () => ({}),
        NotifyChargingLimit: () => ({}),
        ClearedChargingLimit: () => ({}),
        NotifyEVChargingNeeds: () => ({ status: 'Processing' }),
        NotifyEVChargingSchedule: () => ({ status: 'Rejected' }),
        PullDynamicScheduleUpdate: () => ({ status: 'Accepted', scheduleUpdate: { setpoint: -1500 } }),
        ReportDERControl: () => ({}),
        NotifyDERStartStop: () => ({}),
        NotifyDERAlarm: () => ({}),
        NotifyPriorityCharging: () => ({}),
        NotifyReport: () => ({}),
        Authorize: () => {
            const info = { status: 'Accepted' };
            return version === 'ocpp1.6' ? { idTagInfo: info } : { idTokenInfo: info };
        },
        DiagnosticsStatusNotification: () => ({}),
        FirmwareStatusNotification: () => ({}),
        LogStatusNotification: () => ({}),
        NotifyCustomerInformation: () => ({}),
        NotifyEvent: () => ({}),
        NotifyMonitoringReport: () => ({}),
        ReservationStatusUpdate: () => ({}),
        SecurityEventNotification: () => ({}),
        SignedFirmwareStatusNotification: () => ({}),
        SignCertificate: () => ({ status: 'Accepted' }),
    };
    for (const [action, answer] of Object.entries(answers)) {
        client.handle(action, ({ params }) => {
            say('told', action, params);
            return answer(params);
        });
    }
});

// Each line of standard input is [ACTION, PAYLOAD]: a call to the charger.
require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
    const [action, payload] = JSON.parse(line);
    for (const client of server._clients) {
        try {
            say('answer', action, await client.call(action, payload));
        } catch (error) {
            say('refused', action, error.rpcErrorCode ?? String(error));
        }
    }
});
server.listen(0, '127.0.0.1').then((http) => say('port', http.address().port));
