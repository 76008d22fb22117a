import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '@antipode/base';
import { RestError } from '@antipode/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import type { PolicyDocument, SessionDocument, VolumeDocument } from '../catalog/documents.ts';
import { volume } from '../rest/testing/rest-fixture.ts';
import { Assignments } from './assignments.ts';
import type { ReplicationHooks } from './replication-hooks.ts';
import { UnfinishedAssignments } from './unfinished-assignments.ts';

const target = { kind: 'volume', id: 'v1', name: 'v', type: 'Primary' } as const;

/** Sessions by resource; they outlive a restart, as the engine's do. `dies`: the process dies when the call has had its effect. */
class Sessions {
  readonly rules = new Map<string, string | null>();
  dies: 'protect' | 'unprotect' | undefined;
  refusal: RestError | undefined;
  /** A birth takes until this resolves. */
  birth: Promise<void> = Promise.resolve();
  /** Policies that peers are to be told of. */
  readonly told: string[] = [];

  hooks(): ReplicationHooks {
    const ended = (call: 'protect' | 'unprotect') =>
      this.dies === call ? new Promise<void>(() => undefined) : Promise.resolve();
    return {
      sessionOf: (id) => {
        const rule = this.rules.get(id);
        return rule === undefined ? undefined : ({ replication_rule_id: rule, role: 'Source' } as SessionDocument);
      },
      goOnUnder: (id, rule) => {
        if (this.rules.get(id) !== null) return false;
        this.rules.set(id, rule);
        return true;
      },
      policyChanged: (id) => {
        this.told.push(id);
      },
      protect: async ({ id }, { replication_rule_ids: [rule] }) => {
        if (this.refusal !== undefined) throw this.refusal;
        await this.birth;
        this.rules.set(id, rule!);
        await ended('protect');
      },
      unprotect: async (id) => {
        this.rules.delete(id);
        await ended('unprotect');
      },
    } as Partial<ReplicationHooks> as ReplicationHooks;
  }
}

let directory: string;
let catalog: Catalog;
let sessions: Sessions;
let told: string[];
const open = () => {
  catalog = new Catalog(directory);
};
/** A clock that never gets anywhere: a test says when something is tried again. */
const clock = { ...systemClock, after: () => ({ cancel: () => undefined }) } as Clock;
const unfinishedOf = () => new UnfinishedAssignments({ catalog, replication: sessions.hooks(), clock, reporter });
const assignmentsOf = () => new Assignments(catalog, sessions.hooks(), unfinishedOf());
const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};
/** The process dies in the middle of something, and another one starts. */
async function killedAt(call: 'protect' | 'unprotect', work: (assignments: Assignments) => unknown) {
  sessions.dies = call;
  void work(assignmentsOf());
  await settle();
  sessions.dies = undefined;
  catalog.close();
  open();
}
const reporter = {
  tell: (name: string) => void told.push(`told ${name}`),
  clear: (name: string) => void told.push(`cleared ${name}`),
};
async function recover() {
  const unfinished = unfinishedOf();
  unfinished.recover();
  await settle();
  return unfinished;
}
const held = () => catalog.get('volume', 'v1')?.protection_policy_id;
const policyWith = (id: string, rules: readonly string[]): PolicyDocument => ({
  id,
  name: id,
  description: null,
  type: 'Protection',
  snapshot_rule_ids: [],
  replication_rule_ids: [...rules],
  managed_by: 'User',
  managed_by_id: null,
  is_read_only: false,
  is_replica: false,
});

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'assignments-'));
  sessions = new Sessions();
  told = [];
  open();
  catalog.put('volume', volume(1, { name: 'v' }) as VolumeDocument, {});
  for (const id of ['p1', 'p2']) catalog.put('policy', policyWith(id, [`rule of ${id}`]));
});
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

it('a session without a rule, which an older catalog did not know, goes on under that of the policy: nothing is copied anew', async () => {
  sessions.rules.set('v1', null);
  sessions.refusal = new RestError('remote_unreachable', 'r', 'nothing is to begin');
  await assignmentsOf().assign(target, catalog.get('policy', 'p1')!);
  expect([held(), sessions.rules.get('v1'), catalog.count('intent')]).toEqual(['p1', 'rule of p1', 0]);
  expect(sessions.told).toEqual(['p1']);
});

