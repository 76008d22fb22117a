import { hostname } from 'node:os';
import { option, parseSwitch } from './option.ts';
import {
  parseAddress,
  parseBuildVersion,
  parseChoice,
  parseDuration,
  parseInteger,
  parseListen,
  parsePath,
  parsePaths,
  parseRate,
  parseSize,
  parseText,
  parseWebUrl,
} from './parsers.ts';

const config = option(parsePath, {
  name: 'config',
  argument: 'FILE',
  help: 'YAML file with settings; its keys are the names of the flags.',
  flagOnly: true,
});

const logLevel = option(parseChoice('fatal', 'error', 'warn', 'info', 'debug', 'trace'), {
  name: 'log-level',
  argument: 'LEVEL',
  fallback: 'info',
  help: 'What is logged on standard error: fatal, error, warn, info, debug or trace.',
});

/** `antipode serve`. */
export const serveOptions = {
  config,
  data: option(parsePath, {
    name: 'data',
    argument: 'DIR',
    help: 'Directory of the cluster: volumes, catalog and keys. Made at the first start, readable by its owner only. Required.',
  }),
  appliances: option(parsePaths, {
    name: 'appliances',
    argument: 'DIR,DIR,...',
    fallback: '',
    help: 'More directories for volumes, on other disks perhaps: each becomes an appliance of the cluster, empty when first given, and stays one.',
  }),
  name: option(parseText(1, 64), {
    name: 'name',
    argument: 'NAME',
    help: "Name of the cluster, 1 to 64 characters; used at the first start and kept. Default: this machine's host name.",
  }),
  listen: option(parseListen, {
    name: 'listen',
    argument: 'HOST:PORT',
    fallback: '127.0.0.1:8443',
    help: 'Where the REST interface listens (HTTPS). Port 0: any free port, kept in the data directory.',
  }),
  nbd: option(parseListen, {
    name: 'nbd',
    argument: 'HOST:PORT',
    fallback: '127.0.0.1:10809',
    help: 'Where volumes are served over NBD.',
  }),
  peer: option(parseListen, {
    name: 'peer',
    argument: 'HOST:PORT',
    fallback: '127.0.0.1:8444',
    help: 'Where other clusters reach the management channel (mutual TLS).',
  }),
  replication: option(parseListen, {
    name: 'replication',
    argument: 'HOST:PORT',
    fallback: '127.0.0.1:8445',
    help: 'Where other clusters send replicated data (mutual TLS).',
  }),
  advertisePeer: option(parseAddress, {
    name: 'advertise-peer',
    argument: 'HOST:PORT',
    help: 'Address of the management channel as other clusters see it. Default: the one of --peer.',
  }),
  advertiseReplication: option(parseAddress, {
    name: 'advertise-replication',
    argument: 'HOST:PORT',
    help: 'Address for replicated data as other clusters see it. Default: the one of --replication.',
  }),
  tlsCert: option(parsePath, {
    name: 'tls-cert',
    argument: 'FILE',
    help: 'Certificate chain of the REST interface (PEM). Default: self-signed, made at the first start.',
  }),
  tlsKey: option(parsePath, {
    name: 'tls-key',
    argument: 'FILE',
    help: 'Private key of --tls-cert (PEM); not readable by other users.',
  }),
  adminPasswordFile: option(parsePath, {
    name: 'admin-password-file',
    argument: 'FILE',
    help: "First line: password of the first administrator, 'admin', at the first start. Default: one is made and printed once.",
  }),
  adminPassword: option(parseText(8, 128), {
    name: 'admin-password',
    secret: true,
    help: "Password of the first administrator, 'admin', at the first start, 8 to 128 characters. Variable only.",
  }),
  nbdOpen: option(parseSwitch, {
    name: 'nbd-open',
    fallback: 'false',
    help: 'Serve NBD without TLS to any client that reaches --nbd. Needed for that on every address but loopback.',
  }),
  nbdTlsCert: option(parsePath, {
    name: 'nbd-tls-cert',
    argument: 'FILE',
    help: 'Certificate chain for NBD over TLS (PEM). With --nbd-tls-key and --nbd-client-ca.',
  }),
  nbdTlsKey: option(parsePath, { name: 'nbd-tls-key', argument: 'FILE', help: 'Private key of --nbd-tls-cert (PEM).' }),
  nbdClientCa: option(parsePath, {
    name: 'nbd-client-ca',
    argument: 'FILE',
    help: 'Authority (PEM) whose client certificates may use NBD; no other client may.',
  }),
  heartbeat: option(parseDuration(100, 60_000), {
    name: 'heartbeat',
    argument: 'TIME',
    fallback: '2s',
    help: 'How often paired clusters are asked whether they are there, such as 500ms or 2s.',
  }),
  scrubEvery: option(parseDuration(0, 8_784 * 3_600_000), {
    name: 'scrub-every',
    argument: 'TIME',
    fallback: '168h',
    help: 'How long after the last time everything stored is verified in the background; 0s: only when asked.',
  }),
  scrubRate: option(parseSize(2 ** 20, 2 ** 40, 1), {
    name: 'scrub-rate',
    argument: 'SIZE',
    fallback: '32MiB',
    help: 'How much a background verification reads a second at most.',
  }),
  packCold: option(parseSwitch, {
    name: 'pack-cold',
    fallback: 'true',
    help: 'Data that hosts have left alone for a while is compressed in the background; false: it stays as it was written.',
  }),
  packAfter: option(parseDuration(1_000, 8_784 * 3_600_000), {
    name: 'pack-after',
    argument: 'TIME',
    fallback: '5m',
    help: 'How long data must have been left alone before it is compressed.',
  }),
  localPauseResume: option(parseChoice('pause_both', 'refuse'), {
    name: 'local-pause-resume',
    argument: 'RULE',
    fallback: 'pause_both',
    help: 'Resume of a session that is paused on one side only: pause_both (pauses the other side too) or refuse.',
  }),
  webhookUrl: option(parseWebUrl, {
    name: 'webhook-url',
    argument: 'URL',
    help: 'Where events and alerts are posted to as JSON (http or https). Default: nowhere.',
  }),
  webhookSecretFile: option(parsePath, {
    name: 'webhook-secret-file',
    argument: 'FILE',
    help: 'First line: key that notifications are signed with (HMAC-SHA-256, header X-Antipode-Signature).',
  }),
  schedule: option(parseChoice('share_of_rpo', 'wall_clock'), {
    name: 'schedule',
    argument: 'SCHEDULE',
    fallback: 'share_of_rpo',
    help: 'When cycles start: share_of_rpo (80 % of the objective after the start before) or wall_clock (at every half of it).',
  }),
  cyclesAtOnce: option(parseInteger(1, 256), {
    name: 'cycles-at-once',
    argument: 'NUMBER',
    fallback: '8',
    help: 'Cycles that may run at once on the link to one peer; the others wait in line.',
  }),
  takeoverWithin: option(parseDuration(1_000, 600_000), {
    name: 'takeover-within',
    argument: 'TIME',
    fallback: '60s',
    help: 'How long a process of a new release may take to be ready before an upgrade is rolled back; hosts wait meanwhile.',
  }),
  labClock: option(parsePath, {
    name: 'lab-clock',
    argument: 'FILE',
    help: 'For labs only: how fast dates and schedules pass; `antipode lab --clock-rate` makes the file. Default: real time.',
  }),
  logLevel,
} as const;

