import { type Filter, type Query, RestError, type Selection } from '@antipode/contract';
import { restLimits } from './limits.ts';

/** Refuses a query that the database could not take, or whose answer would be out of proportion to asking. */
export function checkBounds(query: Query): void {
  if (conditions(query.filter) > restLimits.conditions)
    throw new RestError('invalid_request', `at most ${restLimits.conditions} conditions can be given`);
  if (longestList(query.filter) > restLimits.listed)
    throw new RestError('invalid_request', `at most ${restLimits.listed} values can be listed`);
  if (query.order.length > restLimits.orders)
    throw new RestError('invalid_request', `order: at most ${restLimits.orders} attributes can be given`);
  checkSelection(query.selection);
}

export function checkSelection(selection: Selection, depth = 0): void {
  if (depth > restLimits.selectDepth)
    throw new RestError('invalid_request', `select: associations can be nested ${restLimits.selectDepth} deep`);
  for (const inner of Object.values(selection.associations)) checkSelection(inner, depth + 1);
}

/** Counts rows of an answer as they are repeated in it: a few kilobytes of request must not become gigabytes of answer. */
export class RowBudget {
  #left: number = restLimits.rows;

  spend(rows: number): void {
    this.#left -= rows;
    if (this.#left < 0)
      throw new RestError(
        'invalid_request',
        'the answer would be too large: lower limit, or select fewer associations',
      );
  }
}

/** Each value that a list must contain is a condition of its own. */
function conditions(filter: Filter): number {
  if (filter.kind === 'compare') return filter.operator === 'cs' ? Math.max(1, filter.values.length) : 1;
  return filter.of.reduce((sum, part) => sum + conditions(part), 0);
}

const longestList = (filter: Filter): number =>
  filter.kind === 'compare' ? filter.values.length : Math.max(0, ...filter.of.map(longestList));
