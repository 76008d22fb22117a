import { describe, expect, it } from 'vitest';
import { prometheusText } from './prometheus.ts';

describe('the metrics page', () => {
  it('writes the text format, whatever is in a name', () => {
    const text = prometheusText([
      {
        name: 'lag_seconds',
        type: 'gauge',
        help: 'Age\nof it \\ all',
        samples: [
          { labels: { volume: 'a"b\\c\nd' }, value: 1.5 },
          { labels: {}, value: Number.POSITIVE_INFINITY },
        ],
      },
      { name: 'empty', type: 'counter', help: 'nothing', samples: [] },
    ]);
    expect(text).toBe(
      '# HELP lag_seconds Age\\nof it \\\\ all\n# TYPE lag_seconds gauge\nlag_seconds{volume="a\\"b\\\\c\\nd"} 1.5\nlag_seconds +Inf\n',
    );
  });
});
