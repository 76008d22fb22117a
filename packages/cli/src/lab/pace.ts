import { existsSync, readFileSync } from 'node:fs';
import { type Pace, shownAt } from '@antipode/base';
import { labPlaces } from './layout.ts';
import { writePrivate } from './record.ts';

/**
 * Sets how fast time passes in a lab from now on: both clusters read it when they start. Time never goes back there, so a lab whose time
 * has run ahead keeps its lead, and its clock goes on while nothing runs. Answers whether the lab's time is not the machine's.
 */
export function setPace(dir: string, rate: number, real_ms: number): boolean {
  const path = labPlaces(dir).clock;
  const before = existsSync(path) ? readPace(path) : undefined;
  if (before === undefined && rate === 1) return false;
  const shown_ms = before === undefined ? real_ms : Math.max(real_ms, shownAt(before, real_ms));
  writePrivate(path, `${JSON.stringify({ rate, real_ms, shown_ms } satisfies Pace)}\n`);
  return true;
}

/** The clock in a file; undefined when it holds none. */
export function readPace(path: string): Pace | undefined {
  try {
    const { rate, real_ms, shown_ms } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    const isPace = isMoment(real_ms) && isMoment(shown_ms) && Number.isInteger(rate) && Number(rate) >= 1;
    return isPace ? { rate: Number(rate), real_ms, shown_ms } : undefined;
  } catch {
    return undefined;
  }
}

const isMoment = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
