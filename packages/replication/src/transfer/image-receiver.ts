import type { BlockEngine } from '@antipode/blocks';
import type { Link } from './link.ts';
import { LinkLost } from './link-lost.ts';
import type { ChannelMessage } from './protocol.ts';
import { runsOf } from './run-payload.ts';

type ImageMessage = Extract<ChannelMessage, { type: 'image' }>;

/** Takes the images of a migration from another appliance of the cluster, one after the other, until the link ends. Rejects with what the engine says. */
export async function receiveImages(link: Link, first: ImageMessage, engine: BlockEngine): Promise<void> {
  for (let open = first; ; ) {
    const { move, image } = open;
    const { next, complete } = await engine.moving.openImage(move, image);
    await link.send({ type: 'arriving', next, complete });
    const following = await receiveImage(link, open, engine);
    if (following === undefined) return;
    open = following;
  }
}

/** Answers the message that announces the next image. */
async function receiveImage(
  link: Link,
  { move, image: { image } }: ImageMessage,
  engine: BlockEngine,
): Promise<ImageMessage | undefined> {
  for (;;) {
    const { message, payload, release } = await link.next();
    switch (message.type) {
      case 'runs': {
        const runs = runsOf(message.runs, payload);
        if (runs === undefined) throw new LinkLost('payload and runs of a frame do not agree');
        await engine.moving.writeImage(move, image, runs);
        release();
        break;
      }
      case 'sync': {
        const { address } = message;
        await engine.moving.syncImage(move, image, address.block);
        await link.send({ type: 'durable', address });
        break;
      }
      case 'close_image':
        await link.send({ type: 'image_closed', digest: await engine.moving.closeImage(move, image) });
        break;
      case 'image_proof': {
        const { next, complete } = await engine.moving.proveImage(move, image, message.digest);
        await link.send({ type: 'arriving', next, complete });
        break;
      }
      case 'image':
        return message;
      default:
        throw new LinkLost(`a receiver of images does not expect ${message.type}`);
    }
  }
}