describe('a policy that is given another word while its session is being begun', () => {
  const begun = async () => {
    catalog.change('volume', 'v1', { protection_policy_id: 'p1' });
    let born = () => {};
    sessions.birth = new Promise((resolve) => (born = resolve));
    const unfinished = unfinishedOf();
    unfinished.want(target, 'p1', true);
    const retrying = unfinished.retry();
    await settle();
    return { born, retrying, assignments: new Assignments(catalog, sessions.hooks(), unfinished) };
  };

  it('is taken away: no session is left that nobody could remove', async () => {
    const { born, retrying, assignments } = await begun();
    const unassigned = assignments.unassign(target, false);
    await settle();
    born();
    await Promise.all([retrying, unassigned]);
    expect([held(), sessions.rules.size, catalog.count('intent')]).toEqual([null, 0, 0]);
  });

  it('is exchanged: the session is that of the other one', async () => {
    const { born, retrying, assignments } = await begun();
    const assigned = assignments.assign(target, catalog.get('policy', 'p2')!);
    await settle();
    born();
    await Promise.all([retrying, assigned]);
    expect([held(), sessions.rules.get('v1'), catalog.count('intent')]).toEqual(['p2', 'rule of p2', 0]);
  });
});

describe('a policy and its session, when the process dies between the two', () => {
  it('removed: the session is gone, and so is the policy after the next start [C7.2]', async () => {
    await assignmentsOf().assign(target, catalog.get('policy', 'p1')!);
    expect([held(), sessions.rules.get('v1')]).toEqual(['p1', 'rule of p1']);
    await killedAt('unprotect', (assignments) => assignments.unassign(target, false));
    expect([held(), sessions.rules.size]).toEqual(['p1', 0]);
    await recover();
    expect([held(), sessions.rules.size, catalog.count('intent')]).toEqual([null, 0, 0]);
  });

  it('exchanged: the policy is the new one, and its session begins when the peer can be asked [C7.2]', async () => {
    await assignmentsOf().assign(target, catalog.get('policy', 'p1')!);
    await killedAt('unprotect', (assignments) => assignments.assign(target, catalog.get('policy', 'p2')!));
    sessions.refusal = new RestError('remote_unreachable', 'r', 'the link is down');
    const unfinished = await recover();
    expect([held(), sessions.rules.size, told]).toEqual(['p2', 0, ['told protection_waits']]);
    sessions.refusal = undefined;
    await unfinished.retry();
    expect([held(), sessions.rules.get('v1'), catalog.count('intent')]).toEqual(['p2', 'rule of p2', 0]);
    expect(told.at(-1)).toBe('cleared protection_waits');
  });

  it('assigned: the session that was born has its policy', async () => {
    await killedAt('protect', (assignments) => assignments.assign(target, catalog.get('policy', 'p1')!));
    await recover();
    expect([held(), sessions.rules.get('v1'), catalog.count('intent')]).toEqual(['p1', 'rule of p1', 0]);
  });

  it('a volume that another request has since given something else is left to it', async () => {
    await assignmentsOf().assign(target, catalog.get('policy', 'p1')!);
    await killedAt('unprotect', (assignments) => assignments.assign(target, catalog.get('policy', 'p2')!));
    sessions.refusal = new RestError('remote_unreachable', 'r', 'the link is down');
    const unfinished = await recover();
    await assignmentsOf().unassign(target, false);
    sessions.refusal = undefined;
    await unfinished.retry();
    expect([held(), sessions.rules.size, catalog.count('intent')]).toEqual([null, 0, 0]);
  });
});

describe('a policy whose session the peer has deleted', () => {
  it('assigned once more begins another one [C5.6]', async () => {
    const assignments = assignmentsOf();
    await assignments.assign(target, catalog.get('policy', 'p1')!);
    sessions.rules.clear();
    await assignments.assign(target, catalog.get('policy', 'p1')!);
    expect([held(), sessions.rules.get('v1'), catalog.count('intent')]).toEqual(['p1', 'rule of p1', 0]);
  });
});

describe('a policy that could not be exchanged', () => {
  it('leaves the one of before, whose session comes back when it can', async () => {
    const assignments = assignmentsOf();
    await assignments.assign(target, catalog.get('policy', 'p1')!);
    sessions.refusal = new RestError('remote_unreachable', 'r', 'the link is down');
    await expect(assignments.assign(target, catalog.get('policy', 'p2')!)).rejects.toThrow('link is down');
    expect([held(), sessions.rules.size]).toEqual(['p1', 0]);
    sessions.refusal = undefined;
    await unfinishedOf().retry();
    expect([sessions.rules.get('v1'), catalog.count('intent')]).toEqual(['rule of p1', 0]);
  });
});
