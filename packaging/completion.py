#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes bash completion for `covey` from what the program says about itself: the verbs of `covey
help`, the options of each `covey VERB --help`. So it cannot differ from the table of verbs.

usage: completion.py COVEY OUTPUT
"""
import re
import subprocess
import sys


def verbs(covey):
    text = subprocess.run([covey, "help"], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        if line.startswith("  "):
            words = []
            for word in line.split("  ")[1].split():
                if not re.fullmatch(r"[a-z]+", word):
                    break
                words.append(word)
            if words:
                yield " ".join(words)


def options(covey, verb):
    """[(letter or "", name, values or "")]: values is "" for a flag."""
    text = subprocess.run([covey, *verb.split(), "--help"], check=True, capture_output=True,
                          text=True).stdout
    found = re.findall(r"^  (?:-(\w), |    )--([a-z-]+)(?: ([^\s]+))?  ", text, re.M)
    if not found:
        sys.exit(f"completion.py: `covey {verb} --help` lists no options")
    return found


def main():
    covey, output = sys.argv[1:]
    table, values, families = {}, {}, {}
    for verb in verbs(covey):
        given = options(covey, verb)
        table[verb] = " ".join([f"-{letter}" for letter, _, _ in given if letter] +
                               [f"--{name}" for _, name, _ in given])
        for letter, name, value in given:
            for word in [f"--{name}"] + ([f"-{letter}"] if letter else []):
                if value:
                    values[(verb, word)] = value
        first, _, second = verb.partition(" ")
        families.setdefault(first, []).append(second)
    if len(table) < 10:
        sys.exit("completion.py: `covey help` lists hardly a verb")
    with open(output, "w", encoding="utf-8") as out:
        out.write(HEAD)
        out.write(f"_covey_first='{' '.join(families)}'\n")
        out.write("declare -gA _covey_second=(\n")
        for first, seconds in families.items():
            if seconds != [""]:
                out.write(f"\t[{first}]='{' '.join(seconds)}'\n")
        out.write(")\ndeclare -gA _covey_options=(\n")
        for verb, words in table.items():
            out.write(f"\t['{verb}']='{words}'\n")
        out.write(")\ndeclare -gA _covey_values=(\n")
        for (verb, word), value in values.items():
            out.write(f"\t['{verb} {word}']='{value.replace('|', ' ') if '|' in value else value}'\n")
        out.write(")\n" + BODY)


HEAD = """# SPDX-License-Identifier: Apache-2.0
# bash completion for covey(1), made by packaging/completion.py from the program's own help.

"""

BODY = r"""
# Names from the coordinator, if it answers soon.
_covey_names() { # verb, field
	covey "$1" ls -o json --timeout 1s 2>/dev/null |
		grep -oE "\"$2\": ?\"[^\"]+\"" | sed 's/.*"\([^"]*\)"$/\1/'
}

_covey() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local first=${COMP_WORDS[1]:-} second=${COMP_WORDS[2]:-} verb value
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "$_covey_first help" -- "$cur"))
		return
	fi
	verb=$first
	if [ -n "${_covey_second[$first]:-}" ]; then
		if [ "$COMP_CWORD" = 2 ]; then
			COMPREPLY=($(compgen -W "${_covey_second[$first]}" -- "$cur"))
			return
		fi
		verb="$first $second"
	fi
	value=${_covey_values["$verb $prev"]:-}
	case $value in
	FILE | DIR)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	*" "*)
		COMPREPLY=($(compgen -W "$value" -- "$cur"))
		return
		;;
	?*) return ;;
	esac
	case $cur in
	-*) COMPREPLY=($(compgen -W "${_covey_options[$verb]:-}" -- "$cur")) ;;
	*)
		case $verb in
		"node "* | logs) COMPREPLY=($(compgen -W "$(_covey_names node name)" -- "$cur")) ;;
		"rollout "*) COMPREPLY=($(compgen -W "$(_covey_names rollout id)" -- "$cur")) ;;
		"deployment "*) COMPREPLY=($(compgen -W "$(_covey_names deployment deployment)" -- "$cur")) ;;
		"release "*) COMPREPLY=($(compgen -W "$(_covey_names release release)" -- "$cur")) ;;
		esac
		;;
	esac
}
complete -F _covey covey
"""

if __name__ == "__main__":
    main()
