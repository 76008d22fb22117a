import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { flagOf, type Option, variableOf } from './option.ts';
import { parseAddress, parseDuration, parseRate, parseSize, showAddress, showDuration, showRate } from './parsers.ts';
import { readOptions } from './read.ts';
import { commandTables, labLinkOptions, serveOptions } from './tables.ts';
import { UsageError } from './usage-error.ts';

const dir = mkdtempSync(join(tmpdir(), 'antipode-options-'));
afterAll(() => rmSync(dir, { recursive: true }));
const yaml = (text: string): string => {
  const path = join(dir, 'config.yaml');
  writeFileSync(path, text);
  return path;
};
const read = (args: string[], env: Record<string, string> = {}) => readOptions(serveOptions, { args, env });
const refusal = (args: string[], env: Record<string, string> = {}): string => {
  try {
    read(args, env);
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as UsageError).message;
  }
  throw new Error('it was accepted');
};

describe('settings', () => {
  test('a flag wins over a variable, a variable over the file, the file over the default', () => {
    const config = yaml('name: from-file\nlog-level: warn\nnbd-open: true\nheartbeat: 3s\n');
    const env = { ANTIPODE_NAME: 'from-variable', ANTIPODE_LOG_LEVEL: 'error' };
    const { values, given } = read(['--config', config, '--name', 'from-flag'], env);
    expect(values).toMatchObject({
      name: 'from-flag',
      logLevel: 'error',
      nbdOpen: true,
      heartbeat: 3000,
      listen: { host: '127.0.0.1', port: 8443 },
    });
    expect([...given].sort()).toEqual(['config', 'heartbeat', 'logLevel', 'name', 'nbdOpen']);
  });

  test('every setting of serve can be given as flag, as variable and in the file, with the same meaning', () => {
    const texts: Record<string, string> = {
      HOST: 'h:1',
      TIME: '2s',
      LEVEL: 'debug',
      RULE: 'refuse',
      SIZE: '64MiB',
      SCHEDULE: 'wall_clock',
      NUMBER: '3',
      URL: 'https://hooks.example/x',
    };
    for (const option of Object.values<Option>(serveOptions)) {
      const text =
        texts[(option.argument ?? '').split(':')[0] ?? ''] ??
        (option.argument === undefined && !option.secret ? 'true' : 'some-text');
      const key = Object.entries<Option>(serveOptions).find(([, candidate]) => candidate === option)?.[0] ?? '';
      const value = (args: string[], env: Record<string, string>) =>
        (read(args, env).values as Record<string, unknown>)[key];
      if (option.flagOnly) continue;
      const byVariable = value([], { [variableOf(option)]: text });
      expect(byVariable).toBeDefined();
      if (!option.secret)
        expect(value(option.argument === undefined ? [flagOf(option)] : [flagOf(option), text], {})).toEqual(
          byVariable,
        );
      if (!option.secret) expect(value([`${flagOf(option)}=${text}`], {})).toEqual(byVariable);
      expect(value(['--config', yaml(`${option.name}: ${text}\n`)], {})).toEqual(byVariable);
    }
  });

  test.each([
    [['--datta', 'x'], {}, "unknown option '--datta' (did you mean --data?)"],
    [['--admin-password', 'x'], {}, "unknown option '--admin-password'"],
    [['stray'], {}, "unexpected argument 'stray'"],
    [['--data'], {}, '--data needs a value: --data DIR'],
    [['--data', '--name'], {}, '--data needs a value: --data DIR'],
    [['--name', 'a', '--name', 'b'], {}, '--name is given twice'],
    [
      ['--listen', '1.2.3.4'],
      {},
      "--listen must be HOST:PORT (an IPv6 address in brackets), port 0 to 65535, not '1.2.3.4'",
    ],
    [['--log-level', 'loud'], {}, "--log-level must be one of fatal, error, warn, info, debug, trace, not 'loud'"],
    [['--nbd-open=maybe'], {}, "--nbd-open must be true or false, not 'maybe'"],
    [
      [],
      { ANTIPODE_HEARTBEAT: '5' },
      "ANTIPODE_HEARTBEAT must be a time with its unit (ms, s, m, h) from 100ms to 1m, not '5'",
    ],
    [[], { ANTIPODE_LISTNE: 'x' }, 'unknown variable ANTIPODE_LISTNE'],
  ])('%j with %j is refused: %s', (args, env, message) => {
    expect(refusal(args, env as Record<string, string>)).toContain(message);
  });

  test('a secret is never repeated', () => {
    expect(refusal([], { ANTIPODE_ADMIN_PASSWORD: 'short' })).toMatch(
      /^ANTIPODE_ADMIN_PASSWORD must be 8 to 128 characters/,
    );
    expect(refusal([], { ANTIPODE_ADMIN_PASSWORD: 'short' })).not.toContain('short');
  });

  test.each([
    ['unknwon: 1\n', "unknown key 'unknwon'"],
    ['nmae: x\n', "unknown key 'nmae' (did you mean name?)"],
    ['config: x\n', "unknown key 'config'"],
    ['name: [a, b]\n', "'name' must be a single value"],
    ['- a\n', "must hold 'key: value' lines"],
    ['a: b: c\n', 'config.yaml'],
    ['listen: nowhere\n', "'listen' in "],
  ])('a file with %j is refused: %s', (text, message) => {
    const path = yaml(text);
    expect(refusal(['--config', path])).toContain(message);
  });

  test('an empty file is fine, a missing one is not', () => {
    expect(read(['--config', yaml('')]).values.logLevel).toBe('info');
    expect(refusal(['--config', join(dir, 'none.yaml')])).toContain('ENOENT');
  });

  test('a variable of another command is no mistake', () => {
    expect(read([], { ANTIPODE_BASE_PORT: '7400', PATH: '/bin' }).values.logLevel).toBe('info');
    expect(readOptions(labLinkOptions, { args: [], env: { ANTIPODE_DATA: '/x' } }).values.cut).toBe(false);
  });

  test('defaults and names: every default is a valid value, every name is unique in its command', () => {
    for (const { options } of Object.values(commandTables)) {
      const all = Object.values<Option>(options);
      expect(new Set(all.map((option) => option.name)).size).toBe(all.length);
      for (const option of all) {
        expect(option.name).toMatch(/^[a-z]+(-[a-z]+)*$/);
        if (option.fallback !== undefined) expect(option.parse(option.fallback).ok).toBe(true);
      }
    }
  });
});

