import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { optionsMarkdown } from './help.ts';

/** The page whose part between the marks is written from the tables of settings. */
export const operationsPage = new URL('../../../../docs/operations.md', import.meta.url);
const begin = '<!-- settings: written from packages/cli/src/options/tables.ts by `npm run docs:settings` -->';
const end = '<!-- end of settings -->';

/** The page with its part renewed. */
export function withSettings(page: string): string {
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error('docs/operations.md has lost the marks of its settings');
  return `${page.slice(0, from)}${begin}\n\n${optionsMarkdown()}\n${page.slice(to)}`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(operationsPage, withSettings(readFileSync(operationsPage, 'utf8')));
