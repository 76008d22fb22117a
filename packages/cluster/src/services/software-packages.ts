import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import type { Clock, Random } from '@antipode/base';
import { RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import { type SoftwarePackageDocument, timestamp } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import type { RequestContext } from '../rest/handlers.ts';
import { type Manifest, PackageRefused, sizeOf } from '../software/manifest.ts';
import { trustedKeys } from '../software/trusted-keys.ts';
import { manifestOf, unpackPackage, verifyRelease } from '../software/unpack.ts';
import { releaseOf, type Software } from '../software/version.ts';
import { releasePlace, softwarePlace } from '../supervisor/release-state.ts';
import type { Reporter } from './occurrences.ts';
import { checkUpgrade, type Finding, freeSpace, spaceFor, unfit } from './upgrade-checks.ts';

export interface SoftwarePackagesDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly reporter: Reporter;
  readonly dataPlane: DataPlane;
  readonly dataDir: string;
  /** What runs, and the folder it runs from. */
  readonly running: Software;
  readonly release: string;
}

/** Releases that are here: each a folder with the files of one package, and a row of the catalog that shows it. */
export class SoftwarePackages {
  readonly #deps: SoftwarePackagesDeps;
  #uploading = false;

  constructor(deps: SoftwarePackagesDeps) {
    this.#deps = deps;
  }

  /** Brings rows and folders in line: what was begun and not finished goes, what the catalog has lost is entered again. */
  async recover(): Promise<void> {
    const { catalog, dataDir, release } = this.#deps;
    const place = softwarePlace(dataDir);
    mkdirSync(place, { recursive: true, mode: 0o700 });
    const folders = new Set<string>();
    for (const name of readdirSync(place)) {
      if (name.endsWith('.partial')) rmSync(releasePlace(dataDir, name), { recursive: true, force: true });
      else folders.add(name);
    }
    for (const { id } of catalog.list('software_package')) if (!folders.has(id)) catalog.remove('software_package', id);
    for (const id of folders) {
      const known = catalog.get('software_package', id);
      try {
        const row = known ?? rowOf(id, await manifestOf(releasePlace(dataDir, id)));
        catalog.put('software_package', { ...row, software_package_state: stateOf(row, id === release) });
      } catch (error) {
        // Not a folder of ours, or damaged beyond its description: kept where it is, and shown to nobody.
        if (!(error instanceof PackageRefused) && (error as NodeJS.ErrnoException).code === undefined) throw error;
      }
    }
  }

  /** Takes a package as it arrives; nothing of it is kept unless all of it is as it was signed. */
  async upload(context: RequestContext, file: AsyncIterable<Buffer>): Promise<{ readonly id: string }> {
    const { catalog, dataDir, random, running } = this.#deps;
    const keys = trustedKeys(dataDir);
    if (keys.length === 0) throw new RestError('package_key_missing');
    if (this.#uploading) throw new RestError('upgrade_running');
    this.#uploading = true;
    const id = random.uuid();
    try {
      const manifest = await unpackPackage(file, {
        directory: releasePlace(dataDir, id),
        keys,
        check: async (found) => this.#mayTake(found, running),
        onProgress: (share) => context.progress(share * 100),
      });
      catalog.put('software_package', rowOf(id, manifest));
      return { id };
    } catch (error) {
      rmSync(releasePlace(dataDir, id), { recursive: true, force: true });
      if (error instanceof PackageRefused) throw new RestError('package_refused', error.message);
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw noSpace();
      throw error;
    } finally {
      this.#uploading = false;
    }
  }

  async remove(id: string): Promise<void> {
    const { catalog, dataDir, release } = this.#deps;
    const { name, software_package_state: state } = this.need(id);
    if (id === release) throw new RestError('package_in_use', name, 'is what runs');
    if (state === 'Installing') throw new RestError('package_in_use', name, 'is being installed');
    // Out of the way in one step; what is left of it goes at the next start at the latest.
    const gone = `${releasePlace(dataDir, id)}.partial`;
    if (existsSync(releasePlace(dataDir, id))) renameSync(releasePlace(dataDir, id), gone);
    catalog.remove('software_package', id);
    rmSync(gone, { recursive: true, force: true });
  }

  /** Looks whether a release could be installed now. Refuses with every reason against it; answers what is only to be known. */
  async check(id: string): Promise<readonly Finding[]> {
    const { catalog, dataPlane, dataDir, running } = this.#deps;
    this.need(id);
    let manifest: Manifest;
    try {
      manifest = await verifyRelease(releasePlace(dataDir, id), trustedKeys(dataDir));
    } catch (error) {
      if (error instanceof PackageRefused)
        throw new RestError('upgrade_check', `the package is damaged: ${error.message}`);
      throw error;
    }
    const findings = await checkUpgrade({ catalog, dataPlane, dataDir, running, manifest });
    const [first, ...others] = findings
      .filter(({ weight }) => weight === 'error')
      .map(({ text }) => new RestError('upgrade_check', text));
    if (first !== undefined) throw RestError.of(first, ...others);
    return findings;
  }

  /** The look that an operator asks for: what is only to be known becomes an event. */
  async look(id: string): Promise<void> {
    const { name } = this.need(id);
    for (const { text } of await this.check(id))
      this.#deps.reporter.tell('upgrade_warning', { type: 'software_package', id, name }, text);
  }

  show(id: string, state: SoftwarePackageDocument['software_package_state']): void {
    const { catalog, clock } = this.#deps;
    if (catalog.get('software_package', id) === undefined) return;
    catalog.change('software_package', id, {
      software_package_state: state,
      ...(state === 'Installed' && { installed_date: timestamp(clock.now()) }),
    });
  }

  need(id: string): SoftwarePackageDocument {
    const row = this.#deps.catalog.get('software_package', id);
    if (row === undefined) throw new RestError('not_found', 'software_package', id);
    return row;
  }

  #mayTake(manifest: Manifest, running: Software): void {
    const [reason] = unfit(manifest, running);
    if (reason !== undefined) throw new PackageRefused(reason);
    const { catalog, dataDir } = this.#deps;
    if (catalog.list('software_package', 'build_version', manifest.build_version).length > 0)
      throw new PackageRefused(`version ${manifest.build_version} is here already`);
    if (freeSpace(dataDir) < spaceFor(manifest)) throw noSpace();
  }
}

const noSpace = () => new RestError('package_refused', 'there is not enough space for it beside the data');

/** What a row says after a start: installed is what runs, and nothing is being installed but by whoever says so next. */
function stateOf(row: SoftwarePackageDocument, runs: boolean): SoftwarePackageDocument['software_package_state'] {
  if (runs) return 'Installed';
  return row.software_package_state === 'Installed' ? 'Downloaded' : row.software_package_state;
}

const rowOf = (id: string, manifest: Manifest): SoftwarePackageDocument => ({
  id,
  name: manifest.name,
  description_l10n: manifest.description,
  software_package_type: 'Software_Release',
  software_package_state: 'Downloaded',
  release_version: releaseOf(manifest.build_version),
  build_version: manifest.build_version,
  build_id: manifest.build_id,
  build_flavor: 'Retail',
  build_type: manifest.build_type,
  release_timestamp: timestamp(Date.parse(manifest.release_timestamp)),
  installed_date: null,
  dependent_version: manifest.minimum_version,
  size: sizeOf(manifest),
  is_reboot_required: false,
  is_urgent: false,
  is_autodownloaded: false,
  kb_article_link: null,
  justification_l10n: null,
});
