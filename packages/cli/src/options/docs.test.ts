import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { operationsPage, withSettings } from './docs.ts';

test('docs/operations.md has the settings that the program has', () => {
  const page = readFileSync(operationsPage, 'utf8');
  expect(page).toBe(withSettings(page));
});
