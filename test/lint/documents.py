#!/usr/bin/python3
"""The documents, without a server: links and paths lead somewhere, each block says what it is, and each figure is the one in bench/results.

test/lint/documents.py [FOLDER]: the repository, or another folder with its files. Prints what is wrong.

Behind a figure stands where it is from: <!-- FILE :: KEY :: KEY :: KEY -->, a file of bench/results and the first cells of a row there. Where a file
has one key, the beginning of it is enough. The figure is the row's ratio (or its value, where there is no ratio), rounded as it is
written; or that of the column that is named last.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
if ROOT.is_file():
    ROOT = ROOT.parents[2]
DOCUMENTS = [*sorted(ROOT.glob('*.md')), *sorted(ROOT.glob('docs/*.md'))]
# Those whose figures are measured: none may stand there without its source.
MEASURED = ['README.md', 'docs/performance.md']
LANGUAGES = {'', 'sh', 'sql', 'console', 'conf', 'python', 'text'}
README_LINES = 150

FIGURE = re.compile(r'([\d,]+(?:\.\d+)?)<!-- (\S+) :: (.+?) -->')
BARE_FIGURE = re.compile(r'(?<![\d.])(?:\d+\.\d+(?![\d.])|[\d,]+ (?:times|%|bytes|kB|MB|instructions)\b)')
BLOCK = re.compile(r'^```(\w*)\n.*?^```$', re.M | re.S)
PATH = re.compile(r'(?:test|bench|dev|docs|src|sql|http|postgrest|examples|debian|\.ci)/\S*|[A-Z]+\.md')
# Made when there is something to keep, by dev/deps, by make.
LATER = {'test/fuzz/findings', 'test/checked/server', 'sql/session_files--1.0.sql'}


def prose(text):
    """Returns a document without its blocks."""
    return BLOCK.sub('', text)


def anchors_of(text):
    """Returns the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.+)$', prose(text), re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def find_broken_links(path, text):
    for target in re.findall(r'\]\(([^)\s]+)\)', prose(text)):
        if re.match(r'https?:', target):
            continue
        name, _, anchor = target.partition('#')
        file = path.parent / name if name else path
        if not file.exists():
            yield f'links to {target}, which is not there'
        elif anchor and anchor not in anchors_of(file.read_text()):
            yield f'links to {target}, which has no such heading'


def find_missing_paths(path, text):
    for code in re.findall(r'`([^`\n]+)`', prose(text)):
        name = code.split(' ')[0]
        if PATH.fullmatch(name) and not (ROOT / name).exists() and name not in LATER:
            yield f'names {name}, which is not there'


def find_bad_blocks(path, text):
    for language in re.findall(r'^```(\w*)\n.*?^```$', text, re.M | re.S):
        if language not in LANGUAGES:
            yield f'has a block of {language}, which no test knows'
    if text.count('\n```') % 2:
        yield 'has a block without an end'


def value_of(file, key):
    """Returns what a file of bench/results has under a key, a list of cells and perhaps a column."""
    header, *rows = [line.split('\t') for line in (ROOT / 'bench/results' / file).read_text().splitlines()]
    keys = 3 if header[:3] == ['measure', 'case', 'variant'] else 1
    column = key[keys] if len(key) > keys else 'ratio' if keys == 3 else header[1]
    key = key[:keys]
    found = [row for row in rows if row[:keys] == key]
    if not found and keys == 1:
        found = [row for row in rows if row[0].startswith(key[0])]
    if len(found) != 1:
        raise KeyError(f'{len(found)} rows are called {key}')
    return float(found[0][header.index(column, 1)])


def find_wrong_figures(path, text):
    for figure, file, key in FIGURE.findall(text):
        try:
            value = value_of(file, key.split(' :: '))
        except (OSError, KeyError, ValueError) as error:
            yield f'{figure} is said to be from {file}, {key}: {error}'
            continue
        shown = figure.replace(',', '')
        if abs(value - float(shown)) > 0.5000001 * 10 ** -len(shown.partition('.')[2]):
            yield f'{figure} should be {value:g}, from {file}, {key}'
    for comment in re.findall(r'<!--.*?-->', FIGURE.sub('', text), re.S):
        yield f'has the source of no figure: {comment}'
    if str(path.relative_to(ROOT)) in MEASURED:
        rest = re.sub(r'`[^`\n]+`|\]\([^)]*\)', '', FIGURE.sub('', prose(text)))
        for figure in BARE_FIGURE.findall(rest):
            yield f'has the figure {figure} without its source'


def find_all():
    for path in DOCUMENTS:
        text = path.read_text()
        for find in [find_broken_links, find_missing_paths, find_bad_blocks, find_wrong_figures]:
            for problem in find(path, text):
                yield f'{path.relative_to(ROOT)} {problem}'
    lines = len((ROOT / 'README.md').read_text().splitlines())
    if lines > README_LINES:
        yield f'README.md has {lines} lines, and {README_LINES} are allowed'


def main():
    problems = list(find_all())
    print('\n'.join(problems) or f'{len(DOCUMENTS)} documents are in order')
    sys.exit(1 if problems or len(DOCUMENTS) < 10 else 0)


if __name__ == '__main__':
    main()
