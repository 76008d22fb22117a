import type { Random } from '@antipode/base';
import { IoLimitRuleCreate, IoLimitRuleModify, RestError } from '@antipode/contract';
import { Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { IoLimitRuleDocument } from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';

/** Rules that limit what hosts may do. They act through policies; see `io-limits.ts`. */
export function ioLimitRuleHandlers(catalog: Catalog, random: Random): Handlers {
  const found = (id: string): IoLimitRuleDocument => {
    const rule = catalog.get('io_limit_rule', id);
    if (rule === undefined) throw new RestError('not_found', 'io_limit_rule', id);
    return rule;
  };
  const put = (rule: IoLimitRuleDocument) => {
    if (rule.max_iops === null && rule.max_bw === null) throw new RestError('io_rule_without_limit');
    catalog.put('io_limit_rule', rule);
  };
  return {
    'io_limit_rule.create': handler(IoLimitRuleCreate, async (_, __, body) => {
      const id = random.uuid();
      const { name, type, max_iops = null, max_bw = null, burst_percentage = 0 } = body;
      put({ id, name, type, max_iops, max_bw, burst_percentage });
      return { id };
    }),
    'io_limit_rule.modify': handler(IoLimitRuleModify, async (_, id, body) => put({ ...found(id), ...body })),
    'io_limit_rule.delete': handler(Type.Object({}), async (_, id) => {
      const rule = found(id);
      const policy = catalog.list('policy', 'io_limit_rule_id', id)[0];
      if (policy !== undefined) throw new RestError('io_rule_in_use', rule.name, policy.name);
      catalog.remove('io_limit_rule', id);
    }),
  };
}
