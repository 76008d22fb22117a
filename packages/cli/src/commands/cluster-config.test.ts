import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readOptions } from '../options/read.ts';
import { serveOptions } from '../options/tables.ts';
import { clusterConfig, isLoopback } from './cluster-config.ts';

const dir = mkdtempSync(join(tmpdir(), 'antipode-config-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, text = 'x'): string => {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
};
const config = (args: string[], env: Record<string, string> = {}) =>
  clusterConfig(readOptions(serveOptions, { args: ['--data', dir, ...args], env }).values);

describe('cluster configuration', () => {
  test('NBD is open without a word on loopback alone', () => {
    for (const host of ['127.0.0.1', '127.9.9.9', '[::1]', 'localhost'])
      expect(config(['--nbd', `${host}:10809`]).nbdAccess).toEqual({ mode: 'open' });
    for (const host of ['0.0.0.0', '[::]', '10.0.0.1', 'storage.example', '[fe80::1]'])
      expect(() => config(['--nbd', `${host}:10809`])).toThrow(/--nbd-open/);
    expect(config(['--nbd', '0.0.0.0:1', '--nbd-open']).nbdAccess).toEqual({ mode: 'open' });
    expect(isLoopback('127.0.0.1.example')).toBe(false);
  });

  test('NBD over TLS takes its three files together, and is not open', () => {
    const [cert, key, ca] = [file('cert'), file('key'), file('ca')];
    const args = ['--nbd', '0.0.0.0:1', '--nbd-tls-cert', cert, '--nbd-tls-key', key, '--nbd-client-ca', ca];
    expect(config(args).nbdAccess).toEqual({ mode: 'tls', certFile: cert, keyFile: key, clientCaFile: ca });
    expect(() => config(args.slice(0, 6))).toThrow('--nbd-tls-cert needs --nbd-client-ca as well');
    expect(() => config([...args, '--nbd-open'])).toThrow(/exclude each other/);
  });

  test('a certificate needs its key, and files must be there', () => {
    expect(() => config(['--tls-cert', file('cert')])).toThrow('--tls-cert needs --tls-key as well');
    expect(() => config(['--tls-cert', file('cert'), '--tls-key', join(dir, 'none')])).toThrow(
      /--tls-key .*none cannot be read: ENOENT/,
    );
    expect(() => config(['--tls-cert', dir, '--tls-key', file('key')])).toThrow(/is not a file/);
  });

  test('the first password comes from a file, or from its variable, not from both', () => {
    const path = file('password', 'correct horse\nsecond line\n');
    expect(config(['--admin-password-file', path]).adminPassword).toBe('correct horse');
    expect(config([], { ANTIPODE_ADMIN_PASSWORD: 'battery staple' }).adminPassword).toBe('battery staple');
    expect(config([]).adminPassword).toBeUndefined();
    expect(() => config(['--admin-password-file', path], { ANTIPODE_ADMIN_PASSWORD: 'battery staple' })).toThrow(
      /exclude/,
    );
    expect(() => config(['--admin-password-file', file('short', 'abc\n')])).toThrow(/8 to 128/);
  });

  test('two listeners cannot share an address, two free ports can', () => {
    expect(() => config(['--listen', 'h:5', '--peer', 'h:5'])).toThrow('--peer and --listen are the same address: h:5');
    expect(config(['--listen', '127.0.0.1:0', '--peer', '127.0.0.1:0']).peer.port).toBe(0);
  });

  test('the directory is required', () => {
    expect(() => clusterConfig(readOptions(serveOptions, { args: [], env: {} }).values)).toThrow(/--data is required/);
  });
});
