import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pages } from '../../scripts/generate-docs.mjs';

describe('pages made from the contract', () => {
  it.each(pages.map((page) => [relative(process.cwd(), page.path), page] as const))(
    '%s is what the contract says now (node scripts/generate-docs.mjs)',
    (_, page) => {
      expect(readFileSync(page.path, 'utf8')).toBe(page.text());
    },
  );
});
