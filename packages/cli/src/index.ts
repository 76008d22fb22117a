export { FatImage, type Range } from './image/fat-image.ts';
export { pair } from './lab/pairing.ts';
export { commandHelp, optionsMarkdown, programHelp } from './options/help.ts';