const labDir = option(parsePath, {
  name: 'dir',
  argument: 'DIR',
  fallback: '.lab',
  help: 'Directory of the lab: both clusters, their passwords and logs.',
});
const json = (help: string) => option(parseSwitch, { name: 'json', fallback: 'false', help });

/** `antipode lab`. */
export const labOptions = {
  dir: labDir,
  basePort: option(parseInteger(1024, 65_500), {
    name: 'base-port',
    argument: 'PORT',
    help: 'First of the 20 ports of the lab. Default: the one used before, else 7400 or the next free block after it.',
  }),
  appliances: option(parseInteger(1, 8), {
    name: 'appliances',
    argument: 'COUNT',
    fallback: '1',
    help: 'How many appliances each site has, each in a directory of its own.',
  }),
  json: json('Print one line of JSON when ready, and nothing else, on standard output.'),
  demo: option(parseSwitch, {
    name: 'demo',
    fallback: 'false',
    help: 'Also make a protected volume with a file system in it, and say what to try next.',
  }),
  takeoverWithin: serveOptions.takeoverWithin,
  clockRate: option(parseInteger(1, 1_000), {
    name: 'clock-rate',
    argument: 'NUMBER',
    fallback: '1',
    help: 'How many times as fast as real time dates and schedules pass in both clusters, 1 to 1000: at 600 a day takes 2.4 minutes.',
  }),
  logLevel,
} as const;

