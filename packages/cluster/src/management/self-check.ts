import { request } from 'node:https';
import type { DataPlane } from '../local/api.ts';

const answer_ms = 10_000;

/** Shows that management does what it is there for: its REST interface answers, and the data plane answers it. @throws Error */
export async function checkManagement(url: string, dataPlane: DataPlane): Promise<void> {
  const status = await new Promise<number>((resolve, reject) => {
    // It asks itself: there is nobody else to be taken for.
    const asked = request(
      `${url}/api/rest/openapi.json`,
      { rejectUnauthorized: false, timeout: answer_ms },
      (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.statusCode ?? 0));
      },
    );
    asked.on('timeout', () => asked.destroy(new Error('the REST interface does not answer')));
    asked.on('error', reject);
    asked.end();
  });
  if (status !== 200) throw new Error(`the REST interface answers with ${status}`);
  const away = (await dataPlane.appliances()).find(({ writes }) => writes === undefined);
  if (away !== undefined) throw new Error(`the data plane of appliance ${away.id} does not answer`);
}
