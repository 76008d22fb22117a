import { connect } from 'node:net';
import { type Clock, volumeId } from '@antipode/base';
import type { BlockDevice, VolumeInfo } from '@antipode/blocks';
import { ClientDevice, connectNbd } from '@antipode/hosts';
import type { DataPlane } from '../local/api.ts';
import { connectDataPlane, DataPlaneAway, type RemoteDataPlane } from '../local/client.ts';
import { dataPlaneSocket, hostSocket } from '../supervisor/data-dir.ts';

/** A volume that another appliance has. */
export interface FoundElsewhere {
  readonly appliance: string;
  readonly id: string;
  readonly name: string;
}

/** `away`: nothing is known of what was not found, because one of the others could not be asked or it is on its way from one to another. */
export type Search = FoundElsewhere | 'nowhere' | 'away';

/** What is asked of another data plane. */
type Asked = Pick<DataPlane, 'volume' | 'volumes'>;
export type Sibling = Asked & Pick<RemoteDataPlane, 'isUp' | 'close'>;

/** Another data plane of this machine. */
export const connectSibling = (appliance: string, clock: Clock): Sibling =>
  connectDataPlane(() => connect(dataPlaneSocket(appliance)), clock);

/** The other data planes of the cluster, as one of them sees them: it asks what they have and passes hosts' requests on. */
export class Siblings {
  readonly #planes: ReadonlyMap<string, Sibling>;

  /** @param planes by appliance */
  constructor(planes: ReadonlyMap<string, Sibling>) {
    this.#planes = planes;
  }

  get ids(): readonly string[] {
    return [...this.#planes.keys()];
  }

  /** Exports of the others; those of one that is away are left out. */
  async list(): Promise<readonly { readonly id: string; readonly name: string }[]> {
    const lists = await this.#ask((plane) => plane.volumes());
    return lists.flatMap(([, volumes]) => (volumes === 'away' ? [] : volumes.filter(isServed)));
  }

  /** Who has a volume of this id or name, and serves it. */
  async find(name: string): Promise<Search> {
    const byId = searchOf(await this.#ask((plane) => plane.volume(volumeId(name))));
    if (typeof byId !== 'string') return byId;
    const byName = searchOf(
      await this.#ask(async (plane) => (await plane.volumes()).find((volume) => volume.name === name)),
    );
    return byName === 'nowhere' ? byId : byName;
  }

  /** A device on a volume of another appliance, over a connection of its own. */
  async open({ appliance, id }: FoundElsewhere): Promise<BlockDevice> {
    const client = await connectNbd({
      host: '',
      port: 0,
      path: hostSocket(appliance),
      exportName: id,
      // A process of this machine ends or goes on: a connection that was given up while it lives could still be writing.
      stall_ms: 2 ** 31 - 1,
    });
    return new ClientDevice(client);
  }

  close(): void {
    for (const plane of this.#planes.values()) plane.close();
  }

  #ask<T>(question: (plane: Asked) => Promise<T>): Promise<readonly (readonly [string, T | 'away'])[]> {
    return Promise.all(
      [...this.#planes].map(async ([id, plane]) => {
        if (!plane.isUp()) return [id, 'away'] as const;
        try {
          return [id, await question(plane)] as const;
        } catch (error) {
          if (error instanceof DataPlaneAway) return [id, 'away'] as const;
          throw error;
        }
      }),
    );
  }
}

/** One that is leaving is served by nobody until it has arrived. */
const isServed = (volume: VolumeInfo): boolean => !volume.departing;

function searchOf(answers: readonly (readonly [string, VolumeInfo | undefined | 'away'])[]): Search {
  const known = answers.flatMap(([appliance, volume]) => (volume === undefined ? [] : [{ appliance, volume }]));
  for (const { appliance, volume } of known)
    if (volume !== 'away' && isServed(volume)) return { appliance, id: volume.id, name: volume.name };
  return known.length === 0 ? 'nowhere' : 'away';
}
