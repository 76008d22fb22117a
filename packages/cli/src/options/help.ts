import { flagOf, type Option, variableOf } from './option.ts';
import { type CommandName, commandTables } from './tables.ts';

const leftSide = (option: Option): string =>
  option.secret
    ? variableOf(option)
    : option.argument === undefined
      ? flagOf(option)
      : `${flagOf(option)} ${option.argument}`;

const defaultOf = (option: Option): string =>
  option.fallback === undefined || option.argument === undefined ? '' : ` Default: ${option.fallback}.`;

const listOf = (command: CommandName): readonly Option[] => Object.values<Option>(commandTables[command].options);

/** The text of `antipode COMMAND --help`. */
export function commandHelp(command: CommandName, width = 100): string {
  const { usage, about } = commandTables[command];
  const left = Math.max(...listOf(command).map((option) => leftSide(option).length)) + 4;
  const lines = listOf(command).map(
    (option) => `  ${leftSide(option).padEnd(left - 2)}${wrap(option.help + defaultOf(option), width - left, left)}`,
  );
  const rest =
    command === 'serve'
      ? 'Every flag is also a variable (--log-level: ANTIPODE_LOG_LEVEL) and a key of the YAML file (log-level).\nA flag wins over a variable, a variable over the file.'
      : 'Every flag is also a variable (--base-port: ANTIPODE_BASE_PORT).';
  return `Usage: ${usage}\n\n${wrap(about, width, 0)}\n\nOptions:\n${lines.join('\n')}\n\n${rest}\n`;
}

/** The text of `antipode --help`. */
export function programHelp(): string {
  const names = Object.keys(commandTables) as CommandName[];
  const lines = names.map((name) => `  ${name.padEnd(12)}${wrap(commandTables[name].about, 86, 14)}`);
  return `Usage: antipode COMMAND [options]\n\nBlock storage with replication between sites.\n\nCommands:\n${lines.join('\n')}\n\n\`antipode COMMAND --help\` explains a command's options; \`antipode --version\` prints the version.\n`;
}

/** The options of every command as Markdown tables, for docs/operations.md. */
export function optionsMarkdown(): string {
  const escaped = (text: string): string => text.replaceAll('|', '\\|');
  const names = Object.keys(commandTables) as CommandName[];
  const sections = names.map((name) => {
    const rows = listOf(name).map((option) => {
      const flag = option.secret ? 'none' : `\`${leftSide(option)}\``;
      const key = name === 'serve' && !option.flagOnly ? `\`${option.name}\`` : '';
      const fallback = option.fallback === undefined ? '' : `\`${option.fallback}\``;
      return `| ${flag} | \`${variableOf(option)}\` | ${key} | ${fallback} | ${escaped(option.help)} |`;
    });
    return `### antipode ${name}\n\n${commandTables[name].about} \`${commandTables[name].usage}\`\n\n| Flag | Variable | YAML key | Default | Meaning |\n|---|---|---|---|---|\n${rows.join('\n')}\n`;
  });
  return sections.join('\n');
}

/** Breaks a text at spaces; lines after the first start at column `indent`. */
function wrap(text: string, width: number, indent: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length + 1 > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.join(`\n${' '.repeat(indent)}`);
}
