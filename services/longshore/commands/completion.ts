/**
 * `longshore completion`: prints a script that completes the command line in bash or zsh.
 *
 * The failure this prevents: a completion that still offers an old name. The script is written from the declarations by which
 * the command line is read.
 */
import { type Command, command, meant, type Option, Usage } from "../command.ts";

const SHELLS = ["bash", "zsh"] as const;

/** Returns the command that prints the completion of these commands and of itself. */
export function completionOf(others: Readonly<Record<string, Command>>): Command {
  const completion: Command = command({
    name: "completion",
    summary: "print a script that completes the command line in bash or zsh",
    usage: ["bash", "zsh"],
    options: {},
    words: ["the name of a shell: bash or zsh"],
    more: `
Where \`longshore\` is a command (export PATH="$PWD/node_modules/.bin:$PATH"), put one of these into ~/.bashrc or ~/.zshrc:

  source <(longshore completion bash)
  source <(longshore completion zsh)      # below compinit`,
    async run(_, [shell = ""], { out }) {
      if (shell !== "bash" && shell !== "zsh")
        throw new Usage(`there is no completion for "${shell}"; there is for ${SHELLS.join(" and ")}${meant(shell, SHELLS)}`);
      out(scriptOf({ ...others, completion }, shell));
      return 0;
    },
  });
  return completion;
}

interface Place {
  /** "/runs/list" */
  readonly path: string;
  /** The shell's command that prints the offers. */
  readonly prints: string;
}

function scriptOf(commands: Readonly<Record<string, Command>>, shell: (typeof SHELLS)[number]): string {
  const all = Object.values(commands).flatMap((it) => [it, ...Object.values(it.verbs)]);
  const options = new Map(all.flatMap((it) => Object.entries(it.options)).map(([name, option]) => [`--${name}`, option]));
  const taking = [...options].filter(([, { type }]) => type === "string");
  const places: readonly Place[] = [
    { path: "", prints: printing([...Object.keys(commands), "--help", "--version"]) },
    ...all.map((it) => ({ path: pathOf(it), prints: [printing(offersOf(it)), ...namesOf(it)].join("; ") })),
  ];
  return `# Completion of longshore in ${shell}. Written by: longshore completion ${shell}
# Prints the names of a list; nothing if there is no Longshore to ask, and no names that a shell would read otherwise.
_longshore_names() {
  longshore "$1" "$2" --json 2>/dev/null | sed -n 's/^ *"'"$3"'": "\\([A-Za-z0-9._/-]*\\)",*$/\\1/p'
}
# Prints what may come after these words: one offer a line, or @files or @directories.
_longshore_offers() {
  local at="" takes="" word
  for word in "$@"; do
    if [ -n "$takes" ]; then takes=""; continue; fi
    case "$word" in
      --) echo @files; return ;;
      ${taking.map(([name]) => name).join("|")}) takes="$word" ;;
      -*) ;;
      *) case "$at/$word" in ${places
        .slice(1)
        .map(({ path }) => path)
        .join("|")}) at="$at/$word" ;; esac ;;
    esac
  done
  case "$takes" in
${taking.map(([name, option]) => `    ${name}) ${valuesOf(option)} ;;`).join("\n")}
    *) case "$at" in
${places.map(({ path, prints }) => `      "${path}") ${prints} ;;`).join("\n")}
    esac ;;
  esac
}
${WRAPPERS[shell]}`;
}

const pathOf = ({ name }: Command): string => `/${name.replaceAll(" ", "/")}`;

function offersOf({ name, verbs, options }: Command): readonly string[] {
  const words = name === "completion" ? SHELLS : Object.keys(verbs);
  return [...words, ...Object.keys(options).map((it) => `--${it}`), "--help"];
}

const printing = (words: readonly string[]): string => `printf '%s\\n' ${words.join(" ")}`;

const namesOf = ({ namedBy }: Pick<Command, "namedBy">): readonly string[] =>
  namedBy === undefined ? [] : [`_longshore_names ${namedBy.list} ${namedBy.field}`];

/** Values that nobody can know beforehand get no offers. */
function valuesOf({ value, words, namedBy }: Option): string {
  if (words) return printing(words);
  if (namedBy) return namesOf({ namedBy }).join("; ");
  return value === "FILE" ? "echo @files" : value === "DIR" ? "echo @directories" : ":";
}

const WRAPPERS: Readonly<Record<(typeof SHELLS)[number], string>> = {
  // In bash "=" is a word of its own: --state=active arrives as three words.
  bash: `
_longshore() {
  local current="\${COMP_WORDS[COMP_CWORD]}" offers IFS=$'\\n'
  local -a before=()
  local word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [ "$word" = "=" ] || before+=("$word")
  done
  [ "$current" = "=" ] && current=""
  offers="$(_longshore_offers "\${before[@]}")"
  case "$offers" in
    @files) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")) ;;
    @directories) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$offers" -- "$current")) ;;
  esac
}
complete -F _longshore longshore
`,
  zsh: `
_longshore() {
  local offers
  offers="$(_longshore_offers "\${(@)words[2,CURRENT-1]}")"
  case "$offers" in
    @files) _files ;;
    @directories) _files -/ ;;
    ?*) compadd -- "\${(@f)offers}" ;;
  esac
}
compdef _longshore longshore
`,
};