/** `antipode lab link`. */
export const labLinkOptions = {
  dir: labDir,
  cut: option(parseSwitch, {
    name: 'cut',
    fallback: 'false',
    help: 'Cut the link: connections end, new ones are refused.',
  }),
  heal: option(parseSwitch, {
    name: 'heal',
    fallback: 'false',
    help: 'Heal a cut link. Rate and delay stay as they are.',
  }),
  rate: option(parseRate, {
    name: 'rate',
    argument: 'RATE',
    help: 'Limit each direction, such as 10mbit or 1gbit; unlimited lifts the limit.',
  }),
  delay: option(parseDuration(0, 10_000), {
    name: 'delay',
    argument: 'TIME',
    help: 'Delay of each direction, such as 50ms; 0ms for none.',
  }),
  json: json('Print the state of the link as one line of JSON.'),
} as const;

/** `antipode lab status`. */
export const labStatusOptions = { dir: labDir, json: json('Print the state of the lab as one line of JSON.') } as const;

/** `antipode recover`. */
export const recoverOptions = {
  data: option(parsePath, {
    name: 'data',
    argument: 'DIR',
    help: 'Directory of the cluster whose catalog was lost. Required.',
  }),
};

/** `antipode fsck`. */
export const fsckOptions = {
  data: option(parsePath, {
    name: 'data',
    argument: 'DIR',
    help: 'Directory of the cluster to check; no cluster may run on it. Required.',
  }),
  dropIndex: option(parseSwitch, {
    name: 'drop-index',
    fallback: 'false',
    help: 'Remove the index where the log beside it is whole: the next start makes it anew. Nothing else is ever changed.',
  }),
  json: json('Print the report as one line of JSON.'),
} as const;

/** How a command reaches a running cluster. */
export const connectionOptions = {
  url: option(parseText(1, 300), {
    name: 'url',
    argument: 'URL',
    help: 'Address of the REST interface, https://HOST:PORT. Required.',
  }),
  user: option(parseText(1, 64), { name: 'user', argument: 'NAME', fallback: 'admin', help: 'Who logs in.' }),
  passwordFile: option(parsePath, {
    name: 'password-file',
    argument: 'FILE',
    help: 'First line: the password. Or the variable ANTIPODE_PASSWORD.',
  }),
  password: option(parseText(1, 128), { name: 'password', secret: true, help: 'The password. Variable only.' }),
  ca: option(parsePath, {
    name: 'ca',
    argument: 'FILE',
    help: 'Authority, or the very certificate, that the cluster proves itself by (PEM). Default: those the machine knows.',
  }),
  fingerprint: option(parseText(64, 95), {
    name: 'fingerprint',
    argument: 'SHA256',
    help: "SHA-256 fingerprint of the cluster's certificate, whoever signed it.",
  }),
  insecure: option(parseSwitch, {
    name: 'insecure',
    fallback: 'false',
    help: 'Do not ask the cluster for a proof of who it is: for a first look on the same machine.',
  }),
} as const;

/** `antipode scrub`. */
export const scrubOptions = {
  ...connectionOptions,
  rate: option(parseSize(2 ** 20, 2 ** 40, 1), {
    name: 'rate',
    argument: 'SIZE',
    help: 'How much is read a second at most, such as 100MiB. Default: the setting --scrub-rate of the cluster.',
  }),
  detach: option(parseSwitch, { name: 'detach', fallback: 'false', help: 'Start it and do not wait for its end.' }),
  status: option(parseSwitch, {
    name: 'status',
    fallback: 'false',
    help: 'Start nothing: show the one that runs, or the last one.',
  }),
  stop: option(parseSwitch, { name: 'stop', fallback: 'false', help: 'End the one that runs.' }),
  json: json('Print the result as one line of JSON.'),
} as const;

const packageKey = { name: 'key', argument: 'FILE' } as const;

/** `antipode package new-key`. */
export const packageKeyOptions = {
  out: option(parsePath, {
    name: 'out',
    argument: 'FILE',
    help: 'Where the private key goes, readable by its owner only; its public half goes beside it, as FILE.pub. Required.',
  }),
} as const;

/** `antipode package build`. */
export const packageBuildOptions = {
  out: option(parsePath, { name: 'out', argument: 'FILE', help: 'The package to be written. Required.' }),
  key: option(parsePath, { ...packageKey, help: 'Private key (PEM, Ed25519) that signs it. Required.' }),
  version: option(parseBuildVersion, {
    name: 'version',
    argument: 'VERSION',
    help: 'Version of the build, five numbers such as 4.1.0.0.2. Default: that of this program.',
  }),
  minimum: option(parseBuildVersion, {
    name: 'minimum',
    argument: 'VERSION',
    help: 'Oldest version that can be upgraded to it. Default: that of this program.',
  }),
  description: option(parseText(0, 1024), { name: 'description', argument: 'TEXT', help: 'What is new, in words.' }),
} as const;

