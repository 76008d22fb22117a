/** What a process that is gone would have done. Nobody hears of it. */
export class ProcessDied extends Error {
  override name = 'ProcessDied';
}
