import { describe, expect, it } from 'vitest';
import { extent, median, percentile, spread } from './statistics.ts';

describe('statistics of rounds', () => {
  it('the median is the middle, whatever the order, and the mean of two middles', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 2, 100])).toBe(3);
    expect(median([])).toBeNaN();
  });

  it('the spread is half of the distance between least and most, as a share of the median', () => {
    expect(spread([90, 100, 120])).toBeCloseTo(0.15);
    expect(extent([3, 1, 2])).toEqual([1, 3]);
  });

  it('a percentile is the nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentile(hundred, 0.99)).toBe(99);
    expect(percentile(hundred, 1)).toBe(100);
    expect(percentile([7], 0.99)).toBe(7);
    expect(percentile([], 0.5)).toBeNaN();
  });
});
