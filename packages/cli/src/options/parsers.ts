import { isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { err, ok } from '@antipode/base';
import type { HostPort } from '@antipode/cluster';
import type { Parser } from './option.ts';

/** A path, made absolute from the current directory. */
export const parsePath: Parser<string> = (text) =>
  text === '' || text.includes('\0') ? err('a path') : ok(resolve(text));

/** Paths with commas between them. */
export const parsePaths: Parser<readonly string[]> = (text) => {
  const paths = text === '' ? [] : text.split(',').map((path) => path.trim());
  return paths.some((path) => path === '' || path.includes('\0'))
    ? err('paths with commas between them')
    : ok(paths.map((path) => resolve(path)));
};

/** Text without control characters, `least` to `most` characters long. */
export const parseText =
  (least: number, most: number): Parser<string> =>
  (text) =>
    text.length >= least && text.length <= most && !/\p{Cc}/u.test(text)
      ? ok(text)
      : err(`${least} to ${most} characters, none of them control characters`);

/** One of a few words. */
export const parseChoice =
  <const T extends string>(...words: readonly T[]): Parser<T> =>
  (text) => {
    const found = words.find((word) => word === text);
    return found === undefined ? err(`one of ${words.join(', ')}`) : ok(found);
  };

/** A whole number written in digits. */
export const parseInteger =
  (least: number, most: number): Parser<number> =>
  (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most ? ok(value) : err(`a whole number from ${least} to ${most}`);
  };

const hostPattern =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;

const hostPort =
  (leastPort: number): Parser<HostPort> =>
  (text) => {
    const allowed = err(`HOST:PORT (an IPv6 address in brackets), port ${leastPort} to 65535`);
    const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
    if (match === null) return allowed;
    const [, bracketed, plain, digits] = match;
    const port = Number(digits);
    if (port < leastPort || port > 65_535) return allowed;
    if (bracketed !== undefined) return isIPv6(bracketed) ? ok({ host: bracketed, port }) : allowed;
    return plain !== undefined && hostPattern.test(plain) ? ok({ host: plain, port }) : allowed;
  };

/** An address to listen on; port 0 means any free one, kept from then on. */
export const parseListen = hostPort(0);
/** An address to be reached at. */
export const parseAddress = hostPort(1);

/** `HOST:PORT` as it is written in URLs. */
export const showAddress = ({ host, port }: HostPort): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`;

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A length of time with its unit, in ms. */
export const parseDuration =
  (least_ms: number, most_ms: number): Parser<number> =>
  (text) => {
    const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text);
    const value = match === null ? Number.NaN : Number(match[1]) * (durationUnits[match[2] ?? ''] ?? Number.NaN);
    return value >= least_ms && value <= most_ms
      ? ok(value)
      : err(`a time with its unit (ms, s, m, h) from ${showDuration(least_ms)} to ${showDuration(most_ms)}`);
  };

/** A length of time in the largest unit that holds it exactly. */
export function showDuration(value_ms: number): string {
  const unit = ['h', 'm', 's'].find((name) => value_ms > 0 && value_ms % (durationUnits[name] ?? 1) === 0) ?? 'ms';
  return `${value_ms / (durationUnits[unit] ?? 1)}${unit}`;
}

const rateUnits: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** A link's rate in bits a second; `unlimited` is null. */
export const parseRate: Parser<number | null> = (text) => {
  const word = text.toLowerCase();
  if (word === 'unlimited' || word === 'none') return ok(null);
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(bit|kbit|mbit|gbit)$/.exec(word);
  const value = match === null ? Number.NaN : Number(match[1]) * (rateUnits[match[2] ?? ''] ?? Number.NaN);
  return value >= 1_000 && value <= 1e12
    ? ok(value)
    : err('a rate such as 10mbit (bit, kbit, mbit, gbit), at least 1kbit, or unlimited');
};

/** A rate in bits a second, as `parseRate` reads it. */
export function showRate(rate_bps: number | null): string {
  if (rate_bps === null) return 'unlimited';
  const unit = ['gbit', 'mbit', 'kbit'].find((name) => rate_bps >= (rateUnits[name] ?? 1)) ?? 'bit';
  return `${Number((rate_bps / (rateUnits[unit] ?? 1)).toFixed(3))}${unit}`;
}

const sizeUnits: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** A number of bytes with an optional binary unit (K, M, G, T; KiB, MiB, GiB and TiB say the same). */
export const parseSize =
  (least_bytes: number, most_bytes: number, multiple_bytes: number): Parser<number> =>
  (text) => {
    const match = /^(\d{1,15})([kmgt]?)(?:ib)?$/i.exec(text);
    const value = match === null ? Number.NaN : Number(match[1]) * (sizeUnits[(match[2] ?? '').toLowerCase()] ?? 1);
    return value >= least_bytes && value <= most_bytes && value % multiple_bytes === 0
      ? ok(value)
      : err(
          `a size such as 64MiB, from ${showSize(least_bytes)} to ${showSize(most_bytes)}${multiple_bytes === 1 ? '' : `, a multiple of ${multiple_bytes} bytes`}`,
        );
  };

/** Bytes for people: one decimal at most. */
export function showSize(value_bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = value_bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toFixed(1))} ${units[unit]}`;
}

/** An http or https URL without user and password, which would be a secret in a place where none belongs. */
export const parseWebUrl: Parser<string> = (text) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    return err('a URL that begins with https:// or http://');
  if (url.username !== '' || url.password !== '') return err('a URL without user and password');
  return ok(url.href);
};

/** Version of a build, as packages have it. */
export const parseBuildVersion: Parser<string> = (text) =>
  /^\d{1,6}(\.\d{1,6}){4}$/.test(text.trim())
    ? ok(text.trim())
    : err('five numbers with dots between them, such as 4.1.0.0.2');
