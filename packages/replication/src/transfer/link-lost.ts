/** The link is gone, silent or speaks something else. */
export class LinkLost extends Error {
  override name = 'LinkLost';
}
