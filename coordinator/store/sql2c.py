#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns sql/*.sql, one statement a file, into the table that store_sqlite.c compiles in.

v<version>_<order>_<name>.sql is a step of the migration to that version of the schema; any other
file is a statement that is prepared once and called by its name: node_put.sql is SQL_NODE_PUT.
"""
import pathlib
import re
import sys

out, files = sys.argv[1], sorted(sys.argv[2:], key=lambda f: pathlib.Path(f).name)
statements, migrations = [], []
for file in files:
    name = pathlib.Path(file).stem
    text = " ".join(pathlib.Path(file).read_text(encoding="ascii").split())
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    step = re.match(r"v(\d+)_\d+_", name)
    if step:
        migrations.append(f"\t{{{int(step[1])}, {quoted}}},")
    else:
        statements.append((name, quoted))
lines = ["/* Written by sql2c.py from sql/; do not edit. */", "#pragma once", "", "enum sql {"]
lines += [f"\tSQL_{name.upper()}," for name, _ in statements]
lines += ["\tSQL_COUNT,", "};", "", "#ifdef SQL_TABLES", "static const struct {", "\tconst char *name, *text;",
          "} sql_table[SQL_COUNT] = {"]
lines += [f'\t[SQL_{name.upper()}] = {{"{name}", {quoted}}},' for name, quoted in statements]
lines += ["};", "", "static const struct {", "\tint version;", "\tconst char *text;",
          "} sql_migrations[] = {"] + migrations + ["};", "#endif", ""]
pathlib.Path(out).write_text("\n".join(lines), encoding="ascii")
