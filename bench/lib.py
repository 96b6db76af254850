"""What the benchmarks share: a throw-away cluster, pgbench, samples, and tables of medians and ratios.

A sample is (measure, case, variant, value). The first variant sampled of a measure and case is the base of the others' ratios; that of the
base itself is 1. Samples are taken in rounds in which the variants take turns, so that a slow moment of the machine hits all of them.
"""

import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'bench' / 'results'

# For both sides: what is compared is not the disk, and a plan is never compiled.
SETTINGS = {'jit': 'off', 'shared_buffers': '2GB', 'max_wal_size': '16GB', 'checkpoint_timeout': '1h', 'synchronous_commit': 'off'}


def need_packages(*packages):
    """Installs packages of Debian that this machine lacks."""
    subprocess.run([ROOT / 'dev' / 'deps', *packages], check=True)


def need_cluster(**settings):
    """Runs this script again under dev/cluster, unless it is already."""
    if 'SESSION_FILES_BENCH' in os.environ:
        return
    os.environ['SESSION_FILES_BENCH'] = '1'
    options = [f'--set={name}={value}' for name, value in (SETTINGS | settings).items()]
    command = ROOT / 'dev' / 'cluster'
    arguments = [part for option in options for part in option.split('=', 1)]
    os.execv(command, [str(command), *arguments, sys.executable, *sys.argv])


def run_pgbench(scripts, clients, variables, seconds=None, transactions=None):
    """Runs pgbench, prepared, with scripts that each client takes in random order, for some seconds or so many times per client."""
    length = f'--transactions={transactions}' if seconds is None else f'--time={seconds}'
    command = ['pgbench', '--no-vacuum', '--protocol=prepared', f'--client={clients}', '--jobs=2', length]
    command += [f'--define={name}={value}' for name, value in dict(variables).items()]
    with tempfile.TemporaryDirectory() as folder:
        for number, script in enumerate(scripts):
            path = pathlib.Path(folder) / f'{number}.sql'
            path.write_text(script)
            command.append(f'--file={path}')
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or 'number of failed transactions: 0' not in done.stdout:
        raise RuntimeError(f'pgbench: {done.stdout}{done.stderr}')
    return done.stdout


def pgbench(script, transactions=None, clients=4, variables=(), seconds=None):
    """Returns the transactions per second of a pgbench script, without the time to connect."""
    return float(re.search(r'^tps = ([0-9.]+)', run_pgbench([script], clients, variables, seconds, transactions), re.MULTILINE).group(1))


def pgbench_latencies(scripts, seconds, clients=4):
    """Returns the mean latency of each of many pgbench scripts under the load of all of them, in microseconds."""
    printed = run_pgbench(scripts, clients, (), seconds)
    latencies = re.findall(r'^ - latency average = ([0-9.]+) ms', printed, re.MULTILINE)
    if len(latencies) != len(scripts):
        raise RuntimeError(f'pgbench: {printed}')
    return [float(latency) * 1000 for latency in latencies]


def in_turn(variants, number):
    """Returns the variants, another one first in each round."""
    names = list(variants)
    start = max(number, 0) % len(names)
    return names[start:] + names[:start]


def grant(cursor, role, workspace, *kinds):
    """Lets a role do what roles of these kinds may do in a workspace (None: in all), whichever way the installed version has for it."""
    (arguments,) = cursor.execute("SELECT pronargs FROM pg_proc WHERE oid = 'session_files.grant_workspace'::regproc").fetchone()
    if arguments == 3:
        for kind in kinds:
            cursor.execute('SELECT session_files.grant_workspace(%s, %s, %s)', (role, workspace, kind))
        return
    # A version without kinds of roles: the role may do more than those, which costs it nothing.
    cursor.execute(f'GRANT USAGE ON SCHEMA session_files TO {role}')
    cursor.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA session_files TO {role}')
    cursor.execute(f'GRANT EXECUTE ON ALL ROUTINES IN SCHEMA session_files TO {role}')
    cursor.execute('SELECT session_files.grant_workspace(%s, %s)', (role, workspace))


class Samples:
    """Values by measure, case and variant."""

    def __init__(self):
        self.values = {}

    def add(self, measure, case, variant, value):
        self.values.setdefault((measure, case), {}).setdefault(variant, []).append(value)

    def median(self, measure, case, variant):
        return statistics.median(self.values[measure, case][variant])

    def ratio(self, measure, case, variant, base=None):
        """Returns the median over that of a base, the first variant if none is given."""
        return self.median(measure, case, variant) / self.median(measure, case, base or next(iter(self.values[measure, case])))

    def ratios(self, measure, variant, base=None):
        """Returns the ratio of each case that has the variant."""
        return {case: self.ratio(measure, case, variant, base)
                for (known, case), variants in self.values.items() if known == measure and variant in variants}

    def rows(self):
        for (measure, case), variants in self.values.items():
            for variant, values in variants.items():
                yield (measure, case, variant, statistics.median(values), min(values), max(values), len(values), self.ratio(measure, case, variant))

    def report(self, name):
        """Prints the table and writes it to bench/results/NAME.tsv, unless the name is None."""
        header = ('measure', 'case', 'variant', 'median', 'min', 'max', 'rounds', 'ratio')
        rows = [tuple(f'{field:.4g}' if isinstance(field, float) and abs(field) < 1000 else f'{field:.0f}' if isinstance(field, float) else str(field)
                      for field in row) for row in self.rows()]
        print_table([header, *rows])
        if name is not None:
            write_tsv(name, [header, *rows])


class Bars:
    """What a benchmark must reach, and what it has reached."""

    def __init__(self):
        self.rows = []

    def at_least(self, what, value, bar):
        self.rows.append((what, f'{value:.3f}', f'>= {bar}', 'reached' if value >= bar else 'missed'))

    def at_most(self, what, value, bar):
        self.rows.append((what, f'{value:.3f}', f'<= {bar}', 'reached' if value <= bar else 'missed'))

    def report(self, name):
        header = ('ratio', 'value', 'bar', '')
        print()
        print_table([header, *self.rows])
        if name is not None:
            write_tsv(f'{name}.bars', [header, *self.rows])


def print_table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print('  '.join(field.ljust(width) for field, width in zip(row, widths)).rstrip())


def write_tsv(name, rows):
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f'{name}.tsv').write_text(''.join('\t'.join(row) + '\n' for row in rows))


def main():
    """Reports files of samples and, if there are any, bars, tab-separated, by the name of a benchmark: for those that are shell scripts."""
    name, path, *bars_path = sys.argv[1:]
    samples = Samples()
    for line in pathlib.Path(path).read_text().splitlines():
        measure, case, variant, value = line.split('\t')
        samples.add(measure, case, variant, float(value))
    samples.report(name)
    if bars_path:
        bars = Bars()
        for line in pathlib.Path(bars_path[0]).read_text().splitlines():
            what, kind, measure, case, variant, base, bar = line.split('\t')
            getattr(bars, kind)(f'{what}, {case}: {variant} / {base}', samples.ratio(measure, case, variant, base), float(bar))
        bars.report(name)


if __name__ == '__main__':
    main()