/** `antipode package trust`. */
export const packageTrustOptions = {
  data: option(parsePath, { name: 'data', argument: 'DIR', help: 'Directory of the cluster. Required.' }),
  key: option(parsePath, { ...packageKey, help: 'Public key (PEM, Ed25519) of whoever makes packages. Required.' }),
} as const;

/** `antipode upgrade`. */
export const upgradeOptions = {
  ...connectionOptions,
  file: option(parsePath, { name: 'file', argument: 'FILE', help: 'The package; it is uploaded first. Or --package.' }),
  package: option(parseText(1, 128), {
    name: 'package',
    argument: 'ID',
    help: 'A package that was uploaded before: its id, or name:NAME.',
  }),
  check: option(parseSwitch, {
    name: 'check',
    fallback: 'false',
    help: 'Look whether it could be installed now, and leave it at that.',
  }),
  json: json('Print the result as one line of JSON.'),
} as const;

/** `antipode drill`. */
export const drillOptions = {
  dir: option(parsePath, {
    name: 'dir',
    argument: 'DIR',
    help: 'Use the lab of this directory, started when it does not run. Default: a lab of its own, removed at the end.',
  }),
  size: option(parseSize(16 * 2 ** 20, 64 * 2 ** 30, 2 ** 20), {
    name: 'size',
    argument: 'SIZE',
    fallback: '128MiB',
    help: 'Size of the volume, 16MiB to 64GiB in whole MiB; about half of it is filled with files.',
  }),
  killClusters: option(parseSwitch, {
    name: 'kill-clusters',
    fallback: 'false',
    help: 'Kill each cluster in turn (SIGKILL) during the initial synchronization.',
  }),
  keep: option(parseSwitch, {
    name: 'keep',
    fallback: 'false',
    help: 'Leave the volume, its policy and the lab as they are at the end.',
  }),
  json: json('Print one JSON object a line: each step as it ends, then the report.'),
} as const;

/** Name of a cluster that was not given one. */
export const defaultClusterName = (): string => hostname().slice(0, 64) || 'antipode';

/** Every command's table: the documentation and the check of stray variables read it. */
export const commandTables = {
  serve: { usage: 'antipode serve --data DIR [options]', about: 'Runs one cluster.', options: serveOptions },
  recover: {
    usage: 'antipode recover --data DIR',
    about: 'Has the catalog of a cluster rebuilt from its log at the next start: volumes, snapshots and their names.',
    options: recoverOptions,
  },
  fsck: {
    usage: 'antipode fsck --data DIR [options]',
    about:
      'Checks the directory of a cluster that does not run: every record and block against its checksum, the index and the catalog against the log. Exit codes: 0 clean, 1 damage found, 2 it could not be checked.',
    options: fsckOptions,
  },
  scrub: {
    usage: 'antipode scrub --url URL [options]',
    about:
      'Has a running cluster verify everything it stores, in the background of its hosts, and reports what is damaged. Exit codes: 0 clean, 1 damage found, 2 usage.',
    options: scrubOptions,
  },
  'package new-key': {
    usage: 'antipode package new-key --out FILE',
    about: 'Makes a pair of keys for software packages.',
    options: packageKeyOptions,
  },
  'package build': {
    usage: 'antipode package build --out FILE --key FILE [options]',
    about: 'Makes a signed software package of this program as it is installed here, with everything it needs to run.',
    options: packageBuildOptions,
  },
  'package trust': {
    usage: 'antipode package trust --data DIR --key FILE',
    about: 'Has a cluster take packages that are signed with a key, from now on; it need not be restarted.',
    options: packageTrustOptions,
  },
  upgrade: {
    usage: 'antipode upgrade --url URL --file FILE [options]',
    about: 'Upgrades a running cluster without an interruption for its hosts, and follows it to its end.',
    options: upgradeOptions,
  },
  lab: {
    usage: 'antipode lab [options]',
    about: 'Runs two paired clusters, London and Osaka, with a link between them that can be slowed, cut and healed.',
    options: labOptions,
  },
  'lab link': {
    usage: 'antipode lab link [options]',
    about: "Changes the link of a running lab and prints the link's state.",
    options: labLinkOptions,
  },
  'lab status': {
    usage: 'antipode lab status [options]',
    about: 'Prints what a running lab is doing.',
    options: labStatusOptions,
  },
  drill: {
    usage: 'antipode drill [options]',
    about: 'Goes through protection, pause, failover, failback and disaster on a lab and checks every byte.',
    options: drillOptions,
  },
} as const;
export type CommandName = keyof typeof commandTables;