describe('values', () => {
  test('an address survives writing and reading', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()), fc.integer({ min: 1, max: 65_535 }), (host, port) => {
        expect(parseAddress(showAddress({ host, port }))).toEqual({ ok: true, value: { host, port } });
      }),
    );
  });

  test.each(['', ':1', 'h:', 'h:0', 'h:65536', 'h:1x', '[::1:5', '[zz]:5', 'a b:5', 'h:123456', '::1:5', '-h:5'])(
    '%j is no address',
    (text) => expect(parseAddress(text).ok).toBe(false),
  );

  test('a rate and a duration survive writing and reading', () => {
    for (const rate of [1_000, 10e6, 1e9, 2.5e6]) expect(parseRate(showRate(rate))).toEqual({ ok: true, value: rate });
    expect(parseRate('unlimited')).toEqual({ ok: true, value: null });
    for (const time of [0, 50, 1_000, 90_000, 3_600_000])
      expect(parseDuration(0, 1e9)(showDuration(time))).toEqual({ ok: true, value: time });
  });

  test.each(['10', '10mb', '-1mbit', '1e3mbit', '0mbit', '999bit', 'NaNmbit', '10 mbit'])('%j is no rate', (text) =>
    expect(parseRate(text).ok).toBe(false),
  );

  test('sizes', () => {
    const size = parseSize(2 ** 20, 2 ** 40, 8192);
    expect(size('64MiB')).toEqual({ ok: true, value: 64 * 2 ** 20 });
    expect(size('1g')).toEqual({ ok: true, value: 2 ** 30 });
    expect(size('1048577').ok).toBe(false);
    expect(size('2PiB').ok).toBe(false);
  });
});
